"""Reading pairs: at present, and as they were at an older revision."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from raycons.machines.contract import State, Table
from raycons.machines.kv.commands import Failed, Failure, KeyValue, Range, RangeDone
from raycons.machines.kv.keys import PAIR, current_bounds, history_bounds, history_prefix, user_key
from raycons.machines.kv.records import (
    REVISION_BYTES,
    pack_revision,
    present,
    superseded,
    unpack_revision,
)
from raycons.machines.kv.settings import KeyValueSettings, invalid, refused_span
from raycons.machines.kv.versions import Versions

# Beside its value a pair costs its key and its numbers; a range of tiny pairs is bounded too.
_PAIR_OVERHEAD_BYTES = 32


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
    pairs: list[KeyValue] = []
    count = 0
    more = False
    room_bytes = settings.max_range_bytes
    for pair in _visible(versions.state, asked):
        if asked.count_only:
            count += 1
            continue
        more = more or room_bytes <= 0 or len(pairs) == asked.limit > 0
        if not more:
            if asked.keys_only:
                pair = msgspec.structs.replace(pair, value=None)
            pairs.append(pair)
            room_bytes -= len(pair.key) + len(pair.value or b"") + _PAIR_OVERHEAD_BYTES
        elif asked.uncounted:
            break
        count += 1
    return RangeDone(now, tuple(pairs), count, more)


def _visible(state: State, asked: Range) -> Iterator[KeyValue]:
    """The pairs that the range means, in its order, limits aside."""
    key, end, revision = asked.key, asked.end, asked.revision
    if end is None:
        pair = _pair_at(state, key, revision) if revision else _present_pair(state, key)
        return iter(()) if pair is None else iter((pair,))
    if end and end <= key:
        return iter(())
    now = _present_pairs(state, key, end, asked.descending)
    if not revision:
        return now
    # A key has at most one record visible at a revision, here or there: the merge meets no equals.
    return heapq.merge(
        (pair for pair in now if pair.mod_revision <= revision),
        _superseded_pairs(state, key, end, revision, asked.descending),
        key=attrgetter("key"),
        reverse=asked.descending,
    )


def _present_pair(state: State, key: bytes) -> KeyValue | None:
    record = state.get(Table.CURRENT, PAIR + key)
    return None if record is None else present(key, record)


def _pair_at(state: State, key: bytes, revision: int) -> KeyValue | None:
    """The pair of `key` as it was at `revision`."""
    now = _present_pair(state, key)
    if now is not None and now.mod_revision <= revision:
        return now
    # Only the last record written up to then can still have counted then.
    prefix = history_prefix(key)
    start, stop = prefix + pack_revision(0), prefix + pack_revision(revision + 1)
    for history_key, record in state.scan(Table.HISTORY, start, stop, reverse=True):
        (until,) = unpack_revision(record)
        (mod,) = unpack_revision(history_key, len(prefix))
        return superseded(key, mod, record) if revision < until else None
    return None


def _present_pairs(state: State, key: bytes, end: bytes, descending: bool) -> Iterator[KeyValue]:
    start, stop = current_bounds(key, end)
    for stored_key, record in state.scan(Table.CURRENT, start, stop, reverse=descending):
        yield present(stored_key[len(PAIR) :], record)


def _superseded_pairs(
    state: State, key: bytes, end: bytes, revision: int, descending: bool
) -> Iterator[KeyValue]:
    start, stop = history_bounds(key, end)
    for history_key, record in state.scan(Table.HISTORY, start, stop, reverse=descending):
        (mod,) = unpack_revision(history_key, len(history_key) - REVISION_BYTES)
        (until,) = unpack_revision(record)
        if mod <= revision < until:
            yield superseded(user_key(history_key), mod, record)
