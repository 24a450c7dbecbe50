"""The in-flight table: what a dead worker held is lost, once."""

import pytest

from huey_otel._relay.inflight import InFlight
from huey_otel._wire.record import Record, TaskFacts
from huey_otel._wire.span import SpanLeft, SpanStart

NOW = 100.0
IDS = (1, 2, False, 1, "")


def record(status, key, *, pid=7, at=1.0, worker="Worker-1", name="app.send"):
    facts = tuple(TaskFacts(f"id-{key}", "send", name, 0, None, 1))
    return Record(1, status, at, pid, key, worker, facts, 2, {"wait": 0.5})


def gone(*, pid=7, worker=None):
    return Record(1, "gone", NOW, pid, 0, worker, None, None, None)


def applied(*records):
    table = InFlight()
    lost = [found for given in records for found in table.apply(given)]
    return lost, len(table)


def test_what_a_dead_worker_had_started_is_lost():
    lost, left = applied(record("dequeued", 1), record("started", 1, at=98.5), gone())

    assert lost == [
        record("started", 1)._replace(
            status="lost",
            timestamp=NOW,
            extra={"duration": 1.5},
        )
    ]
    assert left == 0


def test_what_a_dead_worker_had_just_popped_is_lost_without_a_duration():
    lost, left = applied(record("dequeued", 1), gone())

    assert lost == [
        record("dequeued", 1)._replace(status="lost", timestamp=NOW, extra={})
    ]
    assert left == 0


BEGAN = tuple(SpanStart(*(True, IDS, None, 1), (0, None), *((), None, None)))


def known(failure=None):
    return tuple(SpanLeft(BEGAN, None, failure))


def failed(*, start):
    extra = {"duration": 1.0, "exception": "ValueError", "traceback": "text"}
    return record("error-task", 1)._replace(start=start, extra=extra)


@pytest.mark.parametrize(
    ("told", "status", "left"),
    [
        pytest.param([], "lost", known(), id="started"),
        pytest.param(
            [record("finished", 1)._replace(start=())], "ended", known(), id="finished"
        ),
        pytest.param(
            [record("finished", 1)], "ended", None, id="finished, and exported"
        ),
        pytest.param(
            [failed(start=("why",))],
            *("ended", known(("ValueError", "why", "text"))),
            id="failed",
        ),
        pytest.param(
            [failed(start=("why",)), record("retrying", 1)._replace(start=("why",))],
            *("ended", known(("ValueError", "why", "text"))),
            id="failed, and retried",
        ),
        pytest.param(
            [record("retrying", 1)._replace(start=())], "ended", known(), id="retrying"
        ),
    ],
)
def test_what_a_dead_worker_leaves_says_what_is_known_of_its_span(told, status, left):
    started = record("started", 1)._replace(start=BEGAN)

    (found,), _ = applied(record("dequeued", 1), started, *told, gone())

    assert (found.status, found.start) == (status, left)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param((5, None, None), id="crosses"),
        pytest.param(None, id="exported by the worker"),
    ],
)
def test_the_last_record_gets_what_was_told_of_the_span_before(start):
    table = InFlight()
    for one in (record("started", 1)._replace(start=BEGAN), failed(start=("why",))):
        assert list(table.apply(one)) == []

    joined = table.joined(record("ended", 1)._replace(start=start))

    failure = ("ValueError", "why", "text")
    assert joined.start == (start and (BEGAN, start, failure))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["dequeued", "started", "finished", "ended"], id="finished"),
        pytest.param(["dequeued", "revoked", "ended"], id="revoked"),
        pytest.param(["started", "ended"], id="immediate"),
        pytest.param(["ended"], id="its beginning was summed up"),
    ],
)
def test_what_has_ended_is_not_lost(steps):
    assert applied(*[record(step, 1) for step in steps], gone()) == ([], 0)


def test_a_message_is_known_by_its_key_not_by_its_task():
    first = record("started", 1)
    again = record("started", 2)._replace(facts=first.facts)

    lost, left = applied(first, again, record("ended", 1), gone())

    assert [found.key for found in lost] == [2]
    assert left == 0


def test_only_the_dead_process_loses():
    lost, left = applied(record("started", 1), record("started", 1, pid=8), gone(pid=8))

    assert [found.pid for found in lost] == [8]
    assert left == 1


def test_only_the_dead_thread_loses():
    lost, left = applied(
        record("dequeued", 1, worker="Scheduler"),
        record("started", 2),
        gone(worker="Scheduler"),
    )

    assert [found.worker for found in lost] == ["Scheduler"]
    assert left == 1


def test_what_is_lost_is_lost_once():
    lost, left = applied(record("started", 1), gone(), gone(), record("ended", 1))

    assert [found.key for found in lost] == [1]
    assert left == 0


def test_a_clock_that_was_set_back_gives_no_negative_duration():
    lost, _ = applied(record("started", 1, at=NOW + 60), gone())

    assert lost[0].extra == {"duration": 0.0}


@pytest.mark.parametrize("status", ["finished", "enqueued", "worker-ended"])
def test_other_steps_hold_nothing(status):
    assert applied(record(status, 1), gone()) == ([], 0)


def test_the_table_does_not_grow():
    table = InFlight()

    for pid in range(1_000):
        for status in ("dequeued", "started", "ended"):
            assert list(table.apply(record(status, pid, pid=pid))) == []

    assert len(table) == 0
    assert table._held == {}


@pytest.mark.parametrize(
    ("steps", "outcome", "final"),
    [
        pytest.param(["finished"], "success", "success", id="finished"),
        pytest.param(["error-task"], "error", "failure", id="failed"),
        pytest.param(["error-task", "retrying"], "error", None, id="retried"),
        pytest.param(["retrying"], "retry_requested", None, id="asked for a retry"),
        pytest.param(["timeout"], "timeout", "timeout", id="timed out"),
        pytest.param(
            ["error-storing-result"], "success", "failure", id="result not stored"
        ),
        pytest.param(
            ["error-task", "error-storing-result"],
            *("error", "failure"),
            id="error not stored",
        ),
    ],
)
def test_an_attempt_whose_end_was_told_before_its_worker_died_is_not_lost(
    steps, outcome, final
):
    told = [record(step, 1, at=2.0)._replace(extra={"duration": 1.0}) for step in steps]

    found, left = applied(record("dequeued", 1), record("started", 1), *told, gone())

    assert [record.status for record in found] == ["ended"]
    assert found[0].extra == {"outcome": outcome, "final": final, "duration": 1.0}
    assert left == 0


def test_revoked_task_whose_worker_died_is_not_lost():
    revoked = record("revoked", 1)._replace(extra=None)

    found, _ = applied(record("dequeued", 1), revoked, gone())

    assert [record.status for record in found] == ["ended"]
    assert found[0].extra == {"outcome": None, "final": "revoked"}
