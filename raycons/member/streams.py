"""What reads a whole state while commits go on: snapshots to followers, and digests.

Both begin with a consistent view, which needs everything applied to be in the store first. Each
turn of the loop does about a millisecond of such work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from raycons.consensus.contract import SnapshotMeta
from raycons.consensus.quorum import ReplicaId
from raycons.member.state_view import Digest, StateView
from raycons.transport.contract import ClientId


class Piece(NamedTuple):
    """One piece of a snapshot."""

    sequence: int
    data: bytes
    final: bool


class SnapshotStream:
    """One view on its way to one follower, which asks for piece after piece."""

    def __init__(self, id: int, meta: SnapshotMeta, view: StateView, max_bytes: int) -> None:
        self.id = id
        self.meta = meta
        self._view = view
        self._pieces: Iterator[bytes] = view.pieces(max_bytes)
        self._upcoming = next(self._pieces, None)
        self._last: Piece | None = None

    def piece(self, sequence: int) -> Piece | None:
        """Piece `sequence`: the next one, or the last one again; None for any other."""
        if self._last is not None and sequence == self._last.sequence:
            return self._last
        expected = 0 if self._last is None else self._last.sequence + 1
        if sequence != expected or (self._last is not None and self._last.final):
            return None
        data = self._upcoming or b"\x90"  # an empty state is one empty piece
        self._upcoming = next(self._pieces, None)
        self._last = Piece(sequence, data, self._upcoming is None)
        return self._last

    def close(self) -> None:
        """Let go of the view."""
        self._view.close()


class DigestTask(NamedTuple):
    """A digest under way for a client that asked for the status with it."""

    client: ClientId
    request: int
    applied: int
    digest: Digest
    view: StateView


class Streams:
    """The snapshots that this replica is sending, by follower."""

    def __init__(self) -> None:
        self.wanted: set[ReplicaId] = set()  # followers whose view is still to be opened
        self.open: dict[ReplicaId, SnapshotStream] = {}

    def drop(self, peer: ReplicaId) -> None:
        """The follower needs no snapshot any more."""
        self.wanted.discard(peer)
        stream = self.open.pop(peer, None)
        if stream is not None:
            stream.close()

    def drop_all(self) -> None:
        """Nobody is sent to any more."""
        for peer in list(self.open):
            self.drop(peer)
        self.wanted.clear()
