"""Key-value handles that tell a recorder of everything that they do.

They have no other methods than those that a history knows. What a history cannot hold goes to the
wrapped handle itself: reads of several keys, or of the past, there or with `level="stale"`, which
`get` passes on unrecorded. Writes that go past the recorder make its history untrue.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycons.verify.recorder import Call, Recorder

METHODS = ("put", "get", "delete", "append", "compare_and_swap", "cas")


def is_async(kv: Any) -> bool:
    """Whether the handle's methods are to be awaited."""
    methods = (getattr(kv, name, None) for name in METHODS)
    return any(inspect.iscoroutinefunction(method) for method in methods)


def _is_unrecorded(options: dict[str, Any]) -> bool:
    """A read of the past, or one that may be old."""
    return bool(options.get("revision")) or options.get("level") not in (None, "linearizable")


def _removed(answer: object) -> bool | None:
    """What a delete that counts the removed keys, or says whether, has to say."""
    return bool(answer) if isinstance(answer, bool | int) else None


def _check_ended(call: Call, answer: object) -> None:
    """Refuse what has yet to be awaited: the operation would be written down as over."""
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(
            f"{call.op} gave a {type(answer).__name__} to await, and is no `async def`: its end "
            "cannot be seen; wrap an object whose methods are `async def` and await it themselves"
        )


def _nothing(answer: object) -> None:
    """What a put has to say to a history."""


def _as_told(answer: Any) -> Any:
    return answer


# What of an answer belongs into a history.
_TOLD: dict[str, Callable[[Any], Any]] = {
    "put": _nothing,
    "append": _nothing,
    "get": _as_told,
    "cas": bool,
    "delete": _removed,
}


class RecordedKv:
    """A handle of ordinary methods; see `Recorder.wrap`."""

    def __init__(self, kv: Any, recorder: Recorder) -> None:
        self._kv = kv
        self._recorder = recorder

    def put(self, key: str | bytes, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `put`."""
        call = self._recorder.begin("put", key, value)
        return self._told(call, lambda: self._kv.put(key, value, **options))

    def append(self, key: str | bytes, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `append`."""
        call = self._recorder.begin("append", key, value)
        return self._told(call, lambda: self._kv.append(key, value, **options))

    def delete(self, key: str | bytes, **options: Any) -> Any:
        """Record the wrapped handle's `delete`."""
        call = self._recorder.begin("delete", key)
        return self._told(call, lambda: self._kv.delete(key, **options))

    def compare_and_swap(self, key: str | bytes, *, expect: Any, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `compare_and_swap`."""
        call = self._recorder.begin("cas", key, value, expect)
        swap = self._kv.compare_and_swap
        return self._told(call, lambda: swap(key, expect=expect, value=value, **options))

    def cas(self, key: str | bytes, old: Any, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `cas`."""
        call = self._recorder.begin("cas", key, value, old)
        return self._told(call, lambda: self._kv.cas(key, old, value, **options))

    def get(self, key: str | bytes, *, default: Any = None, **options: Any) -> Any:
        """Record the wrapped handle's `get`, unless it may be old; `default` for an absent key."""
        if _is_unrecorded(options):
            answer = self._kv.get(key, **options)
        else:
            call = self._recorder.begin("get", key)
            answer = self._told(call, lambda: self._kv.get(key, **options))
        return default if answer is None else answer

    def _told(self, call: Call, ask: Callable[[], Any]) -> Any:
        try:
            answer = ask()
            _check_ended(call, answer)
            out = _TOLD[call.op](answer)
            self._recorder.done(call, out)
        except BaseException as error:
            self._recorder.failed(call, error)
            raise
        return answer


class AsyncRecordedKv:
    """A handle of methods that are awaited; see `Recorder.wrap`."""

    def __init__(self, kv: Any, recorder: Recorder) -> None:
        self._kv = kv
        self._recorder = recorder

    async def put(self, key: str | bytes, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `put`."""
        call = self._recorder.begin("put", key, value)
        return await self._told(call, lambda: self._kv.put(key, value, **options))

    async def append(self, key: str | bytes, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `append`."""
        call = self._recorder.begin("append", key, value)
        return await self._told(call, lambda: self._kv.append(key, value, **options))

    async def delete(self, key: str | bytes, **options: Any) -> Any:
        """Record the wrapped handle's `delete`."""
        call = self._recorder.begin("delete", key)
        return await self._told(call, lambda: self._kv.delete(key, **options))

    async def compare_and_swap(
        self, key: str | bytes, *, expect: Any, value: Any, **options: Any
    ) -> Any:
        """Record the wrapped handle's `compare_and_swap`."""
        call = self._recorder.begin("cas", key, value, expect)
        swap = self._kv.compare_and_swap
        return await self._told(call, lambda: swap(key, expect=expect, value=value, **options))

    async def cas(self, key: str | bytes, old: Any, value: Any, **options: Any) -> Any:
        """Record the wrapped handle's `cas`."""
        call = self._recorder.begin("cas", key, value, old)
        return await self._told(call, lambda: self._kv.cas(key, old, value, **options))

    async def get(self, key: str | bytes, *, default: Any = None, **options: Any) -> Any:
        """Record the wrapped handle's `get`, unless it may be old; `default` for an absent key."""
        if _is_unrecorded(options):
            answer = await self._kv.get(key, **options)
        else:
            call = self._recorder.begin("get", key)
            answer = await self._told(call, lambda: self._kv.get(key, **options))
        return default if answer is None else answer

    async def _told(self, call: Call, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            answer = await ask()
            out = _TOLD[call.op](answer)
            self._recorder.done(call, out)
        except BaseException as error:
            self._recorder.failed(call, error)
            raise
        return answer
