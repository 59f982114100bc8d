"""Ray nodes that can be lost: several on this machine, and the two faults that end one.

Each node has a data root of its own, as if it were another machine. The first holds Ray's head and
the program that runs the faults; it stays, for with it the run itself would end. Only the head's
control plane, the GCS, can be lost (`raycons.chaos.control`): it keeps what it knows on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import uuid4

from raycons import aio
from raycons.aio import AsyncCluster
from raycons.cluster.rays import ENVIRONMENT, join_local_cluster

STORE_BYTES = 80 * 1024 * 1024  # of Ray's objects, of which there are none
REPAIR_GRACE_S = 3.0  # longer than Ray needs to restart a member, shorter than a round


class Nodes(Protocol):
    """The nodes below a cluster, as a fault sees them."""

    def mortal(self) -> frozenset[str]:
        """Ray's ids of the nodes that may be killed."""

    def empty_root(self) -> Path:
        """A data root that no node had before."""

    async def kill(self, node: str) -> Path:
        """End a node with all its processes, nothing said to anyone; gives its data root."""

    async def add(self, root: Path) -> None:
        """Start a node on this data root; returns when Ray knows it."""

    async def kill_gcs(self) -> None:
        """End the process of Ray's control plane, nothing said to anyone."""

    async def start_gcs(self) -> None:
        """Start Ray's control plane again, where it was and with what it knew."""


class Reboot:
    """A node is lost, and comes back with its disk, under another of Ray's ids."""

    def __init__(self, nodes: Nodes, node: str) -> None:
        self._nodes = nodes
        self._node = node
        self._lost: Path | None = None

    async def inject(self) -> None:
        """Kill the node."""
        self._lost = await self._nodes.kill(self._node)

    async def lift(self) -> None:
        """Start it again, unless it was never killed."""
        if self._lost is not None:
            await self._nodes.add(self._root(self._lost))

    def _root(self, lost: Path) -> Path:
        return lost


class Replacement(Reboot):
    """A node is lost for good, and another one, with an empty disk, comes in its place."""

    def _root(self, lost: Path) -> Path:
        return self._nodes.empty_root()


class LocalNodes:
    """A Ray of several nodes on this machine, joined by this process; gone after the block.

    Args:
        root: a directory for the data roots.
        count: how many nodes, the head's included.
    """

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        self._count = count
        self._made = 0
        self._cluster: Any = None
        self._nodes: dict[str, tuple[Any, Path]] = {}  # by Ray's id: the node, and its data root
        self._home = os.environ.get("RAYCONS_HOME")

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        head = self.empty_root()
        os.environ["RAYCONS_HOME"] = str(head)
        try:
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "include_dashboard": False,
                    "_system_config": _durable_gcs(self._root / "gcs"),
                    **_arguments(head),
                },
            )
            for _ in range(1, self._count):
                self._add(self.empty_root())
            # Nodes that are added later come from another thread, where Ray cannot hook itself to
            # the signals of this process. They end with this block, or a minute after the head.
            self._cluster._shutdown_at_exit = False
            join_local_cluster(self._cluster.address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()
        os.environ.pop("RAYCONS_HOME")
        if self._home is not None:
            os.environ["RAYCONS_HOME"] = self._home

    def mortal(self) -> frozenset[str]:
        """All nodes but the head's."""
        return frozenset(self._nodes)

    def empty_root(self) -> Path:
        """The next node's directory."""
        self._made += 1
        root = self._root / f"node-{self._made}"
        root.mkdir()
        return root

    async def kill(self, node: str) -> Path:
        """SIGKILL to all of the node's processes."""
        ended, root = self._nodes.pop(node)
        await asyncio.to_thread(self._cluster.remove_node, ended, allow_graceful=False)
        return root

    async def add(self, root: Path) -> None:
        """Start a node, in some seconds."""
        await asyncio.to_thread(self._add, root)

    async def kill_gcs(self) -> None:
        """SIGKILL, which Ray is not told of."""
        process = self._cluster.head_node.all_processes["gcs_server"][0].process
        process.kill()
        await asyncio.to_thread(process.wait)

    async def start_gcs(self) -> None:
        """Start it at the same port; the other processes find it by themselves."""
        head = self._cluster.head_node
        head.kill_gcs_server(check_alive=False)  # forgets the process that ended
        await asyncio.to_thread(head.start_gcs_server)

    def _add(self, root: Path) -> None:
        node = self._cluster.add_node(**_arguments(root))
        self._nodes[node.node_id] = node, root


def _arguments(root: Path) -> dict[str, Any]:
    """What Ray starts a node with; members have the priority of other programs."""
    return {
        "num_cpus": 1,
        "object_store_memory": STORE_BYTES,
        "env_vars": {"RAYCONS_HOME": str(root), **ENVIRONMENT},
    }


def _durable_gcs(root: Path) -> dict[str, Any]:
    """What makes a control plane that comes back know its nodes and actors.

    Ray's own RocksDB (https://docs.ray.io/en/master/cluster/kubernetes/user-guides/
    kuberay-gcs-rocksdb-ft.html, alpha): in memory, as Ray has it by default, all would be forgotten
    with the process, and nothing after it could be a fault that ends.
    """
    root.mkdir()
    return {"gcs_storage": "rocksdb", "gcs_storage_path": str(root)}


@contextlib.asynccontextmanager
async def spread_cluster(**settings: Any) -> AsyncIterator[AsyncCluster]:
    """A new cluster whose members lie in the data roots of their nodes, destroyed at the end.

    Args:
        settings: of `raycons.start`.
    """
    name = f"chaos-{uuid4().hex[:8]}"
    cluster = await aio.start(name, repair_grace=REPAIR_GRACE_S, **settings)
    try:
        yield cluster
    finally:
        await cluster.close()
        await aio.stop(name, destroy=True)
