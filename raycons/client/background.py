"""One event loop in a background thread for all blocking handles of a process.

A child made by fork inherits memory but no threads: it gets a loop of its own when it first needs
one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import uvloop

T = TypeVar("T")


class _Waiter(Generic[T]):
    """A thread that waits for a coroutine on the loop."""

    __slots__ = ("_gate", "coroutine", "error", "result", "task")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.coroutine = coroutine
        self.task: asyncio.Task[T] | None = None
        self.result: T | None = None
        self.error: BaseException | None = None
        # A bare lock: several times cheaper than a condition, and one wake-up is all it takes.
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        self._gate.acquire()

    def finished(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        else:
            self.error = task.exception()
            if self.error is None:
                self.result = task.result()
        self._gate.release()


class Background:
    """A loop in a daemon thread, and the way in for other threads."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._arrived: deque[_Waiter[Any]] = deque()
        self._woken = False  # set before, and cleared by, a visit to `_arrived`
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop itself keeps only weak references
        self._thread = threading.Thread(target=self._run, name="raycons", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the loop and wait for it, in any thread but the loop's own.

        An interrupt of the waiting thread (Ctrl-C) cancels the coroutine.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking call on raycons' own event loop would never return")
        waiter = _Waiter(coroutine)
        self._arrived.append(waiter)
        # Of many threads that come at once only the first pays for waking the loop. The loop clears
        # the flag before it looks, so one that sees it set is seen.
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._begin)
        try:
            waiter.wait()
        except BaseException:
            self.loop.call_soon_threadsafe(self._cancel, waiter)
            raise
        if waiter.error is not None:
            raise waiter.error
        return waiter.result  # type: ignore[return-value]  # set where there is no error

    def _begin(self) -> None:
        self._woken = False
        while self._arrived:
            waiter = self._arrived.popleft()
            task = self.loop.create_task(waiter.coroutine)
            waiter.task = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(waiter.finished)

    def _cancel(self, waiter: _Waiter[Any]) -> None:
        if waiter.task is not None:
            waiter.task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_lock = threading.Lock()
_background: Background | None = None


def background() -> Background:
    """This process's background loop, made when it is first asked for."""
    global _background
    with _lock:
        if _background is None:
            _background = Background()
        return _background


def _forget_after_fork() -> None:
    global _background, _lock
    _background = None  # its thread did not come along
    _lock = threading.Lock()  # may have been held by a thread that did not come along either


os.register_at_fork(after_in_child=_forget_after_fork)
