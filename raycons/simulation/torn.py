"""A log whose end was torn by a power failure, and what the shipped reader makes of it.

A disk writes sectors, in any order. What was not synced when the power failed is there sector by
sector, or not; `store.wal` has to tell the batches that are whole from those that are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import msgspec

from raycons.errors import StoreCorrupt
from raycons.simulation.world import Violation
from raycons.store import wal
from raycons.store.contract import Batch, Operation

SECTOR_BYTES = 512
SALT = 0x5A17
NAME = "the simulated log"

_encode = msgspec.msgpack.Encoder().encode


class Written(NamedTuple):
    """A batch in the log, and how many were durable when it was written."""

    batch: Batch
    durable: int


def read_back(first: int, unsynced: Sequence[Written], random: Random) -> int:
    """How many of the unsynced batches, from number `first` on, are still whole.

    Raises Violation where the reader gives out what was not written, or takes the torn end for a
    damage.
    """
    log = _record(Batch(), first - 1, 0)  # the last one that was synced
    synced_bytes = len(log)
    for number, written in enumerate(unsynced, first):
        log += _record(written.batch, number, written.durable)
    _tear(log, synced_bytes, random)
    try:
        found, _ = wal.recover({NAME: memoryview(log)}, SALT, first - 1)
    except StoreCorrupt as error:
        raise Violation("torn-batch", f"nothing is damaged, and yet: {error}") from error
    for record, written in zip(found, unsynced, strict=False):
        if _operations(record) != written.batch.operations:
            raise Violation("torn-batch", f"batch {record.sequence} is read back as another one")
    return len(found)


def _operations(record: wal.Record) -> list[Operation] | None:
    try:
        return record.operations()
    except msgspec.DecodeError:
        return None


def _record(batch: Batch, number: int, durable: int) -> bytearray:
    payload = _encode(batch.operations)
    record = bytearray(wal.HEADER_BYTES) + payload
    record += bytes(-len(payload) % wal.ALIGNMENT)
    wal.seal(record, len(payload), SALT, number, durable)
    return record


def _tear(log: bytearray, begin: int, random: Random) -> None:
    """Some sectors from `begin` on were not written: they hold zeros, as before."""
    share = random.random()
    for sector in range(begin // SECTOR_BYTES * SECTOR_BYTES, len(log), SECTOR_BYTES):
        if random.random() < share:
            start, end = max(sector, begin), min(sector + SECTOR_BYTES, len(log))
            log[start:end] = bytes(end - start)
