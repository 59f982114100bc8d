"""Virtual time: a heap of events, seeded randomness, and a memory of what happened lately.

Rules of this file
- A run is a function of its seed. Every source of chance is a `random.Random` derived from the seed
  and a purpose, so that a new draw in one place does not shift the draws in another.
- Events at the same moment run in the order in which they were scheduled.
- Nothing here may depend on the addresses or string hashes of objects: two processes with different
  hash seeds must take the same steps. `trace` proves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any

Action = Callable[[Any], None]

# More events than this in one virtual second mean that something answers itself without end.
EVENTS_PER_SECOND_BOUND = 200_000
STORY_LENGTH = 400
DETAIL_LENGTH = 180  # characters of one detail in a story; payloads are longer


class Violation(Exception):
    """An invariant does not hold. `step` and `time` are set by the world that noticed."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant
        self.message = message
        self.step = 0
        self.time = 0.0


class World:
    """The clock that everything in a simulation shares, and what is to happen when.

    `now` is virtual seconds since the start; `step` counts the events carried out.
    """

    __slots__ = ("_heap", "_scheduled", "_story", "now", "seed", "step", "trace")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.step = 0
        self.trace = 0  # folds in every event's time and order; equal runs have equal traces
        self._scheduled = 0
        self._heap: list[tuple[float, int, Action, Any]] = []
        self._story: deque[tuple[float, int, str, tuple[Any, ...]]] = deque(maxlen=STORY_LENGTH)

    def random(self, purpose: str) -> Random:
        """A generator of its own for `purpose`, the same one for the same seed.

        >>> World(7).random("disk").random() == World(7).random("disk").random()
        True
        """
        # A string seeds through SHA-512, not through `hash`, so it is the same in every process.
        return Random(f"{self.seed}/{purpose}")

    def at(self, time: float, action: Action, argument: Any = None) -> None:
        """Call `action(argument)` at virtual second `time`, or now if that has passed."""
        self._scheduled += 1
        heappush(self._heap, (max(self.now, time), self._scheduled, action, argument))

    def after(self, delay_s: float, action: Action, argument: Any = None) -> None:
        """Call `action(argument)` in `delay_s` virtual seconds."""
        self._scheduled += 1
        heappush(self._heap, (self.now + delay_s, self._scheduled, action, argument))

    def run(self, until: float, finished: Callable[[], bool] | None = None) -> None:
        """Carry out events up to virtual second `until`, or until `finished()` says so.

        Raises Violation, see `judging`.
        """
        with self.judging():
            while self.now < until and (finished is None or not finished()):
                self._run_slice(min(until, self.now + 1.0 if finished is None else self.now + 0.05))

    @contextmanager
    def judging(self) -> Iterator[None]:
        """For all that runs simulated code, be it an event or not.

        Raises Violation, with step and time, as soon as an invariant breaks. An exception out of
        the simulated code counts as one: an engine must not raise.
        """
        try:
            yield
        except Violation as violation:
            raise self.dated(violation) from None
        except Exception as error:
            raise self.dated(Violation("no-exception", _describe(error))) from error

    def _run_slice(self, until: float) -> None:
        heap = self._heap
        step, trace = self.step, self.trace
        bound = step + EVENTS_PER_SECOND_BOUND
        try:
            while heap and heap[0][0] <= until:
                time, sequence, action, argument = heappop(heap)
                step += 1
                # Numbers only: their hashes are the same in every process.
                trace = hash((trace, time, sequence))
                self.now = time
                self.step = step
                action(argument)
                if step > bound:
                    raise Violation("no-livelock", f"{EVENTS_PER_SECOND_BOUND} events in a second")
        finally:
            self.trace = trace
        self.now = until

    def dated(self, violation: Violation) -> Violation:
        """The violation, with the present step and time."""
        violation.step, violation.time = self.step, self.now
        return violation

    def tell(self, kind: str, *details: Any) -> None:
        """Remember something for the story of a failed run; formatted only if it is asked for."""
        self._story.append((self.now, self.step, kind, details))

    def story(self) -> list[str]:
        """The last things told, one a line."""
        return [
            f"{time:10.6f}  #{step:<7} {kind:<10} {' '.join(map(_shortened, details))}"
            for time, step, kind, details in self._story
        ]


def _shortened(detail: Any) -> str:
    """The detail as text, without the bulk of a large payload.

    >>> _shortened("to 3")
    'to 3'
    """
    text = str(detail)
    if len(text) <= DETAIL_LENGTH:
        return text
    return f"{text[:DETAIL_LENGTH]}... ({len(text)} characters)"


def _describe(error: Exception) -> str:
    """The error in one line, with file, line and function of the last frames."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        name = "/".join(code.co_filename.split("/")[-2:])
        frames.append(f"{name}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return f"{type(error).__name__}: {error} at {' < '.join(reversed(frames[-5:]))}"
