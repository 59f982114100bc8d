"""The versioned pairs in the state: present ones, and those that they replaced.

Rules of this file
- `revision` is that of the last change; writers pass the revision that they write at, and whoever
  orders them sets `revision` once they are done, so that a transaction is one revision.
- A record moves to the history when it is superseded, and never changes.
- `save` ends every command.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from raycons.machines.contract import State, Table
from raycons.machines.kv.commands import KeyValue, Put
from raycons.machines.kv.keys import PAIR, REVISIONS, current_bounds
from raycons.machines.kv.records import (
    MILESTONE,
    REVISION_BYTES,
    create_and_version,
    pack_numbers,
    pair,
)
from raycons.machines.kv.undo import Item, UndoLog

_COUNTERS = struct.Struct(">QQ")
_CURRENT = Table.CURRENT  # an enum's member is dear to look up where hundreds of puts pass


class Versions:
    """The pairs of a group at all revisions that can be read."""

    __slots__ = (
        "_delete",
        "_get",
        "_get_all",
        "_put",
        "_put_all",
        "_stored",
        "compacted",
        "revision",
        "state",
        "undo",
    )

    def __init__(self, state: State) -> None:
        self.state = state
        self._get = state.get
        self._get_all = state.get_all
        self._put = state.put
        self._put_all = state.put_all
        self._delete = state.delete
        self.undo = UndoLog(state)
        self.revision = 0
        self.compacted = 0  # the oldest revision that can be read
        self._stored = (0, 0)  # (revision, compacted) in the state

    def load(self) -> None:
        """Read the counters from the state."""
        stored = self._get(_CURRENT, REVISIONS)
        self._stored = (0, 0) if stored is None else _COUNTERS.unpack(stored)
        self.revision, self.compacted = self._stored

    def save(self) -> None:
        """Write what the command overwrote, and the counters, if they changed."""
        self.undo.save()
        counters = (self.revision, self.compacted)
        if counters != self._stored:
            self._put(_CURRENT, REVISIONS, _COUNTERS.pack(*counters))
            self._stored = counters

    def get(self, key: bytes) -> KeyValue | None:
        """The present pair of `key`."""
        record = self._get(_CURRENT, PAIR + key)
        return None if record is None else pair(key, record)

    def put(self, key: bytes, value: bytes, revision: int) -> None:
        """Set `key` to `value` at `revision`."""
        stored_key = PAIR + key
        old = self._get(_CURRENT, stored_key)
        if old is None:
            header = pack_numbers(revision, revision, 1)
        else:
            self.undo.add(revision, key, old)
            create, version = create_and_version(old, REVISION_BYTES)
            header = pack_numbers(revision, create, version + 1)
        self._put(_CURRENT, stored_key, header + value)

    def put_all(self, puts: Sequence[Put]) -> None:
        """Carry out `puts` in order, each at a revision of its own, beginning with the next."""
        keys = [PAIR + put.key for put in puts]
        present: dict[bytes, bytes] = {}
        overwritten: list[Item] = []
        size_bytes = 0
        revision = self.revision
        for put, stored_key, stored in zip(puts, keys, self._get_all(_CURRENT, keys), strict=True):
            revision += 1
            old = present.get(stored_key, stored)
            if old is None:
                header = pack_numbers(revision, revision, 1)
            else:
                overwritten.append((revision, put.key, old))
                size_bytes += len(put.key) + len(old)
                create, version = create_and_version(old, REVISION_BYTES)
                if version % MILESTONE == 0:
                    self.undo.set_landmark(revision, put.key, old)
                header = pack_numbers(revision, create, version + 1)
            present[stored_key] = header + put.value
        self._put_all(_CURRENT, present)
        self.undo.add_all(overwritten, size_bytes)
        self.revision = revision

    def delete(self, key: bytes, end: bytes | None, revision: int) -> int:
        """Remove `key`, or all keys from it up to `end`, at `revision`; returns how many."""
        doomed: Iterable[tuple[bytes, bytes]]
        if end is None:
            record = self._get(_CURRENT, PAIR + key)
            doomed = [] if record is None else [(PAIR + key, record)]
        else:
            start, stop = current_bounds(key, end)
            # Listed before the first write: a scan does not outlive one.
            doomed = list(self.state.scan(_CURRENT, start, stop)) if start < stop else []
        deleted = 0
        for stored_key, record in doomed:
            self.undo.add_deleted(revision, stored_key[len(PAIR) :], record)
            self._delete(_CURRENT, stored_key)
            deleted += 1
        return deleted
