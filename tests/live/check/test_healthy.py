"""Set-ups in which all is well: nothing is found, whatever they are looked at by."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from huey.storage import RedisStorage

from huey_otel._names import REDIS_CLIENT_NAME
from huey_otel.cli.check import of_fleets
from tests.live.check.conftest import wait_for_port
from tests.live.processes import Consumer, Program
from tests.live.test_ways_to_redis import certificates, tls_port, watched
from tests.support.checking import APPLICATION, NOTHING, Told
from tests.support.programs import free_port, other_huey
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

__all__ = ["certificates", "tls_port"]

Check = Callable[..., Told]
Checked = Callable[..., ModuleType]
Start = Callable[..., Consumer]


@pytest.fixture(autouse=True)
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take each consumer for one that runs for long."""
    monkeypatch.setattr(of_fleets, "_SETTLED", -1)


@pytest.fixture
def run(
    checked: Checked, consumer: Start, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Callable[..., tuple[ModuleType, int]]:
    """Starts a consumer of the application; the module, and the port of its pages."""

    def run(
        *options: str, kind: str = "thread", **environ: str
    ) -> tuple[ModuleType, int]:
        port = free_port()
        environ = {"HUEY_OTEL_METRICS_PORT": str(port)} | environ
        known = {"LIVE_QUEUE_URL": redis_url} | environ
        # This process has threads, whatever the consumer has.
        environ.pop("LIVE_PATCH", None)
        module = checked(**environ)
        running = consumer(
            *(kind, *options),
            application="checked",
            url=known.pop("LIVE_QUEUE_URL"),
            **known,
        )
        wait_for_port(running, port)
        return module, port

    return run


def use(module: ModuleType) -> None:
    """Let one task succeed, one wait for its retry, and one wait on the schedule."""
    result = module.add(1, 2)
    module.fail()
    module.add.schedule((1, 2), delay=3600)
    wait_until(lambda: result.get(preserve=True) == 3)
    wait_until(lambda: module.huey.storage.schedule_size() == 2)


def wait_for_publisher(conn: redis.Redis) -> None:
    """Return once a consumer's own connection is there: it needs an event."""
    wait_until(
        lambda: any(one["name"] == REDIS_CLIENT_NAME for one in conn.client_list())
    )


KINDS: dict[str, dict[str, str]] = {
    "list": {},
    "sorted set": {"LIVE_HUEY": "PriorityRedisHuey"},
    "expiring results": {"LIVE_HUEY": "RedisExpireHuey"},
    "both": {"LIVE_HUEY": "PriorityRedisExpireHuey"},
    "polling": {"LIVE_HUEY_OPTIONS": json.dumps({"blocking": False})},
    "polling sorted set": {
        "LIVE_HUEY": "PriorityRedisHuey",
        "LIVE_HUEY_OPTIONS": json.dumps({"blocking": False}),
    },
    "capitals and dashes": {"LIVE_QUEUE": "My-App_1"},
    "own channel": {"HUEY_OTEL_CHANNEL": "audit"},
    "stream": {"HUEY_OTEL_STREAM": "on"},
    "stream under another key": {"HUEY_OTEL_STREAM": "huey.events.all"},
    "periodic tasks": {"LIVE_PERIODIC": "1"},
    "enqueued is published": {"HUEY_OTEL_PUBLISH_ENQUEUED": "on"},
}


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("environ", KINDS.values(), ids=KINDS)
def test_a_consumer_works(
    environ: dict[str, str],
    kind: str,
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    conn: redis.Redis,
    redis_url: str,
) -> None:
    """A consumer works with threads, or with processes, and the queue is as follows."""
    queue = environ.get("LIVE_QUEUE", "live")
    module, port = run(kind=kind, **environ)
    unused = [check(APPLICATION), check(f"localhost:{port}")]
    use(module)
    wait_for_publisher(conn)

    told = [
        check(APPLICATION),
        check(redis_url, "--queue", queue),
        check(f"localhost:{port}"),
    ]

    assert [(one.found, one.unknown) for one in unused] == [NOTHING] * 2
    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 3


def test_a_queue_was_never_used(
    run: Callable[..., tuple[ModuleType, int]], check: Check, redis_url: str
) -> None:
    """A queue was never used; without its application that is a note."""
    run("-n")

    told = [check(redis_url, "--queue", "live"), check(APPLICATION)]

    # A queue of a wrong name looks the same, and a consumer without huey-otel.
    assert (told[0].found, told[0].unknown) == (
        {"no-keys": "note"},
        {"plain-consumer"},
    )
    assert (told[1].found, told[1].unknown) == NOTHING


@pytest.mark.parametrize("kind", ["thread", "process", "greenlet"])
@pytest.mark.parametrize("storage", ["RedisHuey", "PriorityRedisHuey"])
def test_all_workers_are_busy_for_an_hour(
    kind: str,
    storage: str,
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    check_apart: Check,
    ago: Callable[..., Any],
    conn: redis.Redis,
    redis_url: str,
) -> None:
    """All workers are busy for an hour: threads, processes, greenlets; others wait."""
    patch = {"LIVE_PATCH": "1"} if kind == "greenlet" else {}
    module, port = run("-w", "2", kind=kind, LIVE_HUEY=storage, **patch)
    for _ in range(2):
        module.sleep(3600)
    wait_until(lambda: not module.huey.storage.queue_size())
    for _ in range(5):
        ago(3600, lambda: module.sleep(3600))
    wait_for_publisher(conn)

    told = [
        check_apart(APPLICATION, HUEY_OTEL_METRICS_PORT=str(port), **patch),
        check_apart(APPLICATION, **patch),
        check(redis_url, "--queue", "live"),
        check(f"localhost:{port}"),
    ]

    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 4


def test_the_producer_is_on_another_machine(
    run: Callable[..., tuple[ModuleType, int]],
    checked: Checked,
    check: Check,
    ago: Callable[..., Any],
) -> None:
    """The environment is a web server's; its consumer runs elsewhere, and is busy."""
    module, _ = run("-w", "1")
    module.sleep(3600)
    wait_until(lambda: not module.huey.storage.queue_size())
    wait_for_publisher(module.huey.storage.conn)
    producer = checked(HUEY_OTEL_METRICS_PORT=str(free_port()))
    ago(3600, lambda: producer.add(1, 2))

    told = check(APPLICATION)

    assert (told.found, told.unknown) == NOTHING


def test_there_are_only_producers_and_nothing_waits(
    checked: Checked, check: Check
) -> None:
    """There are only producers, and nothing waits."""
    checked(HUEY_OTEL_METRICS_PORT=str(free_port()))

    told = check(APPLICATION)

    assert (told.found, told.unknown) == NOTHING


def test_a_rolling_restart_is_in_progress(
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    consumer: Start,
    redis_url: str,
) -> None:
    """A rolling restart is in progress: for a moment there are two schedulers."""
    module, port = run(LIVE_PERIODIC="1")
    module.sleep(3600)
    wait_until(lambda: not module.huey.storage.queue_size())
    wait_for_publisher(module.huey.storage.conn)
    new = free_port()
    wait_for_port(
        consumer("thread", application="checked", HUEY_OTEL_METRICS_PORT=str(new)), new
    )

    told = [
        check(APPLICATION),
        check(redis_url, "--queue", "live", "--listen", "2"),
        check(f"localhost:{port}"),
        check(f"localhost:{new}"),
    ]

    assert [(one.found, one.unknown) for one in (told[0], *told[2:])] == [NOTHING] * 3
    assert (told[1].found, told[1].unknown) == ({"no-keys": "note"}, set())


@pytest.mark.skipif(
    "clean_name" not in inspect.signature(RedisStorage.__init__).parameters,
    reason="huey before 3.4 has no clean_name=",
)
def test_names_are_not_cleaned(
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    conn: redis.Redis,
    redis_url: str,
) -> None:
    """`clean_name=False`."""
    module, port = run(
        LIVE_QUEUE="My-App", LIVE_HUEY_OPTIONS=json.dumps({"clean_name": False})
    )
    use(module)
    wait_for_publisher(conn)

    told = [
        check(APPLICATION),
        check(redis_url, "--queue", "My-App"),
        check(f"localhost:{port}"),
    ]

    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 3


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_queue_is_on_sqlite(
    kind: str,
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    tmp_path: Path,
) -> None:
    """The queue is on SQLite."""
    module, port = run(
        kind=kind,
        LIVE_HUEY="SqliteHuey",
        LIVE_HUEY_OPTIONS=json.dumps({"filename": str(tmp_path / "huey.db")}),
    )
    use(module)

    told = [check(APPLICATION), check(f"localhost:{port}")]

    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 2


def test_events_are_off_on_purpose(
    run: Callable[..., tuple[ModuleType, int]],
    checked: Checked,
    check: Check,
    redis_url: str,
) -> None:
    """Events are off on purpose; Redis alone cannot tell whether they are."""
    module, port = run(HUEY_OTEL_EVENTS="off")
    use(module)

    # Redis alone cannot tell it from a consumer without huey-otel.
    from_outside = check(redis_url, "--queue", "live")
    told = [check(APPLICATION), check(f"localhost:{port}")]
    checked(HUEY_OTEL_EVENTS="off", HUEY_OTEL_METRICS_PORT=str(free_port()))
    told.append(check(APPLICATION))

    assert (from_outside.found, from_outside.unknown) == ({}, {"plain-consumer"})
    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 3


def test_events_go_to_another_redis(
    run: Callable[..., tuple[ModuleType, int]], check: Check
) -> None:
    """Events go to another Redis."""
    with RedisServer() as other:
        module, _ = run(HUEY_OTEL_EVENTS=other.url)
        use(module)

        told = check(APPLICATION)

    assert (told.found, told.unknown) == NOTHING


@pytest.mark.once
def test_huey_2_enqueues_for_huey_3(
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    keep: Any,
    redis_url: str,
    tmp_path: Path,
    conn: redis.Redis,
) -> None:
    """huey 2 enqueues for huey 3."""
    module, port = run()
    producer = Program(
        *("-c", "from tests.live.apps.checked import sleep; sleep(3600); sleep(1)"),
        log=tmp_path / "producer.log",
        environ={"LIVE_QUEUE_URL": redis_url},
        pythonpath=str(other_huey("2.6.0")),
    )
    keep(producer)
    assert producer.wait() == 0
    wait_until(lambda: module.huey.storage.queue_size() == 1)
    wait_for_publisher(conn)

    told = [
        check(APPLICATION),
        check(redis_url, "--queue", "live"),
        check(f"localhost:{port}"),
    ]

    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 3


def test_redis_speaks_tls(
    run: Callable[..., tuple[ModuleType, int]],
    check: Check,
    certificates: Path,
    tls_port: int,
) -> None:
    """Redis speaks TLS."""
    url = f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificates}/cert.pem"
    module, _ = run(LIVE_QUEUE_URL=url)
    module.huey.storage.flush_all()
    use(module)
    wait_for_publisher(module.huey.storage.conn)

    told = [check(APPLICATION), check(url, "--queue", "live")]

    assert [(one.found, one.unknown) for one in told] == [NOTHING] * 2


