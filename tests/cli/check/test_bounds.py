"""However large or slow a Redis is, the command reads little and ends soon."""

import socket
import time
from collections.abc import Callable
from types import ModuleType

import pytest
import redis

from huey_otel.cli.check import keys
from tests.support.checking import APPLICATION, Told, schedule
from tests.support.forwarder import Forwarder
from tests.support.programs import snippet
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.once, pytest.mark.slow]

PUSH = "for _ = 1, ARGV[1] do redis.call('LPUSH', KEYS[1], ARGV[2]) end"
ADD = """
for one = 1, ARGV[1] do
  redis.call('ZADD', KEYS[1], one % 5, struct.pack('>I8', one) .. ARGV[2])
end
"""


def read_by(conn: redis.Redis, call: Callable[[], Told]) -> tuple[Told, int]:
    """What *call* returns, and how many bytes Redis has sent meanwhile."""
    before = conn.info("stats")["total_net_output_bytes"]
    told = call()
    return told, conn.info("stats")["total_net_output_bytes"] - before


@pytest.mark.parametrize(
    ("kind", "fill"), [("RedisHuey", PUSH), ("PriorityRedisHuey", ADD)]
)
def test_a_million_messages_wait(
    kind: str,
    fill: str,
    check: Callable[..., Told],
    checked: Callable[..., ModuleType],
    conn: redis.Redis,
    redis_url: str,
) -> None:
    module = checked(LIVE_HUEY=kind)
    message = module.huey.serialize_task(module.add.s(1, 2))
    # A script may take longer than the default timeout.
    patient = redis.Redis.from_url(redis_url, socket_timeout=120)
    patient.eval(fill, 1, module.huey.storage.queue_key, 1_000_000, message)
    patient.connection_pool.disconnect()

    for target in ([APPLICATION], [redis_url, "--queue", "live"]):
        told, sent = read_by(conn, lambda target=target: check(*target))

        assert told.text("no-consumer").startswith("1,000,000 messages wait")
        assert told.found["plain-producer"] == "warning"
        assert sent < 300_000


def test_each_message_has_a_megabyte(
    check: Callable[..., Told], checked: Callable[..., ModuleType], conn: redis.Redis
) -> None:
    module = checked()
    message = module.huey.serialize_task(module.add.s("x" * 1_000_000, 2))
    for _ in range(50):
        conn.lpush(module.huey.storage.queue_key, message)

    told, sent = read_by(conn, lambda: check(APPLICATION))

    assert told.text("plain-producer").startswith("5 of 5 messages looked at")
    assert sent < 8_000_000


def test_there_are_a_million_other_keys(
    check: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The number of keys is its limit as well, which a busy machine comes to later.
    monkeypatch.setattr(keys, "_LONGEST_SCAN", 60.0)
    with RedisServer("--enable-debug-command", "yes") as large:
        with redis.Redis.from_url(large.url, socket_timeout=120) as conn:
            conn.execute_command("DEBUG", "POPULATE", 1_000_000, "other", 10)

        told = check(large.url, "--queue", "live")

    assert told.found == {"no-keys": "note"}
    assert "(in about 100,000 of 1,000,000 keys)" in told.text("no-keys")


def test_each_answer_takes_more_than_a_second(
    check: Callable[..., Told],
    checked: Callable[..., ModuleType],
    redis_server: RedisServer,
) -> None:
    checked().add(1, 2)
    questions: list[bytes] = []

    def slowly(question: bytes) -> bool:
        questions.append(question)
        # Well under the 2 s after which Redis counts as away.
        time.sleep(1.2)
        return True

    with Forwarder(redis_server.port, slowly) as slow:
        told = check(slow.url, "--queue", "live")

    assert len(questions) < 20
    assert all("cannot tell" in one["text"] for one in told.findings)
    assert "other answers took long" in str(told.findings)


def test_it_answers_the_first_question_only(
    check: Callable[..., Told], redis_server: RedisServer
) -> None:
    known = (b"PING", b"HELLO", b"CLIENT", b"AUTH", b"SELECT")

    def decide(data: bytes) -> bool | None:
        return True if any(name in data for name in known) else None

    with Forwarder(redis_server.port, decide) as silent:
        told = check(f"{silent.url}?protocol=2", "--queue", "live")

    assert told.found == {}
    assert told.unknown


def test_the_pages_accept_connections_and_do_not_answer(
    check: Callable[..., Told], checked: Callable[..., ModuleType]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        checked(HUEY_OTEL_METRICS_PORT=str(port))

        told = check(APPLICATION)

    assert told.found == {"stuck": "warning"}
    assert told.text("stuck").endswith("accepts connections and gives no answer in 8 s")


HANDSHAKE = {"hello", "auth", "client|setinfo", "client|setname"}


def test_what_it_sends_to_redis_is_what_the_document_allows(
    check: Callable[..., Told],
    checked: Callable[..., ModuleType],
    conn: redis.Redis,
    redis_url: str,
) -> None:
    rules = snippet("docs/check.md", "acl").split()
    allowed = {rule[1:] for rule in rules if rule.startswith("+")} | HANDSHAKE
    module = checked(LIVE_HUEY="PriorityRedisHuey")
    empty = [check(APPLICATION), check(redis_url, "--queue", "live")]
    module.add(1, 2)
    schedule(module.add.s(1, 2), 600)
    conn.xadd("huey.events.live", {"body": "{}"})
    # Its own publisher sends other commands.
    assert module.instrumentation.flush(10)
    conn.config_resetstat()

    full = [check(APPLICATION), check(redis_url, "--queue", "live")]

    sent = {name.removeprefix("cmdstat_") for name in conn.info("commandstats")}
    assert [one.found for one in empty] == [{}, {"no-keys": "note"}]
    assert [one.found["overdue"] for one in full] == ["error", "error"]
    assert sent - {"config|resetstat"} <= allowed
