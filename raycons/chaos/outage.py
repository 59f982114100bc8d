"""Faults that take all members at once: nothing is served, and everything has to come back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from raycons.chaos.faults import Kill
from raycons.chaos.target import Target
from raycons.cluster.status import ReplicaStatus


class Blackout:
    """SIGKILL for all members, as when the power fails; Ray makes new processes by itself."""

    def __init__(self, replicas: Sequence[ReplicaStatus]) -> None:
        self._kills = [Kill(replica) for replica in replicas]

    async def inject(self) -> None:
        """Send the signals."""
        for kill in self._kills:
            with contextlib.suppress(ProcessLookupError):
                await kill.inject()

    async def lift(self) -> None:
        """Nothing to undo: Ray restarts the actors by itself."""


class FullStop:
    """An orderly stop of the whole cluster, and a start from its disks."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def inject(self) -> None:
        """Stop it; returns when no member is left."""
        await self._target.stop()

    async def lift(self) -> None:
        """Start it. Raises ClusterError where it does not come up."""
        await self._target.start()
