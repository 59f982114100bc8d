"""Members over TCP: each dials every peer it knows, and accepts peers and clients.

                 dialed by 1, 1 sends here
    member 1  ------------------------------>  member 2
              <------------------------------
                 dialed by 2, 2 sends here

Two connections, so that neither side waits for the other to find it. Either serves alone while the
other is being made. A peer that restarted dials in by itself, which also ends our pause.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

import msgspec

from raycons.transport.clients import next_client_id
from raycons.transport.connection import Connection
from raycons.transport.contract import (
    Address,
    ClientId,
    ClientWatcher,
    Codec,
    Greeting,
    MemberHandler,
    PeerId,
)
from raycons.transport.dialer import Dialer
from raycons.transport.gate import CLIENTS, Gate
from raycons.transport.greeting import Handshake, Refusal, Rejected
from raycons.transport.inlet import Common, Deliver
from raycons.transport.links import PeerLink
from raycons.transport.ports import BACKLOG, listen_on_first_free
from raycons.transport.settings import TransportSettings
from raycons.transport.tcp_client import TcpClientTransport
from raycons.transport.turn import Turn

__all__ = ["TcpClientTransport", "TcpMemberTransport"]


class TcpMemberTransport:
    """Implements `MemberTransport`; made by `create`, on the loop that will run it."""

    def __init__(
        self,
        greeting: Greeting,
        secret: bytes,
        handler: MemberHandler,
        codec: Codec,
        *,
        gate: Gate,
        settings: TransportSettings,
        random: Random,
        client_context: ssl.SSLContext | None,
    ) -> None:
        """Not listening yet: see `create`."""
        self.address = Address("", 0)
        self.gate = gate
        self._greeting = greeting
        self._secret = secret
        self._handler = handler
        self._encode = codec.encode
        self._settings = settings
        self._random = random
        self._client_context = client_context
        self.common = Common(  # public for `ActorClients`, which may serve beside this
            codec=codec,
            turn=Turn(asyncio.get_running_loop(), handler.turn_over),
            gate=gate,
            settings=settings,
            greeting=greeting,
        )
        self.counters = self.common.counters
        self._server: asyncio.Server | None = None
        self._known: dict[PeerId, Address] = {}
        self._links: dict[PeerId, PeerLink] = {}
        self._dialers: dict[PeerId, Dialer] = {}
        self._connections: set[Connection] = set()  # every one that has not ended
        self._strangers: set[Connection] = set()  # those accepted that have not greeted yet
        self._clients: dict[ClientId, Connection] = {}
        self._client_ids: dict[Connection, ClientId] = {}
        self._closed = False

    @classmethod
    async def create(
        cls,
        greeting: Greeting,
        secret: bytes,
        handler: MemberHandler,
        codec: Codec,
        *,
        random: Random,
        advertised_host: str,
        host: str = "0.0.0.0",
        ports: Iterable[int] = (0,),
        gate: Gate | None = None,
        settings: TransportSettings | None = None,
        server_context: ssl.SSLContext | None = None,
        client_context: ssl.SSLContext | None = None,
    ) -> TcpMemberTransport:
        """Listen on the first free port of `ports` (0: any), and be reached at `advertised_host`.

        `greeting` needs no address: the one that is listened on is filled in. `random` gives the
        jitter between attempts to connect. Raises TransportError when no port is free.
        """
        transport = cls(
            greeting,
            secret,
            handler,
            codec,
            gate=gate or Gate(),
            settings=settings or TransportSettings(),
            random=random,
            client_context=client_context,
        )
        await transport._listen(host, advertised_host, tuple(ports), server_context)
        return transport

    # --- MemberTransport --------------------------------------------------------------------------

    def send(self, to: PeerId, group: int, message: Any) -> None:
        """Send to a peer, or drop and count."""
        link = self._links.get(to)
        if link is None or link.pipe is None:
            self.counters["dropped_unreachable"] += 1
            return
        if self.gate.closed and self.gate.drops_to(to):
            self.counters["dropped_gate"] += 1
            return
        kind, body = self._encode(message)
        link.pipe.send(kind, group, body)

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        """Send to a client, or drop."""
        connection = self._clients.get(client)
        if connection is None:
            self.counters["dropped_unreachable"] += 1
            return
        if self.gate.closed and self.gate.drops_to(CLIENTS):
            self.counters["dropped_gate"] += 1
            return
        kind, body = self._encode(message)
        connection.send(kind, group, body)

    def flush(self) -> None:
        """See `MemberTransport`."""
        self.common.turn.flush()

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The peers to keep connections to, and where they listen.

        Those known before and missing now are let go. A peer that dialed in and was never known
        keeps its connection: it may be joining. A new address of a connected peer is used when
        that connection ends; its greeting proved that the old one was right.
        """
        known = {id: at for id, at in addresses.items() if id != self._greeting.id}
        for id in self._known.keys() - known.keys():
            self._dialers.pop(id).stop()
            link = self._links.pop(id, None)
            for connection in link.clear() if link is not None else ():
                connection.close()
        for id, address in known.items():
            if id not in self._dialers:
                self._dialers[id] = self._dialer(id, address)
            elif self._known[id] != address:
                self._dialers[id].address = address
                self._dialers[id].hurry()
        self._known = known

    async def close(self) -> None:
        """Close all connections and stop listening; the handler hears nothing after this."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for dialer in self._dialers.values():
            dialer.stop()
        self._dialers.clear()
        self._known = {}
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        ended = [connection.ended for connection in connections]
        if ended:
            # A peer that does not read could hold back the last write: give up on it.
            await asyncio.wait(ended, timeout=self._settings.connect_timeout_s)
            for connection in connections:
                connection.abort()

    def has_client(self, client: ClientId) -> bool:
        """Whether `client` is one of this transport's, and still there."""
        return client in self._clients

    def connected_peers(self) -> dict[PeerId, Greeting]:
        """The peers that can be sent to, with the greeting of their present incarnation."""
        return {
            id: link.greeting
            for id, link in self._links.items()
            if link.pipe is not None and link.greeting is not None
        }

    def client_count(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    # --- connections ------------------------------------------------------------------------------

    async def _listen(
        self,
        host: str,
        advertised_host: str,
        ports: tuple[int, ...],
        context: ssl.SSLContext | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        tls_deadline_s = self._settings.handshake_deadline_s if context is not None else None
        self._server = await loop.create_server(
            self._accept,
            sock=listen_on_first_free(host, ports),
            ssl=context,
            ssl_handshake_timeout=tls_deadline_s,
            backlog=BACKLOG,
            start_serving=False,  # nobody is greeted before the greeting knows the port
        )
        self.address = Address(advertised_host, self._server.sockets[0].getsockname()[1])
        self._greeting = msgspec.structs.replace(self._greeting, address=tuple(self.address))
        await self._server.start_serving()

    def _accept(self) -> Connection:
        handshake = Handshake.accepting(self._greeting, self._secret, self._judge)
        return Connection(self, self.common, handshake)

    def _dialer(self, id: PeerId, address: Address) -> Dialer:
        return Dialer(
            address,
            partial(self._dial, id),
            settings=self._settings,
            random=self._random,
            context=self._client_context,
            may_dial=lambda: not (self.gate.closed and self.gate.separates(id)),
        )

    def _dial(self, id: PeerId) -> Connection:
        judge = partial(self._judge_dialed, id)
        handshake = Handshake.dialing(self._greeting, self._secret, judge)
        return Connection(self, self.common, handshake, dialed=id)

    def _judge_dialed(self, id: PeerId, greeting: Greeting) -> Refusal | None:
        if greeting.id != id:
            return Refusal("rejected_identity", f"dialed member {id}, found {greeting.id}")
        return self._judge(greeting)

    def _judge(self, greeting: Greeting) -> Refusal | None:
        """What speaks against an authenticated greeting."""
        if self.gate.closed and self.gate.separates(greeting.id):
            raise Rejected("dropped_gate", "cut off by fault injection")
        if greeting.cluster != self._greeting.cluster:
            reason = f"this is cluster {self._greeting.cluster}, not {greeting.cluster}"
            return Refusal("rejected_cluster", reason)
        if greeting.id == self._greeting.id:
            return Refusal("rejected_identity", f"this is member {greeting.id} itself")
        link = self._links.get(greeting.id)
        if link is not None and link.twin(greeting):
            reason = f"another holder of identity {greeting.id} is connected, as new or newer"
            return Refusal("rejected_identity", reason)
        reason_of_member = self._handler.admit(greeting)
        if reason_of_member is not None:
            return Refusal("rejected_admission", reason_of_member)
        return None

    # --- Owner ------------------------------------------------------------------------------------

    def made(self, connection: Connection) -> bool:
        """The socket is open."""
        self._connections.add(connection)
        if self._closed:
            connection.abort()
        if connection.dialed:
            return True
        if len(self._strangers) >= self._settings.max_strangers:
            return False
        self._strangers.add(connection)
        return True

    def opened(self, connection: Connection, peer: Greeting) -> Deliver | None:
        """The greeting is done."""
        self._strangers.discard(connection)
        if self._closed or (connection.dialed and connection.dialed not in self._dialers):
            connection.abort()
            return None
        return self._open_peer(connection, peer) if peer.id else self._open_client(connection)

    def ended(self, connection: Connection) -> None:
        """The connection is no more."""
        self._strangers.discard(connection)
        self._connections.discard(connection)
        client = self._client_ids.pop(connection, None)
        if client is not None:
            del self._clients[client]
            if not self._closed:
                self._handler.client_gone(client)
            return
        link = self._links.get(connection.peer_id)
        if link is None or not link.detach(connection) or link.pipe is not None:
            return
        if connection.peer_id not in self._known:
            del self._links[connection.peer_id]
        if not connection.ended_by_us and not self._closed:
            self._handler.lost(connection.peer_id)

    def _open_client(self, connection: Connection) -> Deliver:
        client = next_client_id()
        self._clients[client] = connection
        self._client_ids[connection] = client
        if isinstance(self._handler, ClientWatcher):
            self._handler.client_connected(client)
        return partial(self._handler.client_received, client)

    def _open_peer(self, connection: Connection, peer: Greeting) -> Deliver | None:
        link = self._links.setdefault(peer.id, PeerLink())
        if link.twin(peer):  # the other one came in while this one was still greeting
            connection.reject("rejected_identity", "another holder of the identity came first")
            return None
        if link.replaces(peer):
            # The new life proves that the old one is over, before its sockets told us.
            for former in link.clear():
                former.abort()
            self._handler.lost(peer.id)
        was_connected = link.pipe is not None
        attach = link.attach_dialed if connection.dialed else link.attach_accepted
        replaced = attach(connection)
        if replaced is not None:
            replaced.close()
        dialer = self._dialers.get(peer.id)
        if dialer is not None:
            if peer.address is not None:
                dialer.address = Address(*peer.address)
            if not connection.dialed:
                dialer.hurry()
        if not was_connected:
            self._handler.connected(peer.id, peer)
        return partial(self._handler.received, peer.id)
