"""A gate for fault injection: a partition, or a bad line, as the wire shows it.

Frames to or from the chosen ones vanish; sockets stay open, nobody is told, and no new connection
completes. Or a share of all frames vanishes, either way, and connections complete. Off, it costs a
transport one attribute read a frame.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from random import Random

from raycons.transport.contract import PeerId

CLIENTS: PeerId = 0  # stands for all clients, as in a Greeting


class Direction(enum.Flag):
    """Which way the gate is shut, seen from the transport that holds it."""

    OUT = enum.auto()
    IN = enum.auto()
    BOTH = OUT | IN


class Gate:
    """What is cut off at the moment. One gate belongs to one transport."""

    def __init__(self, random: Random | None = None) -> None:
        self.closed = False  # whether anything is dropped at all
        self._random = random or Random()
        self._lost_out = 0.0  # shares of the frames of everyone, clients too
        self._lost_in = 0.0
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
        self.closed = self.closed or bool(self._everyone) or bool(self._ways)

    def lose(self, *, outward: float = 0.0, inward: float = 0.0) -> None:
        """From now on drop these shares of all frames, clients' too; 1 is a cut that way."""
        self._lost_out, self._lost_in = outward, inward
        self.closed = bool(outward or inward or self._everyone or self._ways)

    def talk(self) -> None:
        """Open the gate for everyone, and lose nothing."""
        self._lost_out = self._lost_in = 0.0
        self._everyone = Direction(0)
        self._ways.clear()
        self.closed = False

    def drops_to(self, peer: PeerId) -> bool:
        """Whether what is sent to `peer` (CLIENTS: a client) vanishes."""
        return self._random.random() < self._lost_out or Direction.OUT in self._way(peer)

    def drops_from(self, peer: PeerId) -> bool:
        """Whether what comes from `peer` (CLIENTS: a client) vanishes."""
        return self._random.random() < self._lost_in or Direction.IN in self._way(peer)

    def separates(self, peer: PeerId) -> bool:
        """Whether a handshake with `peer` cannot complete: it needs both directions."""
        return max(self._lost_out, self._lost_in) >= 1 or bool(self._way(peer))

    def _way(self, peer: PeerId) -> Direction:
        way = self._ways.get(peer, Direction(0))
        return way if peer == CLIENTS else way | self._everyone
