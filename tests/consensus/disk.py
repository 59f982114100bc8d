"""A disk in the test's hands: what was written survives a crash only as far as it was synced."""

from __future__ import annotations

from collections import deque

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
from raycons.consensus.quorum import Index
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.log import Log

State = tuple[tuple[Index, str], ...]  # the machine of the scenarios: the commands it applied


class Image(msgspec.Struct, frozen=True):
    """Everything that a disk holds at one moment."""

    base: EntryId
    base_time_us: int
    state: State  # as of the base
    configuration: Configuration  # as of the base
    configuration_index: Index
    hard_state: HardState = HardState()
    entries: tuple[Entry, ...] = ()  # contiguous after the base

    @property
    def last(self) -> EntryId:
        return self.entries[-1].id if self.entries else self.base

    def term(self, index: Index) -> Term | None:
        """The term of entry `index`; None where it is not held."""
        if index == self.base.index:
            return self.base.term
        position = index - self.base.index - 1
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def persisted(self, effect: Persist) -> Image:
        """This image with one Persist carried out."""
        entries = self.entries
        if effect.truncate_from:
            entries = entries[: effect.truncate_from - self.base.index - 1]
        if effect.entries:
            end = entries[-1].index if entries else self.base.index
            assert effect.entries[0].index == end + 1, "a write left a gap in the log"
        terms = dict(effect.term_starts)
        previous = entries[-1].term if entries else self.base.term
        for entry in effect.entries:
            if entry.term != previous:
                assert terms.get(entry.index) == entry.term, "a term began without a word"
            previous = entry.term
        return msgspec.structs.replace(
            self,
            entries=entries + tuple(effect.entries),
            hard_state=effect.hard_state or self.hard_state,
        )

    def installed(self, effect: InstallSnapshot, state: State) -> Image:
        """This image with a received snapshot in the place of its log."""
        return Image(
            base=EntryId(*effect.meta.last),
            base_time_us=effect.meta.time_us,
            state=state,
            configuration=effect.meta.configuration,
            configuration_index=effect.meta.configuration_index,
            hard_state=effect.hard_state,
        )

    def compacted(
        self, base: EntryId, state: State, configuration: tuple[Index, Configuration]
    ) -> Image:
        """This image with the entries up to `base` replaced by their effect."""
        dropped = base.index - self.base.index
        return msgspec.structs.replace(
            self,
            base=base,
            base_time_us=self.entries[dropped - 1].time_us if dropped else self.base_time_us,
            state=state,
            configuration=configuration[1],
            configuration_index=configuration[0],
            entries=self.entries[dropped:],
        )


class Disk:
    """One replica's disk: the image that a crash leaves, and the writes that it would lose."""

    def __init__(self, image: Image) -> None:
        self.durable = image
        self.current = image
        self.held = False  # while held, nothing is synced unless the scenario says so
        self._unsynced: deque[tuple[int, Image]] = deque()

    @property
    def unsynced(self) -> int:
        """How many writes wait."""
        return len(self._unsynced)

    def write(self, number: int, image: Image) -> None:
        """Write, not synced yet."""
        self.current = image
        self._unsynced.append((number, image))

    def write_behind(self, image: Image) -> None:
        """A write that needs no number: it is durable with the next sync, here at once."""
        assert not self._unsynced, "compact only what is durable"
        self.durable = self.current = image

    def sync(self, count: int) -> int:
        """Bring the oldest `count` writes to disk; returns the number of the last (0: none)."""
        number = 0
        for _ in range(min(count, len(self._unsynced))):
            number, self.durable = self._unsynced.popleft()
        return number

    def crash(self) -> None:
        """Forget what was not synced."""
        self._unsynced.clear()
        self.current = self.durable

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Entries for the replica; see `LogReader`."""
        image = self.current
        found: list[Entry] = []
        total = 0
        for entry in image.entries[first - image.base.index - 1 : last - image.base.index]:
            total += len(entry.data)
            if found and total > max_bytes:
                break
            found.append(entry)
        assert found and found[0].index == first, f"the disk lacks entry {first}"
        return found

    def start(self) -> Start:
        """What a replica restores from the durable image."""
        image = self.durable
        starts: list[tuple[Index, Term]] = []
        for entry in image.entries:
            if not starts or starts[-1][1] != entry.term:
                starts.append((entry.index, entry.term))
        configurations = [(image.configuration_index, image.configuration)]
        configurations += [
            (entry.index, msgspec.msgpack.decode(entry.data, type=Configuration))
            for entry in image.entries
            if entry.kind == EntryKind.CONFIGURATION
        ]
        last = image.last.index
        # Nothing in memory: whatever the replica needs of its old log it must read from here.
        log = Log(self, image.base, image.base_time_us, starts, last)
        return Start(image.hard_state, log, configurations, image.base.index)
