"""Ray's control plane is lost for a while: what members and connected clients must not notice."""

from __future__ import annotations

import asyncio
import time

from raycons.chaos.nodes import Nodes

AWAY_S = (2.0, 20.0)  # from, to; Ray ends the processes of its nodes after 60 (SAFETY 18)


class GcsOutage:
    """SIGKILL for the GCS, which is back after a while.

    Meanwhile Ray starts nothing, finds no actor by its name, and notices no death.

    Args:
        nodes: those that it serves.
        draw: from 0 to 1, for how long it is away.
    """

    def __init__(self, nodes: Nodes, draw: float) -> None:
        self._nodes = nodes
        self._away_s = AWAY_S[0] + (AWAY_S[1] - AWAY_S[0]) * draw
        self._since: float | None = None

    async def inject(self) -> None:
        """Kill it."""
        self._since = time.monotonic()
        await self._nodes.kill_gcs()

    async def lift(self) -> None:
        """Start it again when its time is over, unless it was never killed."""
        if self._since is None:
            return
        try:
            await asyncio.sleep(self._since + self._away_s - time.monotonic())
        finally:  # also where the run is interrupted: with no control plane, nothing can be ended
            await self._nodes.start_gcs()
