"""Deadlines without timers: things that are due at about the same time share a bucket.

A client with 100,000 operations under way needs one timer, for the earliest bucket. Adding and
discarding cost one dictionary operation each; deadlines are met up to one grain late, never early.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

T = TypeVar("T")

NEVER = math.inf


class Deadlines(Generic[T]):
    """Things that become due, in buckets of `grain_s` seconds.

    >>> due = Deadlines[str](0.01)
    >>> bucket = due.add("tea", 1.003)
    >>> due.expired(1.005), due.expired(1.02)
    ([], ['tea'])
    """

    def __init__(self, grain_s: float) -> None:
        self._per_second = 1.0 / grain_s
        self._buckets: dict[int, dict[T, None]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers

    def add(self, thing: T, due: float) -> int:
        """Note that `thing` is due at `due`; gives the bucket, which `discard` asks for."""
        number = int(due * self._per_second) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = {thing: None}
            heapq.heappush(self._order, number)
        else:
            bucket[thing] = None
        return number

    def discard(self, thing: T, number: int) -> None:
        """Forget `thing`; nothing happens where it already expired."""
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket.pop(thing, None)

    def expired(self, now: float) -> list[T]:
        """Takes out all that is due by `now`, earliest bucket first."""
        expired: list[T] = []
        while self._order and self._order[0] <= now * self._per_second:
            expired.extend(self._buckets.pop(heapq.heappop(self._order)))
        return expired

    def next(self) -> float:
        """When something is due next; `NEVER` where nothing is."""
        while self._order:
            number = self._order[0]
            if self._buckets[number]:
                return number / self._per_second
            del self._buckets[heapq.heappop(self._order)]
        return NEVER
