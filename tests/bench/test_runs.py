"""A comparison: what is compared, and its arithmetic."""

import asyncio
from typing import Any

import numpy as np
import pytest

from raycons.bench import runs
from raycons.bench.runs import Operation, Round, Spread, compare_rounds
from raycons.bench.workload import Load, LoadReport


def report(rate: int, p50_ms: float) -> LoadReport:
    return LoadReport(rate, p50_ms, 9.0, 64, rate * 2, 2.0)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    samples = [
        Round(report(100, 1.0), report(50, 2.0)),
        Round(report(200, 1.0), report(20, 1.0)),
        Round(report(50, 2.0), report(40, 3.0)),
    ]
    compared = compare_rounds("write", samples)
    assert compared.throughput_ratio == Spread(0.5, 0.1, 0.8)
    assert compared.p50_ratio == Spread(1.5, 1.0, 2.0)
    assert compared.bound_operations_per_second == Spread(100, 50, 200)
    assert (compared.rounds, compared.clients) == (3, 64)


@pytest.mark.parametrize(("operation", "rate"), [("write", 40), ("read", 80)])
def test_the_named_operation_is_compared(
    operation: Operation, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_at(operations: int) -> Any:
        async def load(cluster: Any, **circumstances: Any) -> Load:
            return Load(64, operations, 1.0, np.full(operations, 0.002))

        return load

    async def limit(**circumstances: Any) -> LoadReport:
        return report(100, 1.0)

    monkeypatch.setattr(runs, "write_load", load_at(40))
    monkeypatch.setattr(runs, "read_load", load_at(80))
    monkeypatch.setattr(runs, "bound_report", limit)
    cluster: Any = None
    done: list[int] = []
    comparing = runs.compare_report(
        cluster, operation, clients=64, seconds=1.0, value_bytes=64, rounds=2, progress=done.append
    )
    compared = asyncio.run(comparing)
    assert (compared.operation, compared.rounds, done) == (operation, 2, [1, 2])
    assert compared.throughput_ratio.median == rate / 100
