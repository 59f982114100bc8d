"""Mutants of sending and installing the state."""

from __future__ import annotations

from raycons.consensus.raft.snapshot import Snapshots
from raycons.member.applier import Applier
from raycons.member.ledger import Ledger
from raycons.member.raft_ledger import RaftLedger
from raycons.member.state_view import Staging, StateView
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("redisraft 43, 53: gap between snapshot and log", worlds.small_logs)
def piece_lost(patch: Patch) -> None:
    """Some pieces are taken for received, and never written."""
    patch.edit(Staging.add, "records = _decode_piece(data)", "records = _decode_piece(data)[:-1]")


@mutant("Raft paper, section 7, figure 13", worlds.small_logs)
def snapshot_leaves_the_old_log(patch: Patch) -> None:
    """The entries that a snapshot replaces stay on disk behind it."""
    patch.edit(
        RaftLedger._replace_log, "batch.delete_range(Space.LOG, keys.log, keys.log_end)", "pass"
    )


@mutant("Raft paper, section 7, figure 13", worlds.long_tails_and_small_logs)
def snapshot_leaves_the_old_log_in_memory(patch: Patch) -> None:
    """Entries behind the one that a snapshot ends with stay, though they conflict with it."""
    patch.edit(
        Snapshots.install,
        "self.log.reset(last, message.meta.time_us)",
        "if self.log.last_index > last.index:\n"
        "        self.log.compact(last.index)\n"
        "        self.log.base, self.log._base_time_us = last, message.meta.time_us\n"
        "    else:\n"
        "        self.log.reset(last, message.meta.time_us)",
    )


@mutant("Raft paper, section 7: the snapshot carries the configuration", worlds.churning)
def configuration_left_out_of_the_snapshot(patch: Patch) -> None:
    """Who installs a snapshot goes on with the configuration that it had."""
    patch.edit(
        Snapshots.install,
        "self.configurations = [(message.meta.configuration_index, message.meta.configuration)]",
        "self.configurations = self.configurations[-1:]",
    )


@mutant("what was committed before is applied after", worlds.snapshots_without_end)
def snapshot_installed_over_queued_entries(patch: Patch) -> None:
    """Entries that wait to be applied are applied on top of a newer state."""
    patch.edit(Applier.snapshot_installed, "self._committed.clear()", "pass")


@mutant("Raft paper, figure 13: the offset of a chunk", worlds.small_logs_in_a_storm)
def piece_out_of_turn_accepted(patch: Patch) -> None:
    """A repeated piece is taken for the next one."""
    patch.edit(
        Snapshots.receive_snapshot_chunk,
        "if message.sequence == self.incoming_next:",
        "if message.sequence <= self.incoming_next:",
    )


@mutant("pieces of different snapshots never mix", worlds.snapshots_without_end)
def pieces_of_two_snapshots_mixed(patch: Patch) -> None:
    """A piece of a later state is put behind the pieces of an earlier one."""
    patch.edit(
        Snapshots.receive_snapshot_chunk,
        "if message.snapshot != self.incoming:\n        if message.sequence:",
        "if message.sequence == self.incoming_next and self.incoming:\n"
        "        self.incoming = message.snapshot\n"
        "    if message.snapshot != self.incoming:\n        if message.sequence:",
    )
    patch.edit(
        Ledger.stage,
        "assert self._staging",
        "self._staging = effect.snapshot, self._staging[1]\n    assert self._staging",
    )


@mutant("exactly-once ends with the first snapshot", worlds.small_logs)
def sessions_left_out_of_the_snapshot(patch: Patch) -> None:
    """The table of sessions is not sent with the state."""
    patch.edit(
        StateView.pieces,
        "for record in self.records():\n",
        "for record in self.records():\n"
        "        if record[1][:1] in (b'\\x10', b'\\x11'):\n            continue\n",
    )


@mutant("a snapshot is installed all at once or not at all", worlds.small_logs_on_slow_disks)
def snapshot_installed_in_two_batches(patch: Patch) -> None:
    """A crash may leave the new log base without the new state."""
    patch.edit(
        Ledger.install,
        "batch.put(Space.META, keys.state, _encode(header))",
        "self._store.write(batch)\n    batch = Batch()\n"
        "    batch.put(Space.META, keys.state, _encode(header))",
    )


@mutant("Raft paper, figure 13: reply when it is saved", worlds.small_logs_on_slow_disks)
def snapshot_acknowledged_before_fsync(patch: Patch) -> None:
    """A follower says that it has the state before its disk does."""
    patch.edit(Snapshots.answer_installed, "self.after_everything()", "0")


@mutant("a view is of one moment", worlds.small_logs)
def snapshot_named_by_what_is_committed(patch: Patch) -> None:
    """The snapshot claims entries that are not in it yet."""
    patch.edit(
        Ledger.snapshot_meta,
        "SnapshotMeta(\n        self.state.applied,",
        "SnapshotMeta(\n        self.log.last,",
    )
