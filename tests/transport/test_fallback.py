"""Which way a client takes to each member: sockets, or calls where the port stays out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from raycons.transport.contract import Address, ClientHandler
from raycons.transport.fallback_client import FallbackClientTransport

MEMBERS = {id: Address("host", id) for id in (1, 2, 3)}


class Way:
    """One of the two transports; a test opens and ends its connections."""

    def __init__(self, name: str, told: list[Any]) -> None:
        self.name, self.told = name, told
        self.known: set[int] = set()
        self.handler: Any = None

    def __call__(self, handler: ClientHandler) -> Way:
        self.handler = handler
        return self

    def send(self, member: int, message: Any) -> None:
        self.told.append((self.name, member, message))

    def flush(self) -> None:
        self.told.append((self.name, "flush"))

    def know(self, addresses: Mapping[int, Address]) -> None:
        self.known = set(addresses)

    async def close(self) -> None:
        self.known = set()


class Scene:
    """A client, what it was told, and which ports are shut."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.shut: set[int] = set()
        self.sockets, self.calls = Way("socket", self.told), Way("call", self.told)
        self.transport = FallbackClientTransport(
            self,
            sockets=self.sockets,
            calls=self.calls,
            takes_connections=self._takes_connections,
            patience_s=0.0,
        )
        self.transport.know(MEMBERS)

    async def _takes_connections(self, at: Address) -> bool:
        return at.port not in self.shut

    def connected(self, member: int) -> None:
        self.told.append(("connected", member))

    def lost(self, member: int) -> None:
        self.told.append(("lost", member))

    def received(self, member: int, message: Any) -> None:
        self.told.append(("received", member, message))

    def news(self) -> list[Any]:
        news, self.told[:] = list(self.told), []
        return news

    async def shut_out(self, member: int) -> None:
        """The socket ends, and its port takes no connection any more."""
        self.shut.add(member)
        self.sockets.handler.lost(member)
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def played(story: Callable[[Scene], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            scene = Scene()
            for member in MEMBERS:
                scene.sockets.handler.connected(member)
            scene.news()
            await story(scene)
            await scene.transport.close()

        asyncio.run(main())

    return run


@played
async def test_only_the_member_out_of_reach_is_called(scene: Scene) -> None:
    await scene.shut_out(2)
    assert scene.news() == [("lost", 2)]
    assert scene.calls.known == {2}
    assert scene.sockets.known == {1, 2, 3}  # which dial on
    scene.calls.handler.connected(2)
    await turns()
    scene.transport.send(1, "a")
    scene.transport.send(2, "b")
    scene.transport.flush()
    scene.calls.handler.received(2, "c")
    assert scene.news() == [
        ("connected", 2),
        ("socket", 1, "a"),
        ("call", 2, "b"),
        ("socket", "flush"),
        ("call", "flush"),
        ("received", 2, "c"),
    ]


@played
async def test_a_socket_that_opens_again_ends_the_calls(scene: Scene) -> None:
    await scene.shut_out(2)
    scene.calls.handler.connected(2)
    await turns()
    scene.sockets.handler.lost(2)  # another attempt that failed is no news
    assert scene.news() == [("lost", 2), ("connected", 2)]
    scene.shut.clear()
    scene.sockets.handler.connected(2)
    scene.transport.send(2, "a")
    assert scene.news() == [("lost", 2), ("connected", 2), ("socket", 2, "a")]
    assert scene.calls.known == set()


@played
async def test_a_port_that_takes_connections_is_not_given_up(scene: Scene) -> None:
    """As where the cluster was resumed with another secret: calls would hide that."""
    scene.sockets.handler.lost(2)
    await turns()
    assert scene.calls.known == set()
    scene.shut.add(2)
    await turns()
    assert scene.calls.known == {2}


@played
async def test_whoever_answers_calls_behind_an_open_port_is_not_called(scene: Scene) -> None:
    """As where the cluster was stopped for long, and then resumed with another secret."""
    await scene.shut_out(2)
    assert scene.calls.known == {2}
    scene.shut.clear()
    scene.calls.handler.connected(2)
    await turns()
    assert scene.news() == [("lost", 2)]
    assert scene.calls.known == set()
    scene.sockets.handler.connected(2)
    assert scene.news() == [("connected", 2)]


@played
async def test_a_member_that_is_lost_both_ways_is_lost(scene: Scene) -> None:
    await scene.shut_out(2)
    scene.calls.handler.connected(2)
    await turns()
    scene.calls.handler.lost(2)
    assert scene.news() == [("lost", 2), ("connected", 2), ("lost", 2)]
    scene.transport.know({1: MEMBERS[1], 3: MEMBERS[3]})
    assert scene.calls.known == set()


@played
async def test_nothing_is_called_after_the_end(scene: Scene) -> None:
    scene.shut.add(2)
    scene.sockets.handler.lost(2)
    await scene.transport.close()
    await turns()
    assert scene.calls.known == set()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_that_was_never_reached_is_called(member: int) -> None:
    async def main() -> None:
        scene = Scene()
        scene.shut.add(member)
        await turns()
        assert scene.calls.known == {member}
        await scene.transport.close()

    asyncio.run(main())
