"""Whoever looks after a group with a leader: hands leadership over, and lets disks lie."""

from __future__ import annotations

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import Index, ReplicaId
from raycons.member.protocol import Managed, Transfer
from raycons.simulation.caretaker import Caretaker
from raycons.simulation.disk import FORGETTABLE
from raycons.simulation.members import VirtualMember


class Operator(Caretaker[VirtualMember]):
    """Orders name a configuration by its place in the log."""

    def latest(self) -> tuple[Index, Configuration]:
        """The newest configuration that any running member acts on; it may not be committed."""
        found: tuple[Index, Configuration] = (-1, Configuration((), 1))
        newest = (-1, -1)
        for member in self._members.values():
            if member.engine is not None:
                replica = member.engine.replica
                if (replica.term, replica.configuration_index) > newest:
                    newest = (replica.term, replica.configuration_index)
                    found = (replica.configuration_index, replica.listed)
        return found

    def _may_change(self, index: Index, configuration: Configuration) -> bool:
        return index >= 0

    def _based_on(self, reserved: Managed, index: Index) -> Index:
        return reserved.configuration_index

    def _is_listed(self, id: ReplicaId) -> bool:
        return any(
            id in other.engine.replica.listed.ids
            for other in self._members.values()
            if other.engine is not None and other.id != id
        )

    def transfer(self) -> None:
        """Hand leadership to somebody."""
        _, configuration = self.latest()
        targets = [0, *sorted(configuration.voters)]
        self._order(Transfer(self.random.choice(targets)), 0, self._finished)

    def lie_about_disk(self) -> VirtualMember | None:
        """A voter crashes, and its disk has lost what it reported as durable: a sync did nothing.

        Only where all others that vote, in the newest configuration or in that of the voter, hold
        what is lost, and neither its vote nor a configuration is among it: then no quorum rests on
        it. Its leader, which knows what the voter had acknowledged, retires it; if another leads by
        then, the voter catches up as if it had been slow.
        """
        member = self._choose_victim()
        if member is None:
            return None
        _, configuration = self.latest()
        voting = configuration.electors | member.configuration.electors
        others = [self._members[id] for id in sorted(voting - {member.id})]
        if not all(other.holds_durably(member.vouches_for) for other in others):
            return None
        forgotten = member.forget(self.random.randint(1, FORGETTABLE))
        self.counts["batches forgotten"] += forgotten
        self.world.tell("forgotten", f"{member}", f"{forgotten} durable batches")
        return member
