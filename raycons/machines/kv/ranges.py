"""Reading pairs: at present, and as they were at an older revision.

A read of the past begins with records that count then or came later: each key's first landmark
after the revision, or else its present record. Such a record tells when its key was created, which
decides whether the read sees the key at all; the undo log then leads back to the one asked for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import groupby, starmap
from operator import itemgetter

import msgspec

from raycons.machines.contract import State, Table
from raycons.machines.kv.commands import Failed, Failure, KeyValue, Range, RangeDone
from raycons.machines.kv.keys import (
    PAIR,
    current_bounds,
    landmark_bounds,
    landmark_prefix,
    user_key,
)
from raycons.machines.kv.records import REVISION_BYTES, pack_revision, pair, unpack_revision
from raycons.machines.kv.settings import KIB, KeyValueSettings, invalid, refused_span
from raycons.machines.kv.undo import UndoLog
from raycons.machines.kv.versions import Versions

# Beside its value a pair costs its key and its numbers; a range of tiny pairs is bounded too.
_PAIR_OVERHEAD_BYTES = 32
# Records that are led back together: in one pass over the pages, and in a few milliseconds.
_TOGETHER = 64
_TOGETHER_BYTES = 64 * KIB
_AFTER_REVISIONS = b"\xff" * (REVISION_BYTES + 1)

_CURRENT = Table.CURRENT
_HISTORY = Table.HISTORY

_Row = tuple[bytes, bytes]  # a key and a record of it


def refused_range(versions: Versions, asked: Range) -> Failed | None:
    """Why the range cannot be read, or None."""
    refused = refused_span(asked.key, asked.end)
    if refused is not None:
        return refused
    if asked.limit < 0 or asked.revision < 0:
        return invalid("the limit and the revision of a range are 0 or more")
    if asked.revision > versions.revision:
        return Failed(
            Failure.FUTURE_REVISION,
            versions.revision,
            f"revision {asked.revision} has not happened yet; the newest is {versions.revision}",
        )
    if 0 < asked.revision < versions.compacted:
        return Failed(
            Failure.COMPACTED,
            versions.compacted,
            f"revision {asked.revision} is compacted; the oldest is {versions.compacted}",
        )
    return None


def read_range(versions: Versions, settings: KeyValueSettings, asked: Range, now: int) -> RangeDone:
    """The pairs of a range that `refused_range` lets pass; `now` is the revision to report."""
    visible = _Counted(_visible(versions.state, asked))
    if asked.count_only:
        return RangeDone(now, (), visible.count_all(), False)
    undo = versions.undo
    pairs: list[KeyValue] = []
    more = False
    room_bytes = settings.max_range_bytes
    for rows in _together(visible, asked.limit):
        read_before = undo.read_bytes
        for found in _led_back(undo, rows, asked.revision, settings.max_range_bytes):
            more = room_bytes <= 0 or len(pairs) == asked.limit > 0
            if more:
                break
            if asked.keys_only:
                found = msgspec.structs.replace(found, value=None)
            pairs.append(found)
            room_bytes -= len(found.key) + len(found.value or b"") + _PAIR_OVERHEAD_BYTES
        if more:
            break
        # What was read to find these counts, too, against those that follow.
        room_bytes -= undo.read_bytes - read_before
    count = len(pairs) if asked.uncounted else visible.count_all()
    return RangeDone(now, tuple(pairs), count, more)


class _Counted:
    """Rows, counted as they are taken."""

    def __init__(self, rows: Iterator[_Row]) -> None:
        self._rows = rows
        self._taken = 0

    def __iter__(self) -> Iterator[_Row]:
        for row in self._rows:
            self._taken += 1
            yield row

    def count_all(self) -> int:
        """How many there are; takes the rest."""
        deque(self, maxlen=0)
        return self._taken


def _together(rows: _Counted, limit: int) -> Iterator[list[_Row]]:
    """The rows in lists of bounded size."""
    most = min(limit + 1, _TOGETHER) if limit else _TOGETHER
    together: list[_Row] = []
    size_bytes = 0
    for row in rows:
        together.append(row)
        size_bytes += len(row[1])
        if len(together) >= most or size_bytes >= _TOGETHER_BYTES:
            yield together
            together, size_bytes = [], 0
    if together:
        yield together


def _led_back(
    undo: UndoLog, rows: list[_Row], revision: int, room_bytes: int
) -> Iterator[KeyValue]:
    """The pairs at `revision` (0: at present), from the rows that `_visible` gives."""
    if not revision:
        yield from starmap(pair, rows)
        return
    found = undo.as_of(revision, dict(rows), room_bytes)
    if found is not None:
        yield from starmap(pair, found.items())
        return
    half = len(rows) // 2
    yield from _led_back(undo, rows[:half], revision, room_bytes)
    yield from _led_back(undo, rows[half:], revision, room_bytes)


def _visible(state: State, asked: Range) -> Iterator[_Row]:
    """The keys that the range means, in its order, limits aside, each with a record.

    For a read of the past that record is the one asked for, or a later one of the same life: from
    the creation of a key to its deletion.
    """
    key, end, revision = asked.key, asked.end, asked.revision
    if end is None:
        record = state.get(_CURRENT, PAIR + key)
        if revision:
            record = _lived_at(state, key, revision, record)
        return iter(()) if record is None else iter(((key, record),))
    if end and end <= key:
        return iter(())
    start, stop = current_bounds(key, end)
    stored = state.scan(_CURRENT, start, stop, reverse=asked.descending)
    present = ((stored_key[len(PAIR) :], record) for stored_key, record in stored)
    return _lived_in(state, asked, end, present) if revision else present


def _lived_at(state: State, key: bytes, revision: int, present: bytes | None) -> bytes | None:
    """A record, not older than `revision`, of the life that `key` had then."""
    if present is not None and _written(present) <= revision:
        return present
    prefix = landmark_prefix(key)
    landmarks = state.scan(
        _HISTORY, prefix + pack_revision(revision + 1), prefix + _AFTER_REVISIONS
    )
    _, record = next(landmarks, (b"", present))
    return record if record is not None and _created(record) <= revision else None


def _lived_in(state: State, asked: Range, end: bytes, present: Iterator[_Row]) -> Iterator[_Row]:
    """As `_lived_at`, for all keys of a range."""
    landmarks = _landmarks_after(state, asked, end)
    # Of a key that is in both the merge gives the landmark first, which is the older.
    rows = heapq.merge(landmarks, present, key=itemgetter(0), reverse=asked.descending)
    for _, of_one_key in groupby(rows, key=itemgetter(0)):
        row = next(of_one_key)
        if _created(row[1]) <= asked.revision:
            yield row


def _landmarks_after(state: State, asked: Range, end: bytes) -> Iterator[_Row]:
    """The first landmark of each key after the asked revision."""
    start, stop = landmark_bounds(asked.key, end)
    stored = state.scan(_HISTORY, start, stop, reverse=asked.descending)
    for prefix, of_one_key in groupby(stored, key=lambda row: row[0][:-REVISION_BYTES]):
        first: bytes | None = None
        for stored_key, record in of_one_key:
            (until,) = unpack_revision(stored_key, len(prefix))
            if until > asked.revision and (first is None or asked.descending):
                first = record
        if first is not None:
            yield user_key(prefix), first


def _written(record: bytes) -> int:
    (mod,) = unpack_revision(record)
    return int(mod)


def _created(record: bytes) -> int:
    (create,) = unpack_revision(record, REVISION_BYTES)
    return int(create)
