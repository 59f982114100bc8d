"""Members without Ray: the shipped hosting, shell, store and sockets, on one event loop.

Only what asks Ray is replaced: the node's id and address, and the search for peers by their names.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import ray.util
import uvloop

from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.member import hosting
from raycons.member.codec import MemberCodec
from raycons.member.hosting import Hosting
from raycons.member.spec import MemberSpec, MemberState
from raycons.store import directory
from raycons.store.contract import Store
from raycons.transport.contract import SPOKEN, Address, ClientHandler, Greeting
from raycons.transport.tcp_client import TcpClientTransport

CLUSTER, UUID, SECRET = "prod", "11111111-2222-3333-4444-555555555555", b"s" * 32
DEADLINE_S = 30.0

WrapStore = Callable[[int, Store], Store]


def member_spec(root: Path, id: int, **fields: Any) -> MemberSpec:
    """What a member actor's constructor would get."""
    plain = MemberSpec(
        cluster=CLUSTER,
        uuid=UUID,
        id=id,
        secret=SECRET,
        storage="disk",
        transport="tcp",
        path=str(root),
        port_range=None,
        fault_injection=True,
        raft=RaftSettings(),
        member=MemberSettings(),
        settings=b"{}",
    )
    return msgspec.structs.replace(plain, **fields)


def leave_ray_out(patch: pytest.MonkeyPatch) -> None:
    """Let members run without a Ray."""

    async def no_upkeep(self: Hosting, shell: Any) -> None:
        """Metrics and the search for peers go through Ray."""

    patch.setattr(hosting, "_node_id", lambda: "node")
    patch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    patch.setattr(Hosting, "_upkeep", no_upkeep)


async def eventually(
    condition: Callable[[], object], what: str = "", seconds: float = DEADLINE_S
) -> None:
    """Wait for what no event announces."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        await asyncio.sleep(0.002)


class Town:
    """Some members of one cluster, each with a data root of its own."""

    def __init__(self, path: Path, **spec: Any) -> None:
        self.path = path
        self.members: dict[int, Hosting] = {}
        self.configuration: Configuration | None = None
        self._spec = spec
        self._clients: list[AsyncClient] = []

    def root(self, id: int) -> Path:
        """The data root of member `id`: each has a host of its own."""
        return self.path / f"host-{id}"

    def store_path(self, id: int) -> Path:
        """The directory of member `id`'s store."""
        return directory.replica_path(self.root(id), CLUSTER, id)

    def open(self, id: int, root: Path | None = None) -> Hosting:
        """Start a member's process; it opens what it finds."""
        member = Hosting(member_spec(root or self.root(id), id, **self._spec))
        self.members[id] = member
        return member

    async def found(self, ids: Iterable[int] = (1, 2, 3), lease_s: float = 0.0) -> None:
        """Make the cluster, and wait for a leader."""
        made = [await self.open(id).make() for id in ids]
        peers = tuple(Peer(each.id, each.nonce, Role.VOTER, host=each.host) for each in made)
        self.configuration = Configuration(peers, len(peers) + 1, lease_s=lease_s)
        for each in made:
            await self.members[each.id].begin(self.configuration, {})
        self.introduce_all()
        await eventually(self.leader, "a leader")

    def introduce_all(self) -> None:
        """Tell everybody where everybody listens."""
        addresses = self.addresses()
        for member in self.members.values():
            member.locate(addresses)

    def addresses(self) -> dict[int, Address]:
        """Where the serving members listen."""
        return {
            id: member.wiring.transport.address
            for id, member in self.members.items()
            if member.state is MemberState.SERVING
        }

    async def reopen(self, id: int, root: Path | None = None) -> Hosting:
        """Start a member's process again, and wait until it serves."""
        member = self.open(id, root)
        await eventually(lambda: member.state is not MemberState.OPENING)
        assert member.state is MemberState.SERVING, member.reason
        self.introduce_all()
        return member

    async def stop(self, id: int) -> None:
        """End a member's process in good order."""
        await self.members.pop(id).close()

    def status(self, id: int) -> dict[str, Any]:
        """What a member says of itself."""
        return self.members[id].status()

    def counters(self, id: int) -> dict[str, int]:
        """What a member's transport counted."""
        return dict(self.members[id].wiring.transport.counters)

    async def counted(self, id: int, counter: str, count: int = 1) -> None:
        """Wait until a member's transport counted something so often."""
        await eventually(lambda: self.counters(id)[counter] >= count, counter)

    async def connected(self, id: int, peer: int) -> None:
        """Wait until a member is connected to a peer."""
        await eventually(lambda: peer in self.status(id)["connections"], f"{id} meets {peer}")

    def leader(self) -> int:
        """The leader of the newest term; 0: none."""
        leading = [
            (status["term"], id)
            for id in self.members
            if (status := self.status(id)).get("role") == "leader"
        ]
        return max(leading, default=(0, 0))[1]

    def client(self, **settings: Any) -> AsyncClient:
        """A client over TCP."""

        def transport(handler: ClientHandler) -> TcpClientTransport:
            return TcpClientTransport(
                client_greeting(), SECRET, handler, MemberCodec(), random=random.Random(1), group=0
            )

        client = AsyncClient(transport, self.addresses(), None, ClientSettings(**settings))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """End everything."""
        for client in self._clients:
            await client.close()
        for id in list(self.members):
            await self.stop(id)


def client_greeting() -> Greeting:
    """A client's; its version is this one's."""
    return Greeting(SPOKEN, UUID, 0, 0, 0, 0, None)


@asynccontextmanager
async def town(path: Path, **spec: Any) -> AsyncIterator[Town]:
    """A town that is closed at the end, with the collector as it was before."""
    before = gc.get_threshold()
    made = Town(path, **spec)
    try:
        yield made
    finally:
        await made.close()
        gc.unfreeze()  # serving members freeze what there is
        gc.set_threshold(*before)


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on the loop that Ray uses; what a callback raised unseen fails the test."""
    unseen: list[dict[str, Any]] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: unseen.append(what))
        async with asyncio.timeout(2 * DEADLINE_S):
            await story()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())
    assert unseen == []


def wrap_stores(patch: pytest.MonkeyPatch, wrap: WrapStore) -> None:
    """Put something of a test's own between members and their stores."""
    original = directory.MemberDirectory.open_store

    def open_store(held: directory.MemberDirectory) -> Any:
        return wrap(held.identity.replica, original(held))

    patch.setattr(directory.MemberDirectory, "open_store", open_store)
