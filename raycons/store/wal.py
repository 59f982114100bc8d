"""The write-ahead log: every batch of a store, until the tables hold it too.

It lies in segments: files of SEGMENT_BYTES that are written over once the tables hold all that is
in them. To sync a block that the file already has takes half the time of one that makes it grow
(measured on ext4: 0.15 ms for 0.28 ms), for the file system has no record of its own to write.

A record begins at a multiple of 8 bytes, little endian, and is filled up with zeros to the next:

    checksum  4 bytes  CRC-32 of all that follows, zeros included
    length    4 bytes  of the payload; 0 in a mark
    salt      8 bytes  drawn at each opening: no record of an earlier one is ever taken for a later
    sequence  8 bytes  one more than in the record before it; in a mark, the same
    durable   8 bytes  the newest record that was on disk when this one was written
    payload            the batch's operations, in MessagePack

Rules of this file
- An unfinished end is told from a damage. Both look like a record that fails its check; but what a
  sync covered, the next record written says so (`durable`). So the log ends before the first record
  that fails, unless a record anywhere says that this one was on disk: then the store is damaged.
- What a record of an earlier opening says so stands: the tables were brought there before the next
  one. It proves, too, that a position is too old, where the tables forgot one. Only salts that a
  segment begins with count, and the position's: a batch may hold bytes that look like a record.
- That there is a next record, a mark sees to: written behind the last one, and synced, when the
  disk has nothing else to do. What remains: damage to the records of the very last sync before the
  machine lost its power, in the moment before the mark.
- A segment is written over only when the tables on disk hold its last record.
- `append` is called on one thread; syncs, one at a time, and `settle` perhaps on another. A failed
  call is the last one.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import msgspec
import numpy as np

from raycons.errors import StoreCorrupt
from raycons.store.contract import Operation
from raycons.store.host import sync_directory, write_synced

SEGMENT_BYTES = 4 * 1024 * 1024
# What a member under load needs: tables of 16 MiB, what is written during a flush, and the current.
SET_ASIDE = 6
ALIGNMENT = 8
CHECKSUM = Struct("<I")
FIELDS = Struct("<IQQQ")  # length, salt, sequence, durable
HEADER_BYTES = CHECKSUM.size + FIELDS.size

_decode = msgspec.msgpack.Decoder(list[Operation]).decode


class Position(NamedTuple):
    """A place in the log of one opening, between two batches."""

    salt: int
    sequence: int  # of the batch before
    segments: int  # so many are on disk, at least


class Record(NamedTuple):
    """One record, and where it ends in its segment."""

    salt: int
    sequence: int
    durable: int
    payload: memoryview
    end: int

    def operations(self) -> list[Operation]:
        """What the batch does."""
        return _decode(self.payload)


class WriteAheadLog:
    """The log of one opening of the store, from `start` on.

    `buffered()` gives how many of the newest batches are in no table on disk yet.
    What earlier openings left in `directory` must be in the tables: it is written over.

    Raises OSError out of every method.
    """

    def __init__(self, directory: Path, start: Position, buffered: Callable[[], int]) -> None:
        self._directory = directory
        self._salt = start.salt
        self._sequence = start.sequence
        self._durable = start.sequence
        self._claimed = start.sequence  # the newest `durable` in any record
        self._buffered = buffered
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._buffer = bytearray()
        self._lock = threading.Lock()  # over the place where the next record goes, and `_unsynced`
        if not directory.exists():
            directory.mkdir()
            sync_directory(directory.parent)
        self._segments = deque(_Segment(file, start.sequence) for file in _files(directory))
        sync_directory(directory)
        self._segments_durable = len(self._segments)
        self._unsynced: list[_Segment] = []
        # What the sync under way, or the last one, makes durable: the batches, and the segments.
        self._covered = start.sequence, self._segments_durable
        self._current = self._begin_segment()

    @property
    def position(self) -> Position:
        """Behind the newest batch."""
        return Position(self._salt, self._sequence, self._segments_durable)

    def append(self, operations: list[Operation]) -> int:
        """Hand one batch to the kernel; on disk only after `sync`. Returns its length in bytes."""
        buffer = self._buffer
        self._encode(operations, buffer, HEADER_BYTES)
        length = len(buffer) - HEADER_BYTES
        buffer += bytes(-length % ALIGNMENT)
        with self._lock:
            if self._current.end >= SEGMENT_BYTES:
                self._current = self._begin_segment()
            self._write(buffer, length, self._sequence + 1)
            self._sequence += 1
        return length

    def sync(self) -> None:
        """Block until all that was handed over before this call is on disk."""
        with self._lock:
            unsynced = self._take_unsynced()
        for segment in unsynced:
            segment.sync()
        self.end_sync()

    def begin_sync(self) -> list[int] | None:
        """The files that the caller syncs before it calls `end_sync`; None: only `sync` will do."""
        with self._lock:
            if any(segment.is_new for segment in self._unsynced):
                return None  # its directory has to be synced as well
            return [segment.descriptor for segment in self._take_unsynced()]

    def end_sync(self) -> None:
        """The sync that was begun is over."""
        self._durable, self._segments_durable = self._covered

    def settle(self) -> None:
        """Note in the log what the last sync covered, if that is not noted yet; then sync."""
        with self._lock:
            if self._claimed != self._durable:
                self._write(bytearray(HEADER_BYTES), 0, self._sequence)

    def close(self) -> None:
        """Let go of the files."""
        while self._segments:
            self._segments.pop().close()

    def _write(self, record: bytearray, length: int, sequence: int) -> None:
        self._claimed = self._durable
        seal(record, length, self._salt, sequence, self._claimed)
        self._current.append(record, sequence)
        if not self._unsynced or self._unsynced[-1] is not self._current:
            self._unsynced.append(self._current)

    def _take_unsynced(self) -> list[_Segment]:
        unsynced, self._unsynced = self._unsynced, []
        if unsynced:  # else a segment may have been made since, of which the disk knows nothing
            self._covered = self._sequence, len(self._segments)
        return unsynced

    def _begin_segment(self) -> _Segment:
        """The segment to write from now on: the oldest, or a new one where that is still needed."""
        if self._segments and self._segments[0].last <= self._sequence - self._buffered():
            segment = self._segments.popleft()
            segment.rewind()
        else:
            segment = _Segment(self._directory / str(len(self._segments) + 1), self._sequence)
        self._segments.append(segment)
        return segment


class _Segment:
    """One file: where the next record goes, and the last one's number."""

    def __init__(self, path: Path, last: int) -> None:
        self.end = 0
        self.last = last
        self.is_new = not path.exists()  # and perhaps not yet in its directory on disk
        self._path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def rewind(self) -> None:
        self.end = 0
        if os.fstat(self.descriptor).st_size > 2 * SEGMENT_BYTES:  # one batch made it as large
            os.ftruncate(self.descriptor, SEGMENT_BYTES)

    def append(self, record: bytearray, sequence: int) -> None:
        left = memoryview(record)
        while left:  # a disk that fills up takes a part, and says why when asked to take the rest
            written = os.pwrite(self.descriptor, left, self.end)
            self.end += written
            left = left[written:]
        self.last = sequence

    def sync(self) -> None:
        os.fdatasync(self.descriptor)
        if self.is_new:
            sync_directory(self._path.parent)
            self.is_new = False

    def close(self) -> None:
        os.close(self.descriptor)


