"""Starting, finding, stopping and holding clusters in ordinary, blocking code.

The same as `raycons.aio`, waited for on the background loop of the process.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from raycons.client.background import background
from raycons.client.blocking import BlockingClient, Kv
from raycons.client.codecs import ValueCodec
from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.client.staying import StaysHere
from raycons.cluster import lifecycle
from raycons.cluster.arguments import check_client, check_start, root_of, settings_of_start
from raycons.cluster.connection import reopen_client
from raycons.cluster.handle import AsyncCluster
from raycons.cluster.naming import check_name
from raycons.cluster.rays import join_or_start_ray, join_ray, refuse_worker
from raycons.cluster.settings import Protocol, Reads, Storage, TransportKind
from raycons.cluster.status import ClusterStatus
from raycons.config import MemberSettings, RaftSettings
from raycons.transport.contract import PeerId

V = TypeVar("V")


class Cluster(StaysHere):
    """A running cluster. Made by `raycons.start` and `raycons.connect`; safe from many threads."""

    def __init__(self, cluster: AsyncCluster) -> None:
        self._cluster = cluster
        self._process = os.getpid()
        self._client = BlockingClient(self._client_of_this_process, cluster.client.settings)

    async def _client_of_this_process(self) -> AsyncClient:
        # A forked child has no loop of its parent's, and must not use its parent's session.
        if os.getpid() == self._process:
            return self._cluster.client
        return await reopen_client(self._cluster.charter, self._cluster.client)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self._cluster.name

    @property
    def uuid(self) -> str:
        """The cluster's identity: another cluster of this name has another."""
        return self._cluster.uuid

    @overload
    def kv(self) -> Kv[bytes]: ...
    @overload
    def kv(self, codec: str) -> Kv[Any]: ...
    @overload
    def kv(self, codec: ValueCodec[V]) -> Kv[V]: ...
    def kv(self, codec: Any = "bytes") -> Kv[Any]:
        """The cluster's key-value store; with a codec, it stores Python objects instead of bytes.

        Args:
            codec: "bytes", "msgpack", "json", "cloudpickle", or a codec of your own.
        """
        self._cluster.check_open()
        return Kv(self._client, codec)

    def status(self) -> ClusterStatus:
        """What every replica says of itself at this moment, and what that means for the whole."""
        return background().run(self._cluster.status())

    def digest(self, member: PeerId) -> tuple[int, str]:
        """A member's applied index and the digest of its logical state there; slow."""
        return background().run(self._cluster.digest(member))

    def members(self) -> tuple[PeerId, ...]:
        """The ids of the members that vote, or are about to."""
        return background().run(self._cluster.members())

    def transfer_leader(self, to: PeerId = 0, *, timeout: float = 10.0) -> PeerId:
        """Hand leadership to member `to` (0: the most caught-up one); returns who leads now.

        Raises NoSuchMember; Unavailable where the member does not catch up in time.
        """
        return background().run(self._cluster.transfer_leader(to, timeout=timeout))

    def add_member(self, *, timeout: float = 60.0) -> PeerId:
        """Add a voter on the emptiest host; returns its id once it votes.

        Raises OutcomeUnknown where the supervisor was lost meanwhile: `members` tells.
        """
        return background().run(self._cluster.add_member(timeout=timeout))

    def remove_member(self, id: PeerId, *, timeout: float = 60.0) -> None:
        """Take a member out of the cluster; its data stays on its host's disk.

        Raises NoSuchMember; LastVoter for the only voter; OutcomeUnknown as `add_member` does.
        """
        background().run(self._cluster.remove_member(id, timeout=timeout))

    def fault(self, member: PeerId, *, isolate: bool) -> None:
        """Cut a member off from everybody, or heal it; only with fault_injection=True."""
        background().run(self._cluster.fault(member, isolate=isolate))

    def close(self) -> None:
        """Let go of the cluster, which goes on; what is under way ends with an error."""
        background().run(self._cluster.close())
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _named(self) -> str:
        return f"the name {self.name!r}, and call raycons.connect({self.name!r}) there"

    def __repr__(self) -> str:
        return f"Cluster({self.name!r}, uuid={self.uuid!r})"


def start(
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
) -> Cluster:
    """Create the cluster `name`, or resume it from its stores, or find it running.

    Joins the Ray cluster that this process is connected to, or RAY_ADDRESS, or the one that runs on
    this machine; starts a local one where there is none.

    Args:
        name: letters, digits, '.', '_', '-'; up to 64.
        replicas: how many members hold the data; 3 survive the loss of one, 5 of two.
        storage: "disk": an acknowledged write is on a majority's disks. "memory": in a majority's
            memory, and lost with the last majority, or the Ray cluster.
        protocol: "raft", "multipaxos", or "caspaxos" (single keys only, without a leader): what the
            replicas agree by; part of the data's format.
        transport: "tcp": sockets between the members. "actor": Ray actor calls, slower, where only
            Ray's own ports are open.
        reads: "read-index": no clock is trusted. "lease": the leader answers at once, while a
            dead leader is replaced only after its lease.
        path: the data root on each host; default: RAYCONS_HOME, else the user's data directory.
        port_range: (first, last) that members may listen on; default: any free port.
        fault_injection: let members obey `fault`, for tests.
        repair_grace: seconds that a member may be away before it is replaced.
        raft: timing and bounds of the protocol.
        member: bounds of members; part of the data's format, like `replicas` and `storage`.
        client: bounds and timings of this handle.
        timeout: seconds until there must be a leader.

    Raises:
        BadArgument: an argument makes no sense.
        ClusterExists: the name runs, or was stopped, with other settings, or lies in another place.
        MembersMissing: the cluster exists, and too few of its members came up in time. Nothing was
            created beside them.
        InsideRayWorker: called in a task or actor.
        ClusterError: Ray or the hosts refuse.
    """
    refuse_worker("raycons.start")
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
    join_or_start_ray()
    opening = lifecycle.start_cluster(name, settings, timeout_s=timeout, client=client)
    return Cluster(background().run(opening))


def connect(name: str, *, client: ClientSettings | None = None) -> Cluster:
    """Reach the running cluster `name`, from any driver, task or actor.

    Raises ClusterNotFound, which lists the names that are known.
    """
    check_name(name)
    check_client(client)
    join_ray(name)
    return Cluster(background().run(lifecycle.connect_cluster(name, client)))


def stop(name: str, *, destroy: bool = False, path: str | os.PathLike[str] | None = None) -> None:
    """End the cluster's members; their data stays, and `start` resumes it.

    Args:
        name: the cluster's name.
        destroy: remove the data of all living hosts too.
        path: the data root of a cluster that is not running; default: where the hosts remember that
            it lies, else the default one.

    Raises ClusterNotFound where there is nothing of that name, InsideRayWorker.
    """
    refuse_worker("raycons.stop")
    check_name(name)
    join_ray(name)
    root = root_of(path)
    background().run(lifecycle.stop_cluster(name, destroy=destroy, path=root))
