"""Between a caller's keys and values and the machine's: all checks happen here, before sending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from raycons.client.codecs import ValueCodec
from raycons.client.entries import Entries, Entry, Key
from raycons.client.settings import ClientSettings
from raycons.errors import BadArgument
from raycons.machines.kv import commands
from raycons.member.protocol import ReadLevel

V = TypeVar("V")

_LEVELS = {"linearizable": ReadLevel.LINEARIZABLE, "stale": ReadLevel.STALE}
_NEWEST_REVISION = 2**63 - 1


def after_prefix(prefix: bytes) -> bytes:
    r"""The first key after all that begin with `prefix`; b"" where there is none.

    >>> after_prefix(b"jobs/"), after_prefix(b"a\xff"), after_prefix(b"")
    (b'jobs0', b'b', b'')
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b""


def read_level(level: str) -> ReadLevel:
    """The level of that name."""
    if level not in _LEVELS:
        raise BadArgument(f"level is {level!r}; it is one of {', '.join(map(repr, _LEVELS))}")
    return _LEVELS[level]


def whole(name: str, value: Any, least: int = 0) -> int:
    """A whole number within the bounds of a revision or a count."""
    if type(value) is int and least <= value <= _NEWEST_REVISION:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadArgument(f"{name} is {value!r}; give a whole number of at least {least}")
    if not least <= value <= _NEWEST_REVISION:
        raise BadArgument(f"{name} is {value}; it lies between {least} and 2**63 - 1")
    return value


def rest(query: commands.Range, page: commands.RangeDone, limit: int) -> commands.Range:
    """What `query` asks for and `page` did not bring, at the page's revision."""
    last = page.pairs[-1].key
    bounds = {"end": last} if query.descending else {"key": last + b"\x00"}
    revision = query.revision or page.revision
    return msgspec.structs.replace(query, **bounds, limit=limit, revision=revision, uncounted=True)


class Pages:
    """A walk over a range, page by page: ask `query`, hand the result to `turn`, until None."""

    def __init__(self, query: commands.Range) -> None:
        self.query: commands.Range | None = msgspec.structs.replace(query, uncounted=True)

    def turn(self, page: commands.RangeDone) -> None:
        """`page` answered the query."""
        if self.query is not None:
            going_on = page.more and page.pairs
            self.query = rest(self.query, page, self.query.limit) if going_on else None


@dataclass(frozen=True)
class Dialect(Generic[V]):
    """How one handle speaks: its codec and its bounds."""

    codec: ValueCodec[V]
    settings: ClientSettings

    # --- in ---------------------------------------------------------------------------------------

    def key(self, key: Key) -> bytes:
        """The key's bytes; a str means its UTF-8."""
        if type(key) is bytes and 0 < len(key) <= self.settings.max_key_bytes:
            return key
        data = self._key_bytes(key, "a key")
        if not data:
            raise BadArgument("the key is empty; give at least one byte")
        return data

    def value(self, value: V) -> bytes:
        """The value's bytes, by the codec."""
        data = self.codec.encode(value)
        if len(data) > self.settings.max_value_bytes:
            raise BadArgument(
                f"the value has {len(data)} bytes as {self.codec.name};"
                f" at most {self.settings.max_value_bytes} are allowed;"
                " split it over several keys, or store a reference to it"
            )
        return data

    def comparable(self, value: V) -> bytes:
        """The value's bytes, to be compared with stored ones."""
        if not self.codec.canonical:
            raise BadArgument(
                f"values in {self.codec.name} cannot be compared: equal values may have different"
                " bytes; compare kv.key(...).version or .mod_revision in a transaction instead"
            )
        return self.value(value)

    def put(self, key: Key, value: V) -> commands.Put:
        """The operation, checked."""
        return commands.Put(self.key(key), self.value(value))

    def delete(self, key: Key) -> commands.Delete:
        """The operation, checked."""
        return commands.Delete(self.key(key))

    def delete_range(
        self, prefix: Key | None, start: Key | None, end: Key | None
    ) -> commands.Delete:
        """The operation, checked."""
        if prefix is None and start is None and end is None:
            raise BadArgument('delete_range needs bounds; to delete every key, pass prefix=""')
        return commands.Delete(*self.span(prefix, start, end))

    def swap(self, key: Key, expect: V | None, value: V) -> commands.Swap:
        """The operation, checked."""
        if not self.codec.canonical:
            self.comparable(value)
        expected = None if expect is None else self.comparable(expect)
        return commands.Swap(self.key(key), expected, self.value(value))

    def get(self, key: Key, revision: int) -> commands.Range:
        """The question, checked."""
        return commands.Range(self.key(key), None, 0, whole("revision", revision))

    def range(
        self,
        prefix: Key | None,
        start: Key | None,
        end: Key | None,
        limit: int,
        keys_only: bool,
        revision: int,
        descending: bool,
    ) -> commands.Range:
        """The question, checked."""
        first, last = self.span(prefix, start, end)
        whole("limit", limit)
        whole("revision", revision)
        return commands.Range(
            first, last, limit, revision, keys_only=bool(keys_only), descending=bool(descending)
        )

    def pages(
        self,
        prefix: Key | None,
        start: Key | None,
        end: Key | None,
        page: int,
        keys_only: bool,
        revision: int,
        descending: bool,
    ) -> Pages:
        """A walk over the range by pages of `page` entries, checked."""
        whole("page", page, 1)
        return Pages(self.range(prefix, start, end, page, keys_only, revision, descending))

    def span(self, prefix: Key | None, start: Key | None, end: Key | None) -> tuple[bytes, bytes]:
        """The first key, and the one after the last (b"": to the end)."""
        if prefix is not None:
            if start is not None or end is not None:
                raise BadArgument("give either prefix, or start and end, not both")
            first = self._key_bytes(prefix, "a prefix")
            return first, after_prefix(first)
        first = b"" if start is None else self._key_bytes(start, "start")
        last = b"" if end is None else self._key_bytes(end, "end")
        if end is not None and not last:
            raise BadArgument(
                "end is empty, so the range would be too; leave it out to mean no end"
            )
        if last and last < first:
            raise BadArgument(f"the range ends at {last!r}, before its start {first!r}; swap them")
        return first, last

    def _key_bytes(self, key: Key, what: str) -> bytes:
        if isinstance(key, str):
            try:
                data = key.encode()
            except UnicodeEncodeError as error:
                raise BadArgument(f"{what} is not valid text: {error}; pass bytes") from None
        elif isinstance(key, bytes):
            data = key
        else:
            raise BadArgument(f"{what} is a str or bytes, and this one is {type(key).__name__}")
        if len(data) > self.settings.max_key_bytes:
            raise BadArgument(
                f"{what} has {len(data)} bytes ({data[:32]!r}...);"
                f" at most {self.settings.max_key_bytes} are allowed; shorten or hash it"
            )
        return data

    # --- out --------------------------------------------------------------------------------------

    def entry(self, pair: commands.KeyValue) -> Entry[V]:
        """A stored pair as the caller sees it."""
        value = None if pair.value is None else self.codec.decode(pair.value)
        return Entry(pair.key, value, pair.create_revision, pair.mod_revision, pair.version)

    def entries(self, done: commands.RangeDone, lag_s: float = 0.0) -> Entries[V]:
        """A range's result as the caller sees it."""
        pairs = tuple(map(self.entry, done.pairs))
        return Entries(pairs, done.revision, done.count, done.more, lag_s)