def set_aside(directory: Path) -> None:
    """Make the segments of a log that does not exist yet, so that it need not grow at first.

    They are filled with zeros: blocks that are only reserved would have to be recorded when they
    are written. Raises OSError.
    """
    directory.mkdir(parents=True)
    for number in range(1, SET_ASIDE + 1):
        write_synced(directory / str(number), bytes(SEGMENT_BYTES))
    sync_directory(directory)


def read(directory: Path, position: Position) -> list[Record]:
    """The records after `position`, in order, which are on disk then.

    Raises StoreCorrupt, naming the file, for a damage; OSError.
    """
    files = _files(directory)
    if len(files) < position.segments:
        raise StoreCorrupt(
            f"the log in {directory} has lost the segment {len(files) + 1} of at least "
            f"{position.segments}; this replica must not serve again: replace it by a new one"
        )
    content = {str(file): memoryview(file.read_bytes()) for file in files}
    found, end = recover(content, position.salt, position.sequence)
    for file in files:  # what was read is acted upon, so it must not be lost in the next crash
        segment = _Segment(file, end)
        try:
            segment.sync()
        finally:
            segment.close()
    return found


def seal(record: bytearray, length: int, salt: int, sequence: int, durable: int) -> None:
    """Fill in the header of a record, whose payload of `length` bytes, and padding, are there."""
    FIELDS.pack_into(record, CHECKSUM.size, length, salt, sequence, durable)
    CHECKSUM.pack_into(record, 0, zlib.crc32(memoryview(record)[CHECKSUM.size :]))


