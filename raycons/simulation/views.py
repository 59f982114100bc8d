"""What watches a run: the invariants of the protocol that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import Effect
from raycons.consensus.quorum import Index, ReplicaId
from raycons.simulation.images import Pieces
from raycons.simulation.invariants import Invariants
from raycons.simulation.slot_invariants import SlotInvariants


class Watch(Protocol):
    """Sees everything that all replicas do; raises Violation. Replicas are its protocol's."""

    pieces: Pieces
    committed_configuration: Configuration

    @property
    def beliefs(self) -> Any:
        """What replicas may make of each other's word."""

    @property
    def committed_index(self) -> Index:
        """The highest index that a replica knows to be committed."""

    def created(self, id: ReplicaId, configuration: Configuration) -> Any:
        """A fresh store was bootstrapped; the driver keeps its mirror up to date."""

    def started(self, replica: Any) -> None:
        """The process of `replica` came up and read its disk."""

    def drained(self, replica: Any, effects: Sequence[Effect], now: float) -> None:
        """The replica gave out these effects; called before they are carried out."""

    def sent(self, id: ReplicaId, to: ReplicaId, message: Any) -> None:
        """A replica's message leaves now."""

    def answered(self, place: str, index: Index, data: bytes, answer: bytes) -> bool:
        """A machine answered; True if it is the first to do so at this index."""

    def last_change(self, replica: Any) -> Index:
        """Where the replica has proposed a change of the configuration last."""

    def changed(self, id: ReplicaId, replaced: Index, based_on: Index) -> None:
        """A leader carried out an order that was computed from configuration `based_on`."""


def watch_of(protocol: str) -> Watch:
    """The invariants of a protocol."""
    return SlotInvariants() if protocol == "multipaxos" else Invariants()
