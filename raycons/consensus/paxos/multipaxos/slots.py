"""The slots as one replica sees them: a prefix that is chosen, and open ones above, with gaps.

1 ... base | base+1 ... tail_first-1 | tail_first ... decided | open: {slot: proposal}
compacted  | chosen, on disk only    | chosen, in memory      | accepted, perhaps not chosen
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from raycons.consensus.contract import (
    ENTRY_OVERHEAD_BYTES,
    Entry,
    EntryId,
    LogReader,
    Proposal,
)
from raycons.consensus.quorum import Index
from raycons.provocation import bendable


class Slots:
    """What was accepted in each slot after `base`; up to `decided` it is what was chosen."""

    def __init__(
        self,
        reader: LogReader,
        base: EntryId,
        decided: Index | None = None,
        accepted: Iterable[Proposal] = (),
    ) -> None:
        """Slots restored from disk: chosen ones up to `decided`, and `accepted` ones above."""
        self.base = base
        self.decided: Index = base.index if decided is None else decided
        self.open = {proposal.entry.index: proposal for proposal in accepted}
        self.open_bytes = sum(len(held.entry.data) for held in self.open.values())
        self.last_index: Index = max(self.open, default=self.decided)
        self._reader = reader
        self._tail: list[Entry] = []  # the last of the chosen ones
        self._tail_bytes = 0
        self._tail_first: Index = self.decided + 1

    # --- looking ----------------------------------------------------------------------------------

    @bendable("smallest-batch")
    def slice(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Chosen entries from `first` to `last`, at least one, until `max_bytes` is passed."""
        assert self.base.index < first <= last <= self.decided, (first, last, self.decided)
        if first < self._tail_first:
            return self._reader.read(first, min(last, self._tail_first - 1), max_bytes)
        entries = self._tail[first - self._tail_first : last - self._tail_first + 1]
        return entries[: _fitting(entries, max_bytes)]

    def run(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """As `slice`, and on through open slots, which must be there up to `last`."""
        if first <= self.decided:
            return self.slice(first, min(last, self.decided), max_bytes)
        entries: list[Entry] = []
        size = 0
        for slot in range(first, last + 1):
            entry = self.open[slot].entry
            size += len(entry.data) + ENTRY_OVERHEAD_BYTES
            if size > max_bytes and entries:
                break
            entries.append(entry)
        return entries

    def open_from(self, first: Index) -> Iterator[Proposal]:
        """The open slots from `first` on, in order."""
        for slot in sorted(self.open):
            if slot >= first:
                yield self.open[slot]

    # --- changing ---------------------------------------------------------------------------------

    def put(self, proposal: Proposal) -> None:
        """A proposal takes the place of what its slot, above the chosen ones, held."""
        slot = proposal.entry.index
        assert slot > self.decided, (slot, self.decided)
        before = self.open.get(slot)
        if before is not None:
            self.open_bytes -= len(before.entry.data)
        self.open[slot] = proposal
        self.open_bytes += len(proposal.entry.data)
        self.last_index = max(self.last_index, slot)

    def decide(self) -> Entry:
        """What the slot after the chosen ones holds is chosen."""
        entry = self.open.pop(self.decided + 1).entry
        self.decided += 1
        self._tail.append(entry)
        self._tail_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self.open_bytes -= len(entry.data)
        return entry

    def trim(self, max_bytes: int) -> None:
        """Forget chosen entries (which are in the store) while they take too much memory."""
        if self._tail_bytes <= max_bytes:
            return
        count = 0
        for entry in self._tail:
            # To well under the bound, so that the list is not shifted at every entry.
            if self._tail_bytes <= max_bytes * 3 // 4:
                break
            self._tail_bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
            count += 1
        del self._tail[:count]
        self._tail_first += count

    def compact(self, through: Index) -> EntryId:
        """Make `through`, a chosen slot, the new base; returns the name of its entry."""
        if through > self.base.index:
            self.base = self.slice(through, through, 1)[0].id
        keep = max(through + 1 - self._tail_first, 0)
        self._tail_bytes -= sum(len(e.data) + ENTRY_OVERHEAD_BYTES for e in self._tail[:keep])
        del self._tail[:keep]
        self._tail_first = max(self._tail_first, through + 1)
        return self.base

    def reset(self, base: EntryId) -> None:
        """A state that holds all up to `base` came; what was accepted above it stays."""
        self.base, self.decided = base, base.index
        self._tail, self._tail_bytes, self._tail_first = [], 0, base.index + 1
        self.open = {slot: held for slot, held in self.open.items() if slot > base.index}
        self.open_bytes = sum(len(held.entry.data) for held in self.open.values())
        self.last_index = max(self.open, default=base.index)


def _fitting(entries: list[Entry], max_bytes: int) -> int:
    """How many of the entries, at least one, fit into `max_bytes`."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.data) + ENTRY_OVERHEAD_BYTES
        if size > max_bytes and count:
            return count
    return len(entries)
