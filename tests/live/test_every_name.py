"""The registry in docs/names says what spans and log records of a real run have."""

import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from huey import constants

from huey_otel import mapping
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import Receiver
from tests.live.processes import Consumer, Program
from tests.support import name_registry
from tests.support.event_logs import needs_event_names
from tests.support.name_registry import PLAIN
from tests.support.programs import needs_huey_3
from tests.support.redis_server import RedisServer, serving
from tests.support.waiting import wait_to_read, wait_until

pytestmark = [pytest.mark.once, needs_event_names, needs_huey_3]

LAST = "huey.task.interrupted"

Emitted = dict[str, list[dict[str, Any]]]
"""By the kind of the span, or the name of the event, the attributes of each."""

redis_server = pytest.fixture(scope="module")(serving)


@pytest.fixture(scope="module")
def emitted(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Emitted]:
    folder = tmp_path_factory.mktemp("run")
    with otlp.receiver() as receiver:
        environ = {
            "LIVE_QUEUE_URL": redis_server.url,
            "HUEY_OTEL_EVENTS": "otlp",
            "HUEY_OTEL_PUBLISH_ENQUEUED": "1",
            "HUEY_OTEL_METRICS_PORT": "off",
            **receiver.environ,
        }

        def produce(what: str) -> None:
            script = f"from tests.live.apps import every_name; every_name.{what}()"
            program = Program("-c", script, log=folder / what, environ=environ)
            assert program.wait() == 0, program.log

        def still_unseen() -> set[str]:
            return name_registry.events().keys() - {
                log.event_name for log in receiver.logs
            }

        running = Consumer(
            *("every_name", "process", "-w", "2", "-c", "0.2"),
            log=folder / "consumer",
            environ=environ,
        )
        try:
            produce("main")
            # A minute until the scheduler looks for periodic tasks.
            wait_to_read(lambda: still_unseen() - {LAST}, set(), seconds=120)
            produce("sleep")
            wait_until(lambda: starts(receiver, "sleep"))
            running.stop(signal.SIGTERM)
        finally:
            running.clean_up()
        yield by_group(receiver)


def starts(receiver: Receiver, task: str) -> bool:
    """Whether *task* has begun."""
    return any(
        log.event_name == "huey.task.started"
        and log.attributes["huey.task.name"].endswith(f".{task}")
        for log in receiver.logs
    )


def by_group(receiver: Receiver) -> Emitted:
    found: Emitted = defaultdict(list)
    for span in receiver.spans:
        on_links = {key: v for link in span.links for key, v in link.attributes.items()}
        found[span.kind].append(span.attributes | on_links)
    for log in receiver.logs:
        found[log.event_name].append(log.attributes)
    return found


def test_each_span_and_each_event_is_registered_and_seen(emitted: Emitted) -> None:
    assert emitted.keys() == name_registry.signals().keys()


def test_attributes_are_those_of_the_registry(emitted: Emitted) -> None:
    """But that not each kind of event is of a task with an ETA."""
    differing = {}
    for name, group in name_registry.signals().items():
        seen = set().union(*emitted[name])
        differing[name] = seen.symmetric_difference(group.attributes)

    assert {k: v for k, v in differing.items() if not v <= {"huey.task.eta"}} == {}


def test_what_is_required_is_always_there(emitted: Emitted) -> None:
    missing = {
        (name, key)
        for name, group in name_registry.signals().items()
        for key, required in group.attributes.items()
        if required and not all(key in one for one in emitted[name])
    }

    assert missing == set()


def test_values_are_of_the_types_of_the_registry(emitted: Emitted) -> None:
    types = name_registry.attributes()
    wrong = {
        (name, key, repr(value))
        for name, found in emitted.items()
        for one in found
        for key, value in one.items()
        if key in types and not fits(value, types[key])
    }

    assert wrong == set()


def fits(value: object, declared: str | list[str]) -> bool:
    if isinstance(declared, list):
        return value in declared
    return type(value) is PLAIN[declared]


def test_each_attribute_of_ours_is_seen(emitted: Emitted) -> None:
    seen = {key for found in emitted.values() for one in found for key in one}

    assert {key for key in seen if key.startswith("huey.")} == set(
        name_registry.attributes()
    )


def test_each_attribute_of_ours_is_in_a_group_of_the_registry() -> None:
    groups = name_registry.signals().values()
    used = {key for group in groups for key in group.attributes}

    assert {key for key in used if key.startswith("huey.")} == set(
        name_registry.attributes()
    )


@pytest.mark.parametrize("key", ["huey.task.outcome", "huey.task.origin", "huey.link"])
def test_each_value_of_the_registry_is_seen(key: str, emitted: Emitted) -> None:
    seen = {one[key] for found in emitted.values() for one in found if key in one}

    assert sorted(seen) == name_registry.attributes()[key]


def test_types_of_workers_are_those_of_huey() -> None:
    registered = name_registry.attributes()["huey.worker.type"]

    assert registered == sorted(constants.WORKER_TYPES)


def test_each_event_of_the_mapping_is_registered() -> None:
    statuses = {name.rpartition(".")[2] for name in name_registry.events()}

    assert statuses == {row.status for row in mapping.TABLE.values() if row.is_event}
