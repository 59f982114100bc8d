"""When writes were acknowledged, and what that says of a fault.

    began     read just before the fault is injected
    injected  read once it is (the signal is sent, the cut-off member has said that it is)
    answer    the first acknowledgement of a write that was issued at or after `injected`

    failover = answer - began

A write that was issued before `injected` may have been answered by a leader that is none any more,
and proves nothing (`raycons.bench.failover` measures the same with a writer of its own).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import pairwise


class Timeline:
    """Acknowledged writes, in the order of their answers; all times in seconds of one clock."""

    def __init__(self) -> None:
        self._issued = array("d")
        self._answered = array("d")

    def __len__(self) -> int:
        return len(self._answered)

    def acknowledged(self, issued: float, answered: float) -> None:
        """A write was answered, later than those before."""
        self._issued.append(issued)
        self._answered.append(answered)

    def failover_s(self, began: float, injected: float) -> float | None:
        """From `began` to the first answer to a write issued since `injected`; None: never."""
        for place in range(bisect_left(self._answered, injected), len(self._answered)):
            if self._issued[place] >= injected:
                return self._answered[place] - began
        return None

    def silence_s(self, begin: float, end: float) -> float:
        """The longest time between `begin` and `end` in which nothing was acknowledged.

        >>> timeline = Timeline()
        >>> for at in (1.0, 2.0, 5.0):
        ...     timeline.acknowledged(at - 0.1, at)
        >>> timeline.silence_s(0.0, 6.0), timeline.silence_s(3.0, 4.5)
        (3.0, 1.5)
        """
        first = bisect_left(self._answered, begin)
        last = bisect_left(self._answered, end)
        return max(b - a for a, b in pairwise([begin, *self._answered[first:last], end]))

    def per_second(self, begin: float, end: float) -> tuple[int, ...]:
        """How many writes were acknowledged in each second since `begin`; the last may be short.

        >>> timeline = Timeline()
        >>> for at in (10.1, 10.9, 12.5):
        ...     timeline.acknowledged(at, at)
        >>> timeline.per_second(10.0, 12.6)
        (2, 0, 1)
        """
        counts = [0] * (int(end - begin) + 1)
        for answered in self._answered:
            if begin <= answered <= end:
                counts[int(answered - begin)] += 1
        return tuple(counts)
