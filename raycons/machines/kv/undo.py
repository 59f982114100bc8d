"""What commands overwrote, page by page: the way back from a record to the one before it.

A command's overwritten records go into one page, under the revision of the first of them, so that
keeping the old costs a command hardly more than the new. The price is paid by those who read the
past: a record tells by its `mod` which revision overwrote the one before it, and so where that
lies. Reading a key as of some revision walks back from the record that came after.

    page       last (8), the highest revision of its items, then the items in msgpack
    item       until, key, record      `record` was overwritten at `until`
               until, key, nil         the key was deleted: its record has a place of its own

Items are in the order of `until`, and so are pages; many items of one command make several pages.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping

import msgspec

from raycons.errors import StoreCorrupt
from raycons.machines.contract import State, Table
from raycons.machines.kv.keys import PAGE, page_key
from raycons.machines.kv.records import REVISION_BYTES, pack_revision, unpack_revision

Item = tuple[int, bytes, bytes | None]  # until, key, record or None

# A page is divided beyond these, unless it has one item only. Part of the state's format.
PAGE_ITEMS = 512
PAGE_BYTES = 64 * 1024
_NEAR_PAGES = 8  # so many pages are passed over sooner than sought

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Item]).decode


def items_of(page: bytes) -> list[Item]:
    """The items of a page, in the order of revisions."""
    return _decode(memoryview(page)[REVISION_BYTES:])


class UndoLog:
    """The overwritten records of a group.

    pending     the items of the command that is being carried out; writers append to it
    """

    __slots__ = ("_state", "pending")

    def __init__(self, state: State) -> None:
        self._state = state
        self.pending: list[Item] = []

    def save(self) -> None:
        """Write the pending items: the command has been carried out."""
        number = 0
        waiting = [self.pending[:]] if self.pending else []
        while waiting:
            items = waiting.pop()
            encoded = _encode(items)
            if len(items) > 1 and (len(items) > PAGE_ITEMS or len(encoded) > PAGE_BYTES):
                half = len(items) // 2
                waiting += items[half:], items[:half]
                continue
            page = pack_revision(items[-1][0]) + encoded
            self._state.put(Table.HISTORY, page_key(items[0][0], number), page)
            number += 1
        self.pending.clear()

    def as_of(self, revision: int, records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Each key's record as it was at `revision`.

        Args:
            revision: one that can still be read, not below that which created any of `records`.
            records: by key, what counted at `revision` or came after it, with no deletion between.

        Raises:
            StoreCorrupt: the history lacks a record.
        """
        found = dict(records)
        # The newest first, so that all steps together pass over the pages once.
        newer: list[tuple[int, bytes]] = []
        for key, record in records.items():
            (mod,) = unpack_revision(record)
            if mod > revision:
                newer.append((-mod, key))
        heapq.heapify(newer)
        descent = _Descent(self._state, self.pending)
        while newer:
            minus_mod, key = newer[0]
            found[key] = record = descent.overwritten(-minus_mod, key)
            (mod,) = unpack_revision(record)
            if mod > revision:
                heapq.heapreplace(newer, (-mod, key))
            else:
                heapq.heappop(newer)
        return found


class _Descent:
    """Looks up overwritten records, those of later revisions first."""

    def __init__(self, state: State, pending: list[Item]) -> None:
        self._state = state
        self._pages: Iterator[tuple[bytes, bytes]] = iter(())  # older than the open one
        self._open: list[Item] = pending

    def overwritten(self, until: int, key: bytes) -> bytes:
        """What `key` held before revision `until`."""
        record = self._in_the_open_page(until, key)
        if record is None:
            record = self._in_a_near_page(until, key) or self._sought(until, key)
        if record is None:
            raise StoreCorrupt(
                f"the history lacks what the key {key[:64]!r} held before revision {until}; "
                "replace this replica"
            )
        return record

    def _in_the_open_page(self, until: int, key: bytes) -> bytes | None:
        items = self._open
        for place in range(bisect_left(items, (until,)), len(items)):
            found_until, found_key, record = items[place]
            if found_until != until:
                return None
            if found_key == key:
                return record
        return None

    def _in_a_near_page(self, until: int, key: bytes) -> bytes | None:
        for _ in range(_NEAR_PAGES):
            stored = next(self._pages, None)
            if stored is None:
                return None
            stored_key, page = stored
            (first,) = unpack_revision(stored_key, len(PAGE))
            if first <= until:
                self._open = items_of(page)
                return self._in_the_open_page(until, key)
        return None

    def _sought(self, until: int, key: bytes) -> bytes | None:
        """Look through every page that the record can be in; one revision may span several."""
        self._pages = self._state.scan(Table.HISTORY, PAGE, page_key(until + 1), reverse=True)
        for _, page in self._pages:
            (last,) = unpack_revision(page)
            if last < until:
                return None
            self._open = items_of(page)
            record = self._in_the_open_page(until, key)
            if record is not None:
                return record
        return None
