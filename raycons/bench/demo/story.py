"""The run itself: start, load, five kills and a partition under load, full restart, proofs."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from raycons import aio
from raycons.aio import AsyncCluster
from raycons.bench.failover import Milliseconds, Recovery, milliseconds
from raycons.bench.runs import write_load
from raycons.bench.scratch import scratch_directory, scratch_root
from raycons.bench.workload import LoadReport, summarize
from raycons.chaos.faults import FaultKind, fault_on_leader, until_whole
from raycons.chaos.ledger import Ledger, audit, entries, tallies
from raycons.chaos.proofs import Proof, equal_replicas
from raycons.chaos.witnesses import WITNESSES, Evidence, Witnesses
from raycons.errors import ClusterError

CLIENTS = 64
REPLICAS = 3
KILLS = 5
LOAD_S = 5.0
VALUE_BYTES = 64
SETTLE_S = 0.5  # of load before each fault
PAUSE_S = 0.2

STEPS = 1 + 1 + KILLS + 1 + 1 + 3  # start, load, kills, partition, restart, three proofs

Progress = Callable[[str], None]


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, how it went, and whether every proof holds."""

    verdict: bool
    proofs: list[Proof]
    operations_per_second: int
    p50_ms: float
    p99_ms: float
    failover_ms: Milliseconds  # after kill -9 of the leader, under load
    partition_ms: float
    restart_s: float  # from the start of all members to a serving cluster
    acknowledged: int  # writes under faults
    unknown: int
    refused: int
    recorded: int  # operations in the history of the recorded clients
    history: str | None  # where it was kept, if it is not proven to be linearizable
    clients: int
    replicas: int
    storage: str
    transport: str
    elapsed_s: float


async def tell(progress: Progress) -> DemoReport:
    """Run it all in a new cluster, in the Ray that this process is connected to.

    `progress` is called with what comes next, STEPS times.

    Raises ClusterError where the cluster does not come back; a proof that fails is in the report.
    """
    began = time.perf_counter()
    name = f"demo-{uuid.uuid4().hex[:8]}"
    with (
        scratch_directory("demo") as root,
        Witnesses(root / "history.jsonl", keep_in=scratch_root()) as witnesses,
    ):
        try:
            progress("starting three members on disk")
            cluster = await _start(name, root)
            progress(f"measuring {CLIENTS} clients for {LOAD_S:g} s")
            load = await write_load(
                cluster, clients=CLIENTS, seconds=LOAD_S, value_bytes=VALUE_BYTES
            )
            ledger = Ledger(CLIENTS)
            kills, partition_s = await _faults(cluster, ledger, witnesses, progress)
            progress("stopping all members, and starting them from their disks")
            await cluster.close()
            await aio.stop(name)
            restarted = time.perf_counter()
            cluster = await _start(name, root)
            restart_s = time.perf_counter() - restarted
            proofs = await _proofs(cluster, ledger, progress)
            await witnesses.look(cluster.kv())
            await cluster.close()
        finally:
            with contextlib.suppress(ClusterError):
                await aio.stop(name, destroy=True, path=root)
        progress("checking the history of the recorded clients")
        evidence = await witnesses.testify()
    return _report(ledger, proofs, evidence, summarize(load), kills, partition_s, restart_s, began)


async def _start(name: str, root: Path) -> AsyncCluster:
    cluster = await aio.start(name, replicas=REPLICAS, path=root, fault_injection=True)
    await until_whole(cluster.status, REPLICAS)
    return cluster


async def _faults(
    cluster: AsyncCluster, ledger: Ledger, witnesses: Witnesses, progress: Progress
) -> tuple[list[float], float]:
    """The faults on the leader under load; how long each kept the clients waiting, in seconds."""
    recovery = Recovery()
    async with _clients(cluster, ledger, witnesses, recovery):
        kills = []
        for number in range(1, KILLS + 1):
            progress(f"kill -9 of the leader under load, {number} of {KILLS}")
            kills.append(await _trial(cluster, "kill", recovery))
        progress("cutting the leader off under load")
        partition_s = await _trial(cluster, "partition", recovery)
    return kills, partition_s


@contextlib.asynccontextmanager
async def _clients(
    cluster: AsyncCluster, ledger: Ledger, witnesses: Witnesses, recovery: Recovery
) -> AsyncIterator[None]:
    """All clients at work, until the end of the block; then each ends what is under way."""
    stopping = False

    async def run(client: int) -> None:
        while not stopping:
            issued = time.perf_counter()
            if await ledger.write(cluster, client):
                recovery.acknowledged(issued)
            else:
                await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            group.create_task(run(client))
        for client in range(WITNESSES):
            group.create_task(witnesses.run(cluster.kv, client, lambda: stopping))
        try:
            yield
        finally:
            stopping = True


async def _trial(cluster: AsyncCluster, kind: FaultKind, recovery: Recovery) -> float:
    await asyncio.sleep(SETTLE_S)
    fault = fault_on_leader(kind, await until_whole(cluster.status, REPLICAS))
    try:
        return await recovery.after(fault)
    finally:
        await fault.lift()
        await until_whole(cluster.status, REPLICAS)


async def _proofs(cluster: AsyncCluster, ledger: Ledger, progress: Progress) -> list[Proof]:
    progress("accounting for every write")
    found = [entry async for entry in entries(cluster)]
    proofs = audit(ledger.outcomes, found, await tallies(cluster))
    progress("comparing the replicas")
    proofs.append(await equal_replicas(cluster))
    return proofs


def _report(
    ledger: Ledger,
    proofs: list[Proof],
    evidence: Evidence,
    load: LoadReport,
    kills: list[float],
    partition_s: float,
    restart_s: float,
    began: float,
) -> DemoReport:
    acknowledged, unknown, refused = ledger.count()
    proofs = [*proofs, evidence.proof]
    return DemoReport(
        verdict=all(proof.holds for proof in proofs),
        proofs=proofs,
        operations_per_second=load.operations_per_second,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        failover_ms=milliseconds(kills),
        partition_ms=round(partition_s * 1e3, 1),
        restart_s=round(restart_s, 2),
        acknowledged=acknowledged,
        unknown=unknown,
        refused=refused,
        recorded=evidence.operations,
        history=evidence.history,
        clients=load.clients,
        replicas=REPLICAS,
        storage="disk",
        transport="tcp",
        elapsed_s=round(time.perf_counter() - began, 1),
    )
