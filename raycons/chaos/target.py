"""The cluster that faults are put on: after a full stop, the handle on it is another one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from raycons.aio import AsyncCluster
from raycons.chaos.hosts import Hosts
from raycons.chaos.nodes import Nodes
from raycons.cluster.lifecycle import start_cluster, stop_cluster
from raycons.cluster.status import ClusterStatus, ReplicaStatus
from raycons.errors import RayconsError
from raycons.member.naming import NAMESPACE, member_name

START_S = 60.0
CALL_S = 5.0  # a member that does not answer in this time is dead, stopped, or on its way back


class Target:
    """A cluster under faults, and the handle on it that is good at present.

    Args:
        cluster: a handle of the caller, who closes it.
        nodes: those that it lies on, where they may be killed.
        hosts: those that it lies on, where they may be cut off.
    """

    def __init__(
        self, cluster: AsyncCluster, nodes: Nodes | None = None, hosts: Hosts | None = None
    ) -> None:
        self._first = cluster
        self.nodes = nodes
        self.hosts = hosts
        self.cluster = cluster
        self.charter = cluster.charter

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.charter.name

    def kv(self) -> Any:
        """The store of the present handle. Raises Closed while the cluster is stopped."""
        return self.cluster.kv()

    async def status(self) -> ClusterStatus:
        """The cluster's status, by the present handle."""
        return await self.cluster.status()

    async def member(self, replica: int) -> Any:
        """The actor of a member. Raises ValueError where it has none."""
        import ray

        name = member_name(self.name, replica)
        return await asyncio.to_thread(lambda: ray.get_actor(name, namespace=NAMESPACE))

    async def stop(self) -> None:
        """End all members, after all is on disk; every handle of this process closes."""
        await stop_cluster(self.name, destroy=False, path=self.charter.settings.path)

    async def start(self) -> None:
        """Start the members from their disks, or find them running; a new handle is used."""
        before = self.cluster
        self.cluster = await start_cluster(self.name, self.charter.settings, timeout_s=START_S)
        if before is not self._first:
            await before.close()

    async def heal_members(self) -> None:
        """Let every member that answers talk to everybody again, and sync as fast as ever."""
        import ray

        if not self.charter.settings.fault_injection:
            return
        with contextlib.suppress(RayconsError):
            for replica in (await self.status()).replicas:
                with contextlib.suppress(ValueError, TimeoutError, ray.exceptions.RayError):
                    member = await self.member(replica.id)
                    async with asyncio.timeout(CALL_S):
                        await member.fault.remote(False)
                        await member.slow_disk.remote(0.0)

    async def close(self) -> None:
        """Let go of the handle, unless it is the caller's."""
        if self.cluster is not self._first:
            await self.cluster.close()


def voters(status: ClusterStatus) -> list[ReplicaStatus]:
    """The voters that serve, the leader first."""
    serving = [one for one in status.replicas if one.id in status.voters and one.state == "serving"]
    return sorted(serving, key=lambda one: (one.id != status.leader, one.id))
