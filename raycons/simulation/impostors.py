"""Processes that go by the id of a member, with another disk than its own.

    a copy       the disk as the member left it in an earlier incarnation: an image from yesterday,
                 opened once or more often
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
        self._living: Process | None = None
        self.active = True  # off, what they do by themselves is all that happens
        self.counts: Counter[str] = Counter()

    def appear(
        self, member: VirtualMember, others: Iterable[VirtualMember], configuration: Configuration
    ) -> None:
        """Let an impostor of `member` come for a while, unless there is one."""
        if self._living is not None or len(configuration.voters) < 2:
            return  # two of one day, or one of a lone voter, would be a group of their own
        others = list(others)
        images = [
            image
            for incarnation, image in member.earlier
            if all(other.remembers(member.id, incarnation + 1) for other in others)
        ]
        impostor = Process(
            member.id,
            self._world,
            self._network,
            self._scenario,
            self._make_machine,
            _uncounted,
            IMPOSTORS * (1 + self.counts.total()) + member.id,
        )
        if images and self._random.random() < 0.7:
            kind = "copy"
            impostor.nonce = member.nonce
            impostor.disk.write(self._random.choice(images))
            impostor.disk.sync()
        else:
            kind = "stranger"
            impostor.bootstrap(configuration)
        self.counts[kind] += 1
        self._world.tell("impostor", kind, f"of {member}")
        self._living = impostor
        self._network.add(impostor)
        impostor.start()
        for _ in range(self._random.choice([0, 0, 1, 4])):
            self._world.after(self._random.uniform(0.0, 0.5), self._open_again, impostor)
        self._world.after(self._random.uniform(0.5, 3.0), self._end, impostor)

    def end_all(self) -> None:
        """Let none be left."""
        if self._living is not None:
            self._end(self._living)

    def _open_again(self, impostor: Process) -> None:
        """Opening an old store again and again makes it no younger."""
        if self._living is impostor and self.active:
            impostor.crash()
            impostor.restart()

    def _end(self, impostor: Process) -> None:
        if self._living is impostor:
            self._living = None
            impostor.destroyed = True
            impostor.crash()
            self._network.remove(impostor)


def _uncounted(name: str, fields: dict[str, Any]) -> None:
    """What an impostor does is nobody's coverage."""
