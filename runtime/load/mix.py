"""The mix: which cases a load consists of, and how often each occurs."""

from collections.abc import Callable, Iterator, Mapping
from random import Random

from runtime import shop
from runtime.load import cases
from runtime.load.cases import Case

Kind = Callable[[int], Case]

WEIGHTS: Mapping[Kind, int] = {
    # Reminders go first: one that is due before a worker takes it is run at once,
    # and never scheduled.
    cases.reminded: 2,
    cases.paid: 8,
    cases.declined_once: 2,
    cases.declined: 1,
    cases.transferred: 1,
    cases.picked_up: 4,
    cases.picked_up_later: 2,
    cases.packed: 5,
    cases.withdrawn: 1,
    cases.photographed: 2,
    cases.counted: 3,
    cases.counted_twice: 1,
    cases.offered: 2,
    cases.offered_too_late: 1,
    cases.withdrawn_offer: 1,
}


def weights() -> Mapping[Kind, int]:
    """Return the kinds of cases that the installed huey can run, with their weights."""
    if not hasattr(shop, "limits"):
        return WEIGHTS
    from runtime.load import limit_cases

    return {
        **WEIGHTS,
        limit_cases.imported: 2,
        limit_cases.import_timed_out: 1,
        limit_cases.texted: 2,
        limit_cases.texted_too_often: 1,
        limit_cases.listed_later: 1,
    }


def mix(count: int, seed: int) -> Iterator[Case]:
    """Make *count* cases, the same for the same *seed*.

    Each kind occurs at least once if *count* allows it.
    """
    random = Random(seed)  # noqa: S311  # not for secrets
    kinds = weights()
    rest = max(count - len(kinds), 0)
    chosen = [*kinds, *random.choices(list(kinds), list(kinds.values()), k=rest)]
    random.shuffle(chosen)
    del chosen[count:]
    chosen.sort(key=lambda kind: kind is not cases.reminded)
    for number, kind in enumerate(chosen, start=1):
        yield kind(number)
