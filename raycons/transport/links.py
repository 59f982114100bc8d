"""What a member knows of its connections with one peer, and when that peer counts as lost.

Each of two members dials the other, so there are up to two live connections. Both lead to one
incarnation of the peer: a newer one replaces all that was before it, an older or equal one that is
not the same opening of the store is a twin and gets no place.
"""

from __future__ import annotations

from raycons.transport.connection import Connection
from raycons.transport.contract import Greeting


def same_opening(one: Greeting, other: Greeting) -> bool:
    """Whether both greetings come from one life of one member."""
    return (
        one.nonce == other.nonce
        and one.incarnation == other.incarnation
        and one.opening == other.opening
    )


class PeerLink:
    """The live connections with one incarnation of one peer."""

    __slots__ = ("accepted", "dialed", "greeting", "pipe")

    def __init__(self) -> None:
        self.greeting: Greeting | None = None  # of the incarnation that is, or was last, connected
        self.dialed: Connection | None = None
        self.accepted: Connection | None = None
        self.pipe: Connection | None = None  # where to send; None: not connected

    def twin(self, greeting: Greeting) -> bool:
        """Whether `greeting` is by another holder of the identity that is connected now."""
        current = self.greeting
        if self.pipe is None or current is None or same_opening(current, greeting):
            return False
        return greeting.incarnation <= current.incarnation

    def replaces(self, greeting: Greeting) -> bool:
        """Whether `greeting` begins a new life of a peer while its old one is still connected."""
        current = self.greeting
        return self.pipe is not None and current is not None and not same_opening(current, greeting)

    def attach_dialed(self, connection: Connection) -> Connection | None:
        """Take a connection that we made; the one it stands in for, if any."""
        former, self.dialed = self.dialed, connection
        self._settle(connection)
        return former

    def attach_accepted(self, connection: Connection) -> Connection | None:
        """Take a connection that the peer made; the one it stands in for, if any."""
        former, self.accepted = self.accepted, connection
        self._settle(connection)
        return former

    def detach(self, connection: Connection) -> bool:
        """Forget a connection that ended; whether it was one of the live ones."""
        if connection is self.dialed:
            self.dialed = None
        elif connection is self.accepted:
            self.accepted = None
        else:
            return False
        self.pipe = self.dialed or self.accepted
        return True

    def clear(self) -> list[Connection]:
        """Forget all connections; they are the caller's to close."""
        live = [connection for connection in (self.dialed, self.accepted) if connection is not None]
        self.dialed = self.accepted = self.pipe = None
        return live

    def _settle(self, connection: Connection) -> None:
        self.greeting = connection.peer
        self.pipe = self.dialed or self.accepted
