"""Where benches run: a Ray and a cluster of their own, gone afterwards; or a cluster that runs."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import msgspec

from raycons import aio
from raycons.aio import AsyncCluster
from raycons.bench.scratch import scratch_directory
from raycons.cluster.rays import start_local_ray
from raycons.cluster.settings import Protocol, Storage, TransportKind


class Shape(msgspec.Struct, frozen=True):
    """What a throw-away cluster is made of."""

    replicas: int = 3
    storage: Storage = "disk"
    protocol: Protocol = "raft"
    transport: TransportKind = "tcp"
    fault_injection: bool = False


@contextlib.contextmanager
def private_ray() -> Iterator[None]:
    """A local Ray for this process alone, beside any other; ended with it.

    Not whichever Ray runs here: its members would share it with other work, and at the low priority
    that Ray gives to workers the measuring client takes the processor from those that it measures.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    start_local_ray()
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.asynccontextmanager
async def throwaway_cluster(shape: Shape, purpose: str = "bench") -> AsyncIterator[AsyncCluster]:
    """A new cluster in the running Ray, destroyed at the end."""
    name = f"{purpose}-{uuid.uuid4().hex[:8]}"
    with scratch_directory(purpose) as root:
        cluster = await aio.start(
            name,
            replicas=shape.replicas,
            storage=shape.storage,
            protocol=shape.protocol,
            transport=shape.transport,
            fault_injection=shape.fault_injection,
            path=root,
        )
        try:
            yield cluster
        finally:
            await cluster.close()
            await aio.stop(name, destroy=True, path=root)


@contextlib.asynccontextmanager
async def running_cluster(name: str) -> AsyncIterator[AsyncCluster]:
    """A cluster that runs already, left as it is."""
    cluster = await aio.connect(name)
    try:
        yield cluster
    finally:
        await cluster.close()
