"""The openings of a store, counted and numbered in the store itself.

Whoever compares two greetings of one replica sees by them whether its store went on, or whether an
old copy of it has come back.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from typing import NamedTuple

from raycons.store.contract import Batch, Space, Store

# So many openings can lie between two meetings of peers, and they still tell the store from a copy.
REMEMBERED_OPENINGS = 64
# Keys that a store keeps about itself begin with the number of no group.
OWN = b"\xff\xff\xff\xff"
OPENING_KEY = OWN + b"opening"


class Opening(NamedTuple):
    """One opening of a store; shown to peers, it gives away a disk image from yesterday."""

    incarnation: int  # how often the store was opened
    opening: int  # 63 random bits
    earlier: tuple[int, ...] = ()  # the `opening`s before this one, the newest first


def _mint() -> int:
    return secrets.randbits(63)


def opened(store: Store, mint: Callable[[], int] = _mint) -> Opening:
    """Count this opening and give it a number of `mint`, on disk before it returns."""
    raw = store.get(Space.META, OPENING_KEY) or bytes(8)
    count, *before = struct.unpack(f">{len(raw) // 8}Q", raw)
    now = Opening(count + 1, mint(), tuple(before[:REMEMBERED_OPENINGS]))
    record = (now.incarnation, now.opening, *now.earlier)
    batch = Batch()
    batch.put(Space.META, OPENING_KEY, struct.pack(f">{len(record)}Q", *record))
    store.write(batch)
    store.sync()
    return now


def incarnation(store: Store) -> int:
    """How often the store was opened, this time included; 0: nobody counted."""
    raw = store.get(Space.META, OPENING_KEY)
    return struct.unpack(">Q", raw[:8])[0] if raw else 0
