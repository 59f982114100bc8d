"""Syncs that the kernel carries out by itself, and announces to the event loop.

No thread of Python's waits for the disk, so none has to win the interpreter's lock from the loop to
begin, and again to report. Measured beside the thread of `syncer`, three at once on two cores: a
sync is told of 0.09 ms sooner (0.25 ms for 0.34 ms), a write costs all processes together a fifth
less. Only where a new file has to get into its directory does a thread wait all the same.

It is io_uring that does this (Linux 5.6); where there is none, or it is forbidden, as container
runtimes do by default, `make_syncer` takes the thread. The older io_submit would do it as well, but
a process that dies with such a context closes its sockets 40 ms late, and so is missed 40 ms later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EIO
from functools import partial
from typing import TYPE_CHECKING

from raycons.member.clock import boottime
from raycons.member.syncer import (
    MAX_SAMPLES,
    SETTLE_AFTER_S,
    STALLED_S,
    LoopSyncer,
    Syncer,
    ThreadSyncer,
    end_process,
)
from raycons.store.contract import OpenSync, Store

if TYPE_CHECKING:
    from caio.linux_uring import Context

log = logging.getLogger(__name__)

MAX_FILES = 64  # in one sync: a log writes one at a time, two where one ends and the next begins


def make_syncer(
    store: Store,
    loop: asyncio.AbstractEventLoop,
    durable: Callable[[int], None],
    *,
    on_disk: bool,
) -> Syncer:
    """The fastest way that store and system have; `on_disk` is False for a store in memory."""
    if not on_disk:
        return LoopSyncer(loop, durable)
    if isinstance(store, OpenSync):
        try:
            from caio.linux_uring import Context

            return KernelSyncer(store, loop, durable, Context(MAX_FILES))
        except (ImportError, OSError, SystemError) as error:
            log.info("event=sync-by-thread reason=%r", error)
    return ThreadSyncer(store, loop, durable)


class KernelSyncer:
    """Group commit without a thread: implements `Syncer` on the loop alone.

    idle --request--> under way: by the kernel (`_awaited` files), or aside on a thread (`_aside`)
    under way --request--> the same, and `_wanted`: another begins as soon as this one ends
    under way --last result--> told --> idle, or under way where wanted
    idle --pause--> under way for the store alone (`_settling`): told to nobody
    any --refused, closed--> over
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        durable: Callable[[int], None],
        context: Context,
        failed: Callable[[BaseException], None] = end_process,
    ) -> None:
        """`store` is an `OpenSync`; both `durable(number)` and `failed` are called on the loop."""
        from caio.linux_uring import Operation

        assert isinstance(store, OpenSync)
        self._store: Store = store
        self._files: OpenSync = store
        self._loop = loop
        self._durable = durable
        self._failed = failed
        self._context = context
        self._new_operation = Operation.fdsync
        self._requested = 0
        self._wanted = False  # since the sync under way began, or there is none
        self._covered = 0  # the newest number that the sync under way makes durable
        self._began: float | None = None  # when the sync under way did
        self._awaited = 0  # files that the kernel still has to sync
        self._results: list[int] = []
        self._aside: asyncio.Future[None] | None = None  # a sync that a thread waits for
        self._thread = ThreadPoolExecutor(1, "raycons-sync")  # begun when it is first needed
        self._ended_at = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._settling = False  # the sync under way is nobody's but the store's own
        self._over = False  # closed, or failed: nothing is synced any more
        self._durations: list[float] = []
        loop.add_reader(context.fileno, self._kernel_has_news)

    def request(self, number: int) -> None:
        """See `Syncer`."""
        self._requested = number
        self._wanted = True
        if self._began is None and not self._over:
            self._begin()

    def yield_to_disk(self, now: float) -> None:
        """See `Syncer`; the kernel needs no help, but a thread does."""
        if self._aside is not None and self._began is not None and now - self._began >= STALLED_S:
            time.sleep(0)

    def take_durations(self) -> list[float]:
        """See `Syncer`."""
        taken, self._durations = self._durations, []
        return taken

    async def close(self) -> None:
        """See `Syncer`; the sync under way is waited for, however long the disk takes."""
        self._over = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._context.fileno)
        if self._aside is not None:
            await asyncio.wait([self._aside])
        if self._awaited:
            await self._loop.run_in_executor(self._thread, self._await_kernel)
        self._thread.shutdown(wait=False)

    # --- one sync ---------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Sync all that was written by now."""
        self._wanted, self._covered = False, self._requested
        self._began = boottime()
        try:
            files = self._files.begin_sync()
            if files is None:
                self._wait_aside(self._store.sync, self._report)
            elif not files:
                self._loop.call_soon(self._finish)
            elif len(files) > MAX_FILES:
                self._wait_aside(partial(self._sync_files, files), self._finish)
            else:
                self._ask_kernel(files)
        except BaseException as error:  # noqa: BLE001  whatever it is, the disk's state is unknown
            self._fail(error)

    def _ask_kernel(self, files: list[int]) -> None:
        operations = []
        for descriptor in files:
            operation = self._new_operation(descriptor)
            operation.set_callback(self._results.append)
            operations.append(operation)
        self._awaited = self._context.submit(*operations)
        if self._awaited != len(files):
            raise OSError(f"the kernel took {self._awaited} of {len(files)} files to sync")
        self._context.flush()
        if self._results:  # of what took no time
            self._loop.call_soon(self._take_results)

    def _wait_aside(self, sync: Callable[[], None], done: Callable[[], None]) -> None:
        """This one is not for the kernel alone: let a thread wait for it."""

        def waited(aside: asyncio.Future[None]) -> None:
            self._aside = None
            error = aside.exception()
            if self._over:
                return
            if error is None:
                done()
            else:
                self._fail(error)

        self._aside = self._loop.run_in_executor(self._thread, sync)
        self._aside.add_done_callback(waited)

    def _kernel_has_news(self) -> None:
        with suppress(BlockingIOError):  # told of before; the ring may have more all the same
            self._context.poll()
        self._context.process_events()
        self._take_results()

    def _take_results(self) -> None:
        if self._awaited and len(self._results) == self._awaited:
            self._awaited = 0
            self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        refused = [result for result in self._results if result]
        self._results.clear()
        error = _as_error(refused[0]) if refused else None
        try:
            self._files.end_sync(error)
        except BaseException as failure:  # noqa: BLE001  see `_begin`
            self._fail(failure)
        else:
            self._report()

    def _report(self) -> None:
        """The next sync begins before anybody acts on this one."""
        assert self._began is not None
        self._ended_at = boottime()
        if len(self._durations) < MAX_SAMPLES:
            self._durations.append(self._ended_at - self._began)
        self._began = None
        number, settling, self._settling = self._covered, self._settling, False
        if self._wanted:
            self._begin()
        elif not settling and self._pause is None:
            self._pause = self._loop.call_later(SETTLE_AFTER_S, self._pause_over)
        if not settling and not self._over:
            self._durable(number)

    def _sync_files(self, files: list[int]) -> None:
        """What the kernel would do, on a thread."""
        for descriptor in files:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                self._results.append(-(error.errno or EIO))

    def _fail(self, error: BaseException) -> None:
        self._over = True
        self._failed(error)

    def _await_kernel(self) -> None:
        while len(self._results) < self._awaited:
            self._context.process_events(MAX_FILES, 1, -1)

    # --- pauses -----------------------------------------------------------------------------------

    def _pause_over(self) -> None:
        """Nothing was asked for in a while: the store settles meanwhile."""
        self._pause = None
        if self._over:
            return
        left_s = self._ended_at + SETTLE_AFTER_S - boottime()
        if self._began is not None or left_s > 0:
            again_s = max(left_s, 0.0) or SETTLE_AFTER_S
            self._pause = self._loop.call_later(again_s, self._pause_over)
            return
        self._settling = True
        try:
            self._store.settle()
        except BaseException as error:  # noqa: BLE001  see `_begin`
            self._fail(error)
        else:
            self._begin()


def _as_error(result: int) -> OSError:
    """What the kernel said, which is a negative number."""
    return OSError(-result, os.strerror(-result))
