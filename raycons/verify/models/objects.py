"""Small machines of their own: a queue, a lock, a counter."""

from __future__ import annotations

from typing import Any

from raycons.verify.history import Operation
from raycons.verify.models.contract import IMPOSSIBLE, Model


class Queue(Model):
    """First in, first out: `enqueue` takes `value`; `dequeue` gives the oldest, null if empty."""

    operations = frozenset({"enqueue", "dequeue"})

    def initial(self) -> tuple[Any, ...]:
        """Empty."""
        return ()

    def step(self, state: tuple[Any, ...], op: Operation) -> Any:
        """See the class."""
        if op.op == "enqueue":
            return (*state, op.value)
        if op.unknown:
            return state[1:]
        head = state[0] if state else None
        return state[1:] if head == op.out else IMPOSSIBLE

    def only_reads(self, op: Operation) -> bool:
        """A dequeue that found nothing."""
        return op.op == "dequeue" and op.out is None and not op.unknown


class Lock(Model):
    """`acquire` and `release` say in `value` for whom; `out` is whether they did (null: they did).

    An `acquire` by the owner fails, as does a `release` by anyone else.
    """

    operations = frozenset({"acquire", "release"})

    def initial(self) -> Any:
        """Free."""
        return None

    def step(self, state: Any, op: Operation) -> Any:
        """See the class."""
        acquiring = op.op == "acquire"
        if (state is None) if acquiring else (state is not None and state == op.value):
            return IMPOSSIBLE if op.out is False else (op.value if acquiring else None)
        return state if op.out is False else IMPOSSIBLE

    def only_reads(self, op: Operation) -> bool:
        """One that was told that it failed."""
        return op.out is False


class Counter(Model):
    """`add` adds the integer `value`, and may give the new sum as `out`; `get` gives the sum."""

    operations = frozenset({"add", "get"})

    def initial(self) -> int:
        """Nothing."""
        return 0

    def step(self, state: int, op: Operation) -> Any:
        """See the class."""
        after = state + op.value if op.op == "add" else state
        needs_answer = op.op == "get" and not op.unknown
        return after if op.out == after or (op.out is None and not needs_answer) else IMPOSSIBLE

    def only_reads(self, op: Operation) -> bool:
        """A get."""
        return op.op == "get"
