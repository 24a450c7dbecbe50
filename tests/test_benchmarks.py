"""The benchmarks' own logic; what they measure is for `make bench`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import document, throughput, variants
from benchmarks.promises import Measured
from benchmarks.stage import Round
from benchmarks.turns import Spread, in_turns, paired, table
from tests.support.programs import run_program

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
def path(tmp_path, monkeypatch):
    made = tmp_path / "benchmarks.md"
    monkeypatch.setattr(document, "PATH", made)
    return made


def test_a_run_keeps_the_long_run_and_nothing_else(path):
    document.write("then.", [("outdated", "1", True)], ["## Outdated"])
    document.keep_long_run("a million tasks")

    document.write("now.", [("new", "2", False)], ["## New"])

    text = path.read_text()
    assert "<!-- long run -->\na million tasks\n<!-- end of the long run -->" in text
    assert "| new | 2 | **no** |" in text
    assert "Measured now." in text
    assert "outdated" not in text.lower()


def rounds(*walls):
    return [
        Round(wall=wall, producer=0, consumer=0, redis=0, family=0, worker=1)
        for wall in walls
    ]


def test_a_promise_holds_by_the_fastest_rounds():
    walls = {
        variants.BARE: rounds(1.0, 3.0),
        variants.METRICS: rounds(9.0, 1.02),
        variants.FULL: rounds(1.2, 1.1),
    }
    rates = dict.fromkeys([("process", 4, "sleep"), ("process", 4, "compute")], walls)

    promises = Measured(rates=rates).promises()

    assert [held for _, _, held in promises] == [True, False] * 2
    assert throughput.ratios(rates, "process", 4, "sleep")[variants.BARE] == 1.0


def test_two_runs_count_the_same_calls():
    program = "from benchmarks import calls; print(calls.main())"

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(run_program, [program, program])

    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    assert "| deliver |" in first.stdout
