"""The log against a plain list of everything ever appended."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raycons.consensus.contract import Entry, EntryId, EntryKind
from raycons.consensus.raft.log import Log, size_bytes


class Shelf:
    """The disk below the log: what was handed to it, wholly or as far as `max_bytes` lets it."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        total = 0
        for index in range(first, last + 1):
            total += size_bytes(self.entries[index])
            if found and total > max_bytes:
                break
            found.append(self.entries[index])
        return found


class LogAgainstList(RuleBasedStateMachine):
    """Append, cut, trim, compact, reset and restart, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.log = Log(self.shelf, EntryId(0, 0))
        self.base = EntryId(0, 0)
        self.base_time_us = 0
        self.entries: list[Entry] = []  # the model: all after the base
        self.count = 0

    @property
    def last(self) -> EntryId:
        return self.entries[-1].id if self.entries else self.base

    def term(self, index: int) -> int | None:
        if index == self.base.index:
            return self.base.term
        place = index - self.base.index - 1
        return self.entries[place].term if 0 <= place < len(self.entries) else None

    def slice(self, first: int, last: int) -> list[Entry]:
        return self.entries[first - self.base.index - 1 : last - self.base.index]

    @rule(newer=st.integers(0, 2), size=st.integers(0, 30), times=st.integers(1, 4))
    def append(self, newer: int, size: int, times: int) -> None:
        for _ in range(times):
            self.count += 1
            before = self.term(self.last.index) if self.entries else None
            entry = Entry(
                self.last.index + 1,
                self.last.term + newer,
                EntryKind.COMMAND,
                0,
                1,
                self.count,
                b"d" * size,
            )
            assert self.log.append(entry) == (before != entry.term)
            self.entries.append(entry)
            self.shelf.entries[entry.index] = entry
            newer = 0

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(self.base.index + 1, self.last.index))
        self.log.truncate(first)
        for entry in self.slice(first, self.last.index):
            del self.shelf.entries[entry.index]
        del self.entries[first - self.base.index - 1 :]

    @rule(max_bytes=st.integers(0, 600), data=st.data())
    def trim(self, max_bytes: int, data: st.DataObject) -> None:
        self.log.trim(max_bytes, data.draw(st.integers(self.base.index, self.last.index + 1)))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        through = data.draw(st.integers(self.base.index, self.last.index))
        if through > self.base.index:
            self.base_time_us = self.slice(through, through)[0].time_us
        dropped = through - self.base.index
        self.base = EntryId(through, self.term(through) or 0)
        # The log goes first: it still reads the entry that becomes the base.
        assert self.log.compact(through) == self.base
        for entry in self.entries[:dropped]:
            del self.shelf.entries[entry.index]
        del self.entries[:dropped]

    @rule(ahead=st.integers(0, 5), newer=st.integers(0, 2))
    def reset(self, ahead: int, newer: int) -> None:
        self.base = EntryId(self.last.index + ahead, self.last.term + newer)
        self.base_time_us = 77
        self.entries.clear()
        self.shelf.entries.clear()
        self.log.reset(self.base, 77)

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        starts = self.log.term_starts()
        tail = self.entries[data.draw(st.integers(0, len(self.entries))) :]
        last = self.last.index
        self.log = Log(self.shelf, self.base, self.base_time_us, starts, last, tail)

    @rule(data=st.data(), max_bytes=st.integers(0, 500))
    def slices(self, data: st.DataObject, max_bytes: int) -> None:
        if not self.entries:
            return
        first = data.draw(st.integers(self.base.index + 1, self.last.index))
        last = data.draw(st.integers(first, self.last.index))
        found = self.log.slice(first, last, max_bytes)
        assert found
        assert found == self.slice(first, first + len(found) - 1)
        assert len(found) <= last - first + 1
        assert len(found) == 1 or sum(map(size_bytes, found)) <= max_bytes

    @rule(index=st.integers(0, 40), term=st.integers(0, 20))
    def hints(self, index: int, term: int) -> None:
        upto = [entry.id for entry in self.entries if entry.index <= index]
        fitting = [id for id in upto if id.term <= term]
        assert self.log.hint((index, term)) == (fitting[-1] if fitting else self.base)

    @rule(index=st.integers(0, 40), term=st.integers(0, 20))
    def up_to_date(self, index: int, term: int) -> None:
        newer = term > self.last.term or (term == self.last.term and index >= self.last.index)
        assert self.log.up_to_date((index, term)) == newer

    @invariant()
    def says_the_same_as_the_list(self) -> None:
        assert self.log.last == self.last
        assert self.log.base == self.base
        assert self.log.base_time_us == self.base_time_us
        for index in range(max(0, self.base.index - 2), self.last.index + 3):
            assert self.log.term(index) == self.term(index)
        assert self.log.last_time_us() == (
            self.entries[-1].time_us if self.entries else self.base_time_us
        )

    @invariant()
    def names_the_starts_of_terms(self) -> None:
        starts = [
            (entry.index, entry.term)
            for previous, entry in zip([None, *self.entries], self.entries, strict=False)
            if previous is None or previous.term != entry.term
        ]
        assert self.log.term_starts() == starts


TestLogAgainstList = LogAgainstList.TestCase
TestLogAgainstList.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
