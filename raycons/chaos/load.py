"""The clients of a cluster under faults: writers that keep a ledger, and recorded witnesses."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from raycons.chaos.ledger import Ledger
from raycons.chaos.target import Target
from raycons.chaos.timeline import Timeline
from raycons.chaos.witnesses import WITNESSES, Witnesses
from raycons.errors import RayconsError

WRITERS = 16
PACE_S = 0.02  # between two writes of one writer: what they write is read and compared at the end
PAUSE_S = 0.1  # after a write that was not acknowledged


class Load:
    """All that clients do in one run.

    Args:
        target: the cluster.
        ledger: where the writers note what they were told.
        witnesses: the recorded clients.
    """

    def __init__(self, target: Target, ledger: Ledger, witnesses: Witnesses) -> None:
        self.timeline = Timeline()
        self._target = target
        self._ledger = ledger
        self._witnesses = witnesses
        self._stopping = False

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All clients work until the end of the block; then each ends what is under way."""
        async with asyncio.TaskGroup() as group:
            for client in range(WRITERS):
                group.create_task(self._write(client))
            for client in range(WITNESSES):
                group.create_task(self._witnesses.run(self._target.kv, client, self._is_over))
            try:
                yield
            finally:
                self._stopping = True

    def _is_over(self) -> bool:
        return self._stopping

    async def _write(self, client: int) -> None:
        while not self._stopping:
            issued = time.monotonic()
            try:
                done = await self._ledger.write(self._target.cluster, client)
            except RayconsError:
                done = False  # the ledger has it as unknown
            if done:
                self.timeline.acknowledged(issued, time.monotonic())
            await asyncio.sleep(PACE_S if done else PAUSE_S)
