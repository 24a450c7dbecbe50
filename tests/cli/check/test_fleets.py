"""Findings of those who share a queue, each provoked by real parts."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from huey_otel._wire.carrier import Carrier, encode
from tests.support.checking import APPLICATION, Told
from tests.support.commands import Command
from tests.support.programs import ROOT, needs_huey_3, other_huey, run_program

pytestmark = [pytest.mark.once, pytest.mark.slow]

SERIALIZERS = ("default", "gzip", "zlib", "signed", "signedgzip")


INSTRUMENT = "[instrument(one) for one in fleet.hueys.values()]"


ENQUEUE = "[add(1, 2) for add in fleet.ADDERS.values()]"


@pytest.fixture
def produce(redis_url: str) -> Callable[..., None]:
    """Enqueues a task on each queue of `fleet`, one for each serializer of huey's."""

    def produce(*, observed: bool) -> None:
        steps = [INSTRUMENT, ENQUEUE] if observed else [ENQUEUE]
        imports = "from tests.live.apps import fleet; from huey_otel import instrument"
        done = run_program("; ".join([imports, *steps]), LIVE_QUEUE_URL=redis_url)
        assert done.returncode == 0, done.stderr

    return produce


class TestPlainProducer:
    @pytest.mark.parametrize("observed", [True, False])
    def test_a_plain_producer_is_seen_with_each_serializer(
        self,
        observed: bool,  # noqa: FBT001 - of a parametrization
        produce: Callable[..., None],
        check: Callable[..., Told],
        redis_url: str,
    ) -> None:
        produce(observed=observed)

        queues = [part for name in SERIALIZERS for part in ("--queue", name)]
        told = check(redis_url, *queues)

        said = "1 of 1 message looked at come from a process without huey-otel"
        plain = [one for one in told.findings if one["code"] == "plain-producer"]
        assert [(one["queue"], one["level"], one["text"]) for one in plain] == [
            (name, "warning", said) for name in sorted(SERIALIZERS) if not observed
        ]

    def test_of_many_messages_the_last_hundred_are_looked_at(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        plain = checked(LIVE_BARE="1")
        for number in range(150):
            plain.add(number, 1)
        observed = checked(LIVE_BARE="")
        for number in range(60):
            observed.add(number, 1)

        told = check(APPLICATION)

        assert told.found["plain-producer"] == "warning"
        assert told.text("plain-producer") == (
            "40 of 100 messages looked at come from a process without huey-otel"
        )

    def test_a_message_has_a_trailer_of_another_version(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        module = checked()
        message = module.huey.serialize_task(module.add.s(1, 2))
        trailer = encode(Carrier(enqueued=1.0))
        newer = trailer[:-5] + b"\x03" + trailer[-4:]
        module.huey.storage.enqueue(message + newer)

        told = check(APPLICATION)

        assert told.text("plain-producer") == (
            "1 of 1 message looked at have a trailer of version 3, known is 2"
        )

    def test_a_serializer_that_is_not_hueys_tells_nothing(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        module = checked()
        module.huey.storage.enqueue(b'{"task": "add"}')

        told = check(APPLICATION)

        assert told.unknown == {"plain-producer"}

    def test_no_pickle_is_loaded(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked()
        # What would raise if it was unpickled; it names huey's message all the same.
        bomb = b"cos\n_exit\n(I7\ntR.huey.registry"
        module.huey.storage.enqueue(bomb)
        module.huey.storage.conn.zadd(module.huey.storage.schedule_key, {bomb: 1})
        module.huey.storage.conn.hset(module.huey.storage.result_key, "a", bomb)

        assert check(APPLICATION).found["plain-producer"] == "warning"
        assert check(redis_url, "--queue", "live").code in (0, 1)


class TestPlainConsumer:
    def test_the_application_is_not_instrumented(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        checked(LIVE_BARE="1")

        told = check(APPLICATION)

        assert told.found == {"plain-consumer": "warning"}


class TestSchedulers:
    @pytest.mark.parametrize(
        ("checks", "several"),
        [
            # By whom, and in which second.
            ("a0 b10 a60 b70", True),
            ("b10 a60 b70 a120 c130 b130", True),
            ("a0 b1 b60 a61", True),
            ("a0 a60 b70 b130 b190", False),
            ("a0 a60 b70 a120 b130 b190 b250", False),
            ("a0 b10 a60 b70 b130 b1300", False),
            ("a0 a60 a120", False),
            ("a0 a60 b60 b120", False),
        ],
        ids=[
            *("two", "three", "two in one second", "a restart", "a slow one"),
            *("one long ago", "one", "a restart in one second"),
        ],
    )
    def test_the_schedulers_of_a_restart_do_not_count(
        self,
        checks: str,
        several: bool,  # noqa: FBT001 - of a parametrization
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        for one in checks.split():
            event = {
                "status": "checking-periodic",
                "queue": "live",
                "publisher": f"host:{one[0]}:7",
                "timestamp": float(one[1:]),
            }
            conn.xadd("huey.events.live", {"body": json.dumps(event)})

        found = check(APPLICATION).found

        assert found == ({"schedulers": "warning"} if several else {})

    def test_messages_of_other_programs_do_not_count(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        odd = {"status": "checking-periodic", "queue": "live"}
        for more in ({}, {"timestamp": "soon", "publisher": 7}, {"timestamp": None}):
            conn.xadd("huey.events.live", {"body": json.dumps(odd | more)})
        for body in (b"\xff", b"[1]", b"{}"):
            conn.xadd("huey.events.live", {"body": body, "other": b"\x00"})
        conn.xadd("huey.events.live", {"no": "body"})

        assert check(APPLICATION).found == {}


@needs_huey_3
@pytest.mark.once
class TestOldHuey:
    @pytest.mark.parametrize("name", SERIALIZERS)
    def test_this_environment_is_older(
        self,
        name: str,
        produce: Callable[..., None],
        check_apart: Callable[..., Told],
        tmp_path: Path,
    ) -> None:
        produce(observed=True)
        (tmp_path / "older.py").write_text(
            "from tests.live.apps import fleet; from huey_otel import instrument;"
            f"huey = fleet.hueys[{name!r}]; instrument(huey)"
        )
        path = f"{other_huey('2.6.0')}:{ROOT}:{tmp_path}"

        told = check_apart("older.huey", pythonpath=path)

        assert told.found["old-huey"] == "error"


class TestNoMonkeyPatch:
    def test_the_application_makes_a_consumer_of_greenlets(
        self, check_apart: Callable[..., Told], tmp_path: Path
    ) -> None:
        found = {}
        for number, patch in enumerate((PATCH, "")):
            (tmp_path / f"green{number}.py").write_text(patch + GREEN)
            told = check_apart(
                f"green{number}.huey",
                pythonpath=f"{ROOT}:{tmp_path}",
                OTEL_TRACES_EXPORTER="console",
            )
            found[bool(patch)] = told.found

        assert found == {True: {}, False: {"no-monkey-patch": "error"}}

    def test_what_the_application_patches_was_not_imported_before(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "green.py").write_text(PATCH + GREEN)

        with Command(
            *("check", "green.huey"),
            cwd=tmp_path,
            OTEL_TRACES_EXPORTER="console",
            HUEY_OTEL_METRICS_PORT="0",
        ) as command:
            shown = command.shown(2)

        assert shown[0] == "nothing found"
        assert "MonkeyPatchWarning" not in str(command.err)

    def test_a_setting_of_django_asks_for_greenlets(
        self, check_apart: Callable[..., Told], tmp_path: Path
    ) -> None:
        (tmp_path / "green_settings.py").write_text(
            "INSTALLED_APPS = ['huey.contrib.djhuey', 'huey_otel.django']\n"
            "HUEY = {'huey_class': 'huey.MemoryHuey', 'name': 'green',"
            " 'immediate': False, 'consumer': {'worker_type': 'greenlet'}}\n"
        )

        told = check_apart(
            "huey.contrib.djhuey.HUEY",
            pythonpath=f"{ROOT}:{tmp_path}",
            DJANGO_SETTINGS_MODULE="green_settings",
            OTEL_TRACES_EXPORTER="console",
        )

        assert told.found == {"no-monkey-patch": "error"}


GREEN = """
from huey import MemoryHuey
from huey_otel import instrument
huey = MemoryHuey("green")
instrument(huey)
consumer = huey.create_consumer(worker_type="greenlet")
"""


PATCH = "from gevent import monkey; monkey.patch_all()"
