"""Whoever looks after a group of registers: no leader to hand over, and no disk that may lie."""

from __future__ import annotations

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.member.protocol import Managed
from raycons.simulation.caretaker import Caretaker
from raycons.simulation.caspaxos.members import RegisterMember


class Operator(Caretaker[RegisterMember]):
    """Orders name a configuration by its epoch."""

    order_timeout_s = 4.0  # a change carries every register over

    def latest(self) -> tuple[int, Configuration]:
        """The newest configuration that any member acted on, and its epoch."""
        known = max((member.known for member in self._members.values()), key=lambda at: at.epoch)
        return known.epoch, known.configuration

    def _may_change(self, index: int, configuration: Configuration) -> bool:
        return not configuration.joint

    def _based_on(self, reserved: Managed, index: int) -> int:
        return index

    def _is_listed(self, id: ReplicaId) -> bool:
        return any(
            id in other.configuration.ids
            for other in self._members.values()
            if other.running and other.id != id
        )

    def transfer(self) -> None:
        """Nobody leads: nothing is handed over."""

    def lie_about_disk(self) -> None:
        """An acceptor must not forget; nothing in the group could notice that it did."""
