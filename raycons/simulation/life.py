"""The life of one seed, whatever its protocol: faults, then a healed quorum, then all of it healed.

The first part of a run is full of faults. Then only a quorum is healed, and every client completes
a new write; then all is healed, and every client completes another; each in bounded virtual time.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.simulation.caretaker import Caretaker
from raycons.simulation.clients import Caller
from raycons.simulation.core import choose_core
from raycons.simulation.faults import Nemesis
from raycons.simulation.world import Violation, World

SELDOM = (50_000, 20, 50)  # the collector finds next to nothing, and takes a fifth of the time
RECOVERY_S = 10.0  # within which progress must be back, and again all members be equal


class Broken(msgspec.Struct, frozen=True):
    """An invariant that does not hold, and when that was seen."""

    step: int
    time_s: float  # virtual
    invariant: str
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """What one seed came to. `violation` is None where everything held."""

    seed: int
    events: int
    trace: int  # equal for equal runs
    time_s: float  # virtual
    violation: Broken | None
    coverage: dict[str, int]  # how often things happened, so that an idle run is seen as one
    story: list[str]  # the last things that happened, if something broke


class Life:
    """Leads a world, which whoever derives from this has built, through one seed."""

    world: World
    members: Mapping[ReplicaId, Any]
    callers: list[Caller]
    operator: Caretaker[Any]
    nemesis: Nemesis
    events: Counter[str]

    def execute(self, seconds: float) -> Outcome:
        """Live through `seconds` with faults, then through the recovery."""
        violation: Broken | None = None
        before = gc.get_threshold()
        gc.set_threshold(*SELDOM)
        try:
            with self.world.judging():
                self._live(seconds)
        except Violation as broken:
            violation = Broken(broken.step, round(broken.time, 6), broken.invariant, broken.message)
        finally:
            gc.set_threshold(*before)
        coverage = self._coverage()
        return Outcome(
            seed=self.world.seed,
            events=self.world.step,
            trace=hash((self.world.trace, *self._fingerprint(coverage))),
            time_s=self.world.now,
            violation=violation,
            coverage=coverage,
            story=self.world.story() if violation else [],
        )

    def _live(self, seconds: float) -> None:
        for member in self.members.values():
            member.start()
        for caller in self.callers:
            caller.start()
        self.operator.start()
        self.nemesis.begin()
        self.world.run(seconds)
        self._recover_core()
        self._recover()

    def _recover_core(self) -> None:
        """A quorum is healed, the others stay as they are: progress comes back."""
        self.operator.rest()
        # An order under way may change who is a quorum; the faults go on until it has ended.
        patience_s = 2 * self.operator.order_timeout_s
        self.world.run(self.world.now + patience_s, lambda: not self.operator.busy)
        sound = [id for id, member in self.members.items() if member.sound]
        core = choose_core(self.world.random("core"), self._configurations(), sound)
        if core is None or self.operator.busy:
            self.events["core skipped"] += 1
            return
        self.events["core healed"] += 1
        self.nemesis.heal_only(core)
        self._await_new_writes()

    def _await_new_writes(self) -> None:
        """Every client completes a write that it begins from now on."""
        began = self.world.now
        self._await(
            "progress",
            lambda: all(caller.last_write_began > began for caller in self.callers),
            lambda: (
                f"no new write of {[c.id for c in self.callers if c.last_write_began <= began]}"
            ),
        )

    def _recover(self) -> None:
        """No fault any more: progress comes back."""
        self.nemesis.calm()
        self._await_new_writes()
        for caller in self.callers:
            caller.stopping = True
        self._await(
            "progress",
            lambda: not any(caller.busy for caller in self.callers),
            lambda: f"{[caller.id for caller in self.callers if caller.busy]} still wait",
        )

    def _await(
        self, invariant: str, holds: Callable[[], bool], describe: Callable[[], str]
    ) -> None:
        self.world.run(self.world.now + RECOVERY_S, holds)
        if not holds():
            late = f"{RECOVERY_S} s after the faults ended: {describe()}; {self._situation()}"
            raise self.world.dated(Violation(invariant, late))

    # --- what a protocol tells --------------------------------------------------------------------

    def _configurations(self) -> list[Configuration]:
        """All that may be in force."""
        raise NotImplementedError

    def _situation(self) -> str:
        """Where all members are, for whoever asks why nothing went on."""
        raise NotImplementedError

    def _coverage(self) -> dict[str, int]:
        """How often things happened."""
        raise NotImplementedError

    def _fingerprint(self, coverage: dict[str, int]) -> tuple[int, ...]:
        """What equal runs have equal, besides the order of events."""
        raise NotImplementedError
