"""What was heard: missed events are counted, and those that come twice found out."""

import json
import random
import tracemalloc
from collections import defaultdict

import pytest

from huey_otel._redis import heard as _heard
from huey_otel._redis.heard import Heard


def event(number, publisher="web-1:42:1"):
    return {"status": "finished", "publisher": publisher, "seq": number}


def told(numbers):
    """The numbers that were not new, and what was counted then."""
    heard = Heard()
    came_before = [number for number in numbers if not heard.is_new(event(number))]
    return came_before, heard.missed, heard.repeated


STORIES = {
    "nothing": ([], [], 0),
    "in order": ([1, 2, 3], [], 0),
    "one who joins late": ([700, 701], [], 0),
    "a gap": ([1, 2, 6], [], 3),
    "two gaps": ([1, 3, 6], [], 3),
    "a gap after joining late": ([700, 705], [], 4),
    "one that comes late": ([1, 3, 2, 4], [], 0),
    "the ends and the middle of a gap come late": ([1, 7, 2, 6, 4], [], 2),
    "all of a gap comes late": ([1, 5, 4, 2, 3, 6], [], 0),
    "one that comes twice": ([1, 2, 2, 3], [2], 0),
    "the first one comes twice": ([5, 5, 6], [5], 0),
    "one that comes late, and twice": ([1, 4, 2, 2], [2], 1),
    "all come twice": ([1, 2, 3, 1, 2, 3], [1, 2, 3], 0),
    "some of before the first": ([5, 3, 1, 6], [], 0),
    "one of before the first comes twice": ([5, 3, 3, 8], [3], 2),
}


@pytest.mark.parametrize(
    ("numbers", "came_before", "missed"), STORIES.values(), ids=STORIES
)
def test_what_is_missing_and_what_comes_twice(numbers, came_before, missed):
    assert told(numbers) == (came_before, missed, len(came_before))


class Model:
    """What a listener with endless memory says."""

    def __init__(self):
        self.came = defaultdict(list)
        self.repeated = 0

    def is_new(self, event):
        came = self.came[event["publisher"]]
        new = event["seq"] not in came
        came.append(event["seq"])
        self.repeated += not new
        return new

    @property
    def missed(self):
        return sum(
            len(set(range(came[0], max(came))).difference(came))
            for came in self.came.values()
        )


@pytest.mark.parametrize("seed", range(20))
def test_any_order_with_losses_and_repetitions_is_counted_as_a_model_does(seed):
    chance = random.Random(seed)
    sent = [event(n, f"p{p}") for p in range(3) for n in range(1, 100)]
    arriving = [one for one in sent for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    # As far out of order as the seed says; what is known exactly is bounded.
    arriving.sort(key=lambda one: one["seq"] + chance.uniform(0, 3 * seed))
    heard, model = Heard(), Model()

    for one in arriving:
        assert heard.is_new(one) == model.is_new(one)
        assert (heard.missed, heard.repeated) == (model.missed, model.repeated)


def test_more_gaps_than_are_known_exactly_fill_up_again():
    heard = Heard()
    numbers = list(range(3, 2_000, 2))
    late = [number - 1 for number in numbers]
    random.Random(1).shuffle(late)

    for number in (1, *numbers):
        assert heard.is_new(event(number))
    assert heard.missed == len(late)
    for at, number in enumerate(late, 1):
        assert heard.is_new(event(number))
        assert heard.missed == len(late) - at
    assert heard.repeated == 0


def test_what_comes_twice_from_a_joined_gap_makes_none_too_many():
    heard = Heard()
    for number in range(1, 2_000, 2):
        heard.is_new(event(number))
    missing = heard.missed

    for number in range(1, 2_000, 2):
        heard.is_new(event(number))

    assert 0 <= heard.missed <= missing


ODD_NUMBERS = ["7", "", None, True, 2.0, 0, -5, 10**13, 2**63, 10**300, [9], {}]
ODD_PUBLISHERS = [None, 5, True, ["web-1:42:1"], {}, "x" * 10_000]


@pytest.mark.parametrize(
    "odd",
    [{"seq": number} for number in ODD_NUMBERS]
    + [{"publisher": name} for name in ODD_PUBLISHERS],
    ids=lambda odd: repr(odd)[:40],
)
def test_an_event_with_an_odd_number_or_publisher_is_new_and_changes_nothing(odd):
    heard = Heard()
    heard.is_new(event(1))
    stray = json.loads(json.dumps(event(9) | odd))

    assert heard.is_new(stray)
    assert heard.is_new(stray)
    heard.is_new(event(2))

    assert (heard.missed, heard.repeated) == (0, 0)


def test_events_of_older_versions_and_of_others_are_new_and_never_counted():
    heard = Heard()
    mine = {"status": "finished"}

    for stray in (mine, mine | {"seq": 5}, mine | {"publisher": "web-1:42:1"}):
        assert heard.is_new(stray)
        assert heard.is_new(stray)

    assert (heard.missed, heard.repeated) == (0, 0)


def test_publishers_that_come_and_go_are_forgotten_and_the_others_are_not(monkeypatch):
    monkeypatch.setattr(_heard, "_MOST_PUBLISHERS", 100)
    heard = Heard()
    heard.is_new(event(1, "steady"))

    for number in range(1, 1_001):
        heard.is_new(event(1, f"passing-{number}"))
        # Every second one of its events is missing.
        heard.is_new(event(1 + 2 * number, "steady"))

    assert len(heard._publishers) == 100
    assert (heard.missed, heard.repeated) == (1_000, 0)
    # Its first event since it was forgotten counts as its first.
    assert heard.is_new(event(500, "passing-1"))
    assert (heard.missed, heard.repeated) == (1_000, 0)


LAYOUTS = {
    "many gaps": lambda number: range(1, 2 * number, 2),
    "one gap with many holes": lambda number: (1, 2 * number, *range(3, 2 * number, 2)),
    "many from before the first": lambda number: range(2 * number, 0, -2),
}


@pytest.mark.parametrize("numbers", LAYOUTS.values(), ids=LAYOUTS)
def test_ten_times_as_many_gaps_of_a_publisher_take_no_more_memory(numbers):
    def memory(number):
        heard = Heard()
        tracemalloc.start()
        try:
            for seq in numbers(number):
                heard.is_new(event(seq))
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    few, many = memory(1_000), memory(10_000)

    assert many < 1.5 * few
