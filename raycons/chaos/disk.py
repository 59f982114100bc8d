"""Faults of the disk below one member, which does them to its own syncs when asked over Ray.

Only in a cluster that was started with `fault_injection=True`, and keeps its data on disk.
"""

from __future__ import annotations

import asyncio
import contextlib

from raycons.chaos.target import CALL_S, Target

HUNG_S = 3600.0  # longer than anyone waits; lifting ends it at once


class SlowDisk:
    """Each sync of a member takes longer, or does not end before it is lifted."""

    def __init__(self, target: Target, replica: int, delay_s: float = HUNG_S) -> None:
        self._target = target
        self._replica = replica
        self._delay_s = delay_s

    async def inject(self) -> None:
        """Slow it down. Raises BadArgument where the cluster does not allow it."""
        member = await self._target.member(self._replica)
        async with asyncio.timeout(CALL_S):
            await member.slow_disk.remote(self._delay_s)

    async def lift(self) -> None:
        """As fast as ever; a member that is gone needs it no more. Any other failure is told."""
        import ray

        with contextlib.suppress(ValueError, ray.exceptions.ActorDiedError):
            member = await self._target.member(self._replica)
            async with asyncio.timeout(CALL_S):
                await member.slow_disk.remote(0.0)


class BadDisk:
    """The next sync of a member fails, which ends its process; Ray makes a new one."""

    def __init__(self, target: Target, replica: int) -> None:
        self._target = target
        self._replica = replica

    async def inject(self) -> None:
        """Break it. Raises BadArgument where the cluster does not allow it."""
        import ray

        member = await self._target.member(self._replica)
        with contextlib.suppress(ray.exceptions.RayActorError):  # it ended before it could answer
            async with asyncio.timeout(CALL_S):
                await member.break_disk.remote()

    async def lift(self) -> None:
        """Nothing to undo: the new process finds a disk that works."""
