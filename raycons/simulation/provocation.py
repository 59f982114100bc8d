"""What the simulator does at the marked points of the product's code (`raycons.provocation`).

Each bend makes a legal choice that the code itself makes seldom or never. A seed draws which points
it bends at all, and how often; `counts` tells how often each was bent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from raycons.consensus.contract import Replica
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.quorum import ReplicaId, majority
from raycons.consensus.raft.progress import Mode, Progress
from raycons.consensus.raft.replica import RaftReplica
from raycons.machines.contract import Command
from raycons.member.applier import Applier
from raycons.member.engine import Engine
from raycons.member.log_size import Cut, LogSize
from raycons.member.state import WriteBehindState
from raycons.provocation import marks

# The points, with the highest probability that a passage is bent.
POINTS: dict[str, float] = {
    "smallest-batch": 0.5,
    "early-compaction": 0.5,
    "early-snapshot": 0.01,
    "minimal-quorum": 0.02,
    "late-apply": 0.3,
    "impatient-election": 0.01,
    "smallest-chunk": 0.3,
    "late-sync": 0.2,
    "early-answer": 0.5,
}
SLOT_POINTS: dict[str, float] = {"needless-snapshot": 0.1}  # of MultiPaxos alone
SHARE_OF_POINTS = 0.25  # how likely a seed bends a given point at all, as in FoundationDB
LATE_SYNC_S = 0.05


class Provocations:
    """Bends the members of one run. `active` ends with the faults."""

    def __init__(self, random: Random, rates: dict[str, float]) -> None:
        self._random = random
        self._rates = rates
        self.active = True
        self.counts: Counter[str] = Counter()

    def bend(self, engine: Engine) -> None:
        """Put the bends over the marked methods of a member that has just been opened."""
        for part in parts(engine):
            for point, name in marks(type(part)):
                if point in self._rates:
                    bend = partial(BENDS[point], self, part, getattr(part, name))
                    setattr(part, name, bend)

    def strikes(self, point: str) -> bool:
        """Whether to bend `point` this time."""
        struck = self.active and self._random.random() < self._rates[point]
        if struck:
            self.counts[point] += 1
        return struck

    def sync_lateness_s(self) -> float:
        """How much longer a sync takes than the disk needs."""
        if "late-sync" not in self._rates or not self.strikes("late-sync"):
            return 0.0
        return self._random.uniform(0.0, LATE_SYNC_S)

    # --- bends: each is given the object, its own method, and what that was called with -----------

    def smallest_batch(
        self, log: Any, slice: Callable[..., Any], first: int, last: int, max_bytes: int
    ) -> Any:
        """One entry at a time, whatever else would fit."""
        return slice(first, last, 1 if self.strikes("smallest-batch") else max_bytes)

    def early_compaction(
        self, size: LogSize, cut: Callable[..., Cut | None], durable_state: int, needed_after: int
    ) -> Cut | None:
        """As if there were no room for a log: cut all that the state holds, whoever needs it."""
        if not self.strikes("early-compaction"):
            return cut(durable_state, needed_after)
        limit, size._limit = size._limit, 0
        try:
            return cut(durable_state, needed_after)
        finally:
            size._limit = limit

    def early_snapshot(
        self,
        replica: RaftReplica,
        send: Callable[..., bool],
        peer: ReplicaId,
        progress: Progress,
        now: float,
    ) -> bool:
        """A snapshot for a follower whom the log could still serve."""
        behind = progress.next <= replica.log.last_index and progress.mode is not Mode.SNAPSHOT
        if behind and self.strikes("early-snapshot"):
            replica.begin_snapshot(peer, progress, now)
            return False
        return send(peer, progress, now)

    def minimal_quorum(
        self,
        replica: Replica,
        send: Callable[..., bool],
        peer: ReplicaId,
        progress: Any,
        now: float,
    ) -> bool:
        """For a while entries go to the fewest followers that can commit them."""
        until, favoured = getattr(replica, "_favoured", (0.0, frozenset[ReplicaId]()))
        if now < until:
            return peer in favoured and send(peer, progress, now)
        if self.strikes("minimal-quorum"):
            favoured = self._fewest(replica)
            until = now + self._random.uniform(0.05, 1.0)
            setattr(replica, "_favoured", (until, favoured))  # noqa: B010  the simulator's own
        return send(peer, progress, now)

    def needless_snapshot(
        self,
        replica: MultiPaxosReplica,
        tell: Callable[[ReplicaId, int, float], None],
        to: ReplicaId,
        first: int,
        now: float,
    ) -> None:
        """A snapshot for somebody whom the log could still tell what is chosen."""
        if self.strikes("needless-snapshot"):
            replica.begin_snapshot(to, now)
        else:
            tell(to, first, now)

    def _fewest(self, replica: Replica) -> frozenset[ReplicaId]:
        chosen: set[ReplicaId] = set()
        for half in replica.configuration.halves:
            others = sorted(half - {replica.id})
            needed = majority(len(half)) - (replica.id in half)
            chosen.update(self._random.sample(others, min(needed, len(others))))
        return frozenset(chosen)

    def late_apply(self, applier: Applier, apply: Callable[[float], None], now: float) -> None:
        """What is committed is applied, and answered, in a later turn."""
        if not self.strikes("late-apply"):
            apply(now)

    def early_answer(
        self, applier: Applier, is_long: Callable[[Command], bool], command: Command
    ) -> bool:
        """A short command is answered as soon as its answer is certain, like a long one."""
        return self.strikes("early-answer") or is_long(command)

    def impatient_election(self, replica: Any, reset: Callable[[float], None], now: float) -> None:
        """A follower asks for votes long before its leader can be dead."""
        reset(now)
        if self.strikes("impatient-election"):
            replica.election_deadline = now + self._random.random() * (
                replica.settings.election_timeout_s / 4
            )

    def smallest_chunk(
        self,
        state: WriteBehindState,
        end: Callable[[int, int, int], None],
        index: int,
        term: int,
        time_us: int,
    ) -> None:
        """The state goes to the store in a chunk of one entry."""
        end(index, term, time_us)
        if len(state._open) and self.strikes("smallest-chunk"):
            state._seal()


def parts(engine: Engine) -> tuple[object, ...]:
    """The objects of a member that have marked methods; looked at as a debugger would."""
    replica, ledger = engine.replica, engine._ledger
    return replica, replica.log, ledger._size, ledger.state, engine._applier


def draw_rates(random: Random, points: Mapping[str, float] = POINTS) -> dict[str, float]:
    """The points that a seed bends, and how often."""
    return {
        point: highest * 10 ** random.uniform(-1.0, 0.0)
        for point, highest in points.items()
        if random.random() < SHARE_OF_POINTS
    }


BENDS: dict[str, Callable[..., Any]] = {
    "smallest-batch": Provocations.smallest_batch,
    "early-compaction": Provocations.early_compaction,
    "early-snapshot": Provocations.early_snapshot,
    "minimal-quorum": Provocations.minimal_quorum,
    "late-apply": Provocations.late_apply,
    "impatient-election": Provocations.impatient_election,
    "smallest-chunk": Provocations.smallest_chunk,
    "early-answer": Provocations.early_answer,
    "needless-snapshot": Provocations.needless_snapshot,
}
