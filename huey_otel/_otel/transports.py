"""Transports: HTTP sessions and gRPC channels that survive a fork."""

# requests imports it at its first request, on a thread. A child forked during that
# import would wait for the import lock for ever.
import netrc  # noqa: F401
import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from huey_otel._safety import greenlets
from huey_otel._safety.forks import in_child

_PATIENCE: Final = 0.2
"""Seconds that a fork waits for a gRPC call; an answered one takes less."""


class SessionRenewal:
    """Gives *session* connections of its own in each forked child.

    Two processes on one kept-alive connection mix up their requests
    (opentelemetry-exporter-otlp-proto-http 1.45).
    """

    def __init__(self, session: requests.Session) -> None:
        self.session = session
        self._inherited: list[object] = []
        in_child(self._renew)
        _RENEWALS.append(self)

    def _renew(self) -> None:
        # The inherited pools are kept and not closed: both closing and freeing take
        # locks that the parent's exporting thread may have held at the fork.
        self._inherited.append(self.session.cookies)
        self.session.cookies = RequestsCookieJar()
        for adapter in self.session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                self._inherited += [adapter.poolmanager, adapter.proxy_manager]
                adapter.proxy_manager = {}
                adapter.init_poolmanager(
                    adapter._pool_connections,  # noqa: SLF001 - as it unpickles itself
                    adapter._pool_maxsize,  # noqa: SLF001
                    block=adapter._pool_block,  # noqa: SLF001
                )


_RENEWALS: Final[list[SessionRenewal]] = []
"""Keeps them alive: `in_child` holds its objects weakly."""


def load_grpc() -> None:
    """Import what gRPC itself imports with its first channel, and what listens."""
    from grpc import _channel, experimental  # noqa: F401

    from huey_otel._otel import grpc_answers  # noqa: F401


def let_grpc_use_gevent() -> None:
    """Make gRPC wait by gevent, where gevent has patched.

    Otherwise one collector that does not answer stops all greenlets (grpcio 1.85).
    """
    if greenlets.patched():
        from grpc.experimental import gevent

        gevent.init_gevent()


class BetweenForks:
    """Holds off forks while *exporter* calls, for 0.2 s at most.

    gRPC aborts a child that calls if it was forked during a call of its parent
    (grpcio 1.85 skips its own fork handlers then).
    """

    def __init__(self, exporter: Any) -> None:
        self.exporter = exporter
        self._renew()
        in_child(self._renew)
        os.register_at_fork(before=self._before, after_in_parent=self._after)

    def _renew(self) -> None:
        self._calling = threading.Lock()
        self._held: dict[int, bool] = {}

    def _before(self) -> None:
        held = self._calling.acquire(timeout=_PATIENCE)
        self._held[threading.get_ident()] = held

    def _after(self) -> None:
        if self._held.pop(threading.get_ident(), False):
            self._calling.release()

    def export(self, batch: Sequence[Any]) -> Any:
        """Export *batch* while no fork happens."""
        with self._calling:
            return self.exporter.export(batch)

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self.exporter.shutdown()
