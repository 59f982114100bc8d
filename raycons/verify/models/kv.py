"""The key-value store, one register a key: put, get, cas, append, delete. Absent is None."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from raycons.verify.history import KEY_VALUE_OPERATIONS, Operation
from raycons.verify.models.contract import IMPOSSIBLE, SEVERAL, Model

_canonical = msgspec.json.Encoder(order="sorted").encode


class Unseen(enum.Enum):
    """The type of `UNSEEN`."""

    UNSEEN = enum.auto()


# Any value that no operation asks about; see `simplified`.
UNSEEN: Final = Unseen.UNSEEN


class KeyValue(Model):
    """The default model: that of raycons' own store."""

    operations = KEY_VALUE_OPERATIONS

    def initial(self) -> Any:
        """Absent."""
        return None

    def step(self, state: Any, op: Operation) -> Any:
        """See `raycons.verify.history` for what each operation gives."""
        match op.op:
            case "get":
                return state if op.out == state or op.unknown else IMPOSSIBLE
            case "put":
                return op.value
            case "cas":
                return _swapped(state, op)
            case "append":
                return _appended(state, op.value)
            case _:  # delete
                told = op.out is not None
                return IMPOSSIBLE if told and op.out != (state is not None) else None

    def only_reads(self, op: Operation) -> bool:
        """A get, and what was told that it failed."""
        return op.op == "get" or (op.out is False and op.op in ("cas", "delete"))

    def simplified(self, ops: Sequence[Operation]) -> Sequence[Operation]:
        """Values become hashable, and all that nobody asks about become one.

        A state meets an answer only in `get`, which compares it with `out`, and in `cas`, which
        compares it with `old`. A value that equals none of these differs from all of them, and so
        do two such values: no operation can tell them apart, the histories that are possible after
        the one are those after the other, and it is the same search to name them all UNSEEN.

        What is appended to is another matter: only a string that is part of no string that was
        asked about stays unseen whatever is added to it. Finding these costs time, so with appends
        only the operations of unknown outcome are looked at, which the search can least do
        without.
        """
        frozen = [
            msgspec.structs.replace(
                op, value=freeze(op.value), old=freeze(op.old), out=_frozen_answer(op)
            )
            for op in ops
        ]
        asked = _asked(frozen)
        if any(op.op == "append" for op in frozen):
            return _without_unseen_parts(frozen, asked)
        return [
            op if op.value in asked else msgspec.structs.replace(op, value=UNSEEN) for op in frozen
        ]

    def requires(self, op: Operation) -> Any:
        """The value that a get gave, or a swap found; absence where nothing was deleted."""
        if op.op == "get" and not op.unknown:
            return op.out
        if op.op == "cas" and op.out is not False:
            return op.old
        return None if op.op == "delete" and op.out is False else SEVERAL

    def leads_to(self, op: Operation) -> Any:
        """The value that is put or swapped in; absence after a delete."""
        if op.op in ("put", "cas") and op.out is not False:
            return op.value
        return None if op.op == "delete" else SEVERAL

    def states(self, ops: Sequence[Operation]) -> Collection[Any] | None:
        """Every value that is asked about, and one that is not; with appends there is no end."""
        return None if any(op.op == "append" for op in ops) else {*_asked(ops), UNSEEN}

    def shown(self, state: Any) -> str:
        """The value as JSON."""
        if state is None:
            return "absent"
        return "something else" if state is UNSEEN else _as_json(state)


def freeze(value: Any) -> Any:
    """A JSON value that can be hashed; equal only for equal JSON, so that true is not 1.

    >>> freeze([1, "a", None]), freeze(True) == freeze(1)
    ((b'1', 'a', None), False)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return tuple(freeze(item) for item in value)
    return _canonical(value)


def _as_json(state: Any) -> str:
    if isinstance(state, bytes):  # frozen
        return state.decode()
    if isinstance(state, tuple):
        return f"[{','.join(map(_as_json, state))}]"
    return _canonical(state).decode()


def _asked(ops: Sequence[Operation]) -> set[Any]:
    asked = {op.out for op in ops if op.op == "get" and not op.unknown}
    return asked | {op.old for op in ops if op.op == "cas"} | {None}


def _frozen_answer(op: Operation) -> Any:
    return freeze(op.out) if op.op == "get" else op.out


def _swapped(state: Any, op: Operation) -> Any:
    if op.out is False:
        return state if state != op.old else IMPOSSIBLE
    # True, or unknown: one that found another value did nothing, as if it had never happened.
    return op.value if state == op.old else IMPOSSIBLE


def _appended(state: Any, value: Any) -> Any:
    if state is UNSEEN or value is UNSEEN:
        return UNSEEN
    if state is None:
        return value if isinstance(value, str | list | tuple) else (value,)
    if isinstance(state, str) and isinstance(value, str):
        return state + value
    if isinstance(state, list | tuple):
        return (*state, *value) if isinstance(value, list | tuple) else (*state, value)
    return IMPOSSIBLE


def _without_unseen_parts(ops: list[Operation], asked: set[Any]) -> list[Operation]:
    texts = [text for text in asked if text is not None]
    written = [op.value for op in ops if op.value is not None]
    if not all(isinstance(text, str) for text in [*texts, *written]):
        return ops  # appending to a number is impossible, to UNSEEN it is not
    longest = _not_prefixes(texts)
    return [
        msgspec.structs.replace(op, value=UNSEEN)
        if op.unknown and op.value and not any(op.value in text for text in longest)
        else op
        for op in ops
    ]


def _not_prefixes(texts: Sequence[str]) -> list[str]:
    """Those that are not the beginning of another: what is part of any is part of one of these.

    >>> _not_prefixes(["ab", "a", "abc", "b"])
    ['abc', 'b']
    """
    ordered = sorted(texts)
    return [
        text
        for text, following in zip(ordered, [*ordered[1:], ""], strict=False)
        if not following.startswith(text)
    ]
