"""Faults of the network around one member, which does them to itself when asked over Ray.

Only in a cluster that was started with `fault_injection=True`. Clients are cut off, too.
"""

from __future__ import annotations

import asyncio
import contextlib

from raycons.chaos.target import CALL_S, Target


class Loss:
    """A member loses a share of what it sends, and of what it should hear.

    All of one and nothing of the other is a one-way partition, all of both a two-way one.
    """

    def __init__(
        self, target: Target, replica: int, *, outward: float = 0.0, inward: float = 0.0
    ) -> None:
        self._target = target
        self._replica = replica
        self._shares = (outward, inward)

    async def inject(self) -> None:
        """Begin to lose. Raises BadArgument where the cluster does not allow it."""
        member = await self._target.member(self._replica)
        async with asyncio.timeout(CALL_S):
            await member.lose.remote(*self._shares)

    async def lift(self) -> None:
        """Lose nothing any more; a member that is gone never does. Any other failure is told."""
        import ray

        with contextlib.suppress(ValueError, ray.exceptions.ActorDiedError):
            member = await self._target.member(self._replica)
            async with asyncio.timeout(CALL_S):
                await member.lose.remote(0.0, 0.0)
