"""Looks at the end of RocksDB's write-ahead log before RocksDB does.

RocksDB takes a last record that claims to be longer than the file for one that a crash cut short,
and drops it with all that follows in its block. A flipped bit in the length of an earlier, synced
record looks just the same. The difference: behind a cut there is nothing, behind a damage whole
records follow. Finding one is reason to refuse the store.

The format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB; a record is a masked
CRC-32C (4 bytes, little endian), a length (2 bytes), a type (1 byte: 1 for a full record, 2 for the
first part of one that goes on in the next block), then the data; the checksum covers type and data.

Known limit: damage to the length of the very last record cannot be told from a cut.
"""

from __future__ import annotations

import struct
from pathlib import Path

from raycons.errors import StoreCorrupt

BLOCK_BYTES = 32 * 1024
HEADER = struct.Struct("<IHB")
FULL, FIRST = 1, 2
BATCH_HEADER_BYTES = 12  # a batch begins with an 8 byte sequence number and a 4 byte count


def check_tail(directory: Path) -> None:
    """Raise StoreCorrupt, naming the file, where whole records follow an unfinished one."""
    for log in sorted(directory.glob("*.log")):
        lost_at = _records_behind_a_cut(log)
        if lost_at is not None:
            raise StoreCorrupt(
                f"the log {log} is damaged: a record is unfinished, yet whole records follow it at "
                f"byte {lost_at}; this replica must not serve again: replace it by a new one"
            )


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
    for start in range(position, len(block) - HEADER.size - BATCH_HEADER_BYTES + 1):
        if block[start + 6] not in (FULL, FIRST):
            continue
        if block[start + 13] or block[start + 14]:
            continue  # no store lives long enough to count 2**48 writes
        checksum, length, _ = HEADER.unpack_from(block, start)
        end = start + HEADER.size + length
        if length < BATCH_HEADER_BYTES or end > len(block):
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
