"""The same transport over Ray actor calls: nothing but Ray's own ports is needed.

Slower by far than TCP (a call costs milliseconds), and a dead actor is noticed when Ray notices it.
The actor around a transport has four async methods, which only forward:

    async def deliver(self, greeting: bytes, frames: bytes) -> bytes
    async def attend(self, greeting: bytes) -> bytes
    async def exchange(self, token: bytes, greeting: bytes, frames: bytes) -> bytes
    async def collect(self, token: bytes, greeting: bytes) -> bytes
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, NamedTuple

import msgspec

from raycons.transport.actor_clients import ActorClients
from raycons.transport.actor_line import LISTEN_S, Calls, Line, Reply, encode_reply
from raycons.transport.contract import (
    Address,
    ClientHandler,
    ClientId,
    Codec,
    Greeting,
    Malformed,
    MemberHandler,
    PeerId,
)
from raycons.transport.gate import Gate
from raycons.transport.greeting import Refusal, decode_greeting, encode_greeting
from raycons.transport.inlet import Common, Deliver, Inlet
from raycons.transport.links import same_opening
from raycons.transport.settings import TransportSettings
from raycons.transport.turn import Turn
from raycons.transport.versions import agreed, disagreement

# The actor of a member, or None where there is none. Called in a thread: it may ask Ray's head.
Resolve = Callable[[PeerId], Any]


class _Sender(NamedTuple):
    """A peer that was let in, and where its frames go."""

    greeting: Greeting
    inlet: Inlet


class ActorMemberTransport:
    """Implements `MemberTransport`; to be made on the loop that will run it."""

    def __init__(
        self,
        greeting: Greeting,
        handler: MemberHandler,
        codec: Codec,
        *,
        resolve: Resolve,
        random: Random,
        gate: Gate | None = None,
        settings: TransportSettings | None = None,
    ) -> None:
        """`resolve` finds the actors of peers; `random` gives the jitter between attempts."""
        self.address = Address("", 0)  # members are found by their actors
        self.gate = gate or Gate()
        self._greeting = greeting
        self._encoded_greeting = encode_greeting(greeting)
        self._handler = handler
        self._encode = codec.encode
        self._resolve = resolve
        self._random = random
        self._common = Common(
            codec=codec,
            turn=Turn(asyncio.get_running_loop(), handler.turn_over),
            gate=self.gate,
            settings=settings or TransportSettings(),
            greeting=greeting,
        )
        self.counters = self._common.counters
        self.clients = ActorClients(greeting, handler, self._common)
        self._lines: dict[PeerId, Line] = {}
        self._connected: set[PeerId] = set()
        self._known: frozenset[PeerId] = frozenset()
        self._senders: dict[PeerId, _Sender] = {}
        self._closing: asyncio.Future[None] = self._common.loop.create_future()

    # --- MemberTransport --------------------------------------------------------------------------

    def send(self, to: PeerId, group: int, message: Any) -> None:
        """Send to a peer, or drop and count."""
        line = self._lines.get(to)
        if line is None:
            self.counters["dropped_unreachable"] += 1
            return
        if self.gate.closed and self.gate.drops_to(to):
            self.counters["dropped_gate"] += 1
            return
        line.send(*_framed(self._encode(message), group))

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        """Send to a client, or drop."""
        self.clients.respond(client, group, message)

    def flush(self) -> None:
        """See `MemberTransport`."""
        self._common.turn.flush()

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The peers to keep lines to; only the ids count. Those known before are let go."""
        known = frozenset(addresses) - {self._greeting.id}
        for id in self._known - known:
            self._senders.pop(id, None)
            self._connected.discard(id)
            self._lines.pop(id).stop()
        for id in known:
            self._line(id)
        self._known = known

    async def close(self) -> None:
        """Let everyone go; the handler hears nothing after this."""
        if not self._closing.done():
            self._closing.set_result(None)
        for line in self._lines.values():
            line.stop()
        self._lines.clear()
        self._known = frozenset()
        self._senders.clear()
        self.clients.close()

    def connected_peers(self) -> dict[PeerId, Greeting]:
        """The peers that can be sent to, with the greeting of their present incarnation."""
        lines = self._lines.items()
        return {id: line.greeting for id, line in lines if line.greeting is not None}

    # --- what the actor's methods forward to ------------------------------------------------------

    async def deliver(self, greeting: bytes, frames: bytes) -> bytes:
        """A peer says hello, or something."""
        sender = self._enter(greeting)
        if isinstance(sender, str):
            return self._reply(sender)
        if frames:
            try:
                sender.inlet.feed(frames)
            except Malformed as error:
                self.counters.reject("rejected_malformed", str(error), "a peer")
                # What came before it may have ended the turn, and that the acquaintance.
                self._senders.pop(sender.greeting.id, None)
                return self._reply(f"malformed: {error}")
        return self._reply("")

    async def attend(self, greeting: bytes) -> bytes:
        """A peer waits, to notice when this member dies."""
        sender = self._enter(greeting)
        if isinstance(sender, str):
            return self._reply(sender)
        await asyncio.wait((self._closing,), timeout=LISTEN_S)
        return self._reply("the member is closing" if self._closing.done() else "")

    async def exchange(self, token: bytes, greeting: bytes, frames: bytes) -> bytes:
        """A client says hello, or something."""
        return await self.clients.exchange(token, greeting, frames)

    async def collect(self, token: bytes, greeting: bytes) -> bytes:
        """A client waits for whatever there is for it."""
        return await self.clients.collect(token, greeting)

    # --- LineOwner --------------------------------------------------------------------------------

    def judge(self, id: PeerId, greeting: Greeting) -> Refusal | None:
        """What speaks against the actor that answered for `id`."""
        if greeting.id != id:
            return Refusal("rejected_identity", f"called member {id}, found {greeting.id}")
        return self._judge(greeting)

    def line_opened(self, id: PeerId, greeting: Greeting) -> Deliver:
        """A peer can be sent to."""
        self._connected.add(id)
        self._handler.connected(id, greeting)
        return partial(self._handler.received, id)

    def line_ended(self, id: PeerId, reason: str) -> None:
        """A peer's line broke, or could not be made."""
        if id in self._connected:
            self._connected.discard(id)
            self._handler.lost(id)
        if id not in self._known and id in self._lines:
            self._lines.pop(id).stop()  # it may come again, and will say hello then

    # --- who may come in --------------------------------------------------------------------------

    def _enter(self, encoded: bytes) -> _Sender | str:
        """The sender of a call, or why it is refused."""
        if self._closing.done():
            return "the member is closing"
        try:
            greeting = decode_greeting(encoded)
        except (msgspec.MsgspecError, ValueError) as error:
            self.counters["rejected_malformed"] += 1
            return f"a greeting that is none: {error}"
        sender = self._senders.get(greeting.id)
        if sender is not None and same_opening(sender.greeting, greeting):
            return sender
        if sender is not None and greeting.incarnation <= sender.greeting.incarnation:
            self.counters["rejected_identity"] += 1
            return f"another holder of identity {greeting.id} was here, as new or newer"
        version = agreed(self._greeting.versions, greeting.versions)
        if version is None:
            reason = disagreement(self._greeting.versions, greeting.versions)
            self.counters.reject("rejected_version", reason, f"member {greeting.id}")
            return reason
        refusal = self._judge(greeting)
        if refusal is not None:
            self.counters.reject(refusal.counter, refusal.reason, f"member {greeting.id}")
            return refusal.reason
        if sender is not None:
            sender.inlet.shut()
        sender = _Sender(greeting, Inlet(self._common))
        sender.inlet.open(greeting.id, version, partial(self._handler.received, greeting.id))
        self._senders[greeting.id] = sender
        line = self._line(greeting.id)
        if line.greeting is not None and not same_opening(line.greeting, greeting):
            line.break_off("the actor began a new life")
        line.hurry()
        return sender

    def _judge(self, greeting: Greeting) -> Refusal | None:
        own = self._greeting
        if self.gate.closed and self.gate.separates(greeting.id):
            return Refusal("dropped_gate", "cut off by fault injection")
        if greeting.cluster != own.cluster:
            reason = f"this is cluster {own.cluster}, not {greeting.cluster}"
            return Refusal("rejected_cluster", reason)
        if greeting.id in (0, own.id):
            return Refusal("rejected_identity", f"{greeting.id} is no peer of member {own.id}")
        reason_of_member = self._handler.admit(greeting)
        if reason_of_member is not None:
            return Refusal("rejected_admission", reason_of_member)
        return None

    def _line(self, id: PeerId) -> Line:
        line = self._lines.get(id)
        if line is None:
            connect = partial(self._connect, id)
            line = self._lines[id] = Line(id, self, connect, self._common, self._random)
        return line

    def _connect(self, id: PeerId) -> Calls | None:
        handle = self._resolve(id)
        if handle is None:
            return None
        deliver = partial(handle.deliver.remote, self._encoded_greeting)
        attend = partial(handle.attend.remote, self._encoded_greeting)
        return Calls(hello=partial(deliver, b""), push=deliver, listen=attend)

    def _reply(self, refusal: str) -> bytes:
        return encode_reply(Reply(self._greeting, refusal, b""))


