"""Which client number an operation gets: one for each caller that does one thing at a time."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque


class Callers:
    """Numbers for the tasks and threads that call; safe from many threads.

    A caller keeps its number until it ends; then another gets it. A number with an operation of
    unknown outcome is never used again, for that operation has no end that others could follow.

    Args:
        first: the lowest number; apart for each process that adds to one history.
    """

    def __init__(self, first: int = 0) -> None:
        self._fresh = first
        self._freed: deque[int] = deque()  # appended to by finalizers, which must take no lock
        self._lock = threading.Lock()
        self._numbers: weakref.WeakKeyDictionary[object, _Held] = weakref.WeakKeyDictionary()

    def begin(self) -> int:
        """The number for an operation of the present task, or thread, that begins now."""
        caller = _present()
        with self._lock:
            held = self._numbers.get(caller)
            if held is not None and not held.busy:
                held.busy = True
                return held.number
            number = self._free_number()
            if held is None:
                self._numbers[caller] = held = _Held(number)
                held.end = weakref.finalize(caller, self._freed.append, number)
            return number

    def _free_number(self) -> int:
        if self._freed:
            return self._freed.popleft()
        self._fresh += 1
        return self._fresh - 1

    def end(self, number: int, *, known: bool) -> None:
        """The operation of `number` is over; `known`: whether its outcome is."""
        caller = _present()
        with self._lock:
            held = self._numbers.get(caller)
            if held is None or held.number != number:
                if known:
                    self._freed.append(number)
            elif known:
                held.busy = False
            else:
                del self._numbers[caller]
                if held.end is not None:
                    held.end.detach()


class _Held:
    """A caller's number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.busy = True
        self.end: weakref.finalize[..., object] | None = None


def _present() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return task or threading.current_thread()
