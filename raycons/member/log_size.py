"""How large a group's log is, and where to cut it when it has grown too large.

Noting the size at a few of the places up to which the state was written makes the cut a look-up: no
entry is read to find out how much goes.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from raycons.consensus.quorum import Index
from raycons.provocation import bendable

MARKS = 16  # places noted between an empty and a full log
FAR_TOO_LONG = 4  # times the limit: now it is cut whoever needs it


class Cut(NamedTuple):
    """Forget the entries up to `through`, which are about `size_bytes` long."""

    through: Index
    size_bytes: int


class LogSize:
    """The log's size in bytes, within what the log's entries are encoded to."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.bytes = size_bytes
        self._limit = limit_bytes
        self._marks: deque[Cut] = deque()

    def note(self, index: Index) -> None:
        """The state holds the log up to `index` (not necessarily on disk yet)."""
        if not self._marks or self.bytes - self._marks[-1].size_bytes >= self._limit // MARKS:
            self._marks.append(Cut(index, self.bytes))

    @property
    def over(self) -> bool:
        """Whether the log is longer than its limit."""
        return self.bytes > self._limit

    @bendable("early-compaction")
    def cut(self, durable_state: Index, needed_after: Index) -> Cut | None:
        """Where to cut a log that is over its limit; None where it need not or cannot be cut.

        About half of the limit stays, so that a follower that was away for a moment needs no
        snapshot; and nothing goes that the state does not hold on disk. Entries after
        `needed_after` stay, too, up to four times the limit: a follower that was sent a snapshot
        needs what came after it, or it would need the next snapshot, for ever.
        """
        if not self.over:
            return None
        through = durable_state
        if self.bytes <= FAR_TOO_LONG * self._limit:
            through = min(through, needed_after)
        best: Cut | None = None
        while self._marks and self._marks[0].through <= through:
            if best is not None and self.bytes - self._marks[0].size_bytes < self._limit // 2:
                break
            best = self._marks.popleft()
        if best is not None:
            self.bytes -= best.size_bytes
            self._marks = deque(
                Cut(mark.through, mark.size_bytes - best.size_bytes) for mark in self._marks
            )
        return best

    def reset(self) -> None:
        """The log is empty."""
        self.bytes = 0
        self._marks.clear()
