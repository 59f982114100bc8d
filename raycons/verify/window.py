"""A part of a history that cannot be explained, whatever else happened: found, and made small.

Two ways to leave operations out, and neither can turn what is possible into what is not:

**Cut** at a time T. What returned by T precedes what was called after T. So every explanation has
a moment at which all of the former and none of the latter are done: keep the latter, begin in a
state of which nothing is known, and let what was under way at T take effect or not.

**Loosen** an operation: make its outcome unknown. It may then take effect at any time after its
call or never, its answer no evidence. If what is left cannot be explained, then not because of
anything that this operation did, when it returned or what it was told; and a read of the value that
it wrote still means what it meant. (A write that is taken away instead would leave a read of a
value that nobody wrote: unexplainable, for another reason than the true one.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from raycons.verify.history import Operation
from raycons.verify.models.contract import Model
from raycons.verify.search import Found, Search

PATIENCE = 20_000  # points without progress, before a search is taken for a hard one
CUT_SIZES = (8, 32, 128, 512)  # operations before the one that cannot be explained
SMALL = 24  # operations that are shown from the very beginning rather than cut


@dataclass(frozen=True, slots=True)
class Window:
    """Operations that nothing explains."""

    ops: tuple[Operation, ...]
    loose: frozenset[int]  # those, as places in `ops`, whose outcome counts as unknown
    is_cut: bool  # whether it begins in a state of which nothing is known


@dataclass(frozen=True, slots=True)
class Trial:
    """Searches through windows of one model that end soon."""

    model: Model
    late: Callable[[], bool]

    def stuck(
        self, window: Window, patience: int | None = PATIENCE
    ) -> tuple[Any, Search, Found] | None:
        """The start from which most of `window` can be explained; None if all can, or perhaps."""
        ops = self.model.simplified(
            [loosened(op) if place in window.loose else op for place, op in enumerate(window.ops)]
        )
        starts = self.model.states(ops) if window.is_cut else [self.model.initial()]
        best: tuple[Any, Search, Found] | None = None
        for start in starts or ():
            search = Search(ops, self.model, start, self.late)
            found = search.run(patience)
            if found is None or found.complete:
                return None
            if best is None or found.position > best[2].position:
                best = start, search, found
        return best


def loosened(op: Operation) -> Operation:
    """The same with its outcome unknown."""
    return msgspec.structs.replace(op, returned=None, out=None)


def cut(ops: Sequence[Operation], search: Search, trial: Trial) -> Window | None:
    """The smallest window before the point at which `search` through `ops` is stuck, if one is."""
    order, position = search.order, search.position
    near = [place for place in range(len(ops)) if order.opens[place] <= position]
    for size in CUT_SIZES:
        if size >= position:
            break
        time = ops[order.by_return[position - size]].returned
        assert time is not None
        window = _since(time, [ops[place] for place in near], trial.model)
        if trial.stuck(window) is not None:
            return window
    return None


def _since(time: int, ops: Sequence[Operation], model: Model) -> Window:
    kept: list[Operation] = []
    loose: set[int] = set()
    for op in ops:
        if op.returned is not None and op.returned <= time:
            continue
        if op.call <= time:
            if model.only_reads(op):
                continue
            loose.add(len(kept))
        kept.append(op)
    return Window(tuple(kept), frozenset(loose), True)


def up_to(ops: Sequence[Operation], search: Search) -> Window:
    """All that was called before the return that `search` through `ops` cannot pass."""
    opens = search.order.opens
    kept = tuple(op for place, op in enumerate(ops) if opens[place] <= search.position)
    return Window(kept, frozenset(), False)


def shrunk(window: Window, trial: Trial) -> Window:
    """The window with as much loosened or left out as can be.

    Reads first: they leave no trace. A loosened write has to be shown if it is read. A trial that
    takes too long counts as failed; raises OutOfTime.
    """
    window = _halving(window, trial, trial.model.only_reads)
    return _halving(window, trial, lambda op: True)


def _halving(window: Window, trial: Trial, may_go: Callable[[Operation], bool]) -> Window:
    """Loosen chunks of the operations that `may_go`: halves, quarters and so on, older ones first.

    Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input".
    """
    size = len(window.ops)
    while size:
        place = 0
        while place < len(window.ops):
            chunk = range(place, min(place + size, len(window.ops)))
            fixed = [one for one in chunk if one not in window.loose and may_go(window.ops[one])]
            smaller = _without(window, fixed, trial.model)
            place += size
            if fixed and trial.stuck(smaller) is not None:
                place -= len(window.ops) - len(smaller.ops)
                window = smaller
        size //= 2
    return window


def _without(window: Window, places: Sequence[int], model: Model) -> Window:
    """Reads among `places` left out, the rest loosened."""
    chosen = set(places)
    kept: list[Operation] = []
    loose: set[int] = set()
    for place, op in enumerate(window.ops):
        if place in chosen and (model.only_reads(op) or (op.unknown and op.op == "get")):
            continue
        if place in chosen or place in window.loose:
            loose.add(len(kept))
        kept.append(op)
    return Window(tuple(kept), frozenset(loose), window.is_cut)


def needed(window: Window, trial: Trial) -> Window:
    """The window with only those of its loose operations that help to explain the others.

    They are what the others may rest on (the write of a value that was read), so they are shown.
    Without the rest as much is explained, and with all of them nothing is.
    """
    stuck = trial.stuck(window, None)
    assert stuck is not None
    used = set(stuck[2].linearized)
    window = _only(
        window, [place not in window.loose or place in used for place in range(len(window.ops))]
    )
    for place in reversed(range(len(window.ops))):
        if place in window.loose:
            smaller = _only(window, [other != place for other in range(len(window.ops))])
            without = trial.stuck(smaller)
            if without is not None and without[2].position == stuck[2].position:
                window = smaller
    return window


def _only(window: Window, keep: Sequence[bool]) -> Window:
    places = [place for place, kept in enumerate(keep) if kept]
    loose = {new for new, place in enumerate(places) if place in window.loose}
    return Window(tuple(window.ops[place] for place in places), frozenset(loose), window.is_cut)
