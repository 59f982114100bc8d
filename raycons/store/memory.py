"""A store in memory: for tests, the simulator's disk, and clusters that promise no more than that.

Each space is a dict beside a sorted list of its keys. A view copies nothing: while it is open, each
write first hands it the values that it is about to replace, so opening a view costs the same on ten
keys as on ten million, and a store without views pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedDict, SortedList

from raycons.errors import StoreError
from raycons.store.contract import DELETE, PUT, Batch, Space

FIRST_SLICE, NEXT_SLICES = 16, 256  # keys looked up at once by a scan: many scans want only a few


class MemoryStore:
    """A `Store` whose content goes with the process; `sync` has nothing to wait for."""

    def __init__(self) -> None:
        self._values: tuple[dict[bytes, bytes], ...] = tuple({} for _ in Space)
        self._keys: tuple[SortedList[bytes], ...] = tuple(SortedList() for _ in Space)
        self._views: list[MemoryView] = []
        self._closed = False

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        return self._values[space].get(key)

    def scan(
        self, space: Space, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`; from the last when `reverse`."""
        values, keys, wanted = self._values[space], self._keys[space], FIRST_SLICE
        while start < end:
            found = list(islice(keys.irange(start, end, (True, False), reverse), wanted))
            pairs = [(key, values[key]) for key in found]
            yield from pairs
            if len(found) < wanted:
                return
            if reverse:
                end = found[-1]
            else:
                start = found[-1] + b"\0"
            wanted = NEXT_SLICES

    def write(self, batch: Batch) -> None:
        """Apply `batch` at once, after all earlier ones. Raises StoreError once closed."""
        if self._closed:
            raise StoreError("this store in memory was closed; open a new one")
        if self._views:
            self._hand_over(batch)
        for action, space, key, value in batch.operations:
            values = self._values[space]
            if action == PUT:
                if key not in values:
                    self._keys[space].add(key)
                values[key] = value
            elif action == DELETE:
                if values.pop(key, None) is not None:
                    self._keys[space].remove(key)
            else:
                self._delete_range(space, key, value)

    def sync(self) -> None:
        """Nothing: there is no disk."""

    def settle(self) -> None:
        """Nothing."""

    def view(self) -> MemoryView:
        """A consistent view of this moment."""
        view = MemoryView(self)
        self._views.append(view)
        return view

    def copy(self) -> MemoryStore:
        """An independent store with the same content; the views stay with this one."""
        other = MemoryStore()
        other._values = tuple(values.copy() for values in self._values)
        other._keys = tuple(keys.copy() for keys in self._keys)
        return other

    def size_bytes(self) -> int:
        """The bytes of all keys and values; counted anew, so do not ask often."""
        return sum(
            sum(map(len, values)) + sum(map(len, values.values())) for values in self._values
        )

    def close(self) -> None:
        """Take no more writes."""
        self._closed = True

    def _delete_range(self, space: Space, start: bytes, end: bytes) -> None:
        keys, values = self._keys[space], self._values[space]
        first, last = keys.bisect_left(start), keys.bisect_left(end)
        if first >= last:
            return
        for key in keys[first:last]:
            del values[key]
        del keys[first:last]

    def _hand_over(self, batch: Batch) -> None:
        for action, space, key, value in batch.operations:
            values = self._values[space]
            touched = (
                (key,)
                if action in (PUT, DELETE)
                else self._keys[space].irange(key, value, (True, False))
            )
            for changed in touched:
                before = values.get(changed)
                for view in self._views:
                    view.remember(space, changed, before)

    def _forget(self, view: MemoryView) -> None:
        if view in self._views:
            self._views.remove(view)


class MemoryView:
    """The store as it was: the present content, corrected by what was replaced since."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: MemoryStore | None = store
        # What writes since the opening have replaced; None: the key was absent.
        self._replaced: tuple[SortedDict[bytes, bytes | None], ...] = tuple(
            SortedDict() for _ in Space
        )

    def remember(self, space: Space, key: bytes, before: bytes | None) -> None:
        """`key` is about to change from `before`; only its first change counts."""
        replaced = self._replaced[space]
        if key not in replaced:
            replaced[key] = before

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, in key order."""
        while start < end:
            if self._store is None:
                raise StoreError("this view was closed; open a new one")
            keys, values = self._store._keys[space], self._store._values[space]
            replaced = self._replaced[space]
            present = list(islice(keys.irange(start, end, (True, False)), NEXT_SLICES))
            # Up to the last present key looked at, `present` and `replaced` together are complete.
            until = present[-1] + b"\0" if len(present) == NEXT_SLICES else end
            was = list(replaced.irange(start, until, (True, False)))
            merged = sorted({*present, *was}) if was else present
            pairs: list[tuple[bytes, bytes]] = []
            for key in merged:
                value = replaced[key] if key in replaced else values[key]
                if value is not None:
                    pairs.append((key, value))
            yield from pairs
            start = until

    def close(self) -> None:
        """Let go of the view; it cannot be used afterwards."""
        if self._store is not None:
            self._store._forget(self)
            self._store = None
