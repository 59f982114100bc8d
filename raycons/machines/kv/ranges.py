"""Reading pairs: at present, and as they were at an older revision.

A read of the past begins with the records that it asks for or that came after them: those of
present keys, and those of deleted ones. Each tells when its key was created, which decides whether
the read sees the key at all; the undo log then leads from the record back to the one asked for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import starmap
from operator import itemgetter

import msgspec

from raycons.machines.contract import State, Table
from raycons.machines.kv.commands import Failed, Failure, KeyValue, Range, RangeDone
from raycons.machines.kv.keys import PAIR, current_bounds, deleted_bounds, deleted_prefix, user_key
from raycons.machines.kv.records import (
    REVISION_BYTES,
    pack_revision,
    pair,
    unpack_revision,
)
from raycons.machines.kv.settings import MIB, KeyValueSettings, invalid, refused_span
from raycons.machines.kv.versions import Versions

# Beside its value a pair costs its key and its numbers; a range of tiny pairs is bounded too.
_PAIR_OVERHEAD_BYTES = 32
# Records that are led back together, in one pass over the pages.
_MOST_TOGETHER = 4096
_TOGETHER_BYTES = 4 * MIB
_AFTER_REVISIONS = b"\xff" * (REVISION_BYTES + 1)

_CURRENT = Table.CURRENT
_HISTORY = Table.HISTORY


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
    pairs: list[KeyValue] = []
    more = False
    room_bytes = settings.max_range_bytes
    for found in _led_back(versions, visible, asked):
        more = room_bytes <= 0 or len(pairs) == asked.limit > 0
        if more:
            break
        if asked.keys_only:
            found = msgspec.structs.replace(found, value=None)
        pairs.append(found)
        room_bytes -= len(found.key) + len(found.value or b"") + _PAIR_OVERHEAD_BYTES
    count = len(pairs) if asked.uncounted else visible.count_all()
    return RangeDone(now, tuple(pairs), count, more)


class _Counted:
    """Records, each a key and what it held, counted as they are taken."""

    def __init__(self, records: Iterator[tuple[bytes, bytes]]) -> None:
        self._records = records
        self._taken = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for record in self._records:
            self._taken += 1
            yield record

    def count_all(self) -> int:
        """How many there are; takes the rest."""
        deque(self, maxlen=0)
        return self._taken


def _led_back(versions: Versions, records: _Counted, asked: Range) -> Iterator[KeyValue]:
    """The pairs that the range means, from the records that `_visible` gives."""
    if not asked.revision:
        yield from (pair(key, record) for key, record in records)
        return
    most = min(asked.limit + 1, _MOST_TOGETHER) if asked.limit else _MOST_TOGETHER
    together: dict[bytes, bytes] = {}
    size_bytes = 0
    for key, record in records:
        together[key] = record
        size_bytes += len(record)
        if len(together) >= most or size_bytes >= _TOGETHER_BYTES:
            yield from starmap(pair, versions.undo.as_of(asked.revision, together).items())
            together.clear()
            size_bytes = 0
    yield from starmap(pair, versions.undo.as_of(asked.revision, together).items())


def _visible(state: State, asked: Range) -> Iterator[tuple[bytes, bytes]]:
    """The keys that the range means, in its order, limits aside, each with a record.

    For a read of the past that record is the one asked for, or a later one of the same life: from
    the creation of a key to its deletion.
    """
    key, end, revision = asked.key, asked.end, asked.revision
    if end is None:
        record = _lived_at(state, key, revision) if revision else state.get(_CURRENT, PAIR + key)
        return iter(()) if record is None else iter(((key, record),))
    if end and end <= key:
        return iter(())
    start, stop = current_bounds(key, end)
    stored = state.scan(_CURRENT, start, stop, reverse=asked.descending)
    present = ((stored_key[len(PAIR) :], record) for stored_key, record in stored)
    if not revision:
        return present
    # At a revision a key has one life at most: the merge meets no equals.
    return heapq.merge(
        (row for row in present if _created(row[1]) <= revision),
        _deleted_since(state, key, end, revision, asked.descending),
        key=itemgetter(0),
        reverse=asked.descending,
    )


def _created(record: bytes) -> int:
    (create,) = unpack_revision(record, REVISION_BYTES)
    return int(create)


def _lived_at(state: State, key: bytes, revision: int) -> bytes | None:
    """The last record of the life that `key` had at `revision`."""
    record = state.get(_CURRENT, PAIR + key)
    if record is None or _created(record) > revision:
        # Only the life that ended first after then can have begun before.
        prefix = deleted_prefix(key)
        start, stop = prefix + pack_revision(revision + 1), prefix + _AFTER_REVISIONS
        _, record = next(state.scan(_HISTORY, start, stop), (b"", None))
    return record if record is not None and _created(record) <= revision else None


def _deleted_since(
    state: State, key: bytes, end: bytes, revision: int, descending: bool
) -> Iterator[tuple[bytes, bytes]]:
    """The keys that lived at `revision` and were deleted after it, each with its last record."""
    start, stop = deleted_bounds(key, end)
    for deleted_key, record in state.scan(_HISTORY, start, stop, reverse=descending):
        (until,) = unpack_revision(deleted_key, len(deleted_key) - REVISION_BYTES)
        if _created(record) <= revision < until:
            yield user_key(deleted_key), record
