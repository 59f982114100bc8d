"""Looks at RocksDB's write-ahead logs before RocksDB does, for two things that it lets pass.

A damaged length. RocksDB takes a last record that claims to be longer than the file for one that a
crash cut short, and drops it with all that follows in its block. A flipped bit in the length of an
earlier, synced record looks just the same. The difference: behind a cut there is nothing, behind a
damage whole records follow. Known limit: damage to the length of the very last record cannot be
told from a cut.

A gap between two logs. A log is closed when its table in memory is full, and the next one begins;
nothing is synced at that moment. When the machine then dies, the end of the older log may be lost
and the younger one not, and RocksDB replays both: batches would be missing in the middle. But every
batch carries the number of its first write, so the younger must go on where the older ends.

The format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB; a record is a masked
CRC-32C (4 bytes, little endian), a length (2 bytes), a type (1 byte), then the data; the checksum
covers type and data. A batch is one full record, or a first, middles and a last in blocks that
follow each other. Its data begin with its sequence number (8 bytes) and its count (4 bytes).
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

from raycons.errors import StoreCorrupt

BLOCK_BYTES = 32 * 1024
HEADER = struct.Struct("<IHB")
BATCH_HEADER = struct.Struct("<QI")  # number of the first write, and how many there are
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def check_logs(directory: Path) -> None:
    """Raise StoreCorrupt, naming the file, for a damage to a log that RocksDB lets pass."""
    logs = sorted(log for log in directory.glob("*.log") if log.stat().st_size > 0)
    for log in logs:
        lost_at = _records_behind_a_cut(log)
        if lost_at is not None:
            raise StoreCorrupt(
                f"the log {log} is damaged: a record is unfinished, yet whole records follow it at "
                f"byte {lost_at}; this replica must not serve again: replace it by a new one"
            )
    for older, younger in pairwise(logs):
        expected, begins = _next_sequence(older), _first_sequence(younger)
        if begins is not None and begins != expected:
            raise StoreCorrupt(
                f"the end of the log {older} is lost: {younger} begins with write {begins} instead "
                f"of {expected}; this replica must not serve again: replace it by a new one"
            )


def _first_sequence(log: Path) -> int | None:
    """The number of the first write in the log, or None where it holds no whole record."""
    with log.open("rb") as file:
        start = file.read(HEADER.size + BATCH_HEADER.size)
    if len(start) < HEADER.size + BATCH_HEADER.size:
        return None
    sequence: int = BATCH_HEADER.unpack_from(start, HEADER.size)[0]
    return sequence


def _next_sequence(log: Path) -> int | None:
    """The number that the write after the log's last has, or None where the log ends unfinished."""
    size = log.stat().st_size
    block_start = (size - 1) // BLOCK_BYTES * BLOCK_BYTES
    with log.open("rb") as file:
        while block_start >= 0:  # back to the block in which the last batch begins
            file.seek(block_start)
            found, following = _last_batch(file.read(size - block_start))
            if found or following is None:
                return following
            block_start -= BLOCK_BYTES
    return None


def _last_batch(raw: bytes) -> tuple[bool, int | None]:
    """Whether a batch begins in `raw`, and what number follows the last; None: it is unfinished."""
    position, found, following, open_batch = 0, False, 0, False
    while position < len(raw):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER.size:  # too short for a header: filled with zeros
            position += left
            continue
        if position + HEADER.size > len(raw):
            return found, None
        _, length, kind = HEADER.unpack_from(raw, position)
        if kind == 0 and length == 0:
            break
        start, position = position + HEADER.size, position + HEADER.size + length
        if position > len(raw):
            return found, None
        if kind in (FULL, FIRST):
            sequence, count = BATCH_HEADER.unpack_from(raw, start)
            found, following = True, sequence + count
        open_batch = kind in (FIRST, MIDDLE)
    return found, None if open_batch else following


def _records_behind_a_cut(log: Path) -> int | None:
    """The offset of a whole record behind an unfinished one in the last block, or None."""
    size = log.stat().st_size
    block_start = max(0, (size - 1) // BLOCK_BYTES * BLOCK_BYTES)
    with log.open("rb") as file:
        file.seek(block_start)
        block = file.read(BLOCK_BYTES)
    position = 0
    while position + HEADER.size <= len(block):
        _, length, kind = HEADER.unpack_from(block, position)
        if kind == 0 and length == 0:
            return None  # space set aside and never written: the log ends here
        end = position + HEADER.size + length
        if end > len(block):
            found = _whole_record(block, position + 1)
            return None if found is None else block_start + found
        position = end
    return None


def _whole_record(block: bytes, position: int) -> int | None:
    """The first offset from `position` on where a record with a right checksum begins, or None.

    The damage can shift the reading by any number of bytes, so every offset is tried.
    """
    for start in range(position, len(block) - HEADER.size - BATCH_HEADER.size + 1):
        if block[start + 6] not in (FULL, FIRST):
            continue
        if block[start + 13] or block[start + 14]:
            continue  # no store lives long enough to count 2**48 writes
        checksum, length, _ = HEADER.unpack_from(block, start)
        end = start + HEADER.size + length
        if length < BATCH_HEADER.size or end > len(block):
            continue
        if _masked(_crc32c(block[start + 6 : end])) == checksum:
            return start
    return None


def _masked(crc: int) -> int:
    # Checksums of data that holds checksums are weak, so stored ones are rotated and shifted.
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _make_table()


def _crc32c(data: bytes) -> int:
    """The Castagnoli checksum.

    >>> hex(_crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
