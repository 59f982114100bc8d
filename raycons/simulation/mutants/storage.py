"""Mutants of what lies on the disk."""

from __future__ import annotations

from raycons.member import layout
from raycons.member.ledger import Ledger
from raycons.member.raft_ledger import RaftLedger
from raycons.member.state import WriteBehindState
from raycons.member.state_view import Staging
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant
from raycons.store import wal


@mutant("redisraft 2020: applied again without end", worlds.crashing)
def state_written_without_its_index(patch: Patch) -> None:
    """A crash may leave applied state without the index that says how far it goes."""
    patch.edit(
        WriteBehindState.write_out,
        "batch.put(Space.META, self._header_key,",
        "self._store.write(batch)\n    batch = Batch()\n"
        "    batch.put(Space.META, self._header_key,",
    )


@mutant("etcd 14370: applied before the log is saved", worlds.crashing)
def state_written_before_the_log(patch: Patch) -> None:
    """Entries reach the store one write late, behind what they did to the state."""
    patch.edit(
        Ledger._write,
        "self._store.write(batch)",
        "late, self._late = getattr(self, '_late', None), batch\n"
        "    if late is not None:\n        self._store.write(late)",
    )


@mutant("NATS 7549; RocksDB's default recovery stops at a bad record", worlds.crashing)
def log_end_dropped_at_recovery(patch: Patch) -> None:
    """A restart silently leaves out the last entries of the log."""
    patch.edit(
        layout.restore,
        "last = base.index if last is None else last",
        "last = base.index if last is None else max(header.index, last - 2)",
    )


@mutant("etcd 14370", worlds.long_tails)
def cut_entries_stay_on_disk(patch: Patch) -> None:
    """Entries that were truncated come back after a restart."""
    patch.edit(
        RaftLedger.persist,
        "batch.delete_range(Space.LOG, keys.entry(effect.truncate_from), keys.log_end)",
        "pass",
    )


@mutant("the log is cut only below what the state holds durably", worlds.crashing)
def log_cut_above_the_durable_state(patch: Patch) -> None:
    """Entries are thrown away whose effect is not in the state yet."""
    patch.edit(
        Ledger._cut_log,
        "cut = self._size.cut(self._state_durable, needed_after)",
        "self._size.note(self.state.applied[0])\n"
        "    cut = self._size.cut(self.state.applied[0], needed_after)",
    )


@mutant("a half-received snapshot is nobody's state", worlds.small_logs_in_a_storm)
def staged_state_not_swept(patch: Patch) -> None:
    """What a broken-off snapshot left is still there when the next one begins."""
    patch.edit(
        Staging.__init__,
        "batch.delete_range(space, self._prefix, after(self._prefix))",
        "pass",
    )
    patch.attribute(Ledger, "unstage", lambda ledger: setattr(ledger, "_staging", None))


@mutant("a batch is on disk as a whole, or not at all", worlds.crashing)
def torn_batch_taken_for_whole(patch: Patch) -> None:
    """The log's reader does not look at a record's checksum."""
    patch.edit(
        wal._record_at,
        "if zlib.crc32(raw[position + CHECKSUM.size : end]) != "
        "CHECKSUM.unpack_from(raw, position)[0]:",
        "if False:",
    )
