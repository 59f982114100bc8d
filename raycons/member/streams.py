"""What reads a whole state while commits go on: snapshots to followers, and digests.

Both begin with a consistent view, which needs everything applied to be in the store first. Each
turn of the loop does about a millisecond of such work.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from raycons.consensus.contract import Replica, SnapshotMeta, StreamSnapshot
from raycons.consensus.messages import SnapshotChunk
from raycons.consensus.quorum import Index, ReplicaId
from raycons.machines.contract import Machine
from raycons.member.ports import Ports
from raycons.member.state import WriteBehindState
from raycons.member.state_view import Digest, StateView
from raycons.transport.contract import ClientId

EMPTY_PIECE = b"\x90"  # an empty list: what an empty state is sent as


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
        self.size_bytes = 0  # of the pieces so far, each counted once

    @property
    def sequence(self) -> int:
        """The last piece that was sent, or 0 where none was."""
        return 0 if self._last is None else self._last.sequence

    def piece(self, sequence: int) -> Piece | None:
        """Piece `sequence`: the next one, or the last one again; None for any other."""
        if self._last is not None and sequence == self._last.sequence:
            return self._last
        expected = 0 if self._last is None else self._last.sequence + 1
        if sequence != expected or (self._last is not None and self._last.final):
            return None
        data = self._upcoming or EMPTY_PIECE
        self._upcoming = next(self._pieces, None)
        self._last = Piece(sequence, data, self._upcoming is None)
        self.size_bytes += len(data)
        return self._last

    def close(self) -> None:
        """Let go of the view."""
        self._view.close()


class DigestTask(NamedTuple):
    """A digest for a client that asked for the status with it."""

    client: ClientId
    request: int
    applied: int  # the digest is of the state after this entry
    digest: Digest
    view: StateView


class Streams:
    """All readers of a whole state, and what they still wait for."""

    def __init__(
        self,
        replica: Replica,
        state: WriteBehindState,
        machine: Machine,
        ports: Ports,
        random: Random,
        chunk_bytes: int,
    ) -> None:
        self._replica = replica
        self._state = state
        self._machine = machine
        self._ports = ports
        self._random = random
        self._chunk_bytes = chunk_bytes
        self._followers_wanted: set[ReplicaId] = set()
        self._digests_wanted: list[tuple[ClientId, int]] = []
        self._open: dict[ReplicaId, SnapshotStream] = {}
        self._digests: list[DigestTask] = []
        self.snapshots_sent = 0
        self.bytes_moved = 0  # of all pieces sent or received, again and again if they were
        self.last_snapshot_bytes = 0  # of the last snapshot that moved as a whole
        self._received_bytes = 0  # of the snapshot being received

    @property
    def wanting(self) -> bool:
        """Whether a view is to be opened as soon as everything applied is in the store."""
        return bool(self._followers_wanted or self._digests_wanted)

    @property
    def working(self) -> bool:
        """Whether the next turn of the loop has work here."""
        return bool(self._followers_wanted or self._digests_wanted or self._digests)

    # --- snapshots ------------------------------------------------------------------------------

    def request(self, asked: StreamSnapshot) -> None:
        """Send the piece asked for; from a new view, if ours cannot go back to it."""
        stream = self._open.get(asked.to)
        if stream is not None and asked.snapshot:
            if asked.snapshot != stream.id:
                # An answer about a stream of the past made the replica ask for that one, and it
                # knows no other name. Ours goes on by its last piece: the answer to that names it.
                self._send(asked.to, stream, stream.sequence)
                return
            if self._send(asked.to, stream, asked.sequence):
                return
        self._drop(asked.to)
        self._followers_wanted.add(asked.to)

    def open_views(self, meta: SnapshotMeta) -> None:
        """Open what is wanted; the store holds everything applied, which is what `meta` names."""
        for peer in sorted(self._followers_wanted):
            if self._replica.streams_to(peer):
                stream = SnapshotStream(
                    self._random.getrandbits(62) + 1, meta, self._state.view(), self._chunk_bytes
                )
                self._open[peer] = stream
                self.snapshots_sent += 1
                fields = {"to": peer, "index": meta.last[0], "term": meta.last[1]}
                self._ports.event("snapshot-started", fields)
                self._send(peer, stream, 0)
        self._followers_wanted.clear()
        for client, request in self._digests_wanted:
            view = self._state.view()
            digest = Digest(view, self._machine.liveness())
            self._digests.append(DigestTask(client, request, meta.last[0], digest, view))
        self._digests_wanted = []

    def needed_after(self, now: float) -> Index:
        """The entry behind which a follower that is there needs the log; the last if none does."""
        replica = self._replica
        since = now - replica.settings.election_timeout_s
        needed = replica.log.last_index
        for peer, progress in replica.progress.items():
            if progress.heard_at >= since:
                stream = self._open.get(peer)
                needed = min(needed, progress.match if stream is None else stream.meta.last[0])
        for peer, stream in self._open.items():
            if peer not in replica.progress:
                needed = min(needed, stream.meta.last[0])
        return needed

    def drop_unwanted(self) -> None:
        """Let go of the views of followers that need no snapshot any more."""
        if not self._open:
            return
        for peer in [peer for peer in self._open if not self._replica.streams_to(peer)]:
            self._drop(peer)

    def close(self) -> None:
        """Let go of everything."""
        for peer in list(self._open):
            self._drop(peer)
        for task in self._digests:
            task.view.close()
        self._followers_wanted, self._digests_wanted, self._digests = set(), [], []

    def _drop(self, peer: ReplicaId) -> None:
        self._followers_wanted.discard(peer)
        stream = self._open.pop(peer, None)
        if stream is not None:
            stream.close()

    def _send(self, to: ReplicaId, stream: SnapshotStream, sequence: int) -> bool:
        piece = stream.piece(sequence)
        if piece is None:
            return False
        chunk = SnapshotChunk(
            self._replica.term, stream.id, stream.meta, piece.sequence, piece.data, piece.final
        )
        self._ports.send(to, chunk)
        self.bytes_moved += len(piece.data)
        if piece.final:
            self.last_snapshot_bytes = stream.size_bytes
        return True

    def received(self, sequence: int, size_bytes: int) -> None:
        """A piece of a snapshot for this replica was put aside."""
        self.bytes_moved += size_bytes
        self._received_bytes = size_bytes + (self._received_bytes if sequence else 0)

    def installed(self) -> None:
        """The snapshot that was received is this replica's state now."""
        self.last_snapshot_bytes = self._received_bytes

    # --- digests --------------------------------------------------------------------------------

    def want_digest(self, client: ClientId, request: int) -> None:
        """Begin a digest as soon as a view can be opened."""
        self._digests_wanted.append((client, request))

    def continue_digest(self) -> DigestTask | None:
        """Do a slice of the oldest digest; returns it if it is whole now, its view closed."""
        if not self._digests or self._digests[0].digest.step():
            return None
        task = self._digests.pop(0)
        task.view.close()
        return task
