"""Compaction: forgetting old revisions, at once for readers, and bit by bit on disk.

A compaction is one logged command that only raises the bound below which reads are refused. From
then on a superseded record is dead if it ended at or before that bound. Deleting the dead is the
work of sweeps: logged commands that each look at a bounded number of records and move a cursor in
the state. One pass over the history deletes what was dead when the pass began; a compaction during
a pass makes another pass follow. Dead records do not belong to the logical state: states that are
compared agree wherever their sweeps are.
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
from raycons.machines.kv.keys import AFTER_PAIRS, PAIR, SWEEP
from raycons.machines.kv.records import unpack_revision
from raycons.machines.kv.settings import KeyValueSettings, invalid
from raycons.machines.kv.versions import Versions

# Bounds the work of one entry whatever a client asks for. Part of the log's format.
_MOST_RECORDS_A_SWEEP = 4096


class _Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far sweeping has come."""

    swept: int = 0  # nothing that ended at or before this is left
    goal: int = (
        0  # what the pass under way will raise `swept` to; equal to it: no pass is under way
    )
    cursor: bytes = PAIR  # the pass goes on at this key of the history


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
        """Look at some more records, and delete the dead ones."""
        if command.records < 1:
            return invalid("a sweep looks at 1 record or more")
        progress = self._progress
        if progress.goal == progress.swept:  # no pass is under way
            if progress.swept == self._versions.compacted:
                return SweepDone(0, True)
            progress = _Progress(progress.swept, self._versions.compacted, PAIR)

        left = min(command.records, _MOST_RECORDS_A_SWEEP)
        dead: list[bytes] = []
        cursor = AFTER_PAIRS
        for history_key, record in self._state.scan(Table.HISTORY, progress.cursor, AFTER_PAIRS):
            if not left:
                cursor = history_key
                break
            left -= 1
            (until,) = unpack_revision(record)
            if until <= progress.goal:
                dead.append(history_key)
        for history_key in dead:
            self._state.delete(Table.HISTORY, history_key)

        if cursor == AFTER_PAIRS:
            progress = _Progress(swept=progress.goal, goal=progress.goal)
        else:
            progress = _Progress(progress.swept, progress.goal, cursor)
        self._progress = progress
        self._state.put(Table.CURRENT, SWEEP, msgspec.msgpack.encode(progress))
        return SweepDone(len(dead), progress.swept == self._versions.compacted)

    def due(self) -> Compact | Sweep | None:
        """What the leader should propose now."""
        if self._progress.swept < self._versions.compacted:
            return Sweep(self._settings.sweep_records)
        keep = self._settings.keep_revisions
        # A pass reads the whole history: wait until half of it is dead, so that the reading pays.
        if keep and self._versions.revision - self._versions.compacted > 2 * keep:
            return Compact(self._versions.revision - keep)
        return None

    def liveness(self) -> Live:
        """Whether a stored pair belongs to the logical state of this moment."""
        compacted = self._versions.compacted

        def live(table: Table, key: bytes, value: bytes) -> bool:
            if table == Table.HISTORY:
                (until,) = unpack_revision(value)
                return bool(until > compacted)
            return key != SWEEP

        return live
