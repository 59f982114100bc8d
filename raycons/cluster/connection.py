"""Clients of a cluster, on whichever transport reaches it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

import msgspec

from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.cluster.fleet import Charter
from raycons.cluster.naming import running_members
from raycons.cluster.settings import FRAME_MARGIN_BYTES
from raycons.config import MemberSettings
from raycons.errors import ClusterLost, Unavailable
from raycons.member.codec import MemberCodec
from raycons.member.lookup import actor_named
from raycons.member.naming import supervisor_name
from raycons.member.rediscovery import Found, addresses, find_members
from raycons.member.shell import GROUP
from raycons.member.wiring import resolver
from raycons.transport.actor import ActorClientTransport
from raycons.transport.contract import (
    SPOKEN,
    Address,
    ClientHandler,
    ClientTransport,
    Greeting,
    PeerId,
)
from raycons.transport.fallback_client import FallbackClientTransport
from raycons.transport.settings import TransportSettings
from raycons.transport.tcp_client import TcpClientTransport
from raycons.transport.tls import contexts_of_ray

REACH_S = 2.0  # a port that has not taken a connection by then cannot be reached


async def find(charter: Charter) -> dict[PeerId, Found]:
    """The members of the cluster that answer now.

    Raises ClusterLost where the name belongs to another cluster by now, or a cluster that lived in
    memory has no member left; Unavailable where no member answers.
    """
    loop = asyncio.get_running_loop()
    ids = await loop.run_in_executor(None, running_members, charter.name)
    found = await find_members(charter.name, "", ids)
    ours = {id: each for id, each in found.items() if each.introduction.uuid == charter.uuid}
    if found and not ours:
        raise ClusterLost(
            f"cluster {charter.name!r} of this handle ({charter.uuid}) is gone; another one was "
            f"started under its name since: connect({charter.name!r}) reaches that one"
        )
    if not ours and charter.settings.storage == "memory" and not ids:
        raise ClusterLost(
            f"cluster {charter.name!r} lived in memory and has no member left; its data is gone"
        )
    if not ours:
        raise Unavailable(await _why_nobody_answers(charter.name, ids))
    return ours


async def _why_nobody_answers(name: str, ids: Sequence[PeerId]) -> str:
    """What to tell where none of the actors `ids`, which are all that Ray knows, answered."""
    if ids:
        return (
            f"no member of cluster {name!r} answers, though replicas {list(ids)} have an actor; "
            "they may be starting or overloaded: try again"
        )
    if await has_supervisor(name):
        return (
            f"cluster {name!r} has no member at the moment; its supervisor is there, to bring them "
            "up or to end them: try again"
        )
    return stopped(name)


def stopped(name: str) -> str:
    """What to tell of a cluster that has neither a member nor a supervisor."""
    return (
        f"cluster {name!r} has no members: it was stopped or ended; raycons.start({name!r}) "
        "resumes it"
    )


async def has_supervisor(name: str) -> bool:
    """Whether anybody is there to bring lost members of the cluster back. Raises Unavailable."""
    return await asyncio.to_thread(actor_named, supervisor_name(name)) is not None


def client_settings(member: MemberSettings) -> ClientSettings:
    """How a client behaves towards members with these bounds, if its user does not say.

    >>> client_settings(MemberSettings(max_value_bytes=2_000_000)).max_value_bytes
    2000000
    """
    defaults = ClientSettings()
    pair_bytes = member.max_key_bytes + member.max_value_bytes
    return msgspec.structs.replace(
        defaults,
        max_key_bytes=member.max_key_bytes,
        max_value_bytes=member.max_value_bytes,
        max_transaction_bytes=min(
            max(defaults.max_transaction_bytes, pair_bytes + FRAME_MARGIN_BYTES),
            member.max_frame_bytes - FRAME_MARGIN_BYTES,
        ),
    )


async def open_client(charter: Charter, settings: ClientSettings | None = None) -> AsyncClient:
    """A client of the cluster, connected as soon as a member can be reached.

    Without `settings`, the bounds of keys and values are those that the cluster was started with.

    Where the members' ports cannot be reached, as from a driver that came through Ray Client, the
    client falls back to actor calls by itself: at once where none can, and to each member whose
    port is out of reach for a while.
    """
    known = await find(charter)
    over_sockets = charter.settings.transport == "tcp" and await _any_port_open(known)
    make = _tcp_or_actor if over_sockets else _actor

    async def rediscover() -> Mapping[PeerId, Address]:
        found = await find(charter)
        if over_sockets and not any(_knows_us(charter, each) for each in found.values()):
            raise Unavailable(
                f"cluster {charter.name!r} was stopped and resumed since this handle was made; "
                f"raycons.connect({charter.name!r}) gives a new one"
            )
        return addresses(found)

    if settings is None:
        settings = client_settings(charter.settings.member)
    return AsyncClient(
        lambda handler: make(charter, handler), addresses(known), rediscover, settings
    )


def _knows_us(charter: Charter, member: Found) -> bool:
    """Whether the member takes connections with our secret; each start draws another."""
    return member.introduction.secret == charter.secret


async def _any_port_open(known: Mapping[PeerId, Found]) -> bool:
    """Whether a member's port takes connections from here; True while none is expected to.

    Members that are just starting have no port yet; only a refusal by all that have one tells.
    """
    listening = [at for at in addresses(known).values() if at.port]
    attempts = [asyncio.ensure_future(_takes_connections(at)) for at in listening]
    try:
        for attempt in asyncio.as_completed(attempts):
            if await attempt:
                return True
    finally:
        for pending in attempts:
            pending.cancel()
    return not listening


async def _takes_connections(at: Address) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(at.host, at.port), REACH_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def reopen_client(charter: Charter, former: AsyncClient) -> AsyncClient:
    """A client for a forked child, where Ray does not work: at the addresses that were known."""
    return AsyncClient(
        lambda handler: _tcp(charter, handler), former.members, None, former.settings
    )


def _tcp_or_actor(charter: Charter, handler: ClientHandler) -> ClientTransport:
    return FallbackClientTransport(
        handler,
        sockets=lambda way: _tcp(charter, way),
        calls=lambda way: _actor(charter, way),
        takes_connections=_takes_connections,
    )


def _actor(charter: Charter, handler: ClientHandler) -> ClientTransport:
    return ActorClientTransport(
        _greeting(charter),
        handler,
        MemberCodec(),
        resolve=resolver(charter.name),
        random=random.Random(),
        group=GROUP,
        settings=TransportSettings(max_frame_bytes=charter.settings.member.max_frame_bytes),
    )


def _greeting(charter: Charter) -> Greeting:
    return Greeting(
        versions=SPOKEN,
        cluster=charter.uuid,
        id=0,
        nonce=0,
        incarnation=0,
        opening=0,
        address=None,
    )


def _tcp(charter: Charter, handler: ClientHandler) -> ClientTransport:
    return TcpClientTransport(
        _greeting(charter),
        charter.secret,
        handler,
        MemberCodec(),
        random=random.Random(),
        group=GROUP,
        settings=TransportSettings(max_frame_bytes=charter.settings.member.max_frame_bytes),
        client_context=contexts_of_ray().client,
    )
