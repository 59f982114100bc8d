"""The closed loop measures what it should, on a clock that the test moves."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from raycons.bench.workload import Load, closed_loop, summarize


class ManualClock:
    """Time that passes only in operations."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_counts_what_completes_after_the_warm_up() -> None:
    clock = ManualClock()
    numbers: list[int] = []

    async def operation(number: int) -> None:
        numbers.append(number)
        clock.now += 0.1

    load = asyncio.run(closed_loop(operation, clients=1, seconds=1.0, warm_up_s=0.55, clock=clock))
    # 15 operations of 0.1 s end before 1.55 s, a 16th is cut by the end; 5 end in the warm-up.
    assert numbers == list(range(len(numbers)))
    assert load.operations == len(numbers) - 5 - 1 == 10
    assert load.latencies_s == pytest.approx([0.1] * 10)
    assert load.operations_per_second == pytest.approx(10)


def test_an_operation_that_spans_the_warm_up_counts_in_full() -> None:
    clock = ManualClock()
    durations = iter([3.0, 0.5, 0.5, 9.0])

    async def operation(_: int) -> None:
        clock.now += next(durations)

    load = asyncio.run(closed_loop(operation, clients=1, seconds=2.0, warm_up_s=2.0, clock=clock))
    assert list(load.latencies_s) == [3.0, 0.5]


def test_as_many_operations_are_under_way_as_there_are_clients() -> None:
    clock = ManualClock()
    under_way = most = 0

    async def operation(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        clock.now += 0.01
        under_way -= 1

    asyncio.run(closed_loop(operation, clients=7, seconds=1.0, warm_up_s=0.0, clock=clock))
    assert most == 7


def test_an_error_ends_the_load() -> None:
    async def operation(_: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(ExceptionGroup, match="unhandled"):
        asyncio.run(closed_loop(operation, clients=2, seconds=1.0))


def test_no_clients_are_refused() -> None:
    async def operation(_: int) -> None: ...

    with pytest.raises(ValueError, match="at least 1"):
        asyncio.run(closed_loop(operation, clients=0, seconds=1.0))


def test_summary_of_known_latencies() -> None:
    latencies = np.arange(1, 101) / 1000.0
    report = summarize(Load(4, 100, 2.0, latencies))
    assert (report.operations_per_second, report.p50_ms, report.p99_ms) == (50, 50.5, 99.01)
    assert all(a <= b for a, b in pairwise((report.p50_ms, report.p99_ms)))
