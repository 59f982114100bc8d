"""The nemesis: it draws faults at the scenario's rates, and takes each back after a while.

Every kind is a method `_<kind>`; what it does, it undoes by an event that it schedules. `calm`
undoes all of them at once, and from then on nothing new happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.simulation import network as shapes
from raycons.simulation.clients import Caller
from raycons.simulation.disk import Disk
from raycons.simulation.impostors import Impostors, Original
from raycons.simulation.network import Block, Link, Network
from raycons.simulation.partitions import draw_shape
from raycons.simulation.scenario import Scenario, draw_storm
from raycons.simulation.world import World


class Victim(Original, Protocol):
    """A member, as faults befall it."""

    disk: Disk
    running: bool
    destroyed: bool
    stays_down: bool

    @property
    def sound(self) -> bool:
        """Whether nothing has befallen its disk that may end it yet, or did."""

    @property
    def leading(self) -> bool:
        """Whether it takes itself for the leader."""

    def crash(self) -> None:
        """The process dies."""

    def restart(self) -> None:
        """Start the process, unless it runs, or must not."""

    def pause(self) -> None:
        """The process stands still."""

    def resume(self) -> None:
        """The process goes on."""

    def change_clock(self, rate: float, forward_s: float) -> None:
        """The clock leaps ahead, and goes on at another rate."""

    def draw_rate(self) -> float:
        """A rate for the clock."""


class Orders(Protocol):
    """Who looks after the members."""

    def latest(self) -> tuple[int, Configuration]:
        """The newest configuration that any member acts on."""

    def transfer(self) -> None:
        """Hand leadership to somebody."""

    def change(self) -> None:
        """Add or remove a member."""

    def lose_disk(self) -> None:
        """A voter's disk is gone for good."""

    def rot_disk(self) -> None:
        """A record on a voter's disk decays."""

    def lie_about_disk(self) -> Victim | None:
        """A voter's disk loses what it reported as durable, if the group stands that."""

    def bury(self, member: Any) -> None:
        """The replica ends, and never serves again."""


