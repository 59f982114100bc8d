"""Writing down what a program does to a key-value store, as it does it.

    with Recorder("history.jsonl") as recorder:
        kv = recorder.wrap(cluster.kv())
        kv.put("x", b"1")

What an exception says decides what is written (`raycons.errors`):

- `NotApplied`, `Refused`, `BadArgument`: nothing, for nothing happened.
- anything else, a cancelled task included: the outcome is unknown. A read that failed changed
  nothing whatever happened, and is left out.

The recorder's file is judged whole, so it has to be whole: every write to the keys that it names
must go through a recorder, and one that is killed leaves out what its last operations did.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from raycons.errors import BadArgument, Closed, NotApplied, Refused
from raycons.verify.callers import Callers
from raycons.verify.history import Operation, encoded
from raycons.verify.recorded import AsyncRecordedKv, RecordedKv, is_async

BUFFER_BYTES = 64 * 1024
READS = frozenset({"get"})
WITHOUT_EFFECT: tuple[type[BaseException], ...] = (NotApplied, Refused, BadArgument)


class Recorder:
    """Records the operations of the handles that it wraps, from any number of threads and tasks.

    Args:
        path: the file, which is begun anew.
        first_client: the lowest client number; apart for each process that records one history.
        without_effect: exceptions of a client of one's own that say that nothing happened.
        clock: nanoseconds, monotonic; the same for all whose histories are joined. The default is
            the same for all processes of a machine.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        first_client: int = 0,
        without_effect: tuple[type[BaseException], ...] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._file = Path(path).open("wb", buffering=BUFFER_BYTES)  # noqa: SIM115 - see `close`
        self._callers = Callers(first_client)
        self._without_effect = (*WITHOUT_EFFECT, *without_effect)
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: set[Call] = set()

    def wrap(self, kv: Any) -> Any:
        """A handle that records: `put`, `get`, `delete`, `append`, `compare_and_swap`, `cas`.

        Args:
            kv: a key-value handle of `raycons` or `raycons.aio`, or any object that has some of
                these methods, either all ordinary or all `async def`. A method may take more
                arguments by name. An ordinary one that gives something to await ends in a
                TypeError, with an unknown outcome.
        """
        return AsyncRecordedKv(kv, self) if is_async(kv) else RecordedKv(kv, self)

    def begin(self, op: str, key: str | bytes, value: Any = None, old: Any = None) -> Call:
        """Note that an operation is about to be sent.

        Raises:
            BadArgument: a value is not plain data, or a None that is to be written.
            Closed: the recorder was closed.
        """
        if value is None and op not in ("get", "delete"):
            raise BadArgument(f"{op} of None cannot be recorded: in a history, null means absent")
        name, plain, expected = _key(key), as_json(value), as_json(old)
        with self._lock:
            if self._file.closed:
                raise Closed("the recorder was closed; the operation was not sent")
            call = Call(self._callers.begin(), op, name, plain, expected, self._clock())
            self._under_way.add(call)
        return call

    def done(self, call: Call, out: Any) -> None:
        """Note the answer."""
        returned = self._clock()
        self._finish(call, returned, as_json(out), known=True)

    def failed(self, call: Call, error: BaseException) -> None:
        """Note that an exception ended it."""
        harmless = call.op in READS or isinstance(error, self._without_effect)
        self._finish(call, None, None, known=harmless)

    def close(self) -> None:
        """Write what is buffered; what is still under way is of unknown outcome."""
        with self._lock:
            if self._file.closed:
                return
            for call in self._under_way:
                if call.op not in READS:
                    self._file.write(encoded(call.ended(None, None)))
            self._under_way.clear()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, call: Call, returned: int | None, out: Any, *, known: bool) -> None:
        with self._lock:
            if call not in self._under_way:
                return  # the recorder was closed meanwhile
            self._under_way.remove(call)
            self._callers.end(call.client, known=known)
            if returned is not None or not known:
                self._file.write(encoded(call.ended(returned, out)))


class Call:
    """An operation that is under way."""

    __slots__ = ("began", "client", "key", "old", "op", "value")

    def __init__(self, client: int, op: str, key: str, value: Any, old: Any, began: int) -> None:
        self.client = client
        self.op = op
        self.key = key
        self.value = value
        self.old = old
        self.began = began

    def ended(self, returned: int | None, out: Any) -> Operation:
        """The whole operation."""
        return Operation(
            self.client, self.op, self.key, self.began, returned, self.value, self.old, out
        )


def as_json(value: Any) -> Any:
    """A value as it stands in a history, and later changes to it do not show.

    Bytes become the text that they are in UTF-8, or else {"$base64": ...}; so a history in which
    both "a" and b"a" are values does not tell these two apart.

    >>> as_json(b"one"), as_json(bytes([255]))
    ('one', {'$base64': '/w=='})
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    if value is None or isinstance(value, str | bool | int):
        return value
    try:
        plain = msgspec.json.decode(msgspec.json.encode(value))
        if plain is None:
            raise ValueError("it would be null, which means absent")
        return plain
    except (TypeError, ValueError) as error:
        raise BadArgument(
            f"a history holds JSON values, and this {type(value).__name__} is none: {error}"
        ) from error


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"$base64": base64.b64encode(value).decode()}


def _key(key: str | bytes) -> str:
    text = key if isinstance(key, str) else _text(key)
    return text if isinstance(text, str) else f"base64:{text['$base64']}"
