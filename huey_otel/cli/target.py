"""The target: what is looked at, an application, queues of a Redis, or a consumer."""

import argparse
import contextlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlsplit

from huey_otel._safety.encodable import printable
from huey_otel._safety.redaction import said, shown

if TYPE_CHECKING:
    from huey import Huey

    from huey_otel._options.settings import Settings
    from huey_otel._storage.emitter import RedisEventEmitter

PASSWORD_VARIABLE: Final = "REDISCLI_AUTH"  # noqa: S105 - its name
"""The variable of redis-cli: a person who looks into a Redis may have set it."""


_LARGEST_PORT: Final = 65_535
_QUOTING: Final = (
    "; a password in it needs its special characters as %XX, --password-file does not"
)


class CannotLookError(Exception):
    """There is nothing to look at; the text says why, and has no password in it."""


class Application(NamedTuple):
    """A huey, found in its imported module by its *path*."""

    path: str
    huey: "Huey"


class Queues(NamedTuple):
    """Queues of a Redis, by the names that their applications give them."""

    redis: "RedisEventEmitter"
    names: tuple[str, ...]


class Address(NamedTuple):
    """Where a consumer serves /metrics and /healthz."""

    host: str
    port: int


Target = Application | Queues | Address


def add_arguments(parser: argparse.ArgumentParser, *, address: bool = False) -> None:
    """Add the target and what belongs to it; *address* if that may be a consumer's."""
    kinds = (
        "MODULE.NAME of a Huey instance, such as app.huey; or the URL of a Redis,"
        " with --queue"
    )
    if address:
        kinds += "; or the address of a consumer's /metrics, such as localhost:9464"
    parser.add_argument("target", metavar="TARGET", help=kinds)
    add_queue_arguments(parser)


def settings_of(huey: "Huey") -> "Settings":
    """The settings of *huey*; without any of its own those of the environment.

    What the application's code does not instrument, `opentelemetry-instrument` may.
    Raises CannotLookError where a variable is wrong.
    """
    from huey_otel._setup.instrument import check
    from huey_otel._setup.instrumentation import instrumentation_of

    known = instrumentation_of(huey)
    if known is not None:
        return known.settings
    try:
        return check({})
    except (TypeError, ValueError) as error:
        raise CannotLookError(str(error)) from None


def add_queue_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which queues of a Redis are meant, and its password."""
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="the name that the application gives its queue on that Redis; repeat the"
        " flag for several queues",
    )
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="read the password of that Redis from FILE; without this flag it is taken"
        f" from {PASSWORD_VARIABLE} in the environment. A password in the URL is used"
        " before both, but each user of this machine can see it in the list of"
        " processes",
    )


def target_of(options: argparse.Namespace) -> Target:
    """The target that the command's *options* name; CannotLookError if there is none.

    An application is imported. Nothing is connected to.
    """
    text: str = options.target
    scheme, is_url, _ = text.partition("://")
    if is_url and scheme not in ("http", "https"):
        return queues_of(text, options)
    for option in ("queue", "password_file"):
        if getattr(options, option):
            name = "--" + option.replace("_", "-")
            raise CannotLookError(f"{name} is for a Redis, and TARGET is {shown(text)}")
    found = re.fullmatch(r"(?:https?://)?(.*[^:]):(\d+)(?:/.*)?", text)
    if found and "@" in found[1]:
        raise CannotLookError(
            f"{shown(text)}: expected HOST:PORT, without a user or a password"
        )
    if found and not 0 < int(found[2]) <= _LARGEST_PORT:
        raise CannotLookError(
            f"{shown(text)}: expected a port from 1 to {_LARGEST_PORT}"
        )
    if found:
        return Address(found[1].strip("[]"), int(found[2]))
    return _application(text)


def queues_of(url: str, options: argparse.Namespace) -> Queues:
    """The queues of the Redis at *url* that *options* name; CannotLookError."""
    from huey_otel._options.values import QUEUE_NAME
    from huey_otel._storage.emitter import RedisEventEmitter

    if not options.queue:
        raise CannotLookError(
            f"{shown(url)}: expected --queue NAME as well, a queue on that Redis"
        )
    try:
        for name in options.queue:
            QUEUE_NAME.checked(name, f"--queue {name!r}")
        emitter = RedisEventEmitter(url=url)
        password = _password(options.password_file)
        if password and not _has_password(url):
            emitter = RedisEventEmitter(url=_with_password(url, password))
    except (ValueError, TypeError) as error:
        hint = _QUOTING if "@" in url else ""
        raise CannotLookError(f"{str(error).removeprefix('url=')}{hint}") from None
    return Queues(emitter, tuple(dict.fromkeys(options.queue)))


def _password(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise CannotLookError(f"--password-file {path}: {said(error)}") from None


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password) or "password=" in parts.query


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _, server = parts.netloc.rpartition("@")
    user = user.removesuffix(":")
    netloc = f"{user}:{quote(password, safe='')}@{server}"
    return parts._replace(netloc=netloc).geturl()


def _application(path: str) -> Application:
    from huey_otel.cli.application import NoHueyError, find_huey, is_path
    from huey_otel.cli.untraced import untraced

    if not is_path(path):
        raise CannotLookError(
            f"{shown(path)}: expected MODULE.NAME of a Huey instance, such as app.huey,"
            " or the URL of a Redis with --queue, such as redis://cache:6379"
        )
    try:
        # Whatever it prints is not for the program that reads our output.
        # And huey 3.0 to 3.2 ask Redis for its version when a queue is made.
        with contextlib.redirect_stdout(sys.stderr), untraced(imports=True):
            _set_django_up()
            return Application(path, find_huey(path))
    except NoHueyError as error:
        raise CannotLookError(str(error)) from None
    except (Exception, SystemExit) as error:
        _print_traceback(error)
        raise CannotLookError(f"{path!r}: the application's import failed") from error


def _set_django_up() -> None:
    """Make Django's applications, of which huey_otel.django is one."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        import django

        django.setup()


def _print_traceback(error: BaseException) -> None:
    """The application's own: without the frames by which we have called it.

    Nor has it the passwords of URLs, which a line of code or a message may quote; and
    the terminal obeys nothing of it.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
        f"{__package__}."
    ):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(error.with_traceback(trace)))
    for line in re.sub(r"://[^\s'\"]*@", "://***@", text).rstrip("\n").split("\n"):
        sys.stderr.write(f"{printable(line.expandtabs())}\n")
