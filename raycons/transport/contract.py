"""What a transport is: it moves messages between members, and between clients and members.

Rules of this seam
- Nothing is promised about delivery, order or uniqueness beyond one live connection; a message to a
  peer that cannot be reached is dropped and counted, and never queued without bound.
- `lost` means: the last live connection to that incarnation of the peer ended, and it was not this
  side that closed it. It proves nothing about the peer (it may be cut off, or restarting).
- Handlers are called on the event loop, one at a time. Messages that a handler sends before and in
  `turn_over` leave together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from raycons.transport.versions import Versions

PeerId = int
ClientId = int  # names one connection of a client to one member; never reused in a process
# Rises with the messages' meaning, and with `store.directory.FORMAT`: snapshots carry records as
# the store has them, and no message names their format.
PROTOCOL_VERSION = 4
# What this release speaks. A release that still speaks the version before its own says so here, and
# gives `Codec` both; then the members of a cluster can be upgraded one by one.
SPOKEN = Versions(oldest=PROTOCOL_VERSION, newest=PROTOCOL_VERSION)


class Address(NamedTuple):
    """Where a member listens."""

    host: str
    port: int


class UnknownKind(Exception):
    """A frame of a kind that this version does not know: counted and skipped, as upgrades need."""


class Malformed(Exception):
    """A frame whose bytes do not fit its kind: the connection is closed."""


class Codec(Protocol):
    """Turns messages into bytes and back; one byte tells the kind.

    There is one protocol version, so neither method is told which. Whoever calls them knows it
    (`Connection.version`, `Line.version`, `Inlet.version`): the second version's codec is chosen
    there.
    """

    def encode(self, message: Any) -> tuple[int, bytes]:
        """The kind (0 to 255) and the body."""

    def decode(self, kind: int, body: memoryview | bytes) -> Any:
        """The message; raises UnknownKind or Malformed."""


class Greeting(msgspec.Struct, frozen=True, array_like=True):
    """Who is speaking; exchanged and authenticated before anything else.

    Read before any version is agreed on: later releases only add fields, at the end and with a
    default. An older one passes over them.
    """

    versions: Versions  # that the speaker can talk in
    cluster: str  # the cluster's UUID
    id: PeerId  # 0: a client
    nonce: int  # of the store; the pair (id, nonce) is the identity
    incarnation: int  # how often the store was opened
    opening: int  # random, minted at that opening: two holders of one image differ in it
    address: tuple[str, int] | None  # where the speaker listens, for peers that do not know it yet
    # The `opening`s before this one, the newest first: a copy of a store that was opened often
    # shows a high incarnation, but not what the store itself showed on the way there.
    earlier: tuple[int, ...] = ()


class Admission(Protocol):
    """Decides whether an authenticated peer may talk to this member."""

    def admit(self, greeting: Greeting) -> str | None:
        """None to let it in, or why the connection is closed (twin, removed, other cluster)."""


class MemberHandler(Admission, Protocol):
    """What a member's transport tells the member."""

    def connected(self, peer: PeerId, greeting: Greeting) -> None:
        """A connection to or from `peer` is up, where there was none."""

    def lost(self, peer: PeerId) -> None:
        """See the rules at the head of this file."""

    def received(self, sender: PeerId, group: int, message: Any) -> None:
        """A message from a peer."""

    def client_received(self, client: ClientId, group: int, message: Any) -> None:
        """A message from a client."""

    def client_gone(self, client: ClientId) -> None:
        """The client's connection ended."""

    def turn_over(self) -> None:
        """What arrived together has been handed over; what is sent now leaves together."""


@runtime_checkable
class ClientWatcher(Protocol):
    """A member's handler that also wants to know of clients before they ask for anything."""

    def client_connected(self, client: ClientId) -> None:
        """A client's connection is up; it may be sent to from now on."""


class MemberTransport(Protocol):
    """The member's side."""

    @property
    def address(self) -> Address:
        """Where peers and clients reach this member."""

    @property
    def counters(self) -> Mapping[str, int]:
        """frames_sent, frames_received, bytes_…, rejected_…, dropped_…"""

    def send(self, to: PeerId, group: int, message: Any) -> None:
        """Send to a peer, or drop and count."""

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        """Send to a client, or drop."""

    def flush(self) -> None:
        """Let go now of what was sent in this turn: what follows in it takes time."""

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The peers to keep connections to (others are let go), and where they listen."""

    async def close(self) -> None:
        """Close all connections and stop listening."""


class ClientHandler(Protocol):
    """What a client's transport tells the client."""

    def connected(self, member: PeerId) -> None:
        """`member` can be sent to."""

    def received(self, member: PeerId, message: Any) -> None:
        """A message from a member."""

    def lost(self, member: PeerId) -> None:
        """The connection to `member` ended, or could not be made; it is tried again by itself."""


class ClientTransport(Protocol):
    """The client's side: keeps a connection to every known member."""

    def send(self, member: PeerId, message: Any) -> None:
        """Send, or drop: the client's own timers notice."""

    def flush(self) -> None:
        """Let go now of what was sent in this turn, if that is possible: the rest takes time."""

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The members to keep connections to, and where they listen."""

    async def close(self) -> None:
        """Close all connections."""
