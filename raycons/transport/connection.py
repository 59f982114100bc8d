"""One TCP connection: first the greeting, then frames.

Rules of this file
- One write a turn, however many frames were sent in it; no task and no timer for a frame.
- Whoever does not read is not waited for: a peer's messages are dropped beyond the bound (the
  protocol above sends them again), a client is disconnected.
- `ended_by_us` is set before any close of our own, so that `lost` never speaks of those.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from raycons.transport.contract import Greeting, Malformed, PeerId
from raycons.transport.greeting import Handshake, Rejected
from raycons.transport.inlet import Common, Deliver, Inlet
from raycons.transport.versions import agreed
from raycons.transport.wire import HEADER, HEADER_BYTES, Oversize


class Owner(Protocol):
    """Who made the connection, and is told how it fares."""

    def made(self, connection: Connection) -> bool:
        """The socket is open; False: there are too many that have not greeted yet."""

    def opened(self, connection: Connection, peer: Greeting) -> Deliver | None:
        """The greeting is done; who takes the messages, or None when the owner closed it."""

    def ended(self, connection: Connection) -> None:
        """The connection is no more; called once for each that was `made`."""


class Connection(asyncio.Protocol):
    """A connection that was dialed or accepted; the handshake given decides which."""

    def __init__(
        self, owner: Owner, common: Common, handshake: Handshake, dialed: PeerId = 0
    ) -> None:
        """`dialed` is the member that this connection was made to; 0: it was accepted."""
        self.dialed = dialed
        self.reason: str | None = None  # why this side closed it, where it did for a reason
        self.peer: Greeting | None = None  # set once the greeting is done
        self.peer_id: PeerId = 0
        self.version = 0  # of the protocol, that both sides speak here; set with `peer`
        self.ended_by_us = False
        self.ended: asyncio.Future[None] = common.loop.create_future()
        self._owner = owner
        self._common = common
        self._counters = common.counters
        self._inlet = Inlet(common)
        self._their_incarnation = 0
        self._handshake: Handshake | None = handshake
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._who = "an unknown address"
        self._gathered: list[bytes] = []  # header, body, header, body, ...
        self._gathered_bytes = 0
        self._full = False  # the transport's own buffer is above its bound
        self._bound_bytes = 0

    # --- sending ----------------------------------------------------------------------------------

    def send(self, kind: int, group: int, body: bytes) -> None:
        """Gather one frame for this turn's write, or drop and count it."""
        size = len(body)
        if self._full or self._gathered_bytes > self._bound_bytes:
            self._counters["dropped_full"] += 1
            if self.peer_id == 0:
                self.reject("rejected_slow", "it does not read its answers")
            return
        if size > self._common.settings.max_frame_bytes:
            self._counters["dropped_oversize"] += 1
            return
        gathered = self._gathered
        if not gathered:
            self._common.turn.flush_later(self)
        gathered.append(HEADER.pack(size, self.version, kind, group, self._their_incarnation))
        gathered.append(body)
        self._gathered_bytes += size + HEADER_BYTES

    def flush(self) -> None:
        """Write what this turn gathered."""
        gathered, self._gathered = self._gathered, []
        size, self._gathered_bytes = self._gathered_bytes, 0
        if self.ended_by_us or self._transport is None or self._transport.is_closing():
            self._counters["dropped_unreachable"] += len(gathered) // 2
            return
        self._counters["frames_sent"] += len(gathered) // 2
        self._counters["bytes_sent"] += size
        self._transport.write(b"".join(gathered))

    def pause_writing(self) -> None:
        """The transport's buffer passed the bound."""
        self._full = True
        if self.peer is not None and self.peer_id == 0:
            self.reject("rejected_slow", "it does not read its answers")

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._full = False

    # --- receiving --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes of the greeting, or of frames."""
        if self.ended_by_us:
            return
        try:
            if self._handshake is not None:
                self._greet(self._handshake, data)
            else:
                self._inlet.feed(data)
        except Rejected as rejection:
            self._part(rejection)
        except Oversize as error:
            self.reject("rejected_oversize", str(error))
        except Malformed as error:
            self.reject("rejected_malformed", str(error))

    # --- coming and going -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket (with TLS: the channel) is open; greet."""
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if address:
            self._who = f"{address[0]}:{address[1]}"
        if not self._owner.made(self):
            self.reject("rejected_crowd", "too many connections that have not proved themselves")
            return
        if self.ended_by_us:
            return
        settings = self._common.settings
        prepare_socket(transport.get_extra_info("socket"), settings.dead_host_s)
        self._deadline = self._common.loop.call_later(
            settings.handshake_deadline_s, self._greeting_overdue
        )
        assert self._handshake is not None
        self._transport.write(self._handshake.take())

    def _greet(self, handshake: Handshake, data: bytes) -> None:
        assert self._transport is not None
        handshake.feed(data)
        answer = handshake.take()
        if answer:
            self._transport.write(answer)
        peer = handshake.peer
        if peer is None:
            return
        self._handshake = None
        self._cancel_deadline()
        version = agreed(self._common.versions, peer.versions)
        assert version is not None  # the handshake saw to that
        self.peer, self.peer_id, self.version = peer, peer.id, version
        self._their_incarnation = peer.incarnation if peer.id else 0
        settings = self._common.settings
        is_peer = peer.id != 0
        self._bound_bytes = settings.peer_buffer_bytes if is_peer else settings.client_buffer_bytes
        self._transport.set_write_buffer_limits(high=self._bound_bytes)
        deliver = self._owner.opened(self, peer)
        if deliver is None or self.ended_by_us:
            return
        self._inlet.open(peer.id, version, deliver)
        self._counters["connections_opened"] += 1
        rest = handshake.rest
        if rest:
            self._inlet.feed(rest)

    def _greeting_overdue(self) -> None:
        self.reject("rejected_deadline", "it did not prove itself in time")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed, by whichever side."""
        self._cancel_deadline()
        self._gathered.clear()
        self._gathered_bytes = 0
        if not self.ended.done():
            self.ended.set_result(None)
        self._owner.ended(self)
        self._end()

    def reject(self, counter: str, reason: str) -> None:
        """Close at once, for a reason worth counting."""
        if not self.ended_by_us:
            self._counters.reject(counter, reason, self._describe())
            self.reason = reason
            self.abort()

    def _part(self, rejection: Rejected) -> None:
        """Say why, then close. The farewell is small: it fits the socket's buffer."""
        assert self._transport is not None
        self._counters.reject(rejection.counter, rejection.reason, self._describe())
        self.reason = rejection.reason
        self._end()
        if rejection.farewell:
            self._transport.write(rejection.farewell)
        self._transport.close()

    def abort(self) -> None:
        """Close at once and forget what was not written."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Write what was gathered, then close."""
        if self._gathered:
            self.flush()
        self._end()
        if self._transport is not None:
            self._transport.close()

    def _end(self) -> None:
        """Neither send nor take anything any more."""
        self.ended_by_us = True
        self._inlet.shut()

    def _describe(self) -> str:
        if self.peer is None:
            return self._who
        name = f"member {self.peer_id}" if self.peer_id else "a client"
        return f"{name} at {self._who}"


def prepare_socket(sock: socket.socket | None, dead_host_s: int) -> None:
    """Small writes leave at once; a host that vanished is noticed within `dead_host_s`."""
    if sock is None:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", max(1, dead_host_s // 2)),
        ("TCP_KEEPINTVL", max(1, dead_host_s // 6)),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", dead_host_s * 1000),
    ):
        if hasattr(socket, option):  # some are Linux's own
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
