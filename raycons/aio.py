"""The public face for asyncio: what `raycons` offers, with `await`.

from raycons import aio

cluster = await aio.start("prod", replicas=3)
kv = cluster.kv()
await kv.put("jobs/42", b"queued")
"""

# ruff: noqa: ASYNC109 - these timeouts are the cluster's, which says what it did until then

from __future__ import annotations

import asyncio
import os
from typing import Any

from raycons.client.codecs import codec_named
from raycons.client.settings import ClientSettings
from raycons.cluster import lifecycle
from raycons.cluster.arguments import check_client, check_start, root_of, settings_of_start
from raycons.cluster.handle import AsyncCluster
from raycons.cluster.naming import check_name
from raycons.cluster.rays import join_or_start_ray, join_ray, refuse_worker
from raycons.cluster.settings import Protocol, Reads, Storage, TransportKind
from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.quorum import QuorumSystem
from raycons.decree.arguments import check_timeout, settings_of_synod
from raycons.decree.handle import AsyncSynod
from raycons.decree.lifecycle import start_synod

__all__ = ["AsyncCluster", "AsyncSynod", "connect", "start", "stop", "synod"]


async def start(
    name: str,
    *,
    replicas: int = 3,
    storage: Storage = "disk",
    protocol: Protocol = "raft",
    transport: TransportKind = "tcp",
    reads: Reads = "read-index",
    path: str | os.PathLike[str] | None = None,
    port_range: tuple[int, int] | None = None,
    fault_injection: bool = False,
    repair_grace: float = 30.0,
    raft: RaftSettings | None = None,
    member: MemberSettings | None = None,
    client: ClientSettings | None = None,
    timeout: float = 60.0,
) -> AsyncCluster:
    """Create the cluster `name`, or resume it, or find it running; see `raycons.start`."""
    refuse_worker("raycons.aio.start")
    settings = settings_of_start(
        replicas=replicas,
        storage=storage,
        protocol=protocol,
        transport=transport,
        reads=reads,
        path=path,
        port_range=port_range,
        fault_injection=fault_injection,
        repair_grace=repair_grace,
        raft=raft,
        member=member,
    )
    check_start(timeout, client)
    check_name(name)
    await asyncio.get_running_loop().run_in_executor(None, join_or_start_ray)
    return await lifecycle.start_cluster(name, settings, timeout_s=timeout, client=client)


async def connect(name: str, *, client: ClientSettings | None = None) -> AsyncCluster:
    """Reach the running cluster `name`; see `raycons.connect`."""
    check_name(name)
    check_client(client)
    await asyncio.get_running_loop().run_in_executor(None, join_ray, name)
    return await lifecycle.connect_cluster(name, client)


async def stop(
    name: str, *, destroy: bool = False, path: str | os.PathLike[str] | None = None
) -> None:
    """End the cluster's members; see `raycons.stop`."""
    refuse_worker("raycons.aio.stop")
    check_name(name)
    await asyncio.get_running_loop().run_in_executor(None, join_ray, name)
    root = root_of(path)
    await lifecycle.stop_cluster(name, destroy=destroy, path=root)


async def synod(
    acceptors: int = 5,
    proposers: int = 2,
    learners: int = 1,
    *,
    quorums: QuorumSystem | None = None,
    codec: Any = "bytes",
    path: str | os.PathLike[str] | None = None,
    loss: float = 0.0,
    delay: tuple[float, float] = (0.0, 0.0),
    timeout: float = 60.0,
) -> AsyncSynod[Any]:
    """Start single-decree Paxos: actors that choose one value, once; see `raycons.synod`."""
    refuse_worker("raycons.aio.synod")
    settings = settings_of_synod(
        acceptors=acceptors,
        proposers=proposers,
        learners=learners,
        quorums=quorums,
        path=path,
        loss=loss,
        delay=delay,
    )
    check_timeout(timeout)
    used = codec_named(codec)
    await asyncio.get_running_loop().run_in_executor(None, join_or_start_ray)
    return await start_synod(settings, used, timeout)
