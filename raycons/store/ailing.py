"""A store whose disk is slow, hangs or fails when asked to, for tests of whole clusters.

Only `sync` is bent, on a thread that waits for the disk anyway. What the store then says is what
a real one would: it is late, or it raises, after which nothing more may be written.
"""

from __future__ import annotations

import threading

from raycons.errors import BadArgument, StoreError
from raycons.store.contract import OpenSync, Store


class AilingStore:
    """Implements `Store` by another one; healthy until told otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: OpenSync | None = store if isinstance(store, OpenSync) else None
        # The delay, and what ends it for a sync that waits: replaced together, for `sync` runs on
        # another thread.
        self._slow = (0.0, threading.Event())
        self._broken = False
        self.get = store.get
        self.scan = store.scan
        self.write = store.write
        self.settle = store.settle
        self.view = store.view
        self.size_bytes = store.size_bytes
        self.close = store.close

    def slow_down(self, delay_s: float) -> None:
        """Let each sync take so much longer; 0 heals at once, also a sync that is under way."""
        if not 0 <= delay_s <= threading.TIMEOUT_MAX:
            raise BadArgument(f"delay_s={delay_s!r}: expected seconds of 0 or more")
        _, waiting = self._slow
        self._slow = (delay_s, threading.Event())
        waiting.set()

    def break_down(self) -> None:
        """Let the next sync, and all after it, fail; there is no way back."""
        self._broken = True
        self.slow_down(0.0)

    def begin_sync(self) -> list[int] | None:
        """See `OpenSync`; what is bent is `sync`."""
        delay_s, _ = self._slow
        if delay_s or self._broken or self._open is None:
            return None
        return self._open.begin_sync()

    def end_sync(self, error: OSError | None = None) -> None:
        """See `OpenSync`."""
        assert self._open is not None
        self._open.end_sync(error)

    def sync(self) -> None:
        """See `Store`; late, or an error, as was asked for."""
        delay_s, healed = self._slow
        if delay_s:
            healed.wait(delay_s)
        if self._broken:
            raise StoreError("the disk fails, as fault injection was told to let it")
        self._store.sync()
