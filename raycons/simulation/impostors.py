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

from collections import Counter, deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.simulation.network import IMPOSTORS, EndpointId, Network
from raycons.simulation.process import Process
from raycons.simulation.world import World
from raycons.store.contract import Batch

MakeProcess = Callable[[ReplicaId, EndpointId], Process]


class Original(Protocol):
    """A member that somebody may pretend to be."""

    id: ReplicaId
    nonce: int
    earlier: deque[tuple[int, Batch]]  # its store, as some of its incarnations left it

    def remembers(self, peer: ReplicaId, incarnation: int) -> bool:
        """Whether it will never forget that the peer's store was opened so often."""


class Impostors:
    """Makes impostors and ends them. `counts` tells how many there were of each kind."""

    def __init__(self, world: World, network: Network, make: MakeProcess) -> None:
        """`make` makes a process that goes by a replica's id, at another address."""
        self._world = world
        self._network = network
        self._make = make
        self._random: Random = world.random("impostors")
        self._living: Process | None = None
        self.active = True  # off, what they do by themselves is all that happens
        self.counts: Counter[str] = Counter()

    def appear(
        self, member: Original, others: Iterable[Original], configuration: Configuration
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
        address = IMPOSTORS * (1 + self.counts.total()) + member.id
        impostor = self._make(member.id, address)
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
