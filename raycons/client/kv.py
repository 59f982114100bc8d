"""The key-value store for asyncio.

Keys are str (their UTF-8 bytes) or bytes, in byte order; values are bytes, or what the handle's
codec takes. Operations that are awaited one after the other happen in that order; those under way
at the same time happen in any. Every method takes `timeout`, in seconds; None: the client's own
(10 s).

Errors, beside those named at a method: `NotApplied` (`Unavailable`, `Overloaded`, `Closed`),
`OutcomeUnknown` and `BadArgument`; see `raycons.errors`.
"""

# ruff: noqa: ASYNC109 - asyncio.timeout would cancel, and lose what is known about the outcome

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, Literal, TypeVar, overload

from raycons.client import outcome
from raycons.client.codecs import ValueCodec, codec_named
from raycons.client.dialect import Dialect, read_level, rest, whole
from raycons.client.entries import Entries, Entry, Key, Outcome
from raycons.client.shell import AsyncClient, range_result
from raycons.client.staying import StaysHere
from raycons.client.transactions import Draft, KeyOf, Steps
from raycons.errors import OutcomeUnknown
from raycons.machines.kv import commands

V = TypeVar("V")
R = TypeVar("R")

Level = Literal["linearizable", "stale"]


class AsyncTxn(StaysHere, Draft[V]):
    """A transaction; see `AsyncKv.txn`."""

    def __init__(self, client: AsyncClient, dialect: Dialect[V]) -> None:
        super().__init__(dialect)
        self._client = client

    async def commit(self, *, timeout: float | None = None) -> Outcome[V]:
        """Carry it out, once; gives which branch was taken and its results.

        Raises:
            BadArgument: it sets a key twice, or is too large.
        """
        return self._outcome(await self._client.submit(self._operation(), timeout))


