"""The key-value store for ordinary, blocking code; safe from many threads.

Each method waits for the asyncio one of the same name (`raycons.client.kv`), which runs on a
background loop shared by the whole process: what many threads ask at the same moment leaves in one
frame. A forked child connects anew. Inside a coroutine these methods block the loop that it runs
on: use `raycons.aio` there.
"""

# ruff: noqa: D102 - `documented_like` gives the methods the docstrings of their asyncio models

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Generic, Literal, TypeVar, overload

from raycons.client.background import Background, background
from raycons.client.codecs import ValueCodec, codec_named
from raycons.client.dialect import Dialect, read_level
from raycons.client.entries import Entries, Entry, Key, Outcome
from raycons.client.kv import AsyncKv, AsyncTxn, Level
from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.client.staying import StaysHere
from raycons.client.transactions import Draft, KeyOf, Steps
from raycons.errors import Closed

C = TypeVar("C", bound=type)
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


def documented_like(model: type) -> Callable[[C], C]:
    """Class decorator: methods without a docstring get that of the model's method of their name."""

    def decorate(cls: C) -> C:
        for name, method in vars(cls).items():
            if callable(method) and not method.__doc__ and hasattr(model, name):
                method.__doc__ = getattr(model, name).__doc__
        return cls

    return decorate


_clients: weakref.WeakSet[BlockingClient] = weakref.WeakSet()


def _forget_after_fork() -> None:
    # The loop that serves them, and perhaps the holder of a lock, stayed behind in the parent. The
    # child must not use the parent's session: commands of the same number would be taken for one.
    for client in _clients:
        client._forget()


os.register_at_fork(after_in_child=_forget_after_fork)


class BlockingClient(StaysHere):
    """An `AsyncClient` on the background loop, made at the first use in each process.

    Args:
        connect: makes the client; awaited on the background loop, and again in a forked child.
        settings: those that `connect` gives its client.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[AsyncClient]], settings: ClientSettings | None = None
    ) -> None:
        self.settings = settings or ClientSettings()
        self._connect = connect
        self._closed = False
        self._forget()
        _clients.add(self)

    def _forget(self) -> None:
        """As if never connected: the state of a new client, and of one in a forked child."""
        self._lock = threading.Lock()
        self._client: AsyncClient | None = None
        self._background: Background | None = None

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Wait for what `call` does with the client; raises what it raises, and Closed."""
        client, loop = self._connected()
        return loop.run(call(client))

    def close(self) -> None:
        """Close the client; later operations raise Closed."""
        with self._lock:
            self._closed = True
            client, loop = self._client, self._background
            self._client = None
        if client is not None and loop is not None:
            loop.run(client.close())

    def _connected(self) -> tuple[AsyncClient, Background]:
        client, loop = self._client, self._background
        if client is not None and loop is not None:
            return client, loop
        with self._lock:
            if self._closed:
                raise Closed("the handle is closed; nothing was sent; connect anew")
            if self._client is None or self._background is None:
                self._background = background()
                self._client = self._background.run(_awaited(self._connect))
            return self._client, self._background


async def _awaited(connect: Callable[[], Awaitable[AsyncClient]]) -> AsyncClient:
    return await connect()


@documented_like(AsyncTxn)
class Txn(StaysHere, Draft[V]):
    """A transaction; see `Kv.txn`."""

    def __init__(self, client: BlockingClient, dialect: Dialect[V]) -> None:
        super().__init__(dialect)
        self._client = client

    def commit(self, *, timeout: float | None = None) -> Outcome[V]:
        operation = self._operation()
        return self._outcome(self._client.run(lambda client: client.submit(operation, timeout)))


@documented_like(AsyncKv)
class Kv(StaysHere, Generic[V]):
    """A linearizable, durable map of keys to values; safe from many threads.

    Args:
        client: the connection.
        codec: "bytes" (the default), "msgpack", "json", "cloudpickle", or a codec of one's own.
    """

    @overload
    def __init__(self: Kv[bytes], client: BlockingClient) -> None: ...
    @overload
    def __init__(self: Kv[bytes], client: BlockingClient, codec: Literal["bytes"]) -> None: ...
    @overload
    def __init__(self: Kv[Any], client: BlockingClient, codec: str) -> None: ...
    @overload
    def __init__(self, client: BlockingClient, codec: ValueCodec[V]) -> None: ...
    def __init__(self, client: BlockingClient, codec: Any = "bytes") -> None:
        self._client = client
        self._codec: ValueCodec[V] = codec_named(codec)
        self._dialect: Dialect[V] = Dialect(self._codec, client.settings)
        self.op: Steps[V] = Steps(self._dialect)

    def _wait(self, call: Callable[[AsyncKv[V]], Coroutine[Any, Any, T]]) -> T:
        return self._client.run(lambda client: call(AsyncKv(client, self._codec)))

    # --- writing ----------------------------------------------------------------------------------

    def put(self, key: Key, value: V, *, timeout: float | None = None) -> int:
        return self._wait(lambda kv: kv.put(key, value, timeout=timeout))

    def delete(self, key: Key, *, timeout: float | None = None) -> int:
        return self._wait(lambda kv: kv.delete(key, timeout=timeout))

    def delete_range(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        timeout: float | None = None,
    ) -> int:
        return self._wait(
            lambda kv: kv.delete_range(prefix=prefix, start=start, end=end, timeout=timeout)
        )

    def compare_and_swap(
        self, key: Key, *, expect: V | None, value: V, timeout: float | None = None
    ) -> bool:
        return self._wait(
            lambda kv: kv.compare_and_swap(key, expect=expect, value=value, timeout=timeout)
        )

    def compact(self, revision: int, *, timeout: float | None = None) -> int:
        return self._wait(lambda kv: kv.compact(revision, timeout=timeout))

    def txn(self) -> Txn[V]:
        return Txn(self._client, self._dialect)

    def key(self, key: Key) -> KeyOf[V]:
        return KeyOf(self._dialect.key(key), self._dialect)

    # --- reading ----------------------------------------------------------------------------------

    @overload
    def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> V | None: ...
    @overload
    def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        default: R,
        timeout: float | None = None,
    ) -> V | R: ...
    def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        default: Any = None,
        timeout: float | None = None,
    ) -> Any:
        return self._wait(
            lambda kv: kv.get(key, revision=revision, level=level, default=default, timeout=timeout)
        )

    def get_entry(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Entry[V] | None:
        return self._wait(
            lambda kv: kv.get_entry(key, revision=revision, level=level, timeout=timeout)
        )

    def range(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        limit: int = 0,
        keys_only: bool = False,
        revision: int = 0,
        descending: bool = False,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Entries[V]:
        return self._wait(
            lambda kv: kv.range(
                prefix=prefix,
                start=start,
                end=end,
                limit=limit,
                keys_only=keys_only,
                revision=revision,
                descending=descending,
                level=level,
                timeout=timeout,
            )
        )

    def scan(
        self,
        prefix: Key | None = None,
        *,
        start: Key | None = None,
        end: Key | None = None,
        page: int = 1000,
        keys_only: bool = False,
        revision: int = 0,
        descending: bool = False,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Iterator[Entry[V]]:
        pages = self._dialect.pages(prefix, start, end, page, keys_only, revision, descending)
        asked_level = read_level(level)
        while pages.query is not None:
            query = pages.query
            done, _ = self._client.run(
                partial(AsyncClient.read, query=query, level=asked_level, timeout_s=timeout)
            )
            pages.turn(done)
            yield from map(self._dialect.entry, done.pairs)
