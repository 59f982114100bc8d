"""What one identity has written to its disk, kept beside it, so that its word can be checked.

A mirror follows the replica's `Persist` and `InstallSnapshot` effects, and knows which of them the
disk has synced. It does its own arithmetic and trusts nothing that the replica says of itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    Entry,
    EntryId,
    EntryKind,
    HardState,
    InstallSnapshot,
    Persist,
    Term,
)
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.log import Log
from raycons.simulation.world import Violation

READ_BYTES = 1 << 20

decode_configuration = msgspec.msgpack.Decoder(Configuration).decode


def _may_follow(old: Configuration, new: Configuration) -> bool:
    """Whether every quorum of one meets every quorum of the other (Raft paper, section 6).

    Voters stay as they are, or a joint configuration of old and new ones begins, or it ends.
    """
    if not old.peers:
        return True  # a joiner knows nothing yet
    if new.voters == old.voters:
        return new.outgoing in (old.outgoing, frozenset())
    return not old.outgoing and new.outgoing == old.voters


class Write:
    """A write that the disk may still lose."""

    __slots__ = ("hard_state", "last", "number", "position")

    def __init__(self, number: int, last: Index, hard_state: HardState | None) -> None:
        self.number = number  # the replica's number of the write
        self.last = (
            last  # how far the log reaches with it, as far as later writes leave it standing
        )
        self.hard_state = hard_state
        self.position = 0  # how many batches the disk had been given with it; 0: not yet given


class Mirror:
    """The log and hard state of one identity: as written, and as far as they are durable."""

    def __init__(self, id: ReplicaId, configuration: Configuration) -> None:
        self.id = id
        self.base = EntryId(0, 0)
        self.terms: list[Term] = []  # of the entries after `base`
        self.configurations: list[tuple[Index, Configuration]] = [(0, configuration)]
        self.hard_state = HardState()  # as written
        self.durable_hard_state = HardState()
        self.durable_last: Index = 0  # entries up to here, as written now, survive a crash
        self._writes: deque[Write] = deque()

    @property
    def last_index(self) -> Index:
        """Where the log ends."""
        return self.base.index + len(self.terms)

    @property
    def configuration(self) -> Configuration:
        """The latest in the log, committed or not."""
        return self.configurations[-1][1]

    def term(self, index: Index) -> Term | None:
        """The term of an entry, or of the base; None for what is not there."""
        if index == self.base.index:
            return self.base.term
        offset = index - self.base.index - 1
        return self.terms[offset] if 0 <= offset < len(self.terms) else None

    def holds_durably(self, index: Index, term: Term) -> bool:
        """Whether the entry survives a crash; a snapshot of it counts."""
        if index > self.durable_last:
            return False
        return index < self.base.index or self.term(index) == term

    @property
    def vouched(self) -> EntryId:
        """The last entry that the disk has reported as durable."""
        return EntryId(self.durable_last, self.term(self.durable_last) or 0)

    def holds(self, vouched: EntryId) -> bool:
        """Whether this one, and so all before it, survives a crash here."""
        return self.holds_durably(vouched.index, vouched.term)

    # --- what the replica writes ------------------------------------------------------------------

    def persist(self, write: Persist) -> None:
        """Follow a `Persist` effect, whose entries must continue the log."""
        if write.truncate_from and write.truncate_from <= self.last_index:
            self._cut(write.truncate_from)
        for entry in write.entries:
            self.append(entry)
        self._follow(write.hard_state)
        self._writes.append(Write(write.number, self.last_index, write.hard_state))

    def _follow(self, new: HardState | None) -> None:
        """A vote, once written, stands for the whole term; a crash may take it back unheard."""
        if new is None:
            return
        old, self.hard_state = self.hard_state, new
        if new.term == old.term and old.vote not in (0, new.vote):
            raise Violation(
                "vote-once",
                f"replica {self.id} voted for {old.vote} in term {old.term}, "
                f"and now writes {new.vote}",
            )

    def append(self, entry: Entry) -> None:
        """The log grows by one entry."""
        self.terms.append(entry.term)
        if entry.kind == EntryKind.CONFIGURATION:
            configuration = decode_configuration(entry.data)
            if not _may_follow(self.configuration, configuration):
                raise Violation(
                    "configuration",
                    f"entry {entry.index} makes {configuration} of {self.configuration}, "
                    "whose quorums need not meet",
                )
            self.configurations.append((entry.index, configuration))

    def _cut(self, first: Index) -> None:
        del self.terms[first - self.base.index - 1 :]
        while len(self.configurations) > 1 and self.configurations[-1][0] >= first:
            self.configurations.pop()
        # What earlier writes put there is no longer what the log says there.
        self.durable_last = min(self.durable_last, first - 1)
        for earlier in self._writes:
            earlier.last = min(earlier.last, first - 1)

    def install(self, write: InstallSnapshot) -> None:
        """Follow an `InstallSnapshot` effect: the log is empty, after a new base."""
        self.base = EntryId(*write.meta.last)
        self.terms = []
        self.configurations = [(write.meta.configuration_index, write.meta.configuration)]
        self.durable_last = min(self.durable_last, self.base.index)
        for earlier in self._writes:
            earlier.last = min(earlier.last, self.base.index)
        self._follow(write.hard_state)
        self._writes.append(Write(write.number, self.base.index, write.hard_state))

    def compacted(self, base: EntryId) -> None:
        """The log's beginning was thrown away, up to `base`."""
        del self.terms[: base.index - self.base.index]
        self.base = base
        while len(self.configurations) > 1 and self.configurations[1][0] <= base.index:
            del self.configurations[0]

    def given_to_disk(self, number: int, batches: int) -> None:
        """Writes up to `number` are among the first `batches` that the disk was given."""
        for write in reversed(self._writes):
            if write.position:
                return
            if write.number <= number:
                write.position = batches

    def synced(self, batches: int) -> None:
        """The disk has synced the first `batches` that it was given."""
        while self._writes and 0 < self._writes[0].position <= batches:
            write = self._writes.popleft()
            self.durable_last = max(self.durable_last, write.last)
            if write.hard_state is not None:
                self.durable_hard_state = write.hard_state

    def forgotten(self) -> None:
        """The disk lost some of what it reported as durable: the next recovery tells what is left.

        Its vote and term are not among that.
        """
        self.durable_last = 0
        self._writes.clear()

    # --- crashes ----------------------------------------------------------------------------------

    def recovered(
        self,
        base: EntryId,
        terms: list[Term],
        configurations: list[tuple[Index, Configuration]],
        hard_state: HardState,
    ) -> None:
        """The process came back with this from its disk: all of it is durable now."""
        self.base, self.terms, self.configurations = base, terms, configurations
        self.hard_state = self.durable_hard_state = hard_state
        self.durable_last = self.last_index
        self._writes.clear()


def is_quorum(configuration: Configuration, members: Collection[ReplicaId]) -> bool:
    """A majority of the voters, and of the outgoing ones; counted here, not by the shipped code."""
    present = set(members)
    return all(
        2 * len(half & present) > len(half)
        for half in (configuration.voters, configuration.outgoing)
        if half
    )


def all_entries(log: Log) -> list[Entry]:
    """Everything that a log holds after its base."""
    entries: list[Entry] = []
    while (first := log.base.index + len(entries) + 1) <= log.last_index:
        entries += log.slice(first, log.last_index, READ_BYTES)
    return entries
