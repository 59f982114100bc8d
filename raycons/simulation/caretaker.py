"""Whoever looks after a group, whatever its protocol: adds, replaces and removes members.

It speaks to the group through the shipped client core, and is often told too late, or not at all,
what became of its orders. What a protocol knows of its configuration is in a class of its own,
above this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import Index, ReplicaId
from raycons.member.protocol import Action, Add, Managed, Remove, Reserve
from raycons.simulation.clients import ClientProcess
from raycons.simulation.disk import Disk
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.scenario import MAX_MEMBERS, Scenario
from raycons.simulation.world import World

ENDPOINT: EndpointId = -1000


class Tended(Protocol):
    """A member, as it is looked after."""

    id: ReplicaId
    nonce: int
    disk: Disk
    destroyed: bool

    @property
    def sound(self) -> bool:
        """Whether nothing has befallen its disk that may end it yet, or did."""

    def start(self) -> None:
        """Start the process over what the disk holds."""

    def crash(self) -> None:
        """The process dies."""


M = TypeVar("M", bound=Tended)


class Caretaker(ClientProcess, Generic[M]):
    """One order at a time; `counts` tells what became of them."""

    order_timeout_s = 2.0

    def __init__(
        self,
        world: World,
        network: Network,
        scenario: Scenario,
        members: dict[ReplicaId, M],
        build: Callable[[ReplicaId], M],
    ) -> None:
        super().__init__(ENDPOINT, world, network, scenario)
        self._members = members
        self._build_joiner = build
        self._busy = False
        self._resting = False
        self._removal_based_on: Index = -1  # of the last removal that was ordered
        self.counts: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether an order is under way, which may yet change the members."""
        return self._busy

    def rest(self) -> None:
        """Begin nothing more until the faults have ended."""
        self._resting = True

    # --- what is known ----------------------------------------------------------------------------

    def latest(self) -> tuple[Index, Configuration]:
        """The newest configuration that a member acts on, and the number that orders name it by."""
        raise NotImplementedError

    def _may_change(self, index: Index, configuration: Configuration) -> bool:
        """Whether a change of this configuration can be ordered."""
        raise NotImplementedError

    def _based_on(self, reserved: Managed, index: Index) -> Index:
        """What to base the order on that adds the replica whose id was reserved."""
        raise NotImplementedError

    def _is_listed(self, id: ReplicaId) -> bool:
        """Whether a running member, other than this one, still takes it for one of the group."""
        raise NotImplementedError

    def _lost(self, configuration: Configuration) -> ReplicaId:
        """A voter that is to be replaced before anything else; 0: none."""
        unsound = (id for id in sorted(configuration.voters) if not self._members[id].sound)
        return next(unsound, 0)

    # --- orders -----------------------------------------------------------------------------------

    def change(self) -> None:
        """Add or remove a member; if a voter is lost, replace it before anything else."""
        index, configuration = self.latest()
        if self._busy or not self._may_change(index, configuration):
            return
        present = sorted(configuration.ids)
        grows = len(present) < 3 or (len(present) < MAX_MEMBERS and self.random.random() < 0.5)
        if self._lost(configuration) or grows:
            self._order(Reserve(), index, self._reserved)
            return
        lone = len(configuration.voters) == 1
        removable = [id for id in present if not (lone and id in configuration.voters)]
        if removable:
            self._removal_based_on = index
            id = self.random.choice(removable)
            self._order(Remove(id), index, partial(self._removed, id))

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
        """A record on a voter's disk decays; whoever reads it finds out by its checksum.

        The voter goes on until then, while its operator, who scrubs disks, replaces it. Only where
        the group could lose the disk as a whole: what decays is never the last good copy.
        """
        member = self._choose_victim()
        if member is not None:
            record = member.disk.rot(self.random)
            self.counts["records rotten"] += 1
            self.world.tell("bit-rot", f"member {member.id}", record)
            if self.random.random() < 0.5:
                self.change()

    def _choose_victim(self) -> M | None:
        """A voter whom the group can do without, if there is one."""
        index, configuration = self.latest()
        voters = sorted(configuration.voters)
        settled = not configuration.joint and self._removal_based_on < index
        members = [self._members[id] for id in configuration.ids]
        sound = all(member.sound for member in members)
        if self._busy or len(voters) < 3 or not (settled and sound):
            return None
        return self._members[self.random.choice(voters)]

    def _order(self, action: Action, based_on: Index, then: Callable[[Any], None]) -> None:
        if self._busy or self._resting or not self.running:
            return
        self._busy = True
        self.world.tell("order", action, f"based on {based_on}")
        self.core.manage(
            action, based_on, self.now + self.order_timeout_s, partial(self._told, action, then)
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
        index, configuration = self.latest()
        replaces = self._lost(configuration)
        voter = bool(replaces) or self.random.random() < 0.8
        if voter and not replaces and configuration.voters and self.random.random() < 0.4:
            replaces = self.random.choice(sorted(configuration.voters))
        add = Add(member.id, member.nonce, f"host-{member.id}", voter, replaces)
        self._order(add, self._based_on(result, index), self._finished)

    def _removed(self, id: ReplicaId, result: Any) -> None:
        if isinstance(result, Managed):
            # It stays for a while, not knowing, perhaps, that it is out; then it goes for good.
            self.world.after(self.random.uniform(0.0, 3.0), self._destroy, id)

    def _destroy(self, id: ReplicaId) -> None:
        if not self._is_listed(id):
            self.bury(self._members[id])

    def bury(self, member: M) -> None:
        """The replica ends, and never serves again."""
        member.crash()
        member.destroyed = True
        self.counts["members destroyed"] += 1
        self.world.tell("destroy", f"member {member.id}")