class ActorClientTransport:
    """Implements `ClientTransport`; to be made on the loop that will run it."""

    def __init__(
        self,
        greeting: Greeting,
        handler: ClientHandler,
        codec: Codec,
        *,
        resolve: Resolve,
        random: Random,
        group: int = 0,
        gate: Gate | None = None,
        settings: TransportSettings | None = None,
    ) -> None:
        """`greeting` names the cluster, with id 0; `group` is the one that messages are for."""
        self.gate = gate or Gate()
        self._cluster = greeting.cluster
        self._encoded_greeting = encode_greeting(greeting)
        self._token = os.urandom(16)
        self._handler = handler
        self._encode = codec.encode
        self._resolve = resolve
        self._random = random
        self._group = group
        self._common = Common(
            codec=codec,
            turn=Turn(asyncio.get_running_loop(), lambda: None),
            gate=self.gate,
            settings=settings or TransportSettings(),
            greeting=greeting,
        )
        self.counters = self._common.counters
        self._lines: dict[PeerId, Line] = {}
        self._reasons: dict[PeerId, str] = {}  # why a member that was reported lost cannot be had

    def send(self, member: PeerId, message: Any) -> None:
        """Send, or drop and count."""
        line = self._lines.get(member)
        if line is None:
            self.counters["dropped_unreachable"] += 1
            return
        if self.gate.closed and self.gate.drops_to(member):
            self.counters["dropped_gate"] += 1
            return
        line.send(*_framed(self._encode(message), self._group))

    def flush(self) -> None:
        """Nothing: a call leaves when the turn is over, and one is better than several."""

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The members to keep lines to; only the ids count. Others are let go."""
        for id in self._lines.keys() - addresses.keys():
            self._lines.pop(id).stop()
            self._reasons.pop(id, None)
        for id in addresses.keys() - self._lines.keys():
            connect = partial(self._connect, id)
            self._lines[id] = Line(id, self, connect, self._common, self._random)

    async def close(self) -> None:
        """Let all members go; the handler hears nothing after this."""
        for line in self._lines.values():
            line.stop()
        self._lines.clear()

    def why_unreachable(self, member: PeerId) -> str | None:
        """Why the last attempt to reach a member failed, in words; None: it did not fail."""
        return self._reasons.get(member)

    # --- LineOwner --------------------------------------------------------------------------------

    def judge(self, id: PeerId, greeting: Greeting) -> Refusal | None:
        """What speaks against the actor that answered for `id`."""
        if greeting.id != id:
            return Refusal("rejected_identity", f"called member {id}, found {greeting.id}")
        if greeting.cluster != self._cluster:
            return Refusal("rejected_cluster", f"this is a client of cluster {self._cluster}")
        return None

    def line_opened(self, id: PeerId, greeting: Greeting) -> Deliver:
        """A member can be sent to."""
        self._reasons.pop(id, None)
        self._handler.connected(id)
        received = self._handler.received

        def deliver(group: int, message: Any) -> None:
            received(id, message)

        return deliver

    def line_ended(self, id: PeerId, reason: str) -> None:
        """A member's line broke, or could not be made; told once until it is up again."""
        first = id not in self._reasons
        self._reasons[id] = reason
        if first:
            self._handler.lost(id)

    def _connect(self, id: PeerId) -> Calls | None:
        handle = self._resolve(id)
        if handle is None:
            return None
        exchange = partial(handle.exchange.remote, self._token, self._encoded_greeting)
        collect = partial(handle.collect.remote, self._token, self._encoded_greeting)
        return Calls(hello=partial(exchange, b""), push=exchange, listen=collect)


def _framed(encoded: tuple[int, bytes], group: int) -> tuple[int, int, bytes]:
    kind, body = encoded
    return kind, group, body
