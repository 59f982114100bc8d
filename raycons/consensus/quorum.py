"""Quorums: the arithmetic of majorities and joint majorities, and systems of quorums as values.

A joint quorum (Raft dissertation, section 4.3) needs a majority of each half. An empty half asks
for nothing, so that a simple configuration is a joint one with an empty second half. Raft counts
with the functions, on every acknowledgement; Paxos asks a `QuorumSystem`, and `Joint` is the one
that says the same as they do.

Safety asks one thing of a system: every quorum of phase 1, which learns what may have been chosen,
meets every quorum of phase 2, which chooses (Howard, Malkhi and Spiegelman, "Flexible Paxos",
2016). Two quorums of one phase need not meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Protocol

from raycons.errors import BadArgument

ReplicaId = int
AcceptorId = ReplicaId  # in the words of Paxos
Index = int

# --- arithmetic -----------------------------------------------------------------------------------


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


# --- systems --------------------------------------------------------------------------------------


class QuorumSystem(Protocol):
    """Which sets of acceptors are quorums."""

    acceptors: frozenset[AcceptorId]

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """Whether these promises are enough to know what may have been chosen (phase 1)."""

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """Whether what these accepted is chosen (phase 2)."""


class _Value:
    """Two systems that say the same of the same acceptors are equal."""

    acceptors: frozenset[AcceptorId]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.acceptors))

    def __repr__(self) -> str:
        parts = (f"{name}={value}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({', '.join(parts)})"


class Flexible(_Value):
    """Any `prepare` acceptors for phase 1, any `accept` for phase 2.

    >>> system = Flexible(range(1, 6), prepare=4, accept=2)
    >>> system.prepares({1, 2, 3}), system.chooses({4, 5})
    (False, True)
    >>> Flexible(range(1, 6), prepare=3, accept=2)  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    raycons.errors.BadArgument: prepare=3 and accept=2 of 5 acceptors: {1, 2, 3} and {4, 5} do not
    meet, so that two values could be chosen; together they must be more than 5
    """

    def __init__(self, acceptors: Iterable[AcceptorId], *, prepare: int, accept: int) -> None:
        """Raises BadArgument where the two phases need not meet, or cannot be reached."""
        self.acceptors = _known(acceptors)
        size, ids = len(self.acceptors), sorted(self.acceptors)
        what = f"prepare={prepare} and accept={accept} of {size} acceptors"
        if not (1 <= prepare <= size and 1 <= accept <= size):
            raise BadArgument(f"{what}: each must be from 1 to {size}")
        if prepare + accept <= size:
            first, second = set(ids[:prepare]), set(ids[size - accept :])
            raise BadArgument(
                f"{what}: {first} and {second} do not meet, so that two values could be chosen; "
                f"together they must be more than {size}"
            )
        self.prepare = prepare
        self.accept = accept

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return len(self.acceptors.intersection(granted)) >= self.prepare

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return len(self.acceptors.intersection(accepted)) >= self.accept


class Majority(Flexible):
    """More than half, for both phases ("Paxos Made Simple", section 2.1).

    >>> Majority({1, 2, 3}).chooses({1, 3})
    True
    """

    def __init__(self, acceptors: Iterable[AcceptorId]) -> None:
        """Raises BadArgument where there is no acceptor."""
        known = _known(acceptors)
        super().__init__(known, prepare=majority(len(known)), accept=majority(len(known)))


class Grid(_Value):
    """A whole row for phase 1, a whole column for phase 2: they cross (Flexible Paxos, section 5).

    >>> grid = Grid([[1, 2, 3], [4, 5, 6]])
    >>> grid.prepares({4, 5, 6}), grid.prepares({1, 2, 4}), grid.chooses({2, 5})
    (True, False, True)
    """

    def __init__(self, rows: Iterable[Iterable[AcceptorId]]) -> None:
        """Raises BadArgument where the rows are not of one length, or an acceptor comes twice."""
        tables = [list(row) for row in rows]
        self.rows = [frozenset(row) for row in tables]
        self.acceptors = _known(id for row in tables for id in row)
        lengths = {len(row) for row in tables}
        if len(lengths) != 1 or len(self.acceptors) != sum(map(len, tables)):
            raise BadArgument(
                f"grid {tables}: expected rows of one length in which each acceptor comes once"
            )
        self.columns = [frozenset(column) for column in zip(*tables, strict=True)]

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return any(row.issubset(granted) for row in self.rows)

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return any(column.issubset(accepted) for column in self.columns)


class Weighted(_Value):
    """More than half of all weight, for both phases (Gifford, 1979).

    >>> system = Weighted({1: 3, 2: 1, 3: 1})
    >>> system.chooses({1}), system.chooses({2, 3})
    (True, False)
    """

    def __init__(self, weights: Mapping[AcceptorId, int]) -> None:
        """Raises BadArgument for a weight that is negative, or where all are 0."""
        self.weights = dict(weights)
        self.acceptors = _known(id for id, weight in weights.items() if weight)
        if min(weights.values()) < 0:
            raise BadArgument(f"weights {self.weights}: expected none below 0")
        self._enough = majority(sum(weights.values()))

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return sum(self.weights.get(id, 0) for id in set(granted)) >= self._enough

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return self.prepares(accepted)


class Joint(_Value):
    """A majority of each of several sets, for both phases (Raft paper, section 6).

    >>> Joint([{1, 2, 3}, {3, 4, 5}]).chooses({1, 3, 4})
    True
    """

    def __init__(self, halves: Iterable[Iterable[AcceptorId]]) -> None:
        """Raises BadArgument where a half is empty, or there is none."""
        self.halves = tuple(_known(half) for half in halves)
        self.acceptors = _known(id for half in self.halves for id in half)

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return has_quorum(self.halves, granted)

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """See QuorumSystem."""
        return self.prepares(accepted)


def disjoint(system: QuorumSystem) -> tuple[set[AcceptorId], set[AcceptorId]] | None:
    """A quorum of phase 1 and one of phase 2 that do not meet, by trying all; None: all meet.

    In time exponential in the number of acceptors: for a system of one's own, and for tests.

    >>> disjoint(Grid([[1, 2], [3, 4]])) is None
    True
    """
    everyone = sorted(system.acceptors)
    for size in range(len(everyone) + 1):
        for chosen in map(set, combinations(everyone, size)):
            rest = set(everyone) - chosen
            if system.prepares(chosen) and system.chooses(rest):
                return chosen, rest
    return None


def _known(acceptors: Iterable[AcceptorId]) -> frozenset[AcceptorId]:
    known = frozenset(acceptors)
    if not known:
        raise BadArgument("a quorum system needs at least one acceptor")
    return known
