"""A handle on a running cluster, for asyncio: its data, its state, its members."""

# ruff: noqa: ASYNC109 - these timeouts are the cluster's, which says what it did until then

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from raycons.client.codecs import ValueCodec
from raycons.client.kv import AsyncKv
from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.client.staying import StaysHere
from raycons.cluster.connection import find, has_supervisor, open_client
from raycons.cluster.fleet import Charter, Fleet
from raycons.cluster.rays import unwrap
from raycons.cluster.settings import check_seconds
from raycons.cluster.status import (
    ClusterStatus,
    ReplicaStatus,
    configuration_of,
    tolerated_losses,
    view_of_leader,
)
from raycons.consensus.configuration import Configuration
from raycons.errors import Closed, NoSuchMember, OutcomeUnknown, Unavailable
from raycons.member.lookup import actor_named
from raycons.member.naming import supervisor_name
from raycons.member.protocol import Transfer
from raycons.transport.contract import PeerId

log = logging.getLogger(__name__)

V = TypeVar("V")
NOTES_S = 2.0  # a supervisor that is busy does not hold up a status

_open: weakref.WeakSet[AsyncCluster] = weakref.WeakSet()


def open_handles(name: str) -> list[AsyncCluster]:
    """The handles of this process on cluster `name`."""
    return [handle for handle in list(_open) if handle.name == name]


