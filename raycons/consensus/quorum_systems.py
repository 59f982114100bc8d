"""Quorum systems as values: which sets of acceptors are enough for each phase of Paxos.

Safety asks one thing of them: every quorum of phase 1, which learns what may have been chosen,
meets every quorum of phase 2, which chooses (Howard, Malkhi and Spiegelman, "Flexible Paxos",
2016). Two quorums of one phase need not meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Protocol

from raycons.consensus.quorum import ReplicaId, has_quorum, majority
from raycons.errors import BadArgument

AcceptorId = ReplicaId


class QuorumSystem(Protocol):
    """Which sets of acceptors are quorums."""

    acceptors: frozenset[AcceptorId]

    def prepares(self, granted: Collection[AcceptorId]) -> bool:
        """Whether these promises are enough to know what may have been chosen (phase 1)."""

    def chooses(self, accepted: Collection[AcceptorId]) -> bool:
        """Whether what these accepted is chosen (phase 2)."""


class Flexible:
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


class Grid:
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


class Weighted:
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


class Joint:
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