class Nemesis:
    """Draws and carries out faults. `counts` tells how often each kind happened."""

    def __init__(
        self,
        world: World,
        network: Network,
        scenario: Scenario,
        members: Mapping[int, Victim],
        callers: Sequence[Caller],
        operator: Orders,
        impostors: Impostors,
    ) -> None:
        self._world = world
        self._random: Random = world.random("nemesis")
        self._network = network
        self._scenario = scenario
        self._members = members
        self._callers = callers
        self._operator = operator
        self._impostors = impostors
        self._active = True
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "crash-all": self._crash_all,
            "pause": self._pause,
            "partition": self._partition,
            "tear": self._tear,
            "weather": self._weather,
            "reset": self._reset,
            "slow-disk": self._slow_disk,
            "stalled-disk": self._stalled_disk,
            "clock": self._clock,
            "transfer": self._operator.transfer,
            "membership": self._operator.change,
            "lost-disk": self._operator.lose_disk,
            "client-crash": self._client_crash,
            "clog": self._clog,
            "swizzle": self._swizzle,
            "io-error": self._io_error,
            "disk-full": self._disk_full,
            "bit-rot": self._operator.rot_disk,
            "lost-fsync": self._lost_fsync,
            "doze": self._doze,
            "shun": self._shun,
            "impostor": self._impostor,
        }

    def begin(self) -> None:
        """Schedule the first fault of each kind that the scenario has."""
        for kind in self._scenario.rates:
            self._schedule(kind)

    def _schedule(self, kind: str) -> None:
        pause_s = self._random.expovariate(self._scenario.rates[kind])
        self._world.after(pause_s, self._strike, kind)

    def _strike(self, kind: str) -> None:
        if self._active:
            self.counts[kind] += 1
            self._kinds[kind]()
            self._schedule(kind)

    def heal_only(self, core: frozenset[ReplicaId]) -> None:
        """Heal `core` and the clients; what befalls the others now, or did before, stays.

        Each of the others is dead, stands still, or is cut off: both ways, or one.
        """
        self._active = self._impostors.active = False
        self._world.tell("heal-only", sorted(core))
        self._network.heal()
        self._network.weather = shapes.Weather()
        everyone = [*self._members, *(caller.id for caller in self._callers)]
        for member in self._members.values():
            if member.id in core:
                self._heal(member)
            elif not member.destroyed:
                self._doom(member, everyone)
        for caller in self._callers:
            if not caller.running:
                caller.start()

    def _doom(self, member: Victim, everyone: list[int]) -> None:
        fate = self._random.choice(["crash", "pause", "isolate", "mute", "deaf"])
        self.counts[f"doom {fate}"] += 1
        self._world.tell("doom", f"member {member.id}", fate)
        match fate:
            case "crash":
                member.crash()
            case "pause":
                member.pause()
            case "isolate":
                self._network.block(shapes.isolate(member.id, everyone), Block.CUT)
            case "mute":
                self._network.block(shapes.one_way([member.id], everyone), Block.CUT)
            case _:
                self._network.block(shapes.one_way(everyone, [member.id]), Block.CUT)
        member.stays_down = not member.running

    def _heal(self, member: Victim) -> None:
        member.disk.slowness, member.disk.stalled, member.disk.full = 1.0, False, False
        member.stays_down = False
        member.restart()
        member.resume()

    def calm(self) -> None:
        """End all faults: everything runs, reaches everything, and is quick."""
        self._active = False
        self._world.tell("calm")
        self._network.heal()
        self._network.weather = shapes.Weather()
        self._impostors.end_all()
        for member in self._members.values():
            if not member.sound and not member.destroyed:
                self._operator.bury(member)  # a scrub would have found it
            self._heal(member)
        for caller in self._callers:
            if not caller.running:
                caller.start()

    # --- processes --------------------------------------------------------------------------------

    def _standing(self) -> list[Victim]:
        return [member for member in self._members.values() if not member.destroyed]

    def _crash(self) -> None:
        standing = self._standing()
        several = self._random.random() < 0.2
        count = self._random.randint(1, len(standing)) if several else 1
        for member in self._random.sample(standing, count):
            self._crash_and_restart(member, self._random.uniform(0.02, 2.0))

    def _crash_all(self) -> None:
        for member in self._standing():
            self._crash_and_restart(member, self._random.uniform(0.02, 0.5))

    def _crash_and_restart(self, member: Victim, down_s: float) -> None:
        if member.running:
            member.crash()
            self._world.after(down_s, self._restart, member)

    def _restart(self, member: Victim) -> None:
        if self._active:
            member.restart()

    def _pause(self) -> None:
        member = self._random.choice(self._standing())
        member.pause()
        self._world.after(self._random.uniform(0.02, 1.5), self._resume, member)

    def _resume(self, member: Victim) -> None:
        if self._active:
            member.resume()

    def _doze(self) -> None:
        """A leader stands still, and all others restart before it wakes."""
        for member in self._leaders()[:1]:
            member.pause()
            self._world.after(self._random.uniform(0.3, 1.5), self._resume, member)
            for other in self._standing():
                if other is not member:
                    self._crash_and_restart(other, self._random.uniform(0.02, 0.2))

    def _impostor(self) -> None:
        """Somebody goes by a member's id, while that one is away, perhaps."""
        standing = self._standing()
        member = self._random.choice(standing)
        others = [other for other in standing if other is not member]
        _, configuration = self._operator.latest()
        if member.id in configuration.ids:
            self._impostors.appear(member, others, configuration)
        if self._random.random() < 0.6:
            self._crash_and_restart(member, self._random.uniform(0.5, 3.0))

    def _leaders(self) -> list[Victim]:
        return [member for member in self._standing() if member.leading]

    def _client_crash(self) -> None:
        caller = self._random.choice(self._callers)
        if caller.running:
            caller.crash()
            self._world.after(self._random.uniform(0.05, 1.0), self._restart_client, caller)

    def _restart_client(self, caller: Caller) -> None:
        if not caller.running:
            caller.start()

    # --- the network ------------------------------------------------------------------------------

    def _partition(self) -> None:
        members = [member.id for member in self._standing()]
        shape, links = draw_shape(self._random, members, [caller.id for caller in self._callers])
        self.counts[f"partition {shape}"] += 1
        self._block(links, self._random.choice([Block.CUT, Block.HOLD]))

    def _swizzle(self) -> None:
        """Cut some members off one by one, and heal them in another order (FoundationDB)."""
        random = self._random
        standing = [member.id for member in self._standing()]
        everyone = standing + [caller.id for caller in self._callers]
        for id in random.sample(standing, random.randint(1, len(standing))):
            links = shapes.isolate(id, everyone)
            self._world.after(random.uniform(0.0, 1.0), self._cut, links)
            self._world.after(random.uniform(1.0, 2.5), self._unblock, links)

    def _cut(self, links: list[Link]) -> None:
        if self._active:
            self._world.tell("cut", links)
            self._network.block(links, Block.CUT)

    def _clog(self) -> None:
        """One direction between two, or both, or all that leads to one, becomes slow."""
        random = self._random
        members = [member.id for member in self._standing()]
        one = random.choice(members)
        other = random.choice(members + [caller.id for caller in self._callers])
        links = random.choice(
            [
                shapes.one_way([one], [other]),
                shapes.one_way([other], [one]),
                shapes.isolate(one, [one, other]),
                shapes.one_way(members, [one]),
            ]
        )
        delay_s = 10 ** random.uniform(-2.5, 0.0)
        self._world.tell("clog", links, f"{delay_s:.3f} s")
        self._network.clog(links, delay_s)
        self._world.after(random.uniform(0.1, 3.0), self._unclog, links)

    def _unclog(self, links: list[Link]) -> None:
        self._network.clog(links, 0.0)

    def _tear(self) -> None:
        """All see a member's connections end, and hear nothing more; but it lives, and may lead.

        Learners may stay with it, and each client reaches only one of the two sides.
        """
        random, standing = self._random, self._standing()
        one = random.choice(self._leaders() or standing).id
        _, configuration = self._operator.latest()
        others = [member.id for member in standing if member.id != one]
        near = [one, *(id for id in others if self._stays(id, configuration))]
        far = [id for id in others if id not in near]
        for here in near:
            for there in far:
                self._network.reset(here, there)
        clients = [caller.id for caller in self._callers]
        side = near + [id for id in clients if random.random() < 0.5]
        links = shapes.split(side, [id for id in far + clients if id not in side])
        self._block(links, Block.CUT)

    def _stays(self, id: ReplicaId, configuration: Configuration) -> bool:
        return id not in configuration.electors and self._random.random() < 0.5

    def _shun(self) -> None:
        """No client reaches the leader, whom its followers hear: they are asked for everything."""
        for leader in self._leaders()[:1]:
            clients = [caller.id for caller in self._callers]
            self._block(shapes.split([leader.id], clients), Block.CUT)

    def _block(self, links: list[Link], how: Block) -> None:
        self._world.tell("partition", how.value, links)
        self._network.block(links, how)
        self._world.after(self._random.uniform(0.05, 3.0), self._unblock, links)

    def _unblock(self, links: list[Link]) -> None:
        if self._active:
            self._world.tell("heal", links)
            self._network.unblock(links)

    def _weather(self) -> None:
        self._network.weather = draw_storm(self._random, self._scenario.weather)
        self._world.tell("weather", self._network.weather)
        self._world.after(self._random.uniform(0.1, 2.0), self._clear_up)

    def _clear_up(self, _: Any) -> None:
        if self._active:
            self._network.weather = self._scenario.weather

    def _reset(self) -> None:
        member = self._random.choice(self._standing()).id
        others = [other.id for other in self._standing() if other.id != member]
        others += [caller.id for caller in self._callers]
        peer = self._random.choice(others)
        self._world.tell("reset", member, peer)
        self._network.reset(member, peer)

    # --- disks and clocks -------------------------------------------------------------------------

    def _slow_disk(self) -> None:
        member = self._random.choice(self._standing())
        member.disk.slowness = self._random.uniform(5.0, 100.0)
        self._world.tell("slow-disk", member.id, member.disk.slowness)
        self._world.after(self._random.uniform(0.1, 2.0), self._speed_up, member)

    def _speed_up(self, member: Victim) -> None:
        if self._active:
            member.disk.slowness = 1.0

    def _stalled_disk(self) -> None:
        member = self._random.choice(self._standing())
        member.disk.stalled = True
        self._world.tell("stalled-disk", member.id)
        self._world.after(self._random.uniform(0.1, 2.0), self._unstall, member)

    def _unstall(self, member: Victim) -> None:
        if self._active:
            member.disk.stalled = False

    def _io_error(self) -> None:
        """A write in the midst of a turn fails, or a sync, and the process ends."""
        disk = self._random.choice(self._standing()).disk
        if self._random.random() < 0.5:
            disk.fail_sync()
        else:
            disk.fail_after(self._random.randint(0, 4))

    def _lost_fsync(self) -> None:
        """A voter's disk lied; the voter is back soon, and later replaced."""
        member = self._operator.lie_about_disk()
        if member is not None:
            self._world.after(self._random.uniform(0.02, 0.5), self._restart, member)
            self._world.after(self._random.uniform(0.5, 2.0), self._look_after, member)

    def _look_after(self, member: Victim) -> None:
        """Have it replaced, as soon as that can be ordered, unless its disk lost nothing."""
        _, configuration = self._operator.latest()
        if self._active and not member.sound and member.id in configuration.voters:
            self._operator.change()
            self._world.after(1.0, self._look_after, member)

    def _disk_full(self) -> None:
        member = self._random.choice(self._standing())
        member.disk.full = True
        self._world.tell("disk-full", member.id)
        self._world.after(self._random.uniform(0.1, 2.0), self._free, member)

    def _free(self, member: Victim) -> None:
        if self._active:
            member.disk.full = False

    def _clock(self) -> None:
        member = self._random.choice(self._standing())
        leaps = self._scenario.jumps and self._random.random() < 0.5
        forward_s = self._random.uniform(0.0, 5.0) if leaps else 0.0
        member.change_clock(member.draw_rate(), forward_s)
