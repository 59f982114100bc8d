"""What a store is: an ordered map of bytes to bytes, written in atomic batches.

Rules of this seam
- `write` is atomic and ordered: after a crash the store holds a prefix of the batches written.
- A batch is not touched any more once it was given to `write`.
- `write` does not wait for the disk. `sync` does, and covers every batch written before the call.
  `write` is called on one thread (the member's event loop) and `sync` on another, beside it; or
  the caller has the kernel sync the files (`OpenSync`), and no thread waits.
- A failed `sync` is never retried: what the disk holds is then unknown, and the process must end.
- A `View` never sees a batch that was written after it was opened.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class Space(enum.IntEnum):
    """The four regions of a store; keys of different spaces never meet, batches may span them."""

    META = 0  # identity, hard state, log base, applied index: small and rarely written
    LOG = 1  # entries: written once, read seldom, deleted in ranges
    CURRENT = 2  # the machines' present state
    HISTORY = 3  # what the present state replaced and may still be read


PUT, DELETE, DELETE_RANGE = 0, 1, 2
Operation = tuple[int, Space, bytes, bytes]  # what to do, where, key or start, value or end


class Batch:
    """Writes that become visible and durable together, applied in the order they were added."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def put(self, space: Space, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        self.operations.append((PUT, space, key, value))

    def delete(self, space: Space, key: bytes) -> None:
        """Remove `key`; nothing happens where it is absent."""
        self.operations.append((DELETE, space, key, b""))

    def delete_range(self, space: Space, start: bytes, end: bytes) -> None:
        """Remove every key from `start` up to, not including, `end`."""
        self.operations.append((DELETE_RANGE, space, start, end))

    def __len__(self) -> int:
        return len(self.operations)


class View(Protocol):
    """The store as it was when the view was opened; close it, for it holds on to old files."""

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, in key order."""

    def close(self) -> None:
        """Let go of the view; it cannot be used afterwards."""


class Store(Protocol):
    """An ordered map of bytes; see the rules at the head of this file."""

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def scan(
        self, space: Space, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`; from the last when `reverse`."""

    def write(self, batch: Batch) -> None:
        """Apply `batch` at once, atomically, after all earlier ones; on disk only after `sync`."""

    def sync(self) -> None:
        """Block until all batches written before this call are on disk.

        Raises StoreFull, StoreReadOnly, StoreCorrupt or StoreError; after any of them the store
        takes no more writes.
        """

    def settle(self) -> None:
        """Write what can wait for a moment in which nothing is to be synced; then `sync`.

        A failure is that of a `sync`.
        """

    def view(self) -> View:
        """A consistent view of this moment."""

    def size_bytes(self) -> int:
        """About how much the store occupies, in bytes."""

    def close(self) -> None:
        """Release files and locks. What was not synced may be lost."""


@runtime_checkable
class OpenSync(Protocol):
    """What a store offers besides, where its sync is nothing but that of files."""

    def begin_sync(self) -> list[int] | None:
        """Begin what `sync` does: the descriptors of the files whose data has to get to disk.

        The caller sees to that, then calls `end_sync`; no other sync may begin before. None: this
        time it takes more, so call `sync`.
        """

    def end_sync(self, error: OSError | None = None) -> None:
        """These files are on disk, or were refused with `error`. Raises as `sync` does."""


def after(prefix: bytes) -> bytes:
    r"""The first key that sorts after every key that begins with `prefix`.

    >>> after(b"jobs/")
    b'jobs0'
    >>> after(b"a\xff")
    b'b'

    Raises ValueError for a prefix of only 0xff bytes, after which nothing sorts.
    """
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        raise ValueError(f"no key sorts after all keys that begin with {prefix!r}")
    return stripped[:-1] + bytes([stripped[-1] + 1])
