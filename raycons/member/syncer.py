"""Who waits for the disk, so that the event loop never does.

Batches are written on the loop, unsynced, in microseconds; a syncer syncs the write-ahead log once
for all that was written before, however many asked for it (group commit), and tells the loop. Where
the kernel does that by itself (`kernel_syncer`), it is best; here is the thread for other systems.

A sync that failed is never tried again: the kernel may have dropped the dirty pages and report
success the next time. The process ends, and its successor finds out what the disk holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from raycons.member.clock import boottime
from raycons.store.contract import Store

log = logging.getLogger(__name__)

STALLED_S = 0.001  # an outstanding sync older than this is helped to the interpreter's lock
SETTLE_AFTER_S = 0.05  # so long without a request is a pause; a client alone makes none
MAX_SAMPLES = 512  # sync durations kept between two readings


class Syncer(Protocol):
    """Makes writes durable beside the loop."""

    def request(self, number: int) -> None:
        """Report `number` durable once all that was written before this call is on disk."""

    def yield_to_disk(self, now: float) -> None:
        """Help along a sync that has been waiting; called once a turn of a busy loop."""

    def take_durations(self) -> list[float]:
        """How long syncs took since the last call, in seconds; a bounded sample."""

    async def close(self) -> None:
        """Stop, when the sync under way is over; what was not reported by now never is."""


class ThreadSyncer:
    """Group commit on a thread of its own."""

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        durable: Callable[[int], None],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`durable(number)` is called on the loop; `failed` on the thread."""
        self._store = store
        self._loop = loop
        self._durable = durable
        self._failed = failed or end_process
        self._requests: SimpleQueue[int | None] = SimpleQueue()
        self._requested = 0
        self._reported = 0
        self._waiting_since = 0.0  # when the oldest unreported number was asked for
        self._durations: list[float] = []
        self._thread = threading.Thread(target=self._run, name="raycons-sync", daemon=True)
        self._thread.start()

    def request(self, number: int) -> None:
        """See `Syncer`."""
        if self._requested == self._reported:
            self._waiting_since = boottime()
        self._requested = number
        self._requests.put(number)

    def yield_to_disk(self, now: float) -> None:
        """See `Syncer`.

        While the loop is busy it holds the interpreter's lock for 5 ms at a time, and the thread
        needs that lock twice for each sync: to begin, and to report. Measured under full load,
        commits then wait 0.26 s in the median; with this call, 2.4 ms.
        """
        if self._requested != self._reported and now - self._waiting_since >= STALLED_S:
            time.sleep(0)

    def take_durations(self) -> list[float]:
        """See `Syncer`."""
        taken, self._durations = self._durations, []
        return taken

    async def close(self) -> None:
        """See `Syncer`; the thread has ended then."""
        self._requests.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001  whatever it is, the disk's state is unknown
            self._failed(error)

    def _serve(self) -> None:
        while True:
            newest = self._next()
            while newest is not None and not self._requests.empty():
                newest = self._requests.get()
            if newest is None:
                return
            began = boottime()
            self._store.sync()
            if len(self._durations) < MAX_SAMPLES:
                self._durations.append(boottime() - began)
            try:
                self._loop.call_soon_threadsafe(self._report, newest)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _next(self) -> int | None:
        """What is asked for next. Where that takes its time, the store settles meanwhile."""
        try:
            return self._requests.get(timeout=SETTLE_AFTER_S)
        except Empty:
            self._store.settle()
            self._store.sync()
            return self._requests.get()

    def _report(self, number: int) -> None:
        self._reported = number
        if self._requested != number:
            # What was asked for meanwhile waits for the sync that begins now.
            self._waiting_since = boottime()
        self._durable(number)


class LoopSyncer:
    """For a store that lives in memory: durable at once, told in the next turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, durable: Callable[[int], None]) -> None:
        """`durable(number)` is called on the loop, never from within `request`."""
        self._loop = loop
        self._durable = durable
        self._newest = 0
        self._scheduled = False

    def request(self, number: int) -> None:
        """See `Syncer`."""
        self._newest = number
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._report)

    def yield_to_disk(self, now: float) -> None:
        """See `Syncer`; there is no thread to help."""

    def take_durations(self) -> list[float]:
        """See `Syncer`; nothing is synced here."""
        return []

    async def close(self) -> None:
        """See `Syncer`."""

    def _report(self) -> None:
        self._scheduled = False
        self._durable(self._newest)


def end_process(error: BaseException) -> None:
    """What follows a failed sync: the process that comes after this one looks at what is there."""
    log.critical("event=sync-failed pid=%d error=%r action=exit", os.getpid(), error)
    logging.shutdown()
    os._exit(74)  # EX_IOERR