class AsyncCluster(StaysHere):
    """A running cluster. Made by `raycons.aio.start` and `raycons.aio.connect`."""

    def __init__(self, charter: Charter, client: AsyncClient) -> None:
        self.charter = charter  # what all members share, secret included
        self.client = client
        self._fleet = Fleet(charter)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        _open.add(self)

    @classmethod
    async def open(cls, charter: Charter, settings: ClientSettings | None) -> AsyncCluster:
        """Connect to the cluster that `charter` describes."""
        return cls(charter, await open_client(charter, settings))

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.charter.name

    @property
    def uuid(self) -> str:
        """The cluster's identity: another cluster of this name has another."""
        return self.charter.uuid

    @overload
    def kv(self) -> AsyncKv[bytes]: ...
    @overload
    def kv(self, codec: str) -> AsyncKv[Any]: ...
    @overload
    def kv(self, codec: ValueCodec[V]) -> AsyncKv[V]: ...
    def kv(self, codec: Any = "bytes") -> AsyncKv[Any]:
        """The cluster's key-value store; with a codec, it stores Python objects instead of bytes.

        Args:
            codec: "bytes", "msgpack", "json", "cloudpickle", or a codec of your own.
        """
        self.check_open()
        return AsyncKv(self.client, codec)

    # --- state ------------------------------------------------------------------------------------

    async def status(self) -> ClusterStatus:
        """What every replica says of itself at this moment, and what that means for the whole.

        Raises Closed after `stop`, Unavailable where it was stopped elsewhere, ClusterLost where
        the cluster is gone for good.
        """
        self.check_open()
        if not self._fleet.ids:
            await find(self.charter)  # says why nobody answers
        await self._fleet.refresh()
        answers = await self._fleet.statuses()
        if not self._fleet.ids and not await has_supervisor(self.name):
            await find(self.charter)  # they ended since the last look, and nobody revives them
        return summarize(self.charter, answers, await self._notes())

    async def _notes(self) -> tuple[str, ...]:
        import ray

        try:
            supervisor = await self._supervisor()
            notes: tuple[str, ...] = await asyncio.wait_for(
                _await(supervisor.notes.remote()), NOTES_S
            )
        except (Unavailable, TimeoutError, ray.exceptions.RayError):
            return ("the supervisor does not answer; the cluster serves, lost replicas wait",)
        return notes

    async def digest(self, member: PeerId) -> tuple[int, str]:
        """A member's applied index and the digest of its logical state there.

        Replicas that are equal have equal digests at equal indexes. Reads the whole state: slow.
        Raises NoSuchMember; Unavailable where the member does not answer.
        """
        await self._check_member(member)
        said = await self.client.inspect(member, digest=True, timeout_s=60.0)
        return int(said["digest_at"]), str(said["digest"])

    # --- members ----------------------------------------------------------------------------------

    async def transfer_leader(self, to: PeerId = 0, *, timeout: float = 10.0) -> PeerId:
        """Hand leadership to member `to` (0: the most caught-up one); returns who leads now.

        Raises NoSuchMember; Unavailable where the member does not catch up in time.
        """
        self.check_open()
        if to:
            await self._check_member(to)
        managed = await self.client.manage(Transfer(to), timeout_s=timeout)
        return managed.value

    async def add_member(self, *, timeout: float = 60.0) -> PeerId:
        """Add a voter on the emptiest host; returns its id once it votes.

        Raises OutcomeUnknown where the supervisor was lost meanwhile: `members` tells.
        """
        self.check_open()
        check_seconds("timeout", timeout)
        id: PeerId = await self._ask_supervisor("add_member", timeout)
        return id

    async def remove_member(self, id: PeerId, *, timeout: float = 60.0) -> None:
        """Take a member out of the cluster; its data stays on its host's disk.

        Raises NoSuchMember; LastVoter for the only voter; OutcomeUnknown as `add_member` does.
        """
        self.check_open()
        check_seconds("timeout", timeout)
        await self._ask_supervisor("remove_member", id, timeout)

    async def members(self) -> tuple[PeerId, ...]:
        """The ids of the members that vote, or are about to."""
        return tuple(sorted((await self._configuration()).ids))

    async def fault(self, member: PeerId, *, isolate: bool) -> None:
        """Cut a member off from everybody, or heal it; for tests.

        Raises BadArgument unless the cluster was started with fault_injection=True.
        """
        import ray

        self.check_open()
        found = (await find(self.charter)).get(member)
        if found is None:
            await self._check_member(member)
            raise Unavailable(f"member {member} of cluster {self.name!r} does not answer")
        try:
            await found.handle.fault.remote(isolate)
        except ray.exceptions.RayTaskError as error:
            raise unwrap(error) from None

    async def _check_member(self, id: PeerId) -> None:
        configuration = await self._configuration()
        if configuration.peer(id) is None:
            raise NoSuchMember(
                f"cluster {self.name!r} has no member {id}; it has {sorted(configuration.ids)}"
            )

    async def _configuration(self) -> Configuration:
        self.check_open()
        return configuration_of(await self.client.inspect())

    async def _ask_supervisor(self, method: str, *arguments: Any) -> Any:
        import ray

        supervisor = await self._supervisor()
        try:
            return await getattr(supervisor, method).remote(*arguments)
        except ray.exceptions.RayTaskError as error:
            raise unwrap(error) from None
        except ray.exceptions.RayError as error:
            raise OutcomeUnknown(
                f"the supervisor of {self.name!r} ended, or Ray lost the call to it or the answer;"
                f" see status(): {error}"
            ) from error

    async def _supervisor(self) -> Any:
        supervisor = await asyncio.to_thread(actor_named, supervisor_name(self.name))
        if supervisor is None:
            raise Unavailable(
                f"cluster {self.name!r} has no supervisor; raycons.start({self.name!r}) makes one"
            )
        return supervisor

    # --- end --------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of the cluster, which goes on; what is under way ends with an error."""
        self._closed = True
        _open.discard(self)
        await self.client.close()

    async def cluster_stopped(self) -> None:
        """The cluster was stopped from this process: close, on whichever loop this handle lives."""
        if self._loop is asyncio.get_running_loop():
            await self.close()
        elif not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                ending = asyncio.run_coroutine_threadsafe(self.close(), self._loop)
                await asyncio.wrap_future(ending)

    def check_open(self) -> None:
        """Raise Closed after `close`, and after a `stop` from this process."""
        if self._closed:
            raise Closed(
                f"this handle on cluster {self.name!r} is closed, or the cluster was stopped; "
                f"raycons.connect({self.name!r}) gives a new one"
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _named(self) -> str:
        return f"the name {self.name!r}, and call raycons.connect({self.name!r}) there"

    def __repr__(self) -> str:
        return f"AsyncCluster({self.name!r}, uuid={self.uuid!r})"


async def _await(reference: Any) -> Any:
    return await reference


def summarize(
    charter: Charter, answers: Mapping[PeerId, Mapping[str, Any]], notes: tuple[str, ...]
) -> ClusterStatus:
    """The cluster's state from its members' answers."""
    leader = view_of_leader(answers)
    told = leader if leader is not None else _newest(answers)
    configuration = (
        configuration_of(told) if told is not None else Configuration(peers=(), next_id=1)
    )
    commit = int(told["commit"]) if told is not None else 0
    serving = frozenset(id for id, said in answers.items() if said["state"] == "serving")
    ids = sorted(configuration.ids | answers.keys())
    return ClusterStatus(
        name=charter.name,
        uuid=charter.uuid,
        leader=int(leader["id"]) if leader is not None and leader["role"] == "leader" else 0,
        term=int(told["term"]) if told is not None else 0,
        ballot=str(told.get("ballot", "")) if told is not None else "",
        commit=commit,
        configuration_index=int(told["configuration_index"]) if told is not None else 0,
        voters=tuple(sorted(configuration.voters)),
        tolerates=tolerated_losses(configuration.halves, serving),
        storage=charter.settings.storage,
        protocol=charter.settings.protocol,
        transport=charter.settings.transport,
        reads=charter.settings.reads,
        replicas=tuple(_replica(id, configuration, answers.get(id), commit) for id in ids),
        notes=notes,
    )


def _newest(answers: Mapping[PeerId, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    said = [answer for answer in answers.values() if "configuration" in answer]
    return max(said, key=lambda each: int(each["configuration_index"]), default=None)


def _replica(
    id: PeerId, configuration: Configuration, said: Mapping[str, Any] | None, commit: int
) -> ReplicaStatus:
    peer = configuration.peer(id)
    listed = "" if peer is None else peer.role.name.lower()
    if said is None:
        where = peer.host if peer is not None else ""
        return ReplicaStatus(
            id=id, state="gone", reason="it has no actor", listed=listed, host=where
        )
    known = {
        field: said[field]
        for field in ReplicaStatus.__struct_fields__
        if field in said and field not in ("lag", "connections")
    }
    status = msgspec.convert({**known, "listed": listed}, ReplicaStatus)
    if said["state"] != "serving":
        return status
    return msgspec.structs.replace(
        status,
        lag=max(0, commit - int(said["applied"])),
        log_entries=int(said["log_last"]) - int(said["log_first"]) + 1,
        snapshot_index=int(said["log_first"]) - 1,
        connections=tuple(said["connections"]),
    )
