"""A closed-loop load: N clients in one process, each with one operation under way at a time.

Each client is a coroutine that waits for an answer before it asks again, as a program would; so the
number of clients is the number of operations in flight, and throughput and latency hang together
(operations per second = clients / mean latency). All of them share one connection, as the tasks of
one program do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np
import numpy.typing as npt

Clock = Callable[[], float]

# Room for latencies is made before the clock starts: growing an array would be measured, too.
MAX_OPERATIONS_PER_SECOND = 500_000


class Load(msgspec.Struct, frozen=True):
    """What a closed loop measured."""

    clients: int
    operations: int  # completed while the clock ran, warm-up excluded
    seconds: float
    latencies_s: npt.NDArray[np.float64]  # shape (operations,), in order of completion

    @property
    def operations_per_second(self) -> float:
        """Completed operations over the measured time."""
        return self.operations / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latency, in milliseconds; NaN where nothing completed."""
        if self.operations == 0:
            return float("nan")
        return float(np.percentile(self.latencies_s, percent)) * 1e3


class LoadReport(msgspec.Struct, frozen=True):
    """The summary of a load that a report shows."""

    operations_per_second: int
    p50_ms: float
    p99_ms: float
    clients: int
    operations: int
    seconds: float


def summarize(load: Load) -> LoadReport:
    """Round a load's figures to what repeats from run to run."""
    return LoadReport(
        operations_per_second=round(load.operations_per_second),
        p50_ms=round(load.percentile_ms(50), 3),
        p99_ms=round(load.percentile_ms(99), 3),
        clients=load.clients,
        operations=load.operations,
        seconds=round(load.seconds, 3),
    )


async def closed_loop(
    operation: Callable[[int], Awaitable[object]],
    *,
    clients: int,
    seconds: float,
    warm_up_s: float = 0.5,
    clock: Clock = time.perf_counter,
) -> Load:
    """Run `clients` coroutines that call `operation` again and again, and measure the calls.

    Args:
        operation: called with a number that no other call of this run gets, counted from 0.
        clients: how many coroutines, at least 1.
        seconds: how long the clock runs, after the warm-up.
        warm_up_s: how long to load before the clock starts (connections, caches, allocators).
        clock: seconds, monotonic.

    Returns:
        The operations that completed while the clock ran. Their latency counts in full, also
        where they began in the warm-up: dropping those would hide the slowest.

    Raises:
        whatever `operation` raises; the other clients are cancelled.
    """
    if clients < 1:
        raise ValueError(f"clients: expected at least 1, got {clients}")
    latencies = np.empty(int(seconds * MAX_OPERATIONS_PER_SECOND) + clients, dtype=np.float64)
    begin = clock() + warm_up_s
    end = begin + seconds
    issued = 0
    completed = 0

    async def client() -> None:
        nonlocal issued, completed
        now = clock()
        while now < end:
            number = issued
            issued += 1
            await operation(number)
            done = clock()
            if begin <= done < end:
                latencies[completed] = done - now
                completed += 1
            now = done

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return Load(clients, completed, seconds, latencies[:completed].copy())
