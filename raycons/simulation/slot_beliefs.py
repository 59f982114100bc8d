"""What MultiPaxos replicas may make of each other's word: checked at the event that shows it.

lease-exclusivity        at the moment of an election no earlier leader holds a lease
quorum-read              a read is served at or after all that was known to be chosen when it
                         began
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raycons.consensus.contract import Effect, ReadContext, ReadFailed, ReadReady, RoleChanged
from raycons.consensus.paxos.multipaxos.ballots import told
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.quorum import Index, ReplicaId
from raycons.simulation.slot_mirror import SlotMirror
from raycons.simulation.world import Violation


class Life(NamedTuple):
    """A replica whose process runs."""

    replica: MultiPaxosReplica
    clock: Callable[[], float]  # its own time
    floors: dict[ReadContext, Index]  # what was known to be chosen when each read began


class SlotBeliefs:
    """Everybody's reads and leases."""

    checked: frozenset[type] = frozenset()  # the types of messages that `received` is told of

    def __init__(self) -> None:
        self._lives: dict[ReplicaId, Life] = {}

    def started(self, replica: MultiPaxosReplica, clock: Callable[[], float]) -> None:
        """A process came up; `clock` tells its time."""
        self._lives[replica.id] = Life(replica, clock, {})

    def stopped(self, id: ReplicaId) -> None:
        """A process is gone, and with it all that it believed."""
        self._lives.pop(id, None)

    def received(self, replica: Any, sender: ReplicaId, message: Any, before: Any) -> None:
        """Nothing here: what replicas conclude is seen in what they write and apply."""

    def acknowledged(self, id: ReplicaId, message: Any) -> None:
        """A Raft replica's word."""

    def check_itself(self, replica: MultiPaxosReplica, mirror: SlotMirror) -> None:
        """What a replica takes itself for, when it gave something out or was told of a sync."""
        if replica.durable_number > replica.write_number:
            raise Violation("own-disk", f"replica {replica.id} knows of writes it never gave out")

    def drained(self, replica: MultiPaxosReplica, effects: Sequence[Effect]) -> None:
        """The replica gave out these effects, which its mirror has followed."""
        for effect in effects:
            if isinstance(effect, ReadReady | ReadFailed):
                self._read_ended(replica, effect)
            elif isinstance(effect, RoleChanged) and effect.role == "leader":
                self._elected(replica, effect.term)

    def _elected(self, replica: MultiPaxosReplica, ballot: int) -> None:
        for other, clock, _ in self._lives.values():
            if other.role == "leader" and other.term < ballot and other.lease_holds(clock()):
                raise Violation(
                    "lease-exclusivity",
                    f"replica {replica.id} leads {told(ballot)}, while leader {other.id} of "
                    f"{told(other.term)} holds a lease",
                )

    # --- reads ------------------------------------------------------------------------------------

    def read_began(self, id: ReplicaId, context: ReadContext, committed: Index) -> None:
        """A replica was asked for a linearizable read when `committed` was known to be chosen."""
        self._lives[id].floors[context] = committed

    def _read_ended(self, replica: MultiPaxosReplica, effect: ReadReady | ReadFailed) -> None:
        floor = self._lives[replica.id].floors.pop(effect.context, 0)
        if isinstance(effect, ReadReady) and effect.index < floor:
            raise Violation(
                "quorum-read",
                f"replica {replica.id} is to serve a read at {effect.index}, but {floor} was "
                "chosen when it began",
            )
