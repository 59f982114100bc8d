"""What lies on one replica's disk: whole after every batch, since power may fail after each.

    image              the log begins no later than the state on the disk ends
    applied-in-order   the state takes up each entry once, and none but the next
    snapshot-is-whole  a received state is made of all pieces of one snapshot, in their order, and
                       of nothing else

The store keeps a prefix of the batches when power fails. So what no prefix may be is wrong at the
batch that makes it, not only after the crash that shows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from raycons.consensus.contract import Effect, Entry, InstallSnapshot, StageChunk
from raycons.consensus.messages import SnapshotChunk
from raycons.consensus.quorum import ReplicaId
from raycons.member.engine import Engine
from raycons.member.layout import Keys, LogBase, StateHeader
from raycons.member.regions import PREFIX_BYTES, SPACES, state_prefix
from raycons.simulation.world import Violation
from raycons.store.contract import Batch, Space, Store, after

Sum = tuple[int, int]  # of records: how many, and their checksums added up

_decode_base = msgspec.msgpack.Decoder(LogBase).decode
_decode_header = msgspec.msgpack.Decoder(StateHeader).decode
_decode_piece = msgspec.msgpack.Decoder(list[tuple[int, bytes, bytes]]).decode


class Pieces:
    """Every piece of every snapshot, as its leader sent it."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], Sum] = {}  # of a piece's records, by stream and sequence
        self._data: dict[tuple[int, int], int] = {}  # its checksum
        self._ends: dict[int, int] = {}  # how many pieces a stream has

    def sent(self, chunk: SnapshotChunk) -> None:
        """A leader sends a piece, perhaps again."""
        name = chunk.snapshot, chunk.sequence
        if name not in self._data:
            self._data[name] = crc32(chunk.data)
            self._sums[name] = add_up(_decode_piece(chunk.data))
        if chunk.final:
            self._ends[chunk.snapshot] = chunk.sequence + 1

    def same(self, chunk: StageChunk) -> bool:
        """Whether the piece that a follower puts aside is the one of that name."""
        return self._data.get((chunk.snapshot, chunk.sequence)) == crc32(chunk.data)

    def count(self, snapshot: int) -> int:
        """How many pieces a snapshot has; 0 while its last one was not sent."""
        return self._ends.get(snapshot, 0)

    def whole(self, snapshot: int) -> Sum | None:
        """The sum of all records of a snapshot; None while its last piece was not sent."""
        if snapshot not in self._ends:
            return None
        sums = [self._sums[snapshot, sequence] for sequence in range(self._ends[snapshot])]
        return sum(count for count, _ in sums), sum(checksum for _, checksum in sums)


def add_up(records: Iterable[tuple[int, bytes, bytes]]) -> Sum:
    """A sum that does not depend on the order of the records.

    >>> add_up([(0, b"k", b"v"), (1, b"k", b"")]) == add_up([(1, b"k", b""), (0, b"k", b"v")])
    True
    """
    count = checksum = 0
    for table, key, value in records:
        count += 1
        checksum += crc32(value, crc32(key, table))
    return count, checksum


class Image:
    """One replica's disk, and the state that its process keeps in front of it."""

    def __init__(
        self,
        id: ReplicaId,
        group: int,
        store: Store,
        pieces: Pieces,
        keeps_later: bool = False,
    ) -> None:
        """`keeps_later`: what the log holds above a snapshot stays when that is installed."""
        self._id = id
        self._group = group
        self._store = store
        self._keys = Keys(group)
        self._pieces = pieces
        self._keeps_later = keeps_later
        self._staged: tuple[int, int] = (0, 0)  # the snapshot, and how many pieces of it
        self._to_install: deque[Sum] = deque()  # one drain may bring several snapshots

    # --- batches ----------------------------------------------------------------------------------

    def written(self, batch: Batch) -> None:
        """The store took a batch."""
        # Headers and log bases come last in what is written of them, or before a hard state.
        keys = self._keys
        for _, space, key, _ in reversed(batch.operations):
            if space is not Space.META:
                return
            if key == keys.state or key == keys.log_base:
                self._check()
                return

    def _check(self) -> None:
        base, header = self._store.get(Space.META, self._keys.log_base), self._header()
        begins = _decode_base(base).index if base else 0
        if begins > header.index:
            raise Violation(
                "image",
                f"the log of replica {self._id} begins after entry {begins}, but the state on its "
                f"disk ends with {header.index}",
            )

    def _header(self) -> StateHeader:
        header = self._store.get(Space.META, self._keys.state)
        assert header is not None, "a replica's store begins with a state"
        return _decode_header(header)

    # --- entries ----------------------------------------------------------------------------------

    def started(self, engine: Engine) -> None:
        """The process came up; its parts are looked at as a debugger would."""
        self._staged = 0, 0
        self._to_install.clear()
        state, applier = engine._ledger.state, engine._applier
        apply_entry = applier._apply_entry

        def check_and_apply(entry: Entry, *more: Any) -> None:
            if entry.index != state.applied[0] + 1:
                raise Violation(
                    "applied-in-order",
                    f"replica {self._id} applies {entry.id} to a state of {state.applied[0]}",
                )
            apply_entry(entry, *more)

        setattr(applier, "_apply_entry", check_and_apply)  # noqa: B010  mypy forbids the plain one

    # --- snapshots --------------------------------------------------------------------------------

    def drained(self, effects: Sequence[Effect]) -> None:
        """The replica gave out these effects, which are not carried out yet."""
        for effect in effects:
            if type(effect) is StageChunk:
                self._stage(effect)
            elif type(effect) is InstallSnapshot:
                self._install(effect.snapshot)

    def _install(self, snapshot: int) -> None:
        whole = self._pieces.whole(snapshot)
        if whole is None or self._staged != (snapshot, self._pieces.count(snapshot)):
            raise Violation(
                "snapshot-is-whole",
                f"replica {self._id} installs snapshot {snapshot} after {self._staged[1]} pieces "
                f"of {self._staged[0]}",
            )
        self._to_install.append(whole)

    def _stage(self, chunk: StageChunk) -> None:
        continues = (chunk.snapshot, chunk.sequence) == self._staged
        if not (continues or chunk.sequence == 0) or not self._pieces.same(chunk):
            raise Violation(
                "snapshot-is-whole",
                f"replica {self._id} puts piece {chunk.sequence} of snapshot {chunk.snapshot} "
                f"behind {self._staged[1]} pieces of {self._staged[0]}",
            )
        self._staged = chunk.snapshot, chunk.sequence + 1

    def installed(self) -> None:
        """A snapshot became the state: the disk holds its records, no others, and no log."""
        prefix = state_prefix(self._group, self._header().generation)
        held = add_up(
            (table, key[PREFIX_BYTES:], value)
            for table, space in enumerate(SPACES)
            for key, value in self._store.scan(space, prefix, after(prefix))
        )
        end = (
            self._keys.entry(self._header().index + 1) if self._keeps_later else self._keys.log_end
        )
        log = self._store.scan(Space.LOG, self._keys.log, end)
        if next(log, None) is not None:
            raise Violation(
                "image", f"replica {self._id} installed a snapshot, and kept entries of its old log"
            )
        wanted = self._to_install.popleft()
        if held != wanted:
            raise Violation(
                "snapshot-is-whole",
                f"replica {self._id} installed {held[0]} records, but the snapshot has {wanted[0]}",
            )
