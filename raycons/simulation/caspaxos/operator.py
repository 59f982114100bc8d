"""Whoever looks after a group of registers: adds, replaces and removes members.

It speaks to the group through the shipped client core, and is often told too late, or not at all,
what became of its orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.member.protocol import Action, Add, Managed, Remove, Reserve
from raycons.simulation.caspaxos.members import RegisterMember
from raycons.simulation.clients import ClientProcess
from raycons.simulation.network import Network
from raycons.simulation.operator import ENDPOINT
from raycons.simulation.scenario import MAX_MEMBERS, Scenario
from raycons.simulation.world import World

ORDER_TIMEOUT_S = 4.0


class Operator(ClientProcess):
    """One order at a time; `counts` tells what became of them."""

    def __init__(
        self,
        world: World,
        network: Network,
        scenario: Scenario,
        members: dict[ReplicaId, RegisterMember],
        build: Callable[[ReplicaId], RegisterMember],
    ) -> None:
        super().__init__(ENDPOINT, world, network, scenario)
        self._members = members
        self._build_joiner = build
        self._busy = False
        self._resting = False
        self._removal_based_on = -1  # of the last removal that was ordered
        self.counts: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether an order is under way, which may yet change the members."""
        return self._busy

    def rest(self) -> None:
        """Begin nothing more until the faults have ended."""
        self._resting = True

    # --- what is known ----------------------------------------------------------------------------

    def latest(self) -> tuple[int, Configuration]:
        """The newest configuration that any member acted on, and its epoch."""
        known = max((member.known for member in self._members.values()), key=lambda at: at.epoch)
        return known.epoch, known.configuration

    def _lost(self, configuration: Configuration) -> ReplicaId:
        """A voter that is to be replaced before anything else; 0: none."""
        unsound = (id for id in sorted(configuration.voters) if not self._members[id].sound)
        return next(unsound, 0)

    # --- orders -----------------------------------------------------------------------------------

    def transfer(self) -> None:
        """Nobody leads: nothing is handed over."""

    def lie_about_disk(self) -> None:
        """An acceptor must not forget; nothing in the group could notice that it did."""

    def change(self) -> None:
        """Add or remove a member; if a voter is lost, replace it before anything else."""
        epoch, configuration = self.latest()
        if self._busy or configuration.joint:
            return
        present = sorted(configuration.ids)
        grows = len(present) < 3 or (len(present) < MAX_MEMBERS and self.random.random() < 0.5)
        if self._lost(configuration) or grows:
            self._order(Reserve(), epoch, self._reserved)
            return
        lone = len(configuration.voters) == 1
        removable = [id for id in present if not (lone and id in configuration.voters)]
        if removable:
            self._removal_based_on = epoch
            id = self.random.choice(removable)
            self._order(Remove(id), epoch, partial(self._removed, id))

    def lose_disk(self) -> None:
        """A voter's disk is gone for good, and with it the identity: it never comes back.

        Only where the group stands it: three voters or more, no change under way, and no removal
        that may yet be carried out.
        """
        member = self._choose_victim()
        if member is not None:
            self.counts["disks lost"] += 1
            self.bury(member)
            self.change()

    def rot_disk(self) -> None:
        """A record on a voter's disk decays; whoever reads it finds out by its checksum."""
        member = self._choose_victim()
        if member is not None:
            record = member.disk.rot(self.random)
            self.counts["records rotten"] += 1
            self.world.tell("bit-rot", f"member {member.id}", record)
            if self.random.random() < 0.5:
                self.change()

    def _choose_victim(self) -> RegisterMember | None:
        """A voter whom the group can do without, if there is one."""
        epoch, configuration = self.latest()
        voters = sorted(configuration.voters)
        settled = not configuration.joint and self._removal_based_on < epoch
        sound = all(self._members[id].sound for id in configuration.ids)
        if self._busy or len(voters) < 3 or not (settled and sound):
            return None
        return self._members[self.random.choice(voters)]

    def _order(self, action: Action, based_on: int, then: Callable[[Any], None]) -> None:
        if self._busy or self._resting or not self.running:
            return
        self._busy = True
        self.world.tell("order", action, f"based on {based_on}")
        self.core.manage(
            action, based_on, self.now + ORDER_TIMEOUT_S, partial(self._told, action, then)
        )
        self.end_turn()

    def _told(self, action: Action, then: Callable[[Any], None], result: Any) -> None:
        self._busy = False
        self.world.tell("told", action, "->", result)
        name = type(action).__name__
        ending = "done" if isinstance(result, Managed) else type(result).__name__
        self.counts[f"{name} {ending}"] += 1
        # A core's caller may not order at once: it is told in the middle of an event.
        self.world.after(0.0, then, result)

    def _finished(self, result: Any) -> None:
        pass

    def _reserved(self, result: Any) -> None:
        if not isinstance(result, Managed):
            return
        member = self._build_joiner(result.value)
        member.start()
        epoch, configuration = self.latest()
        replaces = self._lost(configuration)
        voter = bool(replaces) or self.random.random() < 0.8
        if voter and not replaces and configuration.voters and self.random.random() < 0.4:
            replaces = self.random.choice(sorted(configuration.voters))
        add = Add(member.id, member.nonce, f"host-{member.id}", voter, replaces)
        self._order(add, epoch, self._finished)

    def _removed(self, id: ReplicaId, result: Any) -> None:
        if isinstance(result, Managed):
            # It stays for a while, not knowing, perhaps, that it is out; then it goes for good.
            self.world.after(self.random.uniform(0.0, 3.0), self._destroy, id)

    def _destroy(self, id: ReplicaId) -> None:
        if any(
            id in other.configuration.ids
            for other in self._members.values()
            if other.running and other.id != id
        ):
            return
        self.bury(self._members[id])

    def bury(self, member: RegisterMember) -> None:
        """The replica ends, and never serves again."""
        member.crash()
        member.destroyed = True
        self.counts["members destroyed"] += 1
        self.world.tell("destroy", f"member {member.id}")
