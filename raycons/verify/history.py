"""Operation histories: one JSON object a line, one operation an object.

    {"client": 0, "op": "put", "key": "x", "value": "1", "old": null, "out": null,
     "call": 12000, "return": 15000}

`client` is a caller that has one operation at a time. `call` and `return` are nanoseconds of one
clock; `return` is null where the outcome is unknown: the operation may have taken effect at any
time after its call, or never, and may still. What certainly did nothing is left out. Null is an
absent value, everywhere.

| op       | `value`           | `old`                            | `out`                          |
|----------|-------------------|----------------------------------|--------------------------------|
| `put`    | the new value     |                                  |                                |
| `get`    |                   |                                  | the value; null: absent        |
| `cas`    | the new value     | the expected one; null: absent   | whether it did                 |
| `append` | what to add       |                                  |                                |
| `delete` |                   |                                  | whether it did; null: not said |

`append` joins strings and lists; anything else becomes a list's last item; to an absent key it
gives what it adds. Other models (`raycons.verify.models`) have other operations in the same fields.

Intervals are closed: what returns at the instant at which another client calls overlaps it. This
can hide an error, and never invents one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from raycons.errors import BadHistory

SHOWN_BYTES = 60  # of a line that is not an operation


class Operation(msgspec.Struct, frozen=True, rename={"returned": "return"}):
    """What a client asked for, was told, and when."""

    client: int
    op: str
    key: str
    call: int  # ns
    returned: int | None  # ns; None: the outcome is unknown
    value: Any = None
    old: Any = None
    out: Any = None

    @property
    def unknown(self) -> bool:
        """Whether it may have taken effect at any time after its call, or never; `out` is None."""
        return self.returned is None


_FIELDS = ("client", "op", "key", "value", "old", "out", "call", "return")
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode

# What an operation of the key-value store must say; with an unknown outcome there is no `out`.
_NEEDED = {
    "put": ("value",),
    "append": ("value",),
    "cas": ("value", "old"),
    "get": (),
    "delete": (),
}
_ANSWERS = {"get": ("out",), "cas": ("out",)}
KEY_VALUE_OPERATIONS = frozenset(_NEEDED)


def encoded(operation: Operation) -> bytes:
    """The operation as a line, its end included."""
    line = {
        "client": operation.client,
        "op": operation.op,
        "key": operation.key,
        "value": operation.value,
        "old": operation.old,
        "out": operation.out,
        "call": operation.call,
        "return": operation.returned,
    }
    return _encode(line) + b"\n"


def read_history(
    path: str | os.PathLike[str], operations: Collection[str] = KEY_VALUE_OPERATIONS
) -> list[Operation]:
    """The operations of a file, in its order.

    Args:
        path: a file of JSON lines.
        operations: the names that `op` may have; those of the model.

    Raises:
        BadHistory: it cannot be read, or a line is no operation, or a client overlaps itself.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadHistory(f"the file cannot be read: {error.strerror}") from error
    return parsed(data.rstrip().split(b"\n") if data.strip() else [], operations)


def parsed(lines: Iterable[bytes], operations: Collection[str]) -> list[Operation]:
    """The operations of the lines; raises BadHistory, which names the first bad line from 1.

    >>> line = b'{"client": 0, "op": "get", "key": "x", "out": null, "call": 1, "return": 2}'
    >>> parsed([line], {"get"})[0].key
    'x'
    """
    history = [_operation(number, line, operations) for number, line in enumerate(lines, 1)]
    _check_clients(history)
    return history


def _operation(number: int, line: bytes, operations: Collection[str]) -> Operation:
    try:
        fields = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = line[:SHOWN_BYTES].decode(errors="backslashreplace")
        raise BadHistory(f"line {number}: not a JSON object ({error}): {shown!r}") from error
    except RecursionError as error:
        raise BadHistory(f"line {number}: nested deeper than can be read") from error
    try:
        _check_fields(fields, operations)
        operation = msgspec.convert(fields, Operation)
        _check_times(operation)
        if operations == KEY_VALUE_OPERATIONS:
            _check_key_value(operation, fields)
    except (ValueError, msgspec.ValidationError) as error:
        raise BadHistory(f"line {number}: {error}") from error
    return operation


def _check_fields(fields: dict[str, Any], operations: Collection[str]) -> None:
    missing = [name for name in ("client", "op", "key", "call", "return") if name not in fields]
    if missing:
        raise ValueError(f"no {missing[0]!r}")
    strange = [name for name in fields if name not in _FIELDS]
    if strange:
        raise ValueError(f"no field is called {strange[0]!r}; there are {', '.join(_FIELDS)}")
    if not isinstance(fields["op"], str) or fields["op"] not in operations:
        raise ValueError(f"op {fields['op']!r} is none of {', '.join(sorted(operations))}")


def _check_times(operation: Operation) -> None:
    if operation.client < 0:
        raise ValueError(f"client {operation.client}: expected at least 0")
    if operation.returned is None:
        if operation.out is not None:
            raise ValueError("an answer ('out'), and yet no 'return'")
    elif operation.returned < operation.call:
        raise ValueError(f"it returns at {operation.returned}, before its call at {operation.call}")


def _check_key_value(operation: Operation, fields: dict[str, Any]) -> None:
    name, out = operation.op, operation.out
    answers = () if operation.unknown else _ANSWERS.get(name, ())
    for field in (*_NEEDED[name], *answers):
        if field not in fields:
            raise ValueError(f"a {name} without {field!r}")
    if name == "cas" and not operation.unknown and not isinstance(out, bool):
        raise ValueError(f"a cas gives true or false, and not {out!r}")
    if name == "delete" and out is not None and not isinstance(out, bool):
        raise ValueError(f"a delete gives true, false or null, and not {out!r}")
    if name in ("put", "append") and out is not None:
        raise ValueError(f"a {name} gives nothing, and not {out!r}")


def _check_clients(history: Sequence[Operation]) -> None:
    by_client = sorted(range(len(history)), key=lambda i: (history[i].client, history[i].call))
    for earlier, later in pairwise(by_client):
        first, second = history[earlier], history[later]
        if first.client != second.client:
            continue
        # An unknown one is over for its client, which gave up waiting; nobody knows when.
        end = first.call + 1 if first.returned is None else first.returned
        if second.call < end or second.call == first.call:
            raise BadHistory(
                f"line {later + 1}: client {second.client} calls at {second.call}, while its"
                f" operation of line {earlier + 1} is under way since {first.call};"
                " a client has one at a time"
            )
