"""How long a fault on the leader keeps a writer waiting.

A trial, exactly:

    t0  read just before the fault is injected
    t1  read once it is injected (the signal is sent; the cut-off member has said that it is)
    t2  the first acknowledgement of a write that was issued at or after t1

    failover = t2 - t0

Writes issued before t1 do not end the trial, though they may be acknowledged after it: such an
answer may come from the old leader and prove nothing. The writer never stops: it issues a write
every millisecond, whatever became of the ones before, so that there is always one that waits for
the new leader, and no write's own pace is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import numpy as np

from raycons.chaos.faults import (
    Fault,
    FaultKind,
    StatusSource,
    fault_on_leader,
    until_whole,
)
from raycons.errors import ClusterError, RayconsError

Write = Callable[[int], Awaitable[object]]
Clock = Callable[[], float]

WRITE_INTERVAL_S = 0.001
MAX_UNANSWERED = 5_000  # a writer that hears nothing for so long stops adding to the pile
TRIAL_TIMEOUT_S = 60.0
SETTLE_S = 0.5  # of undisturbed writing before each fault


class Recovery:
    """Waits for the first acknowledgement of a write that was issued after a fault."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._since = float("inf")
        self._acknowledged: asyncio.Future[float] | None = None

    def acknowledged(self, issued: float) -> None:
        """A write that was issued at `issued` was acknowledged just now."""
        if issued >= self._since:
            self._since = float("inf")
            if self._acknowledged is not None and not self._acknowledged.done():
                self._acknowledged.set_result(self._clock())

    async def after(self, fault: Fault, timeout_s: float = TRIAL_TIMEOUT_S) -> float:
        """Inject `fault`; returns the seconds until service was back, as this module defines them.

        Raises ClusterError where nothing was acknowledged within the timeout.
        """
        self._acknowledged = asyncio.get_running_loop().create_future()
        begin = self._clock()
        await fault.inject()
        self._since = self._clock()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._acknowledged - begin
        except TimeoutError:
            raise ClusterError(
                f"no write was acknowledged within {timeout_s:g} s after the fault"
            ) from None
        finally:
            self._since = float("inf")


class Writer:
    """Issues a write every millisecond, and tells a `Recovery` what is acknowledged."""

    def __init__(self, write: Write, recovery: Recovery, clock: Clock = time.perf_counter) -> None:
        self._write = write
        self._recovery = recovery
        self._clock = clock
        self._unanswered: set[asyncio.Task[None]] = set()
        self.issued = 0
        self.failed = 0

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                if len(self._unanswered) < MAX_UNANSWERED:
                    task = asyncio.create_task(self._one(self.issued))
                    self._unanswered.add(task)
                    task.add_done_callback(self._unanswered.discard)
                    self.issued += 1
                await asyncio.sleep(WRITE_INTERVAL_S)
        finally:
            for task in self._unanswered:
                task.cancel()
            await asyncio.gather(*self._unanswered, return_exceptions=True)

    async def _one(self, number: int) -> None:
        issued = self._clock()
        try:
            await self._write(number)
        except RayconsError:
            self.failed += 1  # not acknowledged: ends no trial
        else:
            self._recovery.acknowledged(issued)


class Milliseconds(msgspec.Struct, frozen=True):
    """A handful of durations."""

    p50: float
    max: float
    samples: tuple[float, ...]  # in the order in which they were taken


def milliseconds(seconds: Sequence[float]) -> Milliseconds:
    """Sum up durations given in seconds.

    >>> milliseconds([0.030, 0.010, 0.020])
    Milliseconds(p50=20.0, max=30.0, samples=(30.0, 10.0, 20.0))
    """
    samples = tuple(round(one * 1e3, 1) for one in seconds)
    if not samples:
        raise ValueError("no samples to sum up")
    return Milliseconds(round(float(np.median(samples)), 1), max(samples), samples)


async def trials(
    write: Write,
    status: StatusSource,
    *,
    fault: FaultKind,
    count: int,
    replicas: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """Put `fault` on the leader `count` times, with the cluster whole before each; in seconds.

    Args:
        write: issues write number n; raises a RayconsError where it was not acknowledged.
        status: the cluster's status now.
        fault: what happens to the leader.
        count: how often.
        replicas: how many of them make the cluster whole.
        progress: told after each trial how many are done.

    Raises:
        ClusterError: service, or a replica, did not come back; or the fault left the leader in
            office, so that nothing was measured.
    """
    recovery = Recovery()
    writer = Writer(write, recovery)
    writing = asyncio.create_task(writer.run())
    samples: list[float] = []
    try:
        for trial in range(count):
            await until_whole(status, replicas)
            await asyncio.sleep(SETTLE_S)
            before = await until_whole(status, replicas)
            injected = fault_on_leader(fault, before)
            try:
                samples.append(await recovery.after(injected))
            finally:
                await injected.lift()
            after = await until_whole(status, replicas)
            if after.term == before.term:
                raise ClusterError(
                    f"trial {trial + 1}: replica {before.leader} led term {before.term} before the "
                    f"{fault} and still does"
                )
            progress(trial + 1)
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    return samples
