"""What commands overwrote, page by page: the way back from a record to the one before it.

A command's overwritten records go into one page, under the revision of the first of them, so that
keeping the old costs a command hardly more than the new. The price is paid by those who read the
past: a record tells by its `mod` which revision overwrote the one before it, and so where that
lies. Reading a key as of some revision walks back from a record that came after. So that the way
is never long, some records also have a place of their own, as landmarks of their key: the last one
before a deletion, and each that is a multiple of 32 versions old.

    page       last (8), the highest revision of its items, then the items in msgpack
    item       until, key, record      `record` was overwritten at `until`
               until, key, nil         the key was deleted: its record is a landmark
    landmark   the record

Items are in the order of `until`, within one revision from the last key to the first. Pages are in
the order of their items; many items of one command make several pages.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

import msgspec

from raycons.errors import StoreCorrupt
from raycons.machines.contract import State, Table
from raycons.machines.kv.keys import PAGE, landmark_prefix, page_key
from raycons.machines.kv.records import (
    REVISION_BYTES,
    is_milestone,
    pack_revision,
    unpack_revision,
)

Item = tuple[int, bytes, bytes | None]  # until, key, record or None

# A page is divided beyond these, unless it has one item only. Part of the state's format.
PAGE_ITEMS = 512
PAGE_BYTES = 64 * 1024
_ITEM_BYTES = 16  # of an item in a page, besides its key and record, rounded up

_NEAR_PAGES = 8  # so many pages are passed over sooner than sought
_STEP_BYTES = 256  # a step back costs about as much time as reading so much

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Item]).decode


def items_of(page: bytes) -> list[Item]:
    """The items of a page, in their order."""
    return _decode(memoryview(page)[REVISION_BYTES:])


def landmark_of(item: Item) -> bytes | None:
    """Where the landmark lies that was set with the item, or None."""
    until, key, record = item
    if record is None or is_milestone(record):
        return landmark_prefix(key) + pack_revision(until)
    return None


class UndoLog:
    """The overwritten records of a group.

    read_bytes    how much was read here to answer questions, in bytes; what else a step back costs
                  is counted as bytes, too
    """

    __slots__ = ("_one_revision_twice", "_pending", "_pending_bytes", "_state", "read_bytes")

    def __init__(self, state: State) -> None:
        self._state = state
        # Of the command that is being carried out:
        self._pending: list[Item] = []
        self._pending_bytes = 0
        self._one_revision_twice = False
        self.read_bytes = 0

    # --- writing ----------------------------------------------------------------------------------

    def add(self, until: int, key: bytes, record: bytes) -> None:
        """`record` of `key` is overwritten at `until`."""
        self._one_revision_twice = True  # perhaps: a transaction may write many keys at once
        self.add_all([(until, key, record)], len(key) + len(record))
        if is_milestone(record):
            self.set_landmark(until, key, record)

    def add_all(self, items: list[Item], size_bytes: int) -> None:
        """These are overwritten, at a revision each; keys and records have so many bytes.

        Whoever calls it sets the landmarks.
        """
        self._pending += items
        self._pending_bytes += size_bytes + _ITEM_BYTES * len(items)

    def add_deleted(self, until: int, key: bytes, record: bytes) -> None:
        """`key`, which held `record`, is deleted at `until`."""
        self._one_revision_twice = True
        self._pending.append((until, key, None))
        self._pending_bytes += len(key) + _ITEM_BYTES
        self.set_landmark(until, key, record)

    def set_landmark(self, until: int, key: bytes, record: bytes) -> None:
        """Keep `record` in a place of its own, too."""
        self._state.put(Table.HISTORY, landmark_prefix(key) + pack_revision(until), record)

    def save(self) -> None:
        """Write the pages: all that was added belongs to one command, which ends here."""
        items = self._pending
        if not items:
            return
        if self._one_revision_twice:
            items.sort(key=lambda item: item[1], reverse=True)
            items.sort(key=lambda item: item[0])
        if len(items) <= PAGE_ITEMS and self._pending_bytes <= PAGE_BYTES:
            self._write_page(items, 0)
        else:
            self._write_pages(items)
        self._pending, self._pending_bytes, self._one_revision_twice = [], 0, False

    def _write_pages(self, items: list[Item]) -> None:
        begin = number = size_bytes = 0
        for place, (_, key, record) in enumerate(items):
            item_bytes = len(key) + len(record or b"") + _ITEM_BYTES
            full = size_bytes + item_bytes > PAGE_BYTES or place - begin == PAGE_ITEMS
            if full and place > begin:
                self._write_page(items[begin:place], number)
                begin, size_bytes = place, 0
                number += 1
            size_bytes += item_bytes
        self._write_page(items[begin:], number)

    def _write_page(self, items: list[Item], number: int) -> None:
        page = pack_revision(items[-1][0]) + _encode(items)
        self._state.put(Table.HISTORY, page_key(items[0][0], number), page)

    # --- reading ----------------------------------------------------------------------------------

    def as_of(
        self, revision: int, records: Mapping[bytes, bytes], room_bytes: int
    ) -> dict[bytes, bytes] | None:
        """Each key's record as it was at `revision`, or None: they take more than the room.

        Args:
            revision: one that can still be read, not below that which created any of `records`.
            records: by key, what counted at `revision` or came after it, with no deletion between.
            room_bytes: for all records together; there is room for a single one in any case.

        Raises:
            StoreCorrupt: the history lacks a record.
        """
        found = dict(records)
        size_bytes = sum(map(len, found.values()))
        # The newest first, so that all steps together pass over the pages once.
        newer: list[tuple[int, bytes]] = []
        for key, record in records.items():
            (mod,) = unpack_revision(record)
            if mod > revision:
                newer.append((-mod, key))
        heapq.heapify(newer)
        descent = _Descent(self._state, self._pending)
        while newer and (size_bytes <= room_bytes or len(found) == 1):
            minus_mod, key = newer[0]
            record = descent.overwritten(-minus_mod, key)
            size_bytes += len(record) - len(found[key])
            found[key] = record
            (mod,) = unpack_revision(record)
            if mod > revision:
                heapq.heapreplace(newer, (-mod, key))
            else:
                heapq.heappop(newer)
        self.read_bytes += descent.read_bytes
        return None if newer else found


class _Descent:
    """Looks up overwritten records, in the order of pages from the last to the first."""

    def __init__(self, state: State, pending: list[Item]) -> None:
        self.read_bytes = 0
        self._state = state
        self._pages: Iterator[tuple[bytes, bytes]] = iter(())  # older than the open one
        self._open = {(until, key): record for until, key, record in pending}

    def overwritten(self, until: int, key: bytes) -> bytes:
        """What `key` held before revision `until`."""
        self.read_bytes += _STEP_BYTES
        record = self._open.get((until, key))
        if record is None:
            record = self._in_a_near_page(until, key) or self._sought(until, key)
        if record is None:
            raise StoreCorrupt(
                f"the history lacks what the key {key[:64]!r} held before revision {until}; "
                "replace this replica"
            )
        return record

    def _in_a_near_page(self, until: int, key: bytes) -> bytes | None:
        for _ in range(_NEAR_PAGES):
            stored = next(self._pages, None)
            if stored is None:
                return None
            stored_key, page = stored
            (first,) = unpack_revision(stored_key, len(PAGE))
            if first <= until:
                record = self._turn_to(page).get((until, key))
                if record is not None or first < until:
                    return record
        return None

    def _sought(self, until: int, key: bytes) -> bytes | None:
        """Look through every page that the record can be in; one revision may span several."""
        self._pages = self._state.scan(Table.HISTORY, PAGE, page_key(until + 1), reverse=True)
        for _, page in self._pages:
            (last,) = unpack_revision(page)
            if last < until:
                return None
            record = self._turn_to(page).get((until, key))
            if record is not None:
                return record
        return None

    def _turn_to(self, page: bytes) -> dict[tuple[int, bytes], bytes | None]:
        self.read_bytes += len(page)
        self._open = {(until, key): record for until, key, record in items_of(page)}
        return self._open
