"""A gate for fault injection: a partition as the wire shows it.

Frames to or from the chosen ones vanish; sockets stay open, nobody is told, and no new connection
completes. Off, it costs a transport one attribute read a frame.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from raycons.transport.contract import PeerId

CLIENTS: PeerId = 0  # stands for all clients, as in a Greeting


class Direction(enum.Flag):
    """Which way the gate is shut, seen from the transport that holds it."""

    OUT = enum.auto()
    IN = enum.auto()
    BOTH = OUT | IN


class Gate:
    """What is cut off at the moment. One gate belongs to one transport."""

    def __init__(self) -> None:
        self.closed = False  # whether anyone is cut off at all
        self._everyone = Direction(0)  # every peer, known or not
        self._ways: dict[PeerId, Direction] = {}

    def stop_talking(
        self,
        peers: Collection[PeerId] | None = None,
        *,
        clients: bool = False,
        direction: Direction = Direction.BOTH,
    ) -> None:
        """Cut off these peers (None: all), and clients if asked; adds to what is cut already."""
        if peers is None:
            self._everyone |= direction
        for peer in peers or ():
            self._ways[peer] = self._ways.get(peer, Direction(0)) | direction
        if clients:
            self._ways[CLIENTS] = self._ways.get(CLIENTS, Direction(0)) | direction
        self.closed = bool(self._everyone) or bool(self._ways)

    def talk(self) -> None:
        """Open the gate for everyone."""
        self._everyone = Direction(0)
        self._ways.clear()
        self.closed = False

    def drops_to(self, peer: PeerId) -> bool:
        """Whether what is sent to `peer` (CLIENTS: a client) vanishes."""
        return Direction.OUT in self._way(peer)

    def drops_from(self, peer: PeerId) -> bool:
        """Whether what comes from `peer` (CLIENTS: a client) vanishes."""
        return Direction.IN in self._way(peer)

    def separates(self, peer: PeerId) -> bool:
        """Whether a handshake with `peer` cannot complete: it needs both directions."""
        return bool(self._way(peer))

    def _way(self, peer: PeerId) -> Direction:
        way = self._ways.get(peer, Direction(0))
        return way if peer == CLIENTS else way | self._everyone
