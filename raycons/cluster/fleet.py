"""A cluster's member actors: making them, asking them, ending them. No decisions are made here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid as uuids
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from raycons.cluster.hosts import encode_settings, mark_everywhere
from raycons.cluster.markers import Marker
from raycons.cluster.naming import running_members
from raycons.cluster.settings import ClusterSettings
from raycons.consensus.configuration import Configuration
from raycons.errors import ClusterError, MembersMissing
from raycons.member.actor import member_class
from raycons.member.lookup import actor_named
from raycons.member.naming import member_name
from raycons.member.rediscovery import Found, find_members
from raycons.member.spec import Introduction, MemberSpec, MemberState
from raycons.transport.contract import Address, PeerId

log = logging.getLogger(__name__)

STATUS_S = 3.0  # a member that does not answer in this time counts as unreachable for now
MAKE_S = 60.0  # a new actor process, a new store
CLOSE_S = 10.0  # bringing everything to disk at a stop
CALLS = 20  # at most, of which Ray loses all but the last
PAUSE_S = 0.1  # after a lost one
GONE_S = 15.0  # until Ray has freed the names of killed actors


class Charter(msgspec.Struct, frozen=True, kw_only=True):
    """What all members of a cluster share."""

    name: str
    uuid: str
    secret: bytes
    settings: ClusterSettings

    def spec(self, id: PeerId) -> MemberSpec:
        """The constructor argument of one member."""
        settings = self.settings
        return MemberSpec(
            cluster=self.name,
            uuid=self.uuid,
            id=id,
            secret=self.secret,
            storage=settings.storage,
            protocol=settings.protocol,
            transport=settings.transport,
            path=settings.path,
            port_range=settings.port_range,
            fault_injection=settings.fault_injection,
            raft=settings.raft,
            member=settings.member,
            settings=encode_settings(settings),
        )


def new_uuid() -> str:
    """A cluster's identity: two clusters of one name differ in it."""
    return str(uuids.uuid4())


class Fleet:
    """The actors of one cluster, by member id."""

    def __init__(self, charter: Charter) -> None:
        self.charter = charter
        self._handles: dict[PeerId, Any] = {}

    @property
    def ids(self) -> list[PeerId]:
        """The members that have, or had when last looked at, an actor."""
        return sorted(self._handles)

    async def refresh(self) -> None:
        """Look all of the cluster's actors up by name."""
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(None, running_members, self.charter.name)
        unknown = [id for id in ids if id not in self._handles]
        self._take(await find_members(self.charter.name, self.charter.uuid, unknown))

    def _take(self, found: Mapping[PeerId, Found]) -> None:
        self._handles.update((id, each.handle) for id, each in found.items())

    async def spawn(self, id: PeerId, node: str | None) -> Introduction:
        """Make a member's actor on `node`; it opens its store, if that is there.

        Raises ClusterError when the actor does not come up, or its name is still taken.
        """
        actor = member_class(member_name(self.charter.name, id), node)
        try:
            handle = actor.remote(self.charter.spec(id))
        except ValueError as error:
            raise ClusterError(f"replica {id} still has an actor under its name") from error
        self._handles[id] = handle
        return await self._introduced(handle, f"replica {id} did not come up")

    async def make(self, id: PeerId) -> Introduction:
        """Have a vacant member make its store."""
        return await self._once(
            id,
            lambda member: member.make.remote(),
            MemberState.MADE,
            f"replica {id} could not make its store",
        )

    async def begin(
        self, id: PeerId, configuration: Configuration, addresses: dict[PeerId, Address]
    ) -> Introduction:
        """Give a made member its first configuration."""
        return await self._once(
            id,
            lambda member: member.begin.remote(configuration, addresses),
            MemberState.SERVING,
            f"replica {id} could not begin",
        )

    async def _once(
        self, id: PeerId, ask: Callable[[Any], Any], reached: MemberState, failure: str
    ) -> Introduction:
        """Have a member do what it does but once.

        Where Ray lost the call, or the answer to it, the member itself says how far it is; a call
        that is repeated while the first is under way is refused, and then the first was enough.
        """
        member = self._handles[id]
        lost = False
        for _ in range(CALLS):
            try:
                done: Introduction = await self._call(ask(member), MAKE_S, failure)
                return done
            except ClusterError as error:
                if not (lost or _is_lost(error)):
                    raise
                lost = True
                introduction = await self._introduced(member, failure)
                if introduction.state is reached:
                    return introduction
                if not _is_lost(error):
                    raise
        raise ClusterError(f"{failure}: Ray lost {CALLS} calls")

    async def _introduced(self, member: Any, failure: str) -> Introduction:
        """What a member says of itself, asked again where Ray loses the question."""
        for left in reversed(range(CALLS)):
            try:
                said: Introduction = await self._call(member.introduce.remote(), MAKE_S, failure)
                return said
            except ClusterError as error:
                if not (left and _is_lost(error)):
                    raise
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    async def remember(self, hosts: Iterable[str]) -> None:
        """Have every living host remember the cluster, and that these hosts hold its members."""
        settings = self.charter.settings
        if settings.storage == "memory":
            return  # it ends with its processes: its name is free then
        marker = Marker(name=self.charter.name, uuid=self.charter.uuid, path=settings.path)
        await mark_everywhere(marker.with_hosts(hosts))

    async def locate(self, addresses: dict[PeerId, Address]) -> None:
        """Tell every member where the others listen; whoever misses it finds out by itself."""
        for handle in self._handles.values():
            handle.locate.remote(addresses)

    async def statuses(self) -> dict[PeerId, dict[str, Any]]:
        """What each member says of itself; the state of a silent one is unreachable or gone."""
        ids = self.ids
        answers = await asyncio.gather(*(self._status(id) for id in ids))
        return dict(zip(ids, answers, strict=True))

    async def _status(self, id: PeerId) -> dict[str, Any]:
        import ray

        handle = self._handles[id]
        try:
            status: dict[str, Any] = await asyncio.wait_for(
                _await(handle.status.remote()), STATUS_S
            )
        except ray.exceptions.ActorUnavailableError:
            return {"id": id, "state": "unreachable", "reason": "its process is being restarted"}
        except (ray.exceptions.ActorDiedError, ray.exceptions.ActorUnschedulableError):
            # Unschedulable: pinned to a node that is no more. Ray ends such an actor too.
            if self._handles.get(id) is handle:
                del self._handles[id]
            return {"id": id, "state": "gone", "reason": "its actor is dead"}
        except ray.exceptions.RayTaskError as error:
            return {"id": id, "state": "failed", "reason": f"{error.cause!r}"}
        except TimeoutError:
            reason = f"it has not answered for {STATUS_S:.0f} s"
            return {"id": id, "state": "unreachable", "reason": reason}
        except ray.exceptions.RayError as error:
            return {"id": id, "state": "unreachable", "reason": str(error)}
        return status

    async def close(self, ids: Iterable[PeerId]) -> None:
        """Have members bring everything to disk, then end their actors for good."""
        await asyncio.gather(*(self._close(id) for id in ids))

    async def _close(self, id: PeerId) -> None:
        import ray

        handle = self._handles.pop(id, None)
        if handle is None:
            return
        with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
            await asyncio.wait_for(_await(handle.close.remote()), CLOSE_S)
        ray.kill(handle, no_restart=True)

    async def gone(self) -> None:
        """Wait until Ray has freed the names of ended actors. Raises ClusterError at a deadline."""
        await names_freed(self.charter.name)

    async def _call(self, reference: Any, seconds: float, failure: str) -> Any:
        import ray

        try:
            return await asyncio.wait_for(_await(reference), seconds)
        except ray.exceptions.RayTaskError as error:
            raise ClusterError(f"{failure}: {error.cause}") from error
        except TimeoutError as error:
            raise ClusterError(f"{failure} within {seconds:.0f} s") from error
        except ray.exceptions.RayError as error:
            raise ClusterError(f"{failure}: {error}") from error


