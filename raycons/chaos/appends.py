"""Appending to a value: a read and a swap, repeated until the swap meets what was read.

The store has no append of its own. Seen from outside this is one operation, and its outcome is that
of its last swap. A swap that failed did nothing, and the one that succeeds finds exactly the value
that it adds to, whatever became of the key meanwhile (Herlihy, "Wait-Free Synchronization", 1991,
section 3: an update of any kind can be built on compare-and-swap). A swap of unknown outcome is not
tried again: the value could have been added twice.
"""

from __future__ import annotations

from typing import Any

from raycons.errors import OutcomeUnknown, Unavailable


class Appending:
    """An asynchronous handle of bytes that can append; everything else is the handle's own."""

    def __init__(self, kv: Any) -> None:
        self._kv = kv

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kv, name)

    async def append(self, key: str, value: bytes) -> None:
        """Add `value` to what the key holds; to an absent key, it is the whole.

        Raises NotApplied where certainly nothing was added, OutcomeUnknown where a swap was sent
        and its answer is missing.
        """
        while True:
            found = await self._read(key)
            longer = value if found is None else found + value
            if await self._kv.compare_and_swap(key, expect=found, value=longer):
                return

    async def _read(self, key: str) -> bytes | None:
        """The value; a read that fails changed nothing, whatever became of it."""
        try:
            found: bytes | None = await self._kv.get(key)
        except OutcomeUnknown as error:
            raise Unavailable("the value to append to could not be read") from error
        return found
