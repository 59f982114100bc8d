"""Processes that go by the id of a member, with another disk than its own.

    a copy       the disk as the member left it in an earlier incarnation: an image from yesterday
    a stranger   an empty store that was made anew under the member's id

Whoever met the member since must not let the copy in, and nobody the stranger: they would vote
twice, and vouch for what they have not got. No invariant follows what an impostor does by itself;
a vote or an acknowledgement of its that counts breaks those of the members.

A replica that never met the member takes a copy for it. So a copy appears only where all others
remember a later incarnation, and nobody joins meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.simulation.members import VirtualMember
from raycons.simulation.network import IMPOSTORS, Network
from raycons.simulation.process import MakeMachine, Process
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World


class Impostors:
    """Makes impostors and ends them. `counts` tells how many there were of each kind."""

    def __init__(
        self, world: World, network: Network, scenario: Scenario, make_machine: MakeMachine
    ) -> None:
        self._world = world
        self._network = network
        self._scenario = scenario
        self._make_machine = make_machine
        self._random: Random = world.random("impostors")
        self._living: dict[int, Process] = {}  # by the member's id
        self.counts: Counter[str] = Counter()

    def appear(
        self, member: VirtualMember, others: Iterable[VirtualMember], configuration: Configuration
    ) -> None:
        """Let an impostor of `member` come for a while, if there is none and it may have one."""
        if member.id in self._living or len(configuration.voters) < 2:
            return  # alone, it would be a group of its own
        earlier = member.earlier
        copied = earlier is not None and all(
            other.remembers(member.id, earlier[0] + 1) for other in others
        )
        impostor = Process(
            member.id,
            self._world,
            self._network,
            self._scenario,
            self._make_machine,
            _uncounted,
            IMPOSTORS + member.id,
        )
        if copied and earlier is not None and self._random.random() < 0.7:
            kind = "copy"
            impostor.nonce = member.nonce
            impostor.disk.write(earlier[1])
            impostor.disk.sync()
        else:
            kind = "stranger"
            impostor.bootstrap(configuration)
        self.counts[kind] += 1
        self._world.tell("impostor", kind, f"of {member}")
        self._living[member.id] = impostor
        self._network.add(impostor)
        impostor.start()
        self._world.after(self._random.uniform(0.5, 3.0), self._end, impostor)

    def end_all(self) -> None:
        """Let none be left."""
        for impostor in list(self._living.values()):
            self._end(impostor)

    def _end(self, impostor: Process) -> None:
        if self._living.get(impostor.id) is impostor:
            del self._living[impostor.id]
            impostor.destroyed = True
            impostor.crash()
            self._network.remove(impostor)


def _uncounted(name: str, fields: dict[str, Any]) -> None:
    """What an impostor does is nobody's coverage."""