def recover(segments: Mapping[str, memoryview], salt: int, after: int) -> tuple[list[Record], int]:
    """What the segments hold of the opening `salt` behind record `after`: records, and the last's.

    Raises StoreCorrupt, naming a segment, where what was on disk can no longer be read.
    """
    found, end = _chain(list(segments.values()), salt, after)
    firsts = [_record_at(raw, 0, None) for raw in segments.values()]
    salts = {salt, *(first.salt for first in firsts if first is not None)}
    for name, raw in segments.items():
        proof = _durable_after(raw, salts, end)
        if proof is not None:
            raise StoreCorrupt(
                f"the write-ahead log is damaged: record {end + 1} cannot be read, yet {name} "
                f"says at byte {proof} that it was on disk; this replica must not serve again: "
                "replace it by a new one"
            )
    return found, end


def _files(directory: Path) -> list[Path]:
    """The segments, in the order that they were made; they are numbered without gaps."""
    files: list[Path] = []
    while (file := directory / str(len(files) + 1)).exists():
        files.append(file)
    return files


def _chain(segments: list[memoryview], salt: int, after: int) -> tuple[list[Record], int]:
    """The records after number `after`, as far as each follows the one before, and the last's."""
    starts = {}
    for raw in segments:
        first = _record_at(raw, 0, salt)
        if first is not None and first.payload:
            starts[first.sequence] = raw
    begin = max((start for start in starts if start <= after + 1), default=None)
    found: list[Record] = []
    if begin is None:
        return found, after
    last = begin - 1
    while (segment := starts.get(last + 1)) is not None:
        for record in _records(segment, salt, last):
            last = record.sequence
            if last > after and record.payload:
                found.append(record)
    return found, max(last, after)


def _records(raw: memoryview, salt: int, last: int) -> Iterator[Record]:
    """The records from the segment's start on, as far as each follows the one before."""
    position = 0
    while (record := _record_at(raw, position, salt)) is not None:
        if record.sequence != (last + 1 if record.payload else last):
            return
        yield record
        last, position = record.sequence, record.end


def _record_at(raw: memoryview, position: int, salt: int | None) -> Record | None:
    """The record that begins at `position`, if a whole one of that opening (None: any) does."""
    if position + HEADER_BYTES > len(raw):
        return None
    length, its_salt, sequence, durable = FIELDS.unpack_from(raw, position + CHECKSUM.size)
    start = position + HEADER_BYTES
    end = start + length + -length % ALIGNMENT
    if salt not in (None, its_salt) or end > len(raw):
        return None
    if zlib.crc32(raw[position + CHECKSUM.size : end]) != CHECKSUM.unpack_from(raw, position)[0]:
        return None
    return Record(its_salt, sequence, durable, raw[start : start + length], end)


def _durable_after(raw: memoryview, salts: set[int], end: int) -> int | None:
    """The offset of a whole record, with one of these salts, that vouches for more than `end`."""
    words = np.frombuffer(raw[: len(raw) // ALIGNMENT * ALIGNMENT], dtype="<u8")
    # A record is four words at least: checksum and length, salt, sequence, durable. Few places in
    # what batches hold look like one: no store lives long enough to count 2**48 batches.
    sequence, durable = words[2:-1], words[3:]
    candidates = np.nonzero((end < durable) & (durable <= sequence) & (sequence < 1 << 48))[0]
    for word in candidates.tolist():
        record = _record_at(raw, word * ALIGNMENT, None)
        if record is not None and record.salt in salts:
            return int(word) * ALIGNMENT
    return None
