"""Quorum arithmetic: pure functions over sets of replica ids.

A joint quorum (Raft dissertation, section 4.3) needs a majority of each half. An empty half asks
for nothing, so that a simple configuration is a joint one with an empty second half.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

ReplicaId = int
Index = int


def majority(size: int) -> int:
    """How many of `size` voters are more than half of them.

    >>> [majority(n) for n in (1, 2, 3, 4, 5)]
    [1, 2, 2, 3, 3]
    """
    return size // 2 + 1


def has_quorum(halves: Iterable[Collection[ReplicaId]], granted: Collection[ReplicaId]) -> bool:
    """Whether `granted` holds a majority of every non-empty half.

    >>> has_quorum([{1, 2, 3}], {1, 3})
    True
    >>> has_quorum([{1, 2, 3}, {3, 4, 5}], {1, 2, 3})
    False
    """
    for half in halves:
        if half and sum(voter in granted for voter in half) < majority(len(half)):
            return False
    return True


def can_still_win(halves: Iterable[Collection[ReplicaId]], refused: Collection[ReplicaId]) -> bool:
    """Whether a quorum could still form from those who have not refused.

    >>> can_still_win([{1, 2, 3}], {2})
    True
    >>> can_still_win([{1, 2, 3}], {2, 3})
    False
    """
    for half in halves:
        if half and sum(voter not in refused for voter in half) < majority(len(half)):
            return False
    return True


def committed_index(
    halves: Iterable[Collection[ReplicaId]], durable: Mapping[ReplicaId, Index]
) -> Index:
    """The highest index that a quorum holds on disk; 0 where there is none.

    >>> committed_index([{1, 2, 3}], {1: 12, 2: 5, 3: 9})
    9
    >>> committed_index([{1, 2, 3}, {4}], {1: 12, 2: 5, 3: 9})
    0
    """
    lowest: Index | None = None
    for half in halves:
        if half:
            held = sorted((durable.get(voter, 0) for voter in half), reverse=True)
            index = held[majority(len(half)) - 1]
            lowest = index if lowest is None else min(lowest, index)
    return lowest or 0


def quorum_time(halves: Iterable[Collection[ReplicaId]], until: Mapping[ReplicaId, float]) -> float:
    """The latest time at which a quorum's entries of `until` all still lie ahead; 0.0 for none.

    >>> quorum_time([{1, 2, 3}], {1: 9.0, 2: 4.0})
    4.0
    """
    earliest: float | None = None
    for half in halves:
        if half:
            times = sorted((until.get(voter, 0.0) for voter in half), reverse=True)
            time = times[majority(len(half)) - 1]
            earliest = time if earliest is None else min(earliest, time)
    return earliest or 0.0
