"""What a person sees in Jaeger."""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.live.scraping import fetch
from tests.live.viewers.jaeger import Span
from tests.live.viewers.scene import DECLINED, RESIZE, SOON, Scene, orphans

Record = Callable[[str, object], None]

KINDS = {
    "enqueue": "producer",
    "process": "consumer",
    "POST": "server",
    "GET": "server",
}
"""The kind of a span, by the first word of its name; "bank.charge" is internal."""


def spans(scene: Scene) -> Iterator[Span]:
    return (span for trace in scene.traces.values() for span in trace)


def attempts(scene: Scene) -> Iterator[Span]:
    return (span for span in spans(scene) if span.is_attempt)


def of_task(span: Span) -> str:
    return str(span.tags["messaging.message.id"])


def outcome(span: Span) -> str:
    return str(span.tags["huey.task.outcome"])


def test_traces_are_whole_soon_after_the_last_task(
    scene: Scene, record_property: Record
) -> None:
    roots = Counter(
        sum(span.parent_id is None for span in trace) for trace in scene.traces.values()
    )

    record_property(
        "proof",
        {
            "traces": len(scene.traces),
            "spans": sum(1 for _ in spans(scene)),
            "seconds": f"{scene.whole_after:.1f}",
        },
    )
    assert {
        name: None for trace in scene.traces.values() for name in orphans(trace)
    } == {}
    assert roots.keys() == {1}
    assert scene.whole_after < SOON


def test_no_span_is_there_twice(scene: Scene) -> None:
    places = Counter(span.place for span in spans(scene))

    assert [place for place, times in places.items() if times > 1] == []


def test_each_attempt_is_there_once_and_says_how_it_ended(
    scene: Scene, record_property: Record
) -> None:
    told: dict[str, list[str]] = {}
    for span in sorted(attempts(scene), key=lambda span: span.start):
        told.setdefault(of_task(span), []).append(outcome(span))
    expected = scene.attempts()

    assert {task: told.get(task) for task in expected} == expected
    counted = Counter(outcome(span) for span in attempts(scene))
    record_property("proof", dict(sorted(counted.items())))


def test_kinds_are_those_of_messaging(scene: Scene) -> None:
    wrong = {
        (span.name, span.tags.get("span.kind"))
        for span in spans(scene)
        if span.tags.get("span.kind") != KINDS.get(span.name.split()[0], "internal")
    }

    assert wrong == set()


def test_each_retry_leads_to_the_attempt_before(
    scene: Scene, record_property: Record
) -> None:
    by_task: dict[str, list[Span]] = {}
    for span in sorted(attempts(scene), key=lambda span: span.start):
        by_task.setdefault(of_task(span), []).append(span)
    retried = {task: found for task, found in by_task.items() if len(found) > 1}

    for found in retried.values():
        assert [span.links for span in found] == [
            (),
            *((before.place,) for before in found[:-1]),
        ]
        assert len({span.trace_id for span in found}) == 1
    places = {span.place for span in spans(scene)}
    links = [link for span in spans(scene) for link in span.links]
    assert set(links) <= places
    record_property("proof", {"retried": len(retried), "references": len(links)})
    assert len(retried) > 10


def test_failed_attempts_are_marked_and_say_why(
    scene: Scene, record_property: Record
) -> None:
    for span in attempts(scene):
        failed = outcome(span) in ("error", "timeout", "lost")
        assert (span.failed, "error.type" in span.tags) == (failed, failed), span
        logs = [log for log in span.logs if log["event"] == "exception"]
        # A killed worker says nothing more.
        assert len(logs) == (failed and outcome(span) != "lost"), span
        for log in logs:
            assert log["exception.type"] == span.tags["error.type"]
            assert span.tags["error.type"] in log["exception.stacktrace"]
    kinds = Counter(span.tags["error.type"] for span in attempts(scene) if span.failed)
    record_property("proof", dict(kinds))
    assert kinds.keys() == {
        "runtime.shop.work.BusyError",
        "runtime.shop.work.DeclinedError",
        "huey.exceptions.TaskTimeout",
        "lost",
    }


