"""Quorum arithmetic against brute force over all subsets."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from raycons.consensus.quorum import (
    Flexible,
    Grid,
    Joint,
    Majority,
    Weighted,
    can_still_win,
    committed_index,
    has_quorum,
    majority,
    quorum_time,
)

IDS = range(1, 8)
half = st.frozensets(st.sampled_from(IDS), max_size=7)
halves = st.tuples(half, half).filter(lambda pair: pair[0] or pair[1])
some = st.frozensets(st.sampled_from(IDS))
indexes = st.dictionaries(st.sampled_from(IDS), st.integers(1, 9))


def quorums(pair: tuple[frozenset[int], frozenset[int]]) -> list[frozenset[int]]:
    """Every set that contains more than half of each non-empty half."""
    everyone = sorted(pair[0] | pair[1])
    subsets = [
        frozenset(chosen)
        for size in range(len(everyone) + 1)
        for chosen in combinations(everyone, size)
    ]
    return [
        subset
        for subset in subsets
        if all(not half or 2 * len(half & subset) > len(half) for half in pair)
    ]


def test_majority_is_the_least_number_that_two_disjoint_sets_cannot_both_reach() -> None:
    for size in range(1, 50):
        assert 2 * majority(size) > size
        assert 2 * (majority(size) - 1) <= size


@given(halves, some)
def test_has_quorum(pair: tuple[frozenset[int], frozenset[int]], granted: frozenset[int]) -> None:
    assert has_quorum(pair, granted) == any(quorum <= granted for quorum in quorums(pair))


@given(halves, some)
def test_can_still_win(pair: tuple[frozenset[int], frozenset[int]], no: frozenset[int]) -> None:
    assert can_still_win(pair, no) == any(not quorum & no for quorum in quorums(pair))


@given(halves, indexes)
def test_committed_index(
    pair: tuple[frozenset[int], frozenset[int]], durable: dict[int, int]
) -> None:
    best = max(min(durable.get(id, 0) for id in quorum) for quorum in quorums(pair))
    assert committed_index(pair, durable) == best


@given(halves, st.dictionaries(st.sampled_from(IDS), st.floats(0.5, 9.0)))
def test_quorum_time(pair: tuple[frozenset[int], frozenset[int]], until: dict[int, float]) -> None:
    best = max(min(until.get(id, 0.0) for id in quorum) for quorum in quorums(pair))
    assert quorum_time(pair, until) == best


@given(halves)
def test_two_quorums_always_meet(pair: tuple[frozenset[int], frozenset[int]]) -> None:
    found = quorums(pair)
    assert all(left & right for left in found for right in found)


def test_systems_are_values() -> None:
    ids = range(1, 4)
    systems = [
        Flexible(ids, prepare=3, accept=1),
        Flexible(ids, prepare=2, accept=2),
        Majority(ids),
        Grid([[1, 2, 3]]),
        Weighted({1: 1, 2: 1, 3: 1}),
        Joint([ids]),
    ]
    assert len(set(systems)) == len(systems)
    assert Flexible([3, 2, 1], prepare=3, accept=1) == systems[0]
    assert hash(Joint([[3, 2, 1]])) == hash(systems[-1])
    assert "prepare=3, accept=1" in repr(systems[0])