def is_doubtful(error: ClusterError) -> bool:
    """Whether a call that failed so may have been carried out: the member itself did not refuse."""
    import ray

    return not isinstance(error.__cause__, ray.exceptions.RayTaskError)


def _is_lost(error: ClusterError) -> bool:
    """Whether Ray does not know if the call was carried out."""
    import ray

    return isinstance(error.__cause__, ray.exceptions.ActorUnavailableError)


async def _await(reference: Any) -> Any:
    return await reference


async def end_members(name: str) -> bool:
    """End every member actor of that name for good, heard of or not; whether there was any.

    What a member acknowledged is on its disk. Raises ClusterError where Ray does not let go.
    """
    import ray

    ids = await asyncio.to_thread(running_members, name)
    for id in ids:
        handle = await asyncio.to_thread(actor_named, member_name(name, id))
        if handle is not None:
            ray.kill(handle, no_restart=True)
    await names_freed(name)
    return bool(ids)


async def names_freed(name: str) -> None:
    """Wait until Ray has freed the names of ended actors. Raises ClusterError at a deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GONE_S
    while ids := await loop.run_in_executor(None, running_members, name):
        if loop.time() >= deadline:
            raise ClusterError(f"Ray has not ended the actors of replicas {ids}")
        await asyncio.sleep(0.05)


async def adopt(name: str) -> Fleet | None:
    """The fleet that serves under `name`, found through its actors; None if there are none.

    Raises MembersMissing where there are, but none of them says who it is: it may be starting anew
    or paused. To take that for no cluster would put a second one beside it, or leave it running.
    """
    loop = asyncio.get_running_loop()
    ids = await loop.run_in_executor(None, running_members, name)
    found = await find_members(name, "", ids)
    if not found and ids:
        raise MembersMissing(
            f"no member of cluster {name!r} answers, though replicas {ids} have an actor; they may "
            "be starting, paused or overloaded: try again"
        )
    if not found:
        return None
    first = next(iter(found.values())).introduction
    fleet = Fleet(charter_of(name, first))
    fleet._take({id: each for id, each in found.items() if each.introduction.uuid == first.uuid})
    return fleet


def charter_of(name: str, introduction: Introduction) -> Charter:
    """What all members share, as one of them knows it."""
    return Charter(
        name=name,
        uuid=introduction.uuid,
        secret=introduction.secret,
        settings=msgspec.json.decode(introduction.settings, type=ClusterSettings),
    )
