"""The log as a replica sees it: a bounded tail in memory, older entries behind a `LogReader`.

    1 ... base | base+1 ... tail_first-1 | tail_first ... last
    compacted  | on disk only            | in memory (the newest perhaps not yet on disk)

The term of every index from `base` on is known without reading an entry, from the list of where
terms begin: a log has few terms and many entries.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from raycons.consensus.contract import ENTRY_OVERHEAD_BYTES, Entry, EntryId, LogReader, Term
from raycons.consensus.quorum import Index
from raycons.provocation import bendable


def size_bytes(entry: Entry) -> int:
    """About what an entry occupies on the wire and in memory."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class Log:
    """Entries from `base` (exclusive) to `last`; indexes are contiguous, terms never fall."""

    def __init__(
        self,
        reader: LogReader,
        base: EntryId,
        base_time_us: int = 0,
        term_starts: Sequence[tuple[Index, Term]] = (),
        last: Index | None = None,
        tail: Iterable[Entry] = (),
    ) -> None:
        """A log restored from disk.

        `term_starts` are the (first index, term) pairs of the entries after `base`; `last` is the
        last index on disk; `tail`, if given, are the last entries, contiguous up to `last`.
        """
        self.base = base
        self._reader = reader
        self._base_time_us = base_time_us
        self._starts: list[Index] = [start for start, _ in term_starts]
        self._terms: list[Term] = [term for _, term in term_starts]
        self._tail: list[Entry] = list(tail)
        self._tail_bytes = sum(map(size_bytes, self._tail))
        self.last_index: Index = base.index if last is None else last
        self._tail_first: Index = self.last_index + 1 - len(self._tail)

    # --- looking ----------------------------------------------------------------------------------

    @property
    def last(self) -> EntryId:
        """The name of the last entry, or of the base where there is none after it."""
        if self._terms and self.last_index > self.base.index:
            return EntryId(self.last_index, self._terms[-1])
        return self.base

    @property
    def base_time_us(self) -> int:
        """The replicated time of the base entry."""
        return self._base_time_us

    def term_starts(self) -> list[tuple[Index, Term]]:
        """Where the terms of the entries after the base begin."""
        return list(zip(self._starts, self._terms, strict=True))

    def term(self, index: Index) -> Term | None:
        """The term of entry `index`; None if it is compacted away or not there yet."""
        if index > self.last_index or index < self.base.index:
            return None
        if index == self.base.index:
            return self.base.term
        if index >= self._starts[-1]:
            return self._terms[-1]
        return self._terms[bisect_right(self._starts, index) - 1]

    def holds(self, id: tuple[Index, Term]) -> bool:
        """Whether the entry of that index is here, with that term."""
        return self.term(id[0]) == id[1]

    def up_to_date(self, last: tuple[Index, Term]) -> bool:
        """Whether a log that ends in `last` is at least as up to date as this one.

        Terms are compared first: a longer log of an older term may lack what was committed since.
        Raft paper, section 5.4.1.
        """
        mine = self.last
        return (last[1], last[0]) >= (mine.term, mine.index)

    def hint(self, id: tuple[Index, Term]) -> EntryId:
        """The last entry at or before `id.index` whose term is not later than `id.term`.

        Two logs that disagree at `id` can agree no later than here, so whole terms are skipped
        in one step; the base is taken as the last resort.

        >>> log = Log(reader=None, base=EntryId(0, 0), term_starts=[(1, 1), (4, 3)], last=6)
        >>> log.hint((6, 2))
        EntryId(index=3, term=1)
        """
        index = min(id[0], self.last_index)
        while index > self.base.index:
            term = self.term(index)
            assert term is not None
            if term <= id[1]:
                return EntryId(index, term)
            index = self._starts[bisect_right(self._starts, index) - 1] - 1
        return self.base

    @bendable("smallest-batch")
    def slice(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Entries from `first` to `last`, at least one, until `max_bytes` is passed."""
        assert self.base.index < first <= last <= self.last_index, (first, last, self.last_index)
        if first < self._tail_first:
            return self._reader.read(first, min(last, self._tail_first - 1), max_bytes)
        entries = self._tail[first - self._tail_first : last - self._tail_first + 1]
        total = 0
        for count, entry in enumerate(entries):
            total += len(entry.data) + ENTRY_OVERHEAD_BYTES
            if total > max_bytes and count:
                return entries[:count]
        return entries

    def last_time_us(self) -> int:
        """The replicated time of the last entry."""
        if self.last_index == self.base.index:
            return self._base_time_us
        return self.slice(self.last_index, self.last_index, 1)[0].time_us

    # --- changing ---------------------------------------------------------------------------------

    def append(self, entry: Entry) -> bool:
        """Add the next entry; tells whether it begins a new term."""
        assert entry.index == self.last_index + 1, (entry.index, self.last_index)
        previous = self.last.term
        assert entry.term >= previous, (entry.term, previous)
        starts = not self._terms or entry.term != self._terms[-1]
        if starts:
            self._starts.append(entry.index)
            self._terms.append(entry.term)
        self._tail.append(entry)
        self._tail_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self.last_index = entry.index
        return starts

    def truncate(self, first: Index) -> None:
        """Remove every entry from `first` on."""
        assert first > self.base.index
        keep = max(first - self._tail_first, 0)
        self._tail_bytes -= sum(map(size_bytes, self._tail[keep:]))
        del self._tail[keep:]
        self._tail_first = min(self._tail_first, first)
        self.last_index = min(self.last_index, first - 1)
        while self._starts and self._starts[-1] >= first:
            self._starts.pop()
            self._terms.pop()

    def trim(self, max_bytes: int, below: Index) -> None:
        """Forget entries before `below` (which are in the store) while the tail is too large."""
        if self._tail_bytes <= max_bytes:
            return
        count = 0
        for entry in self._tail:
            # Trimmed to well under the bound, so that the list is not shifted at every append.
            if entry.index >= below or self._tail_bytes <= max_bytes * 3 // 4:
                break
            self._tail_bytes -= size_bytes(entry)
            count += 1
        del self._tail[:count]
        self._tail_first += count

    def compact(self, through: Index) -> EntryId:
        """Make `through` the new base; returns its name."""
        term = self.term(through)
        assert term is not None and through >= self.base.index
        if through > self.base.index:
            self._base_time_us = self.slice(through, through, 1)[0].time_us
        keep = max(through + 1 - self._tail_first, 0)
        self._tail_bytes -= sum(map(size_bytes, self._tail[:keep]))
        del self._tail[:keep]
        self._tail_first = max(self._tail_first, through + 1)
        self.base = EntryId(through, term)
        self._drop_starts_through(through)
        return self.base

    def reset(self, base: EntryId, time_us: int) -> None:
        """Throw everything away; the log now begins after `base`."""
        self.base, self._base_time_us = base, time_us
        self._starts, self._terms, self._tail, self._tail_bytes = [], [], [], 0
        self.last_index, self._tail_first = base.index, base.index + 1

    def _drop_starts_through(self, base: Index) -> None:
        """Keep the term that covers base + 1, as if it began there."""
        covering = bisect_right(self._starts, base + 1) - 1
        if covering >= 0:
            del self._starts[:covering], self._terms[:covering]
            self._starts[0] = max(self._starts[0], base + 1)
        if self.last_index == base:
            self._starts, self._terms = [], []
