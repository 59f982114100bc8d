"""Rounds of faults: equal for equal seeds, fair to all kinds, and within their bounds."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from raycons.chaos.kinds import ALONE, KINDS
from raycons.chaos.schedule import HOLD_S, REST_S, Round, rounds

NAMES = tuple(KINDS)


def first(count: int, seed: int = 3, kinds: tuple[str, ...] = NAMES) -> list[Round]:
    return list(islice(rounds(seed, kinds, ALONE), count))


def test_a_seed_gives_the_same_rounds_again_and_another_others() -> None:
    assert first(50) == first(50)
    assert first(50) != first(50, seed=4)


def test_each_kind_comes_before_any_comes_again() -> None:
    dealt = [planned.kind for one in first(200) for planned in one.faults]
    counts = Counter(dealt)
    assert set(counts) == set(NAMES)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_some_rounds_are_pairs_of_different_kinds_and_never_with_one_that_stands_alone() -> None:
    pairs = [one for one in first(200) if len(one.faults) == 2]
    assert 10 < len(pairs) < 100
    for pair in pairs:
        kinds = {planned.kind for planned in pair.faults}
        assert len(kinds) == 2
        assert not kinds & ALONE


def test_times_are_within_their_bounds_and_both_leaders_and_others_are_hit() -> None:
    many = first(200)
    assert all(HOLD_S[0] <= one.hold_s <= HOLD_S[1] for one in many)
    assert all(REST_S[0] <= one.rest_s <= REST_S[1] for one in many)
    at_leader = Counter(planned.at_leader for one in many for planned in one.faults)
    assert at_leader[True] > 80
    assert at_leader[False] > 40


def test_one_kind_comes_alone_for_ever() -> None:
    assert all(
        [planned.kind for planned in one.faults] == ["kill"] for one in first(20, kinds=("kill",))
    )
