"""Jaeger: the page of a trace, and whether Jaeger has the trace yet."""

import os
from enum import Enum
from urllib.error import HTTPError
from urllib.request import urlopen

_PATIENCE = 2.0
"""Seconds to wait for Jaeger's answer."""


class Found(Enum):
    """Whether Jaeger has a trace."""

    THERE = "there"
    NOT_YET = "not yet"
    NO_ANSWER = "no answer"


def page_of(trace_id: str) -> str | None:
    """Return the URL of a trace in the user's browser; None if there is no Jaeger."""
    url = os.environ.get("SHOP_JAEGER_URL")
    return f"{url}/trace/{trace_id}" if url else None


def find(trace_id: str) -> Found:
    """Ask Jaeger for a trace.

    SHOP_JAEGER_QUERY_URL is Jaeger's address for this process, if it differs from
    SHOP_JAEGER_URL, the address for the user's browser.
    """
    url = os.environ.get("SHOP_JAEGER_QUERY_URL") or os.environ["SHOP_JAEGER_URL"]
    try:
        with urlopen(f"{url}/api/traces/{trace_id}", timeout=_PATIENCE):  # noqa: S310 - an address of ours
            return Found.THERE
    except HTTPError as error:
        with error:
            return Found.NOT_YET if error.code == 404 else Found.NO_ANSWER
    except OSError:
        return Found.NO_ANSWER
