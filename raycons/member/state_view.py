"""A whole state at one moment: read in slices, sent in pieces, staged, compared by digest.

A piece is a msgpack list of (table, key, value), in order, without the store's prefix, so that the
receiver stages it in whatever generation is its next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from raycons.machines.contract import Live, Table
from raycons.member.regions import PREFIX_BYTES, SPACES, state_prefix
from raycons.store.contract import Batch, Store, View, after

Record = tuple[int, bytes, bytes]  # table, key, value
# What is read at once, whichever comes first, so that commits wait about a millisecond for it:
# small records cost by their number, pages of history and large values by their bytes. A record is
# never split, so one of a megabyte takes some milliseconds.
SLICE_RECORDS = 1000
SLICE_BYTES = 256 * 1024

_encode_piece = msgspec.msgpack.Encoder().encode
_decode_piece = msgspec.msgpack.Decoder(list[Record]).decode
_pack_lengths = struct.Struct(">BII").pack


class StateView:
    """One group's state as it was when the view was opened. Close it: it holds on to old files."""

    def __init__(self, view: View, group: int, generation: int) -> None:
        self._view = view
        self._prefix = state_prefix(group, generation)

    def scan(self, table: Table, start: bytes = b"", end: bytes | None = None) -> Iterator[Record]:
        """The records of `table` from `start` up to, not including, `end` (None: to the last)."""
        until = after(self._prefix) if end is None else self._prefix + end
        for key, value in self._view.scan(SPACES[table], self._prefix + start, until):
            yield int(table), key[PREFIX_BYTES:], value

    def records(self) -> Iterator[Record]:
        """All records, table by table, in key order."""
        for table in Table:
            yield from self.scan(table)

    def pieces(self, max_bytes: int) -> Iterator[bytes]:
        """The state in encoded pieces, each about a millisecond of work.

        A piece is at most about `max_bytes` long, but holds one record at least. An empty state has
        no pieces.
        """
        piece: list[Record] = []
        size_bytes = 0
        for record in self.records():
            added = len(record[1]) + len(record[2]) + 12  # at most so much for tags and lengths
            if piece and (size_bytes + added > max_bytes or len(piece) >= SLICE_RECORDS):
                yield _encode_piece(piece)
                piece, size_bytes = [], 0
            piece.append(record)
            size_bytes += added
        if piece:
            yield _encode_piece(piece)

    def close(self) -> None:
        """Let go of the view; it cannot be used afterwards."""
        self._view.close()


class Staging:
    """A received state on its way into a generation that nobody reads yet.

    Making one removes what an earlier attempt left in that generation. The state counts only from
    the synced batch whose header names the generation; until then a crash leaves just something to
    `sweep`.
    """

    def __init__(self, store: Store, group: int, generation: int) -> None:
        self.generation = generation
        self._store = store
        self._prefix = state_prefix(group, generation)
        batch = Batch()
        for space in SPACES:
            batch.delete_range(space, self._prefix, after(self._prefix))
        store.write(batch)

    def add(self, data: bytes) -> int:
        """Write a piece, unsynced; returns how many records it held.

        Raises msgspec.MsgspecError, with nothing written, for bytes that are not a piece.
        """
        prefix = self._prefix
        records = _decode_piece(data)
        batch = Batch()
        for table, key, value in records:
            if not 0 <= table < len(SPACES):
                raise msgspec.ValidationError(f"a piece names table {table}, which there is not")
            batch.put(SPACES[table], prefix + key, value)
        self._store.write(batch)
        return len(records)


class Digest:
    """The digest of a state's logical content, computed in slices.

    Equal content gives equal digests whatever the generation, the store, or what `live` says only
    waits to be swept. `view` is read to its end, and left open.
    """

    def __init__(self, view: StateView, live: Live) -> None:
        self._records = view.records()
        self._live = live
        self._hash = blake2b(digest_size=32)
        self.counted = 0  # live records so far

    def step(self, max_records: int = SLICE_RECORDS, max_bytes: int = SLICE_BYTES) -> bool:
        """Take in more; False: there are none left and the digest is whole.

        Ends with the record that reaches `max_records` or `max_bytes` of keys and values.
        """
        live, tables = self._live, tuple(Table)
        parts: list[bytes] = []
        size_bytes = 0
        more = False
        for read, (table, key, value) in enumerate(self._records, 1):
            if live(tables[table], key, value):
                # With the lengths in front no two different lists of records give the same bytes.
                parts += (_pack_lengths(table, len(key), len(value)), key, value)
            size_bytes += len(key) + len(value)
            if read >= max_records or size_bytes >= max_bytes:
                more = True
                break
        self._hash.update(b"".join(parts))
        self.counted += len(parts) // 3
        return more

    def hexdigest(self) -> str:
        """The digest of what was taken in so far, in hexadecimal."""
        return self._hash.hexdigest()