class AsyncKv(StaysHere, Generic[V]):
    """A linearizable, durable map of keys to values, for asyncio.

    Args:
        client: the connection.
        codec: "bytes" (the default), "msgpack", "json", "cloudpickle", or a codec of one's own.
    """

    @overload
    def __init__(self: AsyncKv[bytes], client: AsyncClient) -> None: ...
    @overload
    def __init__(self: AsyncKv[bytes], client: AsyncClient, codec: Literal["bytes"]) -> None: ...
    @overload
    def __init__(self: AsyncKv[Any], client: AsyncClient, codec: str) -> None: ...
    @overload
    def __init__(self, client: AsyncClient, codec: ValueCodec[V]) -> None: ...
    def __init__(self, client: AsyncClient, codec: Any = "bytes") -> None:
        self._client = client
        self._dialect: Dialect[V] = Dialect(codec_named(codec), client.settings)
        self.op: Steps[V] = Steps(self._dialect)

    # --- writing ----------------------------------------------------------------------------------

    async def put(self, key: Key, value: V, *, timeout: float | None = None) -> int:
        """Set `key` to `value`; gives the revision of the change.

        Raises:
            BadValueType: the value is not bytes, or not what the codec takes.
        """
        pending = self._client.begin(self._dialect.put(key, value), timeout)
        try:
            done = await pending.done
        except BaseException as error:
            self._client.ended(pending, error)
            raise
        return _expect(done, commands.PutDone).revision

    async def delete(self, key: Key, *, timeout: float | None = None) -> int:
        """Remove `key`; gives how many keys that removed, 0 or 1."""
        done = await self._client.submit(self._dialect.delete(key), timeout)
        return _expect(done, commands.DeleteDone).deleted

    async def delete_range(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        timeout: float | None = None,
    ) -> int:
        """Remove every key with `prefix`, or from `start` up to, not including, `end`; how many."""
        operation = self._dialect.delete_range(prefix, start, end)
        done = await self._client.submit(operation, timeout)
        return _expect(done, commands.DeleteDone).deleted

    async def compare_and_swap(
        self,
        key: Key,
        *,
        expect: V | None,
        value: V,
        timeout: float | None = None,
    ) -> bool:
        """Set `key` to `value` if it holds `expect` (None: if it is absent); whether it did.

        Raises:
            BadArgument: the codec is not canonical (cloudpickle), so that bytes cannot be compared.
        """
        done = await self._client.submit(self._dialect.swap(key, expect, value), timeout)
        return _expect(done, commands.SwapDone).succeeded

    async def compact(self, revision: int, *, timeout: float | None = None) -> int:
        """Forget what only reads below `revision` need; gives the oldest that can still be read.

        Raises:
            FutureRevision: the revision has not happened yet.
        """
        operation = commands.Compact(whole("revision", revision, 1))
        done = await self._client.submit(operation, timeout)
        return _expect(done, commands.CompactDone).compacted

    def txn(self) -> AsyncTxn[V]:
        """Begin a transaction; see `raycons.client.transactions`."""
        return AsyncTxn(self._client, self._dialect)

    def key(self, key: Key) -> KeyOf[V]:
        """`key` in a condition: `.value`, `.version`, `.create_revision`, `.mod_revision`."""
        return KeyOf(self._dialect.key(key), self._dialect)

    # --- reading ----------------------------------------------------------------------------------

    @overload
    async def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> V | None: ...
    @overload
    async def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        default: R,
        timeout: float | None = None,
    ) -> V | R: ...
    async def get(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        default: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """The value of `key`, or `default` where it is absent.

        Args:
            key: the key.
            revision: as of this revision; 0: now.
            level: "linearizable": sees all that was acknowledged before; "stale": whatever one
                member holds, perhaps old.
            default: for an absent key.
            timeout: in seconds.

        Raises:
            Compacted, FutureRevision: the asked revision cannot be read.
        """
        query = self._dialect.get(key, revision)
        pending = self._client.begin_read(query, read_level(level), timeout)
        try:
            done = await pending.done
        except BaseException as error:
            self._client.ended(pending, error)
            raise
        if type(done) is not commands.RangeDone:
            done, _ = range_result(done)
        if not done.pairs:
            return default
        stored = done.pairs[0].value
        return default if stored is None else self._dialect.codec.decode(stored)

    async def get_entry(
        self,
        key: Key,
        *,
        revision: int = 0,
        level: Level = "linearizable",
        timeout: float | None = None,
    ) -> Entry[V] | None:
        """`key` with its value and revisions, or None where it is absent; else as `get`."""
        query = self._dialect.get(key, revision)
        done, _ = await self._client.read(query, read_level(level), timeout)
        return self._dialect.entry(done.pairs[0]) if done.pairs else None

    async def range(
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
        """Every entry with `prefix`, or from `start` up to, not including, `end`, at one revision.

        Large results are fetched in pages. For what does not fit in memory, use `scan`.

        Args:
            prefix: what the keys begin with; "" and no bounds at all mean every key.
            start: the first key; None: from the beginning.
            end: the key after the last; None: to the end.
            limit: at most so many entries; 0: all.
            keys_only: leave the values out; they are None then.
            revision: as of this revision; 0: now.
            descending: from the last key to the first.
            level: as for `get`.
            timeout: in seconds, for each page.

        Raises:
            Compacted, FutureRevision: the asked revision cannot be read.
        """
        query = self._dialect.range(prefix, start, end, limit, keys_only, revision, descending)
        asked_level = read_level(level)
        first, lag_s = await self._client.read(query, asked_level, timeout)
        pairs = list(first.pairs)
        page = first
        while page.more and page.pairs and (not limit or len(pairs) < limit):
            left = limit - len(pairs) if limit else 0
            query = rest(query, page, left)
            page, lag = await self._client.read(query, asked_level, timeout)
            lag_s = max(lag_s, lag)
            pairs += page.pairs
        whole_range = commands.RangeDone(first.revision, tuple(pairs), first.count, page.more)
        return self._dialect.entries(whole_range, lag_s)

    async def scan(
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
    ) -> AsyncIterator[Entry[V]]:
        """Each entry of a range of any size, all at the revision of the first page.

        Fetches `page` entries at a time. The arguments are as for `range`. A scan that takes so
        long that its revision is compacted raises `Compacted`.
        """
        pages = self._dialect.pages(prefix, start, end, page, keys_only, revision, descending)
        asked_level = read_level(level)
        while pages.query is not None:
            done, _ = await self._client.read(pages.query, asked_level, timeout)
            pages.turn(done)
            for pair in done.pairs:
                yield self._dialect.entry(pair)


def _expect(done: commands.Result, kind: type[R]) -> R:
    if isinstance(done, kind):
        return done
    if isinstance(done, commands.Failed):
        raise outcome.failed(done)
    raise OutcomeUnknown(
        f"the answer is {type(done).__name__}, not {kind.__name__};"
        " the members may run another version of raycons"
    )
