"""One turn of the event loop: what arrives is announced once, what is sent leaves in one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Flushable(Protocol):
    """Something with bytes gathered for one write."""

    def flush(self) -> None:
        """Write what was gathered."""


# A loop that had fewer than `FEW` turns in `QUIET_S` has no batches to wait for.
QUIET_S = 0.01
FEW = 4


class Turn:
    """Ends each turn: first the handler's `turn_over`, then every write that the turn gathered.

    One callback does both, so that what the handler sends out of `turn_over` leaves in the same
    write, without one more trip around the loop. The loop runs it after the reads of all sockets
    that were ready, so the batch spans connections.

    Where next to nothing arrives there is no batch to wait for: a turn then ends with the read that
    began it. That is the whole work of an idle member, a heartbeat and its answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turn_over: Callable[[], None]) -> None:
        self._call_soon = loop.call_soon
        self._clock = loop.time
        self._turn_over = turn_over
        self._ends = deque([-QUIET_S] * FEW, FEW)  # of the last turns that brought something
        self._scheduled = False
        self._arrived = False
        self._unflushed: list[Flushable] = []

    def arrived(self) -> None:
        """Something was handed to the handler; `read_over` follows."""
        self._arrived = True

    def read_over(self) -> None:
        """One read is done with: end the turn, now or after the reads of the other sockets."""
        if not self._arrived or self._scheduled:
            return
        self._scheduled = True
        if self._clock() - self._ends[0] > QUIET_S:
            self._end()
        else:
            self._call_soon(self._end)

    def flush_later(self, writer: Flushable) -> None:
        """`writer` has gathered its first bytes of this turn."""
        self._unflushed.append(writer)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._end)

    def flush(self) -> None:
        """Write what was gathered so far: what follows in this turn takes time."""
        if self._unflushed:
            unflushed, self._unflushed = self._unflushed, []
            for writer in unflushed:
                writer.flush()

    def _end(self) -> None:
        try:
            if self._arrived:
                self._arrived = False
                self._ends.append(self._clock())
                self._turn_over()
        finally:
            self._scheduled = False
            self.flush()
