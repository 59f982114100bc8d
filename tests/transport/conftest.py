"""Two kinds of loop, a codec of plain pairs, and handlers that remember what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

import pytest
import uvloop

from raycons.transport.contract import (
    SPOKEN,
    Address,
    Greeting,
    Malformed,
    UnknownKind,
)
from raycons.transport.gate import Gate
from raycons.transport.settings import TransportSettings
from raycons.transport.tcp import TcpClientTransport, TcpMemberTransport
from raycons.transport.versions import Versions

DEADLINE_S = 15.0
UNKNOWN_KIND = 200
SECRET = b"s" * 32


class PairCodec:
    """Messages are (kind, bytes)."""

    def encode(self, message: Any) -> tuple[int, bytes]:
        kind, body = message
        return kind, body

    def decode(self, kind: int, body: memoryview | bytes) -> Any:
        if kind == UNKNOWN_KIND:
            raise UnknownKind("200")
        if bytes(body[:7]) == b"garbage":
            raise Malformed("garbage")
        return kind, bytes(body)


class Recorder:
    """A handler of a member or of a client; `events` is everything it was told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.refuse: str | None = None
        self.on_received: Callable[..., None] = lambda *told: None
        self.on_turn_over: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self._changed.set()

    def admit(self, greeting: Greeting) -> str | None:
        return self.refuse

    def connected(self, peer: int, greeting: Greeting | None = None) -> None:
        self._note("connected", peer)

    def lost(self, peer: int) -> None:
        self._note("lost", peer)

    def received(self, sender: int, *rest: Any) -> None:
        self._note("received", sender, *rest)
        self.on_received(sender, *rest)

    def client_connected(self, client: int) -> None:
        self._note("client_connected", client)

    def client_received(self, client: int, group: int, message: Any) -> None:
        self._note("client_received", client, group, message)
        self.on_received(client, group, message)

    def client_gone(self, client: int) -> None:
        self._note("client_gone", client)

    def turn_over(self) -> None:
        self._note("turn_over")
        self.on_turn_over()

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == name]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what this handler was told makes `condition` true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_named(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        await self.until(lambda: len(self.named(name)) >= count)
        return self.named(name)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that no handler is told of, such as a counter."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a counter raises no event
            await asyncio.sleep(0.002)


class Harbour:
    """Makes transports on loopback and closes them when the test is over."""

    eventually = staticmethod(eventually)
    codec = PairCodec()
    recorder = Recorder
    secret = SECRET

    def __init__(self) -> None:
        self._open: list[Callable[[], Awaitable[None]]] = []

    def add(self, close: Callable[[], Awaitable[None]]) -> None:
        """To be closed when the test is over."""
        self._open.append(close)

    def greeting(self, id: int, incarnation: int = 1, **fields: Any) -> Greeting:
        values = {"cluster": "c", "nonce": 7 * id, "opening": 100 * id + incarnation, **fields}
        values.setdefault("versions", SPOKEN)
        return Greeting(id=id, incarnation=incarnation, address=None, **values)

    def settings(self, **fields: Any) -> TransportSettings:
        return TransportSettings(**fields)

    async def member(
        self, id: int, incarnation: int = 1, *, secret: bytes = SECRET, **options: Any
    ) -> tuple[TcpMemberTransport, Recorder]:
        handler = Recorder()
        fields = {
            key: options.pop(key) for key in ("cluster", "opening", "versions") if key in options
        }
        transport = await TcpMemberTransport.create(
            self.greeting(id, incarnation, **fields),
            secret,
            handler,
            PairCodec(),
            random=Random(id),
            advertised_host="127.0.0.1",
            host="127.0.0.1",
            **options,
        )
        self._open.append(transport.close)
        return transport, handler

    def client(
        self,
        *,
        secret: bytes = SECRET,
        cluster: str = "c",
        versions: Versions = SPOKEN,
        **options: Any,
    ) -> tuple[TcpClientTransport, Recorder]:
        handler = Recorder()
        greeting = self.greeting(0, 0, cluster=cluster, versions=versions)
        transport = TcpClientTransport(
            greeting, secret, handler, PairCodec(), random=Random(0), group=3, **options
        )
        self._open.append(transport.close)
        return transport, handler

    async def pair(self, **options: Any) -> Any:
        """Two members that are connected: (one, its handler, two, its handler)."""
        one, told_one = await self.member(1, **options)
        two, told_two = await self.member(2, **options)
        addresses = {1: one.address, 2: two.address}
        one.know(addresses)
        two.know(addresses)
        await told_one.until_named("connected")
        await told_two.until_named("connected")
        # Both pipes, so that tests can count connections.
        await eventually(lambda: one.counters["connections_opened"] == 2)
        await eventually(lambda: two.counters["connections_opened"] == 2)
        return one, told_one, two, told_two

    async def socket(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, to misbehave with."""
        reader, writer = await asyncio.open_connection(*address)

        async def close() -> None:
            writer.transport.abort()

        self._open.append(close)
        return reader, writer

    async def close(self) -> None:
        for close in reversed(self._open):
            await close()


Scenario = Callable[[Harbour], Coroutine[Any, Any, None]]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=sorted(LOOPS))
def play(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario on a fresh loop; what a callback raised unseen fails the test."""

    def play(scenario: Scenario) -> None:
        unseen: list[dict[str, Any]] = []

        async def whole() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: unseen.append(what))
            harbour = Harbour()
            try:
                async with asyncio.timeout(2 * DEADLINE_S):
                    await scenario(harbour)
            finally:
                await harbour.close()

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(whole())
        assert unseen == []

    return play


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder
