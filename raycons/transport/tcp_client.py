"""A client over TCP: one connection to every member it knows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from raycons.transport.connection import Connection
from raycons.transport.contract import Address, ClientHandler, Codec, Greeting, PeerId
from raycons.transport.dialer import Dialer
from raycons.transport.gate import Gate
from raycons.transport.greeting import Handshake, Refusal
from raycons.transport.inlet import Common, Deliver
from raycons.transport.settings import TransportSettings
from raycons.transport.turn import Turn


class TcpClientTransport:
    """Implements `ClientTransport`; to be made on the loop that will run it."""

    def __init__(
        self,
        greeting: Greeting,
        secret: bytes,
        handler: ClientHandler,
        codec: Codec,
        *,
        random: Random,
        group: int = 0,
        gate: Gate | None = None,
        settings: TransportSettings | None = None,
        client_context: ssl.SSLContext | None = None,
    ) -> None:
        """`greeting` names the cluster, with id 0; `group` is the one that messages are for."""
        self.gate = gate or Gate()
        self._greeting = greeting
        self._secret = secret
        self._handler = handler
        self._encode = codec.encode
        self._random = random
        self._group = group
        self._settings = settings or TransportSettings()
        self._context = client_context
        self._common = Common(
            codec=codec,
            turn=Turn(asyncio.get_running_loop(), lambda: None),
            gate=self.gate,
            settings=self._settings,
            greeting=greeting,
        )
        self.counters = self._common.counters
        self._dialers: dict[PeerId, Dialer] = {}
        self._known: dict[PeerId, Address] = {}
        self._pipes: dict[PeerId, Connection] = {}
        self._connections: set[Connection] = set()  # every one that has not ended
        self._reported: set[PeerId] = set()  # members that the handler knows to be unreachable
        self._reasons: dict[PeerId, str] = {}
        self._closed = False

    # --- ClientTransport --------------------------------------------------------------------------

    def send(self, member: PeerId, message: Any) -> None:
        """Send, or drop and count."""
        connection = self._pipes.get(member)
        if connection is None:
            self.counters["dropped_unreachable"] += 1
            return
        if self.gate.closed and self.gate.drops_to(member):
            self.counters["dropped_gate"] += 1
            return
        kind, body = self._encode(message)
        connection.send(kind, self._group, body)

    def flush(self) -> None:
        """See `ClientTransport`."""
        self._common.turn.flush()

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The members to keep connections to; others are let go."""
        for id in self._known.keys() - addresses.keys():
            self._dialers.pop(id).stop()
            connection = self._pipes.pop(id, None)
            if connection is not None:
                connection.close()
            self._reported.discard(id)
            self._reasons.pop(id, None)
        for id, address in addresses.items():
            if id not in self._dialers:
                self._dialers[id] = self._dialer(id, address)
            elif self._known[id] != address:
                self._dialers[id].address = address
                self._dialers[id].hurry()
        self._known = dict(addresses)

    async def close(self) -> None:
        """Close all connections; the handler hears nothing after this."""
        self._closed = True
        for dialer in self._dialers.values():
            dialer.stop()
        self._dialers.clear()
        self._known = {}
        self._pipes.clear()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            ended = [connection.ended for connection in connections]
            await asyncio.wait(ended, timeout=self._settings.connect_timeout_s)
            for connection in connections:
                connection.abort()

    def why_unreachable(self, member: PeerId) -> str | None:
        """Why the last attempt to reach a member failed, in words; None: it did not fail."""
        return self._reasons.get(member)

    # --- connections ------------------------------------------------------------------------------

    def _dialer(self, id: PeerId, address: Address) -> Dialer:
        return Dialer(
            address,
            partial(self._dial, id),
            settings=self._settings,
            random=self._random,
            context=self._context,
            failed=partial(self._unreachable, id),
            may_dial=lambda: not (self.gate.closed and self.gate.separates(id)),
        )

    def _dial(self, id: PeerId) -> Connection:
        handshake = Handshake.dialing(self._greeting, self._secret, partial(self._judge, id))
        return Connection(self, self._common, handshake, dialed=id)

    def _judge(self, id: PeerId, greeting: Greeting) -> Refusal | None:
        if greeting.id != id:
            return Refusal("rejected_identity", f"dialed member {id}, found {greeting.id}")
        if greeting.cluster != self._greeting.cluster:
            reason = f"this is a client of cluster {self._greeting.cluster}"
            return Refusal("rejected_cluster", reason)
        return None

    def _unreachable(self, id: PeerId, reason: str) -> None:
        """Tell the handler, once until the member is connected again."""
        if self._closed or id not in self._dialers:
            return
        self._reasons[id] = reason
        if id not in self._reported:
            self._reported.add(id)
            self._handler.lost(id)

    # --- Owner ------------------------------------------------------------------------------------

    def made(self, connection: Connection) -> bool:
        """The socket is open."""
        self._connections.add(connection)
        if self._closed:
            connection.abort()
        return True

    def opened(self, connection: Connection, peer: Greeting) -> Deliver | None:
        """The greeting is done."""
        id = peer.id
        if self._closed or id not in self._dialers:
            connection.abort()
            return None
        self._pipes[id] = connection
        self._reported.discard(id)
        self._reasons.pop(id, None)
        self._handler.connected(id)
        received = self._handler.received

        def deliver(group: int, message: Any) -> None:
            received(id, message)

        return deliver

    def ended(self, connection: Connection) -> None:
        """The connection is no more."""
        self._connections.discard(connection)
        id = connection.dialed
        if self._pipes.get(id) is connection:
            del self._pipes[id]
        elif connection.peer is not None:  # let go
            return
        self._unreachable(id, connection.reason or "the connection ended")
