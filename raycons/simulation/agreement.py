"""What every replicated machine has to hold, whatever the protocol that feeds it."""

from __future__ import annotations

from raycons.consensus.quorum import Index, ReplicaId
from raycons.simulation.images import Pieces
from raycons.simulation.world import Violation


class Agreement:
    """All answers of all machines, and all snapshots."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self._answers: dict[tuple[str, Index], tuple[bytes, bytes]] = {}

    def answered(self, place: str, index: Index, data: bytes, answer: bytes) -> bool:
        """A machine answered; True if it is the first to do so at this index.

        Every other replica's must be given the same and say the same.
        """
        first = self._answers.setdefault((place, index), (data, answer))
        if first != (data, answer):
            raise Violation(
                "state-machine-safety",
                f"at entry {index} the machine ({place}) was given {data!r} and said {answer!r}; "
                f"another replica's was given {first[0]!r} and said {first[1]!r}",
            )
        return first[1] is answer

    def changed(self, id: ReplicaId, replaced: Index, based_on: Index) -> None:
        """A leader carried out an order that was computed from configuration `based_on`."""
        if replaced != based_on:
            raise Violation(
                "configuration",
                f"leader {id} replaces configuration {replaced} by what was made of {based_on}",
            )