def test_request_leads_to_its_tasks(scene: Scene, record_property: Record) -> None:
    for trace_id, declines in scene.orders.items():
        trace = scene.traces[trace_id]
        (root,) = (span for span in trace if span.parent_id is None)
        assert (root.name, root.service) == ("POST /order", "shop-web")
        ran = Counter(
            (span.name.rpartition(".")[2], span.service)
            for span in trace
            if span.is_attempt
        )
        charged = min(declines + 1, DECLINED)
        assert ran["charge_card", "shop"] == charged
        assert ran["send_receipt", "shop"] == (declines < DECLINED)
        assert ran["pack_order", "shop"] == 1
        assert ran["call_courier", "shop"] in (1, 2)
    for trace_id in scene.offices:
        assert scene.traces[trace_id][0].name == "POST /office"
    record_property("proof", {"requests": len(scene.orders) + len(scene.offices)})


def test_link_of_the_shop_leads_to_the_trace(scene: Scene) -> None:
    (trace_id, *_more) = scene.orders

    status, url, _ = scene.stack.web(f"/trace/{trace_id}")

    assert (status, url) == (200, f"http://{scene.jaeger.address}/trace/{trace_id}")
    assert scene.jaeger.has(trace_id)
    assert not scene.jaeger.has("0" * 31 + "1")


def test_search_finds_the_trace_by_what_a_log_line_or_a_person_knows(
    scene: Scene, record_property: Record
) -> None:
    for task in scene.attempts():
        found = scene.jaeger.search("shop", **{"messaging.message.id": task})
        assert list(found) == [
            trace_id
            for trace_id, trace in scene.traces.items()
            if any(span.is_attempt and of_task(span) == task for span in trace)
        ]
    searches = len(scene.attempts())
    tags = ("huey.task.name", "huey.task.outcome", "huey.task.attempt", "error.type")
    for tag in tags:
        for value in {span.tags[tag] for span in attempts(scene) if tag in span.tags}:
            found = scene.jaeger.search("shop", **{tag: str(value)})
            assert set(found) == {
                span.trace_id
                for span in spans(scene)
                if span.service == "shop" and span.tags.get(tag) == value
            }, (tag, value)
            searches += 1
    record_property("proof", {"searches": searches})


def test_services_and_operations_are_named(scene: Scene) -> None:
    assert scene.jaeger.services() == {"shop", "shop-web", "shop-load"}
    operations = scene.jaeger.operations("shop")
    assert {name for name, kind in operations if kind == "consumer"} == {
        span.name for span in attempts(scene)
    }


def test_dependencies_lead_from_who_enqueues_to_the_consumers(
    scene: Scene, record_property: Record
) -> None:
    found = scene.jaeger.dependencies()

    parents = {span.place: span for span in spans(scene)}
    calls = Counter(
        (parents[span.trace_id, span.parent_id].service, span.service)
        for span in spans(scene)
        if span.parent_id is not None
    )
    between = {pair: number for pair, number in calls.items() if len(set(pair)) > 1}
    assert between.keys() == {("shop-web", "shop"), ("shop-load", "shop")}
    assert {pair: found[pair] for pair in between} == between
    record_property("proof", {" to ".join(pair): n for pair, n in between.items()})


def test_attempt_of_a_killed_worker_is_there(scene: Scene) -> None:
    (lost,) = (span for span in attempts(scene) if outcome(span) == "lost")

    assert (lost.name, lost.failed) == (f"process {RESIZE}", True)
    assert lost.duration > 1_000_000
    assert fetch(f"http://{scene.jaeger.address}/trace/{lost.trace_id}")[0] == 200


def test_jaeger_warns_of_nothing_but_of_attempts_that_are_shorter_than_their_enqueue(
    scene: Scene, record_property: Record
) -> None:
    shown = scene.jaeger.traces()
    by_place = {span.place: span for trace in shown.values() for span in trace}
    assert {span.place for span in spans(scene)} <= by_place.keys()
    warned = [span for span in by_place.values() if span.warnings]

    # It takes an attempt for a call that the enqueue has waited for, wherever both ran.
    for span in warned:
        (warning,) = span.warnings
        assert warning.startswith("clock skew adjustment disabled; not applying")
        assert span.is_attempt
        assert span.parent_id is not None
        enqueue = by_place[span.trace_id, span.parent_id]
        assert span.duration <= enqueue.duration
        assert span.start >= enqueue.start
    record_property("proof", {"spans": len(by_place), "warned": len(warned)})
