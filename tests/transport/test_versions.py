"""Members and clients of two releases: they speak the newest version that both know, or part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from raycons.transport.actor import ActorClientTransport, ActorMemberTransport
from raycons.transport.contract import Address
from raycons.transport.inlet import Inlet
from raycons.transport.versions import Versions

Play = Callable[[Callable[[Any], Awaitable[None]]], None]
OLD, NEW, NEWEST = Versions(3, 4), Versions(4, 6), Versions(5, 6)
ANYWHERE = Address("", 0)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The version of every frame that came in anywhere."""
    versions: list[int] = []
    take = Inlet._frame

    def frame(inlet: Inlet, version: int, *rest: Any) -> None:
        versions.append(version)
        take(inlet, version, *rest)

    monkeypatch.setattr(Inlet, "_frame", frame)
    return versions


def test_over_tcp_members_and_clients_speak_what_both_know(play: Play, heard: list[int]) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1, versions=OLD)
        two, told_two = await harbour.member(2, versions=NEW)
        client, told_client = harbour.client(versions=NEWEST)
        one.know({2: two.address})
        two.know({1: one.address})
        client.know({2: two.address})
        await told_one.until_named("connected")
        await told_two.until_named("connected")
        await told_client.until_named("connected")
        one.send(2, 0, (1, b"there"))
        assert await told_two.until_named("received") == [(1, 0, (1, b"there"))]
        two.send(1, 0, (1, b"back"))
        assert await told_one.until_named("received") == [(2, 0, (1, b"back"))]
        assert heard == [4, 4]
        client.send(2, (1, b"asked"))
        await told_two.until_named("client_received")
        ((id,),) = told_two.named("client_connected")
        two.respond(id, 0, (1, b"answer"))
        await told_client.until_named("received")
        assert heard == [4, 4, 6, 6]

    play(scenario)


def test_over_tcp_ranges_that_do_not_overlap_are_refused(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1, versions=OLD)
        client, told_client = harbour.client(versions=NEWEST)
        client.know({1: one.address})
        await told_client.until_named("lost")
        assert client.why_unreachable(1) == (
            "it speaks protocol versions 3 to 4, this side protocol versions 5 to 6: "
            "upgrade the older of the two"
        )
        assert one.counters["rejected_version"] >= 1
        assert told_one.events == []

    play(scenario)


def test_a_frame_of_another_version_than_agreed_is_dropped(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1, versions=OLD)
        two, told_two = await harbour.member(2, versions=NEW)
        two.know({1: one.address})
        await told_two.until_named("connected")
        (connection,) = two._connections
        connection.version = 3
        two.send(1, 0, (1, b"in the wrong version"))
        await harbour.eventually(lambda: one.counters["dropped_version"] == 1)
        assert told_one.named("received") == []

    play(scenario)


class Handle:
    """An actor's handle whose calls run here."""

    def __init__(self, transport: ActorMemberTransport) -> None:
        for name in ("deliver", "attend", "exchange", "collect"):
            setattr(self, name, self._Method(getattr(transport, name)))

    class _Method:
        def __init__(self, call: Callable[..., Any]) -> None:
            self._call = call

        def remote(self, *arguments: Any) -> asyncio.Task[bytes]:
            return asyncio.ensure_future(self._call(*arguments))


class Actors:
    """Members and clients that find each other through handles."""

    def __init__(self, harbour: Any, recorder: Callable[[], Any]) -> None:
        self.harbour, self.recorder = harbour, recorder
        self.handles: dict[int, Handle] = {}

    def member(self, id: int, versions: Versions) -> tuple[ActorMemberTransport, Any]:
        told = self.recorder()
        transport = ActorMemberTransport(
            self.harbour.greeting(id, versions=versions),
            told,
            self.harbour.codec,
            resolve=self.handles.get,
            random=Random(id),
        )
        self.handles[id] = Handle(transport)
        self.harbour.add(transport.close)
        return transport, told

    def client(self, versions: Versions) -> tuple[ActorClientTransport, Any]:
        told = self.recorder()
        transport = ActorClientTransport(
            self.harbour.greeting(0, 0, versions=versions),
            told,
            self.harbour.codec,
            resolve=self.handles.get,
            random=Random(0),
        )
        self.harbour.add(transport.close)
        return transport, told


def test_by_actor_calls_members_and_clients_speak_what_both_know(
    play: Play, heard: list[int], recorder: Callable[[], Any]
) -> None:
    async def scenario(harbour: Any) -> None:
        actors = Actors(harbour, recorder)
        one, told_one = actors.member(1, OLD)
        two, told_two = actors.member(2, NEW)
        client, told_client = actors.client(NEWEST)
        one.know({2: ANYWHERE})
        two.know({1: ANYWHERE})
        client.know({2: ANYWHERE})
        await told_one.until_named("connected")
        await told_two.until_named("connected")
        await told_client.until_named("connected")
        one.send(2, 0, (1, b"there"))
        assert await told_two.until_named("received") == [(1, 0, (1, b"there"))]
        two.send(1, 0, (1, b"back"))
        assert await told_one.until_named("received") == [(2, 0, (1, b"back"))]
        assert heard == [4, 4]
        client.send(2, (1, b"asked"))
        await told_two.until_named("client_received")
        ((id,),) = told_two.named("client_connected")
        two.respond(id, 0, (1, b"answer"))
        await told_client.until_named("received")
        assert heard == [4, 4, 6, 6]

    play(scenario)


def test_by_actor_calls_ranges_that_do_not_overlap_are_refused(
    play: Play, recorder: Callable[[], Any]
) -> None:
    async def scenario(harbour: Any) -> None:
        actors = Actors(harbour, recorder)
        one, told_one = actors.member(1, OLD)
        two, told_two = actors.member(2, NEWEST)
        client, told_client = actors.client(NEWEST)
        two.know({1: ANYWHERE})
        client.know({1: ANYWHERE})
        await told_client.until_named("lost")
        reason = client.why_unreachable(1)
        assert reason is not None
        assert "versions 5 to 6, this side protocol versions 3 to 4" in reason
        await harbour.eventually(lambda: one.counters["rejected_version"] >= 2)
        assert told_one.named("connected") == told_two.named("connected") == []

    play(scenario)
