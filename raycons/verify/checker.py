"""Whether a history is linearizable (Herlihy and Wing 1990), and if not, the part that shows it.

Each object is searched alone (`Model.partition`), the small ones first. A search that gets nowhere
for a while is interrupted to look whether the last few operations cannot be explained from any
state at all (`window.cut`): that settles it without trying all that came before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from raycons.verify.history import Operation
from raycons.verify.models import KeyValue, Model
from raycons.verify.search import OutOfTime, Search
from raycons.verify.violation import Violation, violation
from raycons.verify.window import PATIENCE, SMALL, Trial, Window, cut, needed, shrunk, up_to

Answer = Literal["linearizable", "not linearizable", "undecided"]

SHRINKING_S = 10.0  # at most; a violation is one, whatever its size
LESS_OFTEN = 4  # times as much patience before the next look from near


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check."""

    answer: Answer
    operations: int
    objects: int  # keys, where the model goes by keys
    undecided: int  # objects for which the time was too short
    violation: Violation | None  # if not linearizable


def check(
    history: Sequence[Operation],
    model: Model | None = None,
    *,
    timeout: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Judge a history.

    Args:
        history: its operations, in any order.
        model: what it must obey; None: the key-value store.
        timeout: in seconds; what is not decided by then is undecided.
        clock: seconds, monotonic.
    """
    model = model or KeyValue()
    end = clock() + timeout
    objects: dict[object, list[Operation]] = {}
    for op in history:
        objects.setdefault(model.partition(op), []).append(op)
    undecided = 0
    for ops in sorted(objects.values(), key=len):
        try:
            window = _unexplained(ops, Trial(model, lambda: clock() >= end))
        except OutOfTime:
            undecided += 1
            continue
        if window is not None:
            small = _small(window, model, clock)
            shown = violation(small, model, len(ops))
            return Verdict("not linearizable", len(history), len(objects), undecided, shown)
    answer: Answer = "undecided" if undecided else "linearizable"
    return Verdict(answer, len(history), len(objects), undecided, None)


def _unexplained(ops: Sequence[Operation], trial: Trial) -> Window | None:
    """Operations among `ops` that nothing explains, or None; raises OutOfTime."""
    if trial.late():
        raise OutOfTime
    model = trial.model
    search = Search(model.simplified(ops), model, model.initial(), trial.late)
    patience = PATIENCE
    while (found := search.run(patience)) is None:
        near = cut(ops, search, trial)
        if near is not None:
            return near
        patience *= LESS_OFTEN
    if found.complete:
        return None
    whole = up_to(ops, search)
    near = cut(ops, search, trial) if len(whole.ops) > SMALL else None
    return near or whole


def _small(window: Window, model: Model, clock: Callable[[], float]) -> Window:
    end = clock() + SHRINKING_S
    trial = Trial(model, lambda: clock() >= end)
    try:
        window = shrunk(window, trial)
        return needed(window, trial)
    except OutOfTime:
        return window
