"""A list out of which numbers are lifted, and put back in the reverse order, in constant time.

Knuth calls it dancing links; Lowe's search for linearizations is built on it (2017, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Ring:
    """Numbers from 0 to `size` - 1, in a given order.

    >>> ring = Ring([2, 0, 1], 3)
    >>> ring.lift(0)
    >>> list(ring)
    [2, 1]
    >>> ring.put_back(0)
    >>> list(ring)
    [2, 0, 1]
    """

    def __init__(self, members: Sequence[int], size: int) -> None:
        self._head = size
        self._next = [size] * (size + 1)
        self._previous = [size] * (size + 1)
        ring = [size, *members]
        for member, following in zip(ring, [*members, size], strict=True):
            self._next[member] = following
            self._previous[following] = member

    def __iter__(self) -> Iterator[int]:
        """Those that are in; some may go while it waits, if they are back when it goes on."""
        member = self._next[self._head]
        while member != self._head:
            yield member
            member = self._next[member]

    def lift(self, member: int) -> None:
        """Take it out."""
        before, after = self._previous[member], self._next[member]
        self._next[before] = after
        self._previous[after] = before

    def put_back(self, member: int) -> None:
        """Undo the last `lift` that is not undone, which must have been of this member."""
        self._next[self._previous[member]] = member
        self._previous[self._next[member]] = member
