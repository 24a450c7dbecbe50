"""The benchmarks' own logic; what they measure is for `make bench`."""

import pytest

from benchmarks import cost, document, on_redis, path, variants
from benchmarks.stage import Round
from benchmarks.turns import Spread, in_turns, paired, table

pytestmark = pytest.mark.once


def test_rounds_are_interleaved_and_each_begins_with_another():
    calls = []

    def measure(name):
        return lambda: calls.append(name) or len(calls)

    found = in_turns({name: measure(name) for name in "abc"}, 3)

    assert "".join(calls) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_spread_is_least_median_and_middle_half():
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(1.0, 3.0, 2.0, 4.0)


def test_ratios_are_those_of_the_same_round():
    assert paired([2.0, 40.0, 3.0], to=[1.0, 10.0, 3.0]) == 2.0


def test_table_is_markdown():
    assert table(["what", "µs"], [["bare", "1"]]) == (
        "| what | µs |\n| --- | ---: |\n| bare | 1 |"
    )


@pytest.fixture
def page(tmp_path, monkeypatch):
    made = tmp_path / "benchmarks.md"
    monkeypatch.setattr(document, "PATH", made)
    return made


def test_a_run_keeps_the_long_run_and_what_stands_behind_it_by_hand(page):
    document.write(document.text("then.", [("outdated", "1", True)], ["## Outdated"]))
    document.keep_long_run("a million tasks")
    page.write_text(page.read_text() + "\n## By hand\n")

    document.write(document.text("now.", [("new", "2", False)], ["## New"]))

    text = page.read_text()
    assert text.endswith("<!-- end of the long run -->\n\n## By hand\n")
    assert "<!-- long run -->\na million tasks\n<!-- end of the long run -->" in text
    assert "| new | 2 | **no** |" in text
    assert "Measured now." in text
    assert "outdated" not in text.lower()


def test_a_long_run_finds_a_place_on_a_page_that_had_none(page):
    page.write_text("# What it costs\n")

    document.keep_long_run("a million tasks")
    first = page.read_text()
    document.keep_long_run("two million tasks")

    assert first.startswith("# What it costs\n\n## A long run\n\n")
    assert first.count("a million tasks") == 1
    assert page.read_text() == first.replace("a million", "two million")


def rounds(*figures):
    return [
        Round(tasks=1000, wall=wall, consumer=cpu, producer=0, redis=0, worker=1)
        for wall, cpu in figures
    ]


def test_a_variant_is_compared_with_bare_huey_by_medians_of_rounds():
    of = {
        variants.BARE: rounds((1.0, 0.2), (1.0, 0.3), (2.0, 0.4)),
        variants.METRICS: rounds((1.25, 0.5), (1.25, 0.36), (2.0, 0.3)),
        variants.FULL: rounds((1.25, 0.42), (1.25, 0.42), (2.0, 0.42)),
        variants.STATS: rounds((2.0, 0.4), (2.0, 0.4), (2.0, 0.4)),
        variants.SENTRY: rounds((2.0, 0.9), (2.0, 0.9), (2.0, 0.9)),
    }

    assert on_redis.lost(of, variants.METRICS) == pytest.approx(0.2)
    assert [told for _, *told in on_redis.promises({0: of})] == [
        ["0.60 x (+60 µs to +100)", True],
        ["1.20 x (+120 µs to +100)", True],
        ["0.20 x (+120 µs to +600)", True],
    ]


def test_budgets_are_for_what_a_task_has_more_than_bare_huey_has():
    def costs(**own):
        found = {}
        for variant in path.VARIANTS:
            thousands = own.get(variant, 0)
            legs = dict.fromkeys((*path.OWN, path.DELIVER), 0)
            found[variant] = cost.Cost({**legs, path.EXECUTE: thousands})
        return found

    counted = costs(
        **{path.BARE: 100_000, path.METRICS: 250_000, path.UNSAMPLED: 290_001},
        **{path.FULL: 320_000, path.FALLBACK: 750_000, path.FLOOR: 400_000},
    )

    called = costs(**{path.METRICS: 31, path.FULL: 75})

    found = cost.promises(cost.Figures(counted, called, {}, (211, 100)))

    assert [told for _, *told in found] == [
        ["150 k", True],
        ["190 k", False],
        ["0.55 x", True],
        ["0.55 x", True],
        ["1.25 x", False],
        ["31", False],
        ["75", True],
        ["2.11 x", False],
    ]
