"""Carrying out one round: its faults begin, are held, are lifted, and the cluster comes back.

Whatever happens, what was injected is lifted, cancellation included; every wait has an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from raycons.chaos.faults import Fault, is_whole
from raycons.chaos.kinds import KINDS, fault
from raycons.chaos.report import Incident
from raycons.chaos.schedule import Planned, Round
from raycons.chaos.target import Target
from raycons.chaos.timeline import Timeline
from raycons.errors import RayconsError

INJECT_S = 90.0  # adding a member takes a while
LIFT_S = 90.0
WHOLE_S = 60.0
LOOK_S = 0.1

Clock = Callable[[], float]


class Rounds:
    """Puts rounds of faults on a cluster.

    Args:
        target: the cluster, whole.
        timeline: where the load notes its acknowledged writes.
        begin: when the run began.
        replicas: how many voters make the cluster whole.
        clock: the one of the timeline.
    """

    def __init__(
        self,
        target: Target,
        timeline: Timeline,
        *,
        begin: float,
        replicas: int,
        clock: Clock = time.monotonic,
    ) -> None:
        self._target = target
        self._timeline = timeline
        self._begin = begin
        self._replicas = replicas
        self._clock = clock

    async def carry_out(self, planned: Round) -> Incident:
        """One round; returns when the cluster is whole, or was not in time."""
        notes: list[str] = []
        status = await self._target.status()
        victims: list[int] = []
        kinds: list[str] = []  # that began: others are only noted
        taken: dict[int, list[str]] = {}
        injected: list[Fault] = []
        began = self._clock()
        try:
            for one in in_order(planned.faults):
                with _noted(notes, f"{one.kind} did not begin"):
                    made, victim = fault(one, self._target, status, taken)
                    taken.setdefault(victim, []).append(one.kind)
                    victims.append(victim)
                    kinds.append(one.kind)
                    injected.append(made)  # also one that begins only in part is to be lifted
                    async with asyncio.timeout(INJECT_S):
                        await made.inject()
            begun = self._clock()
            await asyncio.sleep(planned.hold_s)
        finally:
            await self._lift(injected, notes)
        healed = self._clock()
        whole = await self._until_whole(notes)
        end = self._clock()
        await asyncio.sleep(planned.rest_s)
        measured = not notes and all(KINDS[kind].measured for kind in kinds)
        failover = self._timeline.failover_s(began, begun) if measured else None
        return Incident(
            kinds=tuple(kinds),
            victims=tuple(victims),
            at_leader=status.leader in victims or any(KINDS[kind].hits_leader for kind in kinds),
            began_s=self._since(began),
            healed_s=self._since(healed),
            whole_s=self._since(end) if whole else None,
            failover_ms=None if failover is None else round(failover * 1e3, 1),
            silence_ms=round(self._timeline.silence_s(began, end) * 1e3, 1),
            note="; ".join(notes),
        )

    async def _lift(self, injected: list[Fault], notes: list[str]) -> None:
        for made in reversed(injected):
            with _noted(notes, "a fault could not be lifted"):
                async with asyncio.timeout(LIFT_S):
                    await made.lift()

    async def _until_whole(self, notes: list[str]) -> bool:
        if notes:
            await self._target.heal_members()  # a member may have missed that it was healed
        deadline = self._clock() + WHOLE_S
        seen = ""
        while self._clock() < deadline:
            try:
                status = await self._target.status()
            except RayconsError as error:
                seen = str(error)
            else:
                if is_whole(status, self._replicas):
                    return True
                states = ", ".join(f"{one.id} is {one.state}" for one in status.replicas)
                seen = f"leader {status.leader or 'unknown'}; {states}"
            await asyncio.sleep(LOOK_S)
        notes.append(f"not whole after {WHOLE_S:g} s: {seen}")
        return False

    def _since(self, at: float) -> float:
        return round(at - self._begin, 3)


def in_order(faults: Sequence[Planned]) -> list[Planned]:
    """What a member has to be asked for comes first: it may be stopped next.

    >>> [one.kind for one in in_order([Planned("pause", True, 0.5), Planned("deaf", True, 0.5)])]
    ['deaf', 'pause']
    """
    return sorted(faults, key=lambda one: not KINDS[one.kind].needs_injection)


@contextlib.contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    import ray

    try:
        yield
    except (RayconsError, TimeoutError, ProcessLookupError, ValueError) as error:
        notes.append(f"{what}: {str(error) or type(error).__name__}")
    except ray.exceptions.RayError as error:
        notes.append(f"{what}: {type(error).__name__}")
