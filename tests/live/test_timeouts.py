"""A task's timeout, in workers that have one, while the code of others is slow."""

from collections.abc import Callable

import pytest

from tests.live.processes import Consumer
from tests.live.received_events import ReceivedEvents


@pytest.mark.parametrize("kind", ["process", "greenlet"])
@pytest.mark.parametrize(
    ("name", "end"), [("enqueue", "timeout"), ("enqueue_after_a_timeout", "finished")]
)
def test_a_timeout_ends_the_task_unless_the_task_itself_catches_it(
    kind: str,
    name: str,
    end: str,
    application: Callable[..., object],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
) -> None:
    # The SDK catches whatever is raised in an exporter (opentelemetry-sdk 1.45).
    app = application("blocking")
    if not app.TIMED:
        pytest.skip("huey has timeouts from 3.0 on")
    patch = {"LIVE_PATCH": "first"} if kind == "greenlet" else {}
    consumer(kind, "-n", application="blocking", LIVE_SLOW="1", **patch)

    task = getattr(app, name)()

    started, ended = received.wait_for(task.id, 2)
    assert (started["status"], ended["status"]) == ("started", end)
    # At 0.3 s, or when the span of the enqueue has been exported.
    assert (ended["duration"] < app.SLOW) is (end == "timeout")
