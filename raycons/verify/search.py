"""The search for an order of operations that explains what clients were told.

Wing and Gong 1993: at each point try every operation that real time allows to be next and that the
model can answer as it was answered; go back where none is left. Lowe 2017 ("Testing for
linearizability", section 3) adds a memory of the points already seen: what was linearized, and the
state. A point is here (position, taken, state), see `raycons.verify.order`; the list of calls, out
of which an operation is lifted while it is linearized, is Lowe's.

Four rules cut the tree. A *completion* is an order of the remaining operations that explains them;
operations of unknown outcome may be missing in it.

1. **Reads at once.** Where an operation that only reads is possible, it is linearized, and nothing
   else is tried. A completion that has it later is also one with it moved here: here it is
   possible, it changes no state for those that it overtakes, and it may be next, so none of those
   has to precede it.
2. **Alike means interchangeable.** Of unknown operations that differ in their calls alone, the one
   called first is tried. They have no deadline; exchanging two in a completion changes no state,
   and the one called later may stand wherever the one called first may from then on.
3. **An unknown operation is placed right before one that needs it.** Let u lead from state s to
   s', and x be next. If x is possible in s and leads from there to where it leads from s', then u
   can be left out of the completion. If x only reads and is possible in s, rule 1 took it before
   u. So after u only an x is tried that is impossible in s, or leads elsewhere. If nothing
   follows, u is left out. A u that changes nothing (s' = s) is never tried. So a point keeps s
   while u is the last operation: `before`.
4. **Unknown reads are left out**; so may they be in every completion.

The rules go together: take any completion, from its front on. If rule 1 has a read for the point,
move it there; if rule 3 rejects an unknown one, leave it out and begin anew at the point before
it; exchange by rule 2. Each step fixes a place or shortens the completion, so this ends.

The memory does not hold `before`. Of points that differ in it alone, what explains the rest from
one explains it from the other, and the first that was seen speaks for all: an x that rule 3 rejects
there is possible at the point before it, which was seen, too, with u left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from raycons.verify.history import Operation
from raycons.verify.models.contract import IMPOSSIBLE, SEVERAL, Model
from raycons.verify.order import Order
from raycons.verify.ring import Ring
from raycons.verify.unknowns import Unknowns, hashable

LOOK_AT_CLOCK_EVERY = 256  # turns
_NO_MORE = -1
_NOTHING: Final = object()  # `before`, where the last operation is not of unknown outcome


class OutOfTime(Exception):
    """The deadline passed before there was an answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a search ended."""

    complete: bool  # all that returned is explained; else nothing can explain all of it
    linearized: tuple[int, ...]  # a longest explanation, as places in the given operations
    position: int  # so many returns are explained by it


class Path(NamedTuple):
    """What was linearized, the last first."""

    op: int
    earlier: Path | None


class Point(NamedTuple):
    """How far a linearization has come."""

    position: int  # so many returns were passed
    taken: int  # the bits of what was linearized beyond
    state: Any
    before: Any  # the state before the last operation, if that is of unknown outcome (rule 3)


class Frame(NamedTuple):
    """A point of the present path, and what is still to be tried from it."""

    point: Point
    path: Path | None
    length: int
    options: Iterator[tuple[int, Any]]  # an operation, and the state that it leads to


class Search:
    """One search through the operations of one object.

    Args:
        ops: the operations, as the model simplified them.
        model: what they must obey.
        start: the state before all of them.
        late: whether the time is up.
    """

    def __init__(
        self, ops: Sequence[Operation], model: Model, start: Any, late: Callable[[], bool]
    ) -> None:
        self.order = Order(ops)
        self.ops = ops
        self._model = model
        self._late = late
        self._reads = [model.only_reads(op) for op in ops]
        self._waiting = Ring(self.order.known, len(ops))  # known, not linearized; by their call
        self._unknowns = Unknowns(ops, self.order, model)
        self._requires = [hashable(model.requires(op)) for op in ops]
        self._leads_elsewhere = [model.leads_to(op) is SEVERAL for op in ops]
        self._begin(start)

    def _begin(self, state: Any) -> None:
        point = Point(0, 0, state, _NOTHING)
        self._best = Frame(point, None, 0, self._options(point))
        self._frames = [self._best]
        self._seen = {_memory(point)}

    @property
    def position(self) -> int:
        """How many returns the longest explanation so far covers."""
        return self._best.point.position

    def run(self, patience: int | None = None) -> Found | None:
        """Search until an explanation is complete, or none is left.

        Args:
            patience: give None after so many points without progress; the next call goes on.

        Raises:
            OutOfTime: the deadline passed.
        """
        last = len(self.order.by_return)
        frames, seen = self._frames, self._seen
        limit = len(seen) + patience if patience is not None else None
        turns = 0
        while frames and self.position < last:
            turns += 1
            if not turns % LOOK_AT_CLOCK_EVERY and self._late():
                raise OutOfTime
            frame = frames[-1]
            op, state = next(frame.options, (_NO_MORE, None))
            if op == _NO_MORE:
                frames.pop()
                if frame.path is not None:
                    self._put_back(frame.path.op)
                continue
            point = self._after(frame.point, op, state)
            memory = _memory(point)
            if memory in seen:
                continue
            seen.add(memory)
            self._lift(op)
            options = self._options(point)
            frames.append(Frame(point, Path(op, frame.path), frame.length + 1, options))
            if _progress(frames[-1]) > _progress(self._best):
                self._best = frames[-1]
                limit = len(seen) + patience if patience is not None else None
            if limit is not None and len(seen) > limit:
                return None
        return Found(self.position == last, _listed(self._best.path), self.position)

    def possible_next(self, found: Found) -> list[int]:
        """Every known operation that real time allows to come after the found explanation."""
        done = set(found.linearized)
        opens = self.order.opens
        return [op for op in self.order.known if op not in done and opens[op] <= found.position]

    # --- one point --------------------------------------------------------------------------------

    def _options(self, at: Point) -> Iterator[tuple[int, Any]]:
        step, ops = self._model.step, self.ops
        for op in self._open(at):
            if self._reads[op] and step(at.state, ops[op]) is not IMPOSSIBLE:
                yield op, at.state  # rule 1
                return
        for op in self._open(at):
            if not self._reads[op]:
                state = step(at.state, ops[op])
                if state is not IMPOSSIBLE and self._needs_before(at, op, state):
                    yield op, state
        for op in self._helpful(at) if self._unknowns else ():
            if not self._is_held_back(op, at):
                state = step(at.state, ops[op])
                if state is IMPOSSIBLE or state == at.state:
                    continue
                if self._needs_before(at, op, state):
                    yield op, state

    def _helpful(self, at: Point) -> Iterator[int]:
        """The unknown operations of which some known one may be in need.

        A run of them ends before a known operation, with one that this needs (rule 3). So where all
        open ones say what they need, only what leads there has to be tried.
        """
        wanted: set[Hashable] = set()
        for op in self._open(at):
            if self._requires[op] is not SEVERAL:
                wanted.add(self._requires[op])
            elif self._model.step(at.state, self.ops[op]) is IMPOSSIBLE or (
                self._leads_elsewhere[op] and not self._reads[op]
            ):
                return self._unknowns.all(at.position)
        return self._unknowns.leading_to(wanted, at.position)

    def _open(self, at: Point) -> Iterator[int]:
        """The known operations that real time allows to be next."""
        for op in self._waiting:
            if self.order.opens[op] > at.position:
                break
            if not self._is_held_back(op, at):
                yield op

    def _is_held_back(self, op: int, at: Point) -> bool:
        """Whether it waits for an operation that its client began before it, at one instant."""
        order = self.order
        earlier = order.predecessor.get(op)
        if earlier is None or order.rank[earlier] < at.position:
            return False
        return not at.taken & order.bit[earlier]

    def _needs_before(self, at: Point, op: int, state: Any) -> bool:
        """Rule 3, where the last operation is of unknown outcome; else true."""
        if at.before is _NOTHING:
            return True
        without = self._model.step(at.before, self.ops[op])
        return without is IMPOSSIBLE or bool(without != state)

    def _after(self, at: Point, op: int, state: Any) -> Point:
        taken = at.taken | self.order.bit[op]
        if op in self._unknowns:
            return Point(at.position, taken, state, at.state)
        return Point(*self.order.advance(at.position, taken), state, _NOTHING)

    def _lift(self, op: int) -> None:
        (self._unknowns if op in self._unknowns else self._waiting).lift(op)

    def _put_back(self, op: int) -> None:
        (self._unknowns if op in self._unknowns else self._waiting).put_back(op)


def _memory(point: Point) -> Hashable:
    return point.position, point.taken, hashable(point.state)


def _progress(frame: Frame) -> tuple[int, int]:
    return frame.point.position, frame.length


def _listed(path: Path | None) -> tuple[int, ...]:
    ops: list[int] = []
    while path is not None:
        ops.append(path.op)
        path = path.earlier
    return tuple(reversed(ops))
