"""Clients that reach a member through Ray actor calls: the member's side.

The way in for a driver that cannot reach the member's port. A client names itself with a random
token, pushes with `exchange`, and keeps one `collect` waiting, which brings back whatever the
member has for it. A client that does not collect for `GONE_S` is gone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from raycons.transport.actor_line import LISTEN_S, Reply, encode_reply
from raycons.transport.clients import next_client_id
from raycons.transport.contract import (
    ClientId,
    ClientWatcher,
    Greeting,
    Malformed,
    MemberHandler,
    MemberTransport,
)
from raycons.transport.gate import CLIENTS
from raycons.transport.greeting import decode_greeting
from raycons.transport.inlet import Common, Inlet
from raycons.transport.versions import agreed, disagreement
from raycons.transport.wire import encode_frame

GONE_S = 30.0
MAX_CLIENTS = 10_000


class _Client:
    """What the member keeps for one token."""

    def __init__(self, id: ClientId, inlet: Inlet) -> None:
        self.id = id
        self.inlet = inlet
        self.gathered: list[bytes] = []
        self.gathered_bytes = 0
        self.collecting: asyncio.Future[None] | None = None  # of the `collect` that waits
        self.gone_timer: asyncio.TimerHandle | None = None  # runs while none does

    def flush(self) -> None:
        """Let the waiting `collect` answer with what was gathered."""
        if self.collecting is not None and not self.collecting.done():
            self.collecting.set_result(None)


class ActorClients:
    """Serves `exchange` and `collect`, which the actor's methods of those names forward to."""

    def __init__(self, greeting: Greeting, handler: MemberHandler, common: Common) -> None:
        """`greeting` is the member's; `common` belongs to the transport that this is part of."""
        self._greeting = greeting
        self._handler = handler
        self._common = common
        self._clients: dict[bytes, _Client] = {}
        self._tokens: dict[ClientId, bytes] = {}
        self._closed = False

    async def exchange(self, token: bytes, greeting: bytes, frames: bytes) -> bytes:
        """A client says hello, or something; the answers come with `collect`."""
        client = self._enter(token, greeting)
        if isinstance(client, str):
            return self._reply(client)
        if frames:
            try:
                client.inlet.feed(frames)
            except Malformed as error:
                self._common.counters.reject("rejected_malformed", str(error), "a client")
                self._drop(token)
                return self._reply(f"malformed: {error}")
        return self._reply("")

    async def collect(self, token: bytes, greeting: bytes) -> bytes:
        """Whatever there is for this client, as soon as there is something."""
        client = self._enter(token, greeting)
        if isinstance(client, str):
            return self._reply(client)
        client.flush()  # an earlier `collect` whose caller gave up must not take the answers
        client.collecting = None
        if client.gone_timer is not None:
            client.gone_timer.cancel()
            client.gone_timer = None
        if not client.gathered:
            client.collecting = waiting = self._common.loop.create_future()
            await asyncio.wait((waiting,), timeout=LISTEN_S)
            if client.collecting is not waiting:  # a later one took over
                return self._reply("")
            client.collecting = None
        frames = b"".join(client.gathered)
        self._common.counters["frames_sent"] += len(client.gathered)
        self._common.counters["bytes_sent"] += len(frames)
        client.gathered.clear()
        client.gathered_bytes = 0
        if self._clients.get(token) is client:
            self._expect(token, client)
        return self._reply("", frames)

    def has_client(self, client: ClientId) -> bool:
        """Whether `client` is one of these, and not gone."""
        return client in self._tokens

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        """Send to a client, or drop."""
        common = self._common
        token = self._tokens.get(client)
        if token is None:
            common.counters["dropped_unreachable"] += 1
            return
        if common.gate.closed and common.gate.drops_to(CLIENTS):
            common.counters["dropped_gate"] += 1
            return
        kind, body = common.codec.encode(message)
        if len(body) > common.settings.max_frame_bytes:
            common.counters["dropped_oversize"] += 1
            return
        state = self._clients[token]
        if state.gathered_bytes > common.settings.client_buffer_bytes:
            common.counters.reject("rejected_slow", "it does not collect its answers", "a client")
            self._drop(token)
            return
        if not state.gathered:
            common.turn.flush_later(state)
        frame = encode_frame(state.inlet.version, kind, group, 0, body)
        state.gathered.append(frame)
        state.gathered_bytes += len(frame)

    def close(self) -> None:
        """Answer whoever waits; the handler hears nothing after this."""
        self._closed = True
        for client in self._clients.values():
            client.flush()
            if client.gone_timer is not None:
                client.gone_timer.cancel()
        self._clients.clear()
        self._tokens.clear()

    def _enter(self, token: bytes, encoded: bytes) -> _Client | str:
        """The client of that token, new where there is none; or why it is refused."""
        if self._closed:
            return "the member is closing"
        client = self._clients.get(token)
        if client is not None:
            return client
        try:
            greeting = decode_greeting(encoded)
        except (msgspec.MsgspecError, ValueError) as error:
            self._common.counters["rejected_malformed"] += 1
            return f"a greeting that is none: {error}"
        version = agreed(self._greeting.versions, greeting.versions)
        if version is None:
            self._common.counters["rejected_version"] += 1
            return disagreement(self._greeting.versions, greeting.versions)
        refusal = self._refusal(greeting)
        if refusal is not None:
            return refusal
        client = _Client(next_client_id(), Inlet(self._common))
        client.inlet.open(CLIENTS, version, partial(self._handler.client_received, client.id))
        self._clients[token] = client
        self._tokens[client.id] = token
        self._common.counters["connections_opened"] += 1
        self._expect(token, client)
        if isinstance(self._handler, ClientWatcher):
            self._handler.client_connected(client.id)
        return client

    def _refusal(self, greeting: Greeting) -> str | None:
        counters = self._common.counters
        if greeting.cluster != self._greeting.cluster:
            counters["rejected_cluster"] += 1
            return f"this is cluster {self._greeting.cluster}, not {greeting.cluster}"
        if len(self._clients) >= MAX_CLIENTS:
            counters["rejected_crowd"] += 1
            return f"there are {MAX_CLIENTS} clients already"
        reason = self._handler.admit(greeting)
        if reason is not None:
            counters.reject("rejected_admission", reason, "a client")
        return reason

    def _expect(self, token: bytes, client: _Client) -> None:
        """The next `collect` must come within `GONE_S`."""
        if client.gone_timer is not None:
            client.gone_timer.cancel()
        client.gone_timer = self._common.loop.call_later(GONE_S, self._drop, token)

    def _drop(self, token: bytes) -> None:
        client = self._clients.pop(token, None)
        if client is None:
            return
        del self._tokens[client.id]
        client.inlet.shut()
        client.flush()
        if client.gone_timer is not None:
            client.gone_timer.cancel()
        self._handler.client_gone(client.id)

    def _reply(self, refusal: str, frames: bytes = b"") -> bytes:
        return encode_reply(Reply(self._greeting, refusal, frames))


class WithActorClients:
    """A member's transport that also serves clients which come through actor calls.

    `exchange` and `collect` of `clients` are what the actor's methods forward to.
    """

    def __init__(self, transport: MemberTransport, clients: ActorClients) -> None:
        self.address = transport.address
        self.counters = transport.counters
        self.clients = clients
        self.send = transport.send
        self.flush = transport.flush
        self.know = transport.know
        self._transport = transport

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        """Send to a client, whichever way it came."""
        if self.clients.has_client(client):
            self.clients.respond(client, group, message)
        else:
            self._transport.respond(client, group, message)

    async def close(self) -> None:
        """Close both."""
        self.clients.close()
        await self._transport.close()
