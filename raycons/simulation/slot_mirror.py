"""What one MultiPaxos identity has written to its disk, kept beside it, to check its word by.

As `mirror`, for slots: it follows a replica's `PersistAccepted` and `InstallSnapshot` effects, and
knows which of them the disk has synced. What becomes durable is told to whoever counts quorums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import EntryId, InstallSnapshot, PersistAccepted, Proposal, Term
from raycons.consensus.paxos.multipaxos.ballots import DECIDED
from raycons.consensus.quorum import Index, ReplicaId

Ballot = Term


class Held(NamedTuple):
    """What stands in a slot."""

    ballot: Ballot
    entry: EntryId


Durable = Callable[[ReplicaId, Index, Held], None]


class Write:
    """A write that the disk may still lose."""

    __slots__ = ("accepted", "base", "number", "position", "promised")

    def __init__(self, number: int, accepted: list[Held], promised: Ballot, base: Index) -> None:
        self.number = number  # the replica's number of the write
        self.accepted = accepted
        self.promised = promised  # 0: as before
        self.base = base  # of a snapshot; 0: none
        self.position = 0  # how many batches the disk had been given with it; 0: not yet given


class SlotMirror:
    """The slots and the promise of one identity: as written, and as far as they are durable."""

    def __init__(self, id: ReplicaId, configuration: Configuration, durable: Durable) -> None:
        self.id = id
        self.base = EntryId(0, 0)
        self.configurations: list[tuple[Index, Configuration]] = [(0, configuration)]
        self.promised: Ballot = 0  # as written
        self.durable_promised: Ballot = 0
        self.slots: dict[Index, Held] = {}  # that survive a crash
        self.earlier: dict[Index, list[Held]] = {}  # all that ever did, in the order of ballots
        self.known: Index = 0  # up to here it holds on disk what is chosen
        self.lost = False  # the disk has forgotten what it reported as durable
        self._durable = durable
        self._writes: deque[Write] = deque()

    @property
    def configuration(self) -> Configuration:
        """The latest that it has applied."""
        return self.configurations[-1][1]

    @property
    def vouched(self) -> tuple[Index, Mapping[Index, Held]]:
        """What the disk has reported as durable: its base, and the slots above."""
        return self.base.index, dict(self.slots)

    def holds(self, vouched: tuple[Index, Mapping[Index, Held]]) -> bool:
        """Whether all of that survives a crash here, accepted no earlier than there."""
        base, slots = vouched
        return max(self.known, self.base.index) >= base and all(
            self.holds_in(slot, held.ballot, held.entry) for slot, held in slots.items()
        )

    def holds_in(self, slot: Index, ballot: Ballot, entry: EntryId | None = None) -> bool:
        """Whether the slot survives a crash, accepted in `ballot` or a later one."""
        if slot <= self.base.index:
            return True
        held = self.slots.get(slot)
        if held is None or (entry is not None and held.entry != entry):
            return False
        return held.ballot >= ballot or slot <= self.known

    def accepted_below(self, slot: Index, ballot: Ballot) -> Held | None:
        """What it had accepted last before `ballot`, of what survives a crash."""
        found = None
        for held in self.earlier.get(slot, ()):
            if held.ballot < ballot and (found is None or held.ballot > found.ballot):
                found = held
        return found

    def learn(self, chosen: Mapping[Index, EntryId]) -> Index:
        """Up to where it holds what is chosen on disk, counted anew as far as it grew."""
        self.known = max(self.known, self.base.index)
        while True:
            held = self.slots.get(self.known + 1)
            if held is None or held.entry != chosen.get(self.known + 1):
                return self.known
            self.known += 1

    # --- what the replica writes ------------------------------------------------------------------

    def persist(self, write: PersistAccepted) -> None:
        """Follow a `PersistAccepted` effect."""
        promised = 0
        if write.hard_state is not None:
            promised = self.promised = write.hard_state.term
        accepted = [Held(proposal.ballot, proposal.entry.id) for proposal in write.accepted]
        self._writes.append(Write(write.number, accepted, promised, 0))

    def install(self, write: InstallSnapshot) -> None:
        """Follow an `InstallSnapshot` effect: a state up to a slot, and what stands above it."""
        self.base = EntryId(*write.meta.last)
        self.promised = write.hard_state.term
        self.configurations = [
            (write.meta.configuration_index, write.meta.configuration),
            *write.meta.upcoming,
        ]
        self._writes.append(Write(write.number, [], self.promised, self.base.index))

    def applied(self, index: Index, configuration: Configuration | None) -> None:
        """The replica applies an entry, which may be a configuration."""
        known = self.configurations
        if configuration is not None:
            known.append((index, configuration))
        while len(known) > 1 and known[1][0] + known[1][1].window <= index:
            del known[0]

    def compacted(self, base: EntryId) -> None:
        """The beginning was thrown away, up to `base`."""
        self.base = base
        self._forget_through(base.index)

    def _forget_through(self, index: Index) -> None:
        for kept in (self.slots, self.earlier):
            for slot in [slot for slot in kept if slot <= index]:
                del kept[slot]
        self.known = max(self.known, index)

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
            if write.promised:
                self.durable_promised = write.promised
            if write.base:
                self._forget_through(write.base)
            for held in write.accepted:
                self._survives(held)

    def _survives(self, held: Held) -> None:
        slot = held.entry.index
        if slot > self.base.index:
            self.slots[slot] = held
            if held.ballot != DECIDED:
                self.earlier.setdefault(slot, []).append(held)
            self._durable(self.id, slot, held)

    def forgotten(self) -> None:
        """The disk lost some of what it reported as durable: the next recovery tells what is left.

        Its promise is not among that.
        """
        self.slots, self.known, self.lost = {}, 0, True
        self._writes.clear()

    # --- crashes ----------------------------------------------------------------------------------

    def recovered(
        self,
        base: EntryId,
        accepted: Iterable[Proposal],
        configurations: list[tuple[Index, Configuration]],
        promised: Ballot,
    ) -> None:
        """The process came back with this from its disk: all of it is durable now."""
        before, self.slots = self.slots, {}
        self.base, self.configurations = base, configurations
        self.promised = self.durable_promised = promised
        self._writes.clear()
        self.known = base.index
        for proposal in accepted:
            held = Held(proposal.ballot, proposal.entry.id)
            if before.get(proposal.entry.index) == held:
                self.slots[proposal.entry.index] = held
            else:
                self._survives(held)
