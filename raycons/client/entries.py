"""What the key-value handles give back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, overload

V = TypeVar("V")

Key = str | bytes  # a str means its UTF-8 bytes


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """One key as it is, or was at the asked revision."""

    key: bytes
    value: V | None  # None only where values were not asked for
    create_revision: int  # of the put that made the key, since it was last absent
    mod_revision: int  # of its last put
    version: int  # 1 after the first put, one more with each

    @property
    def name(self) -> str:
        """The key as text; bytes that are not UTF-8 are shown as backslash escapes."""
        return self.key.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Entries(Generic[V]):
    """The entries of a range, in key order (or from the last key, if so asked)."""

    entries: tuple[Entry[V], ...]
    revision: int  # the store's when the range was read: ask for more at this one
    count: int  # how many there are in the range without the limit
    more: bool  # whether the limit left some out
    lag_s: float = 0.0  # stale reads: since when its member had not heard from a leader

    @overload
    def __getitem__(self, index: int) -> Entry[V]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry[V]]: ...
    def __getitem__(self, index: int | slice) -> Entry[V] | Sequence[Entry[V]]:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry[V]]:
        return iter(self.entries)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[V]):
    """What a transaction did."""

    succeeded: bool  # True: all conditions held, and `then` was done; else `otherwise`
    revision: int  # the store's afterwards
    # One for each operation of the branch: a put gives its revision, a delete how many keys it
    # removed, a get an Entry or None, a range its Entries.
    results: tuple[int | Entry[V] | Entries[V] | None, ...] = field(default=())
