"""The benches: each loads a cluster, and gives one report that names its circumstances."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from raycons.aio import AsyncCluster
from raycons.bench import bound
from raycons.bench.failover import Milliseconds, milliseconds, trials
from raycons.bench.workload import Load, LoadReport, closed_loop, summarize
from raycons.chaos.faults import FaultKind
from raycons.config import WITH_A_LOG
from raycons.errors import BadArgument

KEYS = 1000  # the load goes round over so many keys
WARM_UP_S = 0.5

Progress = Callable[[int], None]
Operation = Literal["write", "read"]


class ClusterLoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A load on a raycons cluster."""

    operation: Operation
    operations_per_second: int
    p50_ms: float
    p99_ms: float
    clients: int
    replicas: int
    storage: str
    protocol: str
    transport: str
    value_bytes: int
    operations: int
    seconds: float


class FailoverReport(msgspec.Struct, frozen=True, kw_only=True):
    """What faults on the leader cost; see `raycons.bench.failover` for what is measured."""

    fault: FaultKind
    trials: int
    failover_ms: Milliseconds
    replicas: int
    storage: str
    protocol: str
    transport: str


class Round(msgspec.Struct, frozen=True):
    """One round of a comparison."""

    bound: LoadReport
    raycons: LoadReport

    @property
    def throughput_ratio(self) -> float:
        """Our throughput over the bound's."""
        return self.raycons.operations_per_second / self.bound.operations_per_second

    @property
    def p50_ratio(self) -> float:
        """Our median latency over the bound's."""
        return self.raycons.p50_ms / self.bound.p50_ms


class Spread(msgspec.Struct, frozen=True):
    """A figure over the rounds."""

    median: float
    min: float
    max: float


class CompareReport(msgspec.Struct, frozen=True, kw_only=True):
    """A load against the physical bound of writes, in turns, so that both meet the same machine."""

    operation: Operation
    clients: int
    rounds: int
    throughput_ratio: Spread  # ours over the bound's; 1 would be consensus for nothing
    p50_ratio: Spread
    bound_operations_per_second: Spread
    raycons_operations_per_second: Spread
    bound_p50_ms: Spread
    raycons_p50_ms: Spread
    samples: tuple[Round, ...]


def spread(values: list[float], digits: int = 3) -> Spread:
    """The median, least and greatest of some values.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, min=1.0, max=3.0)
    """
    return Spread(
        round(statistics.median(values), digits),
        round(min(values), digits),
        round(max(values), digits),
    )


def compare_rounds(operation: Operation, samples: list[Round]) -> CompareReport:
    """Sum up the rounds of a comparison."""
    return CompareReport(
        operation=operation,
        clients=samples[0].bound.clients,
        rounds=len(samples),
        throughput_ratio=spread([one.throughput_ratio for one in samples]),
        p50_ratio=spread([one.p50_ratio for one in samples]),
        bound_operations_per_second=spread([one.bound.operations_per_second for one in samples]),
        raycons_operations_per_second=spread(
            [one.raycons.operations_per_second for one in samples]
        ),
        bound_p50_ms=spread([one.bound.p50_ms for one in samples]),
        raycons_p50_ms=spread([one.raycons.p50_ms for one in samples]),
        samples=tuple(samples),
    )


def writes(cluster: AsyncCluster, value_bytes: int) -> Callable[[int], Awaitable[object]]:
    """Write number n: a put on one of the load's keys."""
    kv = cluster.kv()
    value = b"x" * value_bytes
    keys = [b"bench/%d" % number for number in range(KEYS)]

    def write(number: int) -> Awaitable[object]:
        return kv.put(keys[number % KEYS], value)

    return write


async def write_load(
    cluster: AsyncCluster, *, clients: int, seconds: float, value_bytes: int
) -> Load:
    """Durable puts."""
    return await closed_loop(
        writes(cluster, value_bytes), clients=clients, seconds=seconds, warm_up_s=WARM_UP_S
    )


async def read_load(
    cluster: AsyncCluster, *, clients: int, seconds: float, value_bytes: int
) -> Load:
    """Linearizable gets of keys that were put before."""
    write = writes(cluster, value_bytes)
    for number in range(KEYS):
        await write(number)
    kv = cluster.kv()
    keys = [b"bench/%d" % number for number in range(KEYS)]

    def read(number: int) -> Awaitable[object]:
        return kv.get(keys[number % KEYS])

    return await closed_loop(read, clients=clients, seconds=seconds, warm_up_s=WARM_UP_S)


async def load_report(
    cluster: AsyncCluster, operation: Operation, load: Load, value_bytes: int
) -> ClusterLoadReport:
    """A load's figures with the cluster's circumstances."""
    summary = summarize(load)
    status = await cluster.status()
    return ClusterLoadReport(
        operation=operation,
        operations_per_second=summary.operations_per_second,
        p50_ms=summary.p50_ms,
        p99_ms=summary.p99_ms,
        clients=summary.clients,
        replicas=len(status.voters),
        storage=status.storage,
        protocol=status.protocol,
        transport=status.transport,
        value_bytes=value_bytes,
        operations=summary.operations,
        seconds=summary.seconds,
    )


async def failover_report(
    cluster: AsyncCluster, *, fault: FaultKind, count: int, progress: Progress
) -> FailoverReport:
    """Faults on the leader, one after the other, under a writer that never stops.

    Raises BadArgument where the protocol has none.
    """
    status = await cluster.status()
    if status.protocol not in WITH_A_LOG:
        raise BadArgument(
            f"cluster {status.name!r} runs {status.protocol}, which has no leader to put a fault "
            f"on; choose a protocol of {', '.join(WITH_A_LOG)}"
        )
    samples = await trials(
        writes(cluster, 64),
        cluster.status,
        fault=fault,
        count=count,
        replicas=len(status.voters),
        progress=progress,
    )
    return FailoverReport(
        fault=fault,
        trials=count,
        failover_ms=milliseconds(samples),
        replicas=len(status.voters),
        storage=status.storage,
        protocol=status.protocol,
        transport=status.transport,
    )


async def bound_report(*, clients: int, seconds: float, value_bytes: int) -> LoadReport:
    """The physical bound, on actors of its own."""
    async with bound.trio() as port:
        load = await bound.measure(
            port, clients=clients, seconds=seconds, value_bytes=value_bytes, warm_up_s=WARM_UP_S
        )
    return summarize(load)


async def compare_report(
    cluster: AsyncCluster,
    operation: Operation,
    *,
    clients: int,
    seconds: float,
    value_bytes: int,
    rounds: int,
    progress: Progress,
) -> CompareReport:
    """Alternate the bound and our load; each round takes both."""
    load = write_load if operation == "write" else read_load
    samples = []
    for number in range(rounds):
        limit = await bound_report(clients=clients, seconds=seconds, value_bytes=value_bytes)
        ours = await load(cluster, clients=clients, seconds=seconds, value_bytes=value_bytes)
        samples.append(Round(limit, summarize(ours)))
        progress(number + 1)
    return compare_rounds(operation, samples)