def test_a_sentinel_names_the_server(
    run: Callable[..., tuple[ModuleType, int]], check: Check, tmp_path: Path
) -> None:
    """A Sentinel names the server."""
    with watched(tmp_path) as (_, _, port):
        module, _ = run(LIVE_SENTINEL=str(port))
        use(module)
        wait_for_publisher(module.huey.storage.conn)

        told = check(APPLICATION)

        for sentinel in module.SENTINEL.sentinels:
            sentinel.connection_pool.disconnect()
    assert (told.found, told.unknown) == NOTHING
    assert "redis service jobs database 0" in told.looked_at[0]


def test_a_managed_redis_answers_no_such_questions(
    run: Callable[..., tuple[ModuleType, int]],
    checked: Checked,
    check: Check,
    ago: Callable[..., Any],
) -> None:
    """A managed Redis without CONFIG, CLIENT and ACL: what they would say is a note."""
    names = [("--rename-command", name, "") for name in ("CONFIG", "CLIENT", "ACL")]
    with RedisServer(*[part for name in names for part in name]) as managed:
        module, port = run(LIVE_QUEUE_URL=managed.url)
        use(module)
        told = [
            check(APPLICATION),
            check(managed.url, "--queue", "live"),
            check(f"localhost:{port}"),
        ]
        module.sleep(3600)
        wait_until(lambda: not module.huey.storage.queue_size())
        ago(600, lambda: module.add(1, 2))
        told.append(check(managed.url, "--queue", "live"))

    assert [(one.found, one.unknown) for one in told] == [
        ({}, {"acl"}),
        ({}, {"acl", "no-consumer", "plain-consumer"}),
        ({}, set()),
        ({}, {"acl", "no-consumer", "plain-consumer"}),
    ]
