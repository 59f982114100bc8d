"""Compaction: forgetting old revisions, at once for readers, and bit by bit on disk.

A compaction is one logged command that only raises the bound below which reads are refused. From
then on a landmark is dead if its record ended at or before that bound, and a page of what was
overwritten if all of it was. Deleting the dead is the work of sweeps: logged commands that each go
through some pages, from the oldest on, and move a cursor in the state. Dead records do not belong
to the logical state: states that are compared agree wherever their sweeps are.
"""

from __future__ import annotations

import msgspec

from raycons.machines.contract import Live, State, Table
from raycons.machines.kv.commands import (
    Compact,
    CompactDone,
    Failed,
    Failure,
    Sweep,
    SweepDone,
)
from raycons.machines.kv.keys import PAGE, SWEEP, page_key
from raycons.machines.kv.records import REVISION_BYTES, unpack_revision
from raycons.machines.kv.settings import KeyValueSettings, invalid
from raycons.machines.kv.undo import items_of, landmark_of
from raycons.machines.kv.versions import Versions

# Bounds the work of one entry whatever a client asks for. Part of the log's format.
_MOST_RECORDS_A_SWEEP = 4096


class _Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far sweeping has come."""

    swept: int = 0  # nothing that was dead when this was the bound is left
    cursor: bytes = PAGE  # the first page that is left, or would be


class Compaction:
    """Decides what is dead, and deletes it."""

    def __init__(self, versions: Versions, state: State, settings: KeyValueSettings) -> None:
        self._versions = versions
        self._state = state
        self._settings = settings
        self._progress = _Progress()
        self._decoder = msgspec.msgpack.Decoder(_Progress)

    def load(self) -> None:
        """Read the progress from the state."""
        stored = self._state.get(Table.CURRENT, SWEEP)
        self._progress = _Progress() if stored is None else self._decoder.decode(stored)

    def compact(self, command: Compact) -> CompactDone | Failed:
        """Refuse reads below the command's revision from now on."""
        versions = self._versions
        if command.revision < 0:
            return invalid("the revision of a compaction is 0 or more")
        if command.revision > versions.revision:
            return Failed(
                Failure.FUTURE_REVISION,
                versions.revision,
                f"cannot compact revision {command.revision}; the newest is {versions.revision}",
            )
        if command.revision <= versions.compacted:
            return Failed(
                Failure.COMPACTED,
                versions.compacted,
                f"revisions below {versions.compacted} are compacted already",
            )
        versions.compacted = command.revision
        return CompactDone(versions.revision, versions.compacted)

    def sweep(self, command: Sweep) -> SweepDone | Failed:
        """Go through some more pages of what was overwritten, and delete the dead."""
        if command.records < 1:
            return invalid("a sweep looks at 1 record or more")
        compacted = self._versions.compacted
        if self._progress.swept == compacted:
            return SweepDone(0, True)
        self._versions.undo.save()  # else the cursor could pass what this command has yet to write
        left = min(command.records, _MOST_RECORDS_A_SWEEP)
        dead: list[bytes] = []
        deleted = 0
        swept, cursor = compacted, page_key(compacted + 1)
        for stored_key, page in self._state.scan(Table.HISTORY, self._progress.cursor, cursor):
            (last,) = unpack_revision(page)
            if last > compacted or deleted >= left:
                cursor = stored_key
                if last <= compacted:
                    swept = self._progress.swept
                break
            items = items_of(page)
            deleted += len(items)
            dead.append(stored_key)
            dead += [landmark for item in items if (landmark := landmark_of(item)) is not None]
        for stored_key in dead:
            self._state.delete(Table.HISTORY, stored_key)
        self._progress = _Progress(swept, cursor)
        self._state.put(Table.CURRENT, SWEEP, msgspec.msgpack.encode(self._progress))
        return SweepDone(deleted, swept == compacted)

    def due(self) -> Compact | Sweep | None:
        """What the leader should propose now."""
        if self._progress.swept < self._versions.compacted:
            return Sweep(self._settings.sweep_records)
        keep = self._settings.keep_revisions
        # In large steps: each takes a command, and its sweeps find whole pages dead.
        if keep and self._versions.revision - self._versions.compacted > 2 * keep:
            return Compact(self._versions.revision - keep)
        return None

    def liveness(self) -> Live:
        """Whether a stored pair belongs to the logical state of this moment."""
        compacted = self._versions.compacted

        def live(table: Table, key: bytes, value: bytes) -> bool:
            if table != Table.HISTORY:
                return key != SWEEP
            if key.startswith(PAGE):
                (last,) = unpack_revision(value)
                return bool(last > compacted)
            (until,) = unpack_revision(key, len(key) - REVISION_BYTES)
            return bool(until > compacted)

        return live
