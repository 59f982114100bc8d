"""A look-up in a large table reads little, even where the records are many and small."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycons.store.contract import Batch, Space
from raycons.store.rocks import RocksStore

RECORDS = 500_000  # whose filter, in one piece, would be larger than a shard of the cache
LOOKUPS = 500


def bytes_read() -> int:
    """What this process has read from files so far, cached by the kernel or not."""
    words = Path("/proc/self/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


def key(number: int) -> bytes:
    return b"k%08d" % number


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts reads as Linux does")
def test_a_look_up_reads_no_whole_filter(tmp_path: Path) -> None:
    store = RocksStore(tmp_path)
    for first in range(0, RECORDS, 1000):
        batch = Batch()
        for number in range(first, first + 1000):
            batch.put(Space.CURRENT, key(2 * number), b"v" * 60)
        # Every flushed table spans all keys, so that compaction makes one large table of them.
        batch.put(Space.CURRENT, b"a", b"")
        batch.put(Space.CURRENT, b"z", b"")
        store.write(batch)
    family = store._families[Space.CURRENT]
    family.flush()
    family.compact_range(None, None)
    for present in (True, False):
        before = bytes_read()
        for number in range(LOOKUPS):
            at = number * 7919 % RECORDS
            found = store.get(Space.CURRENT, key(2 * at if present else 2 * at + 1))
            assert (found is not None) == present
        assert (bytes_read() - before) / LOOKUPS < 16 * 1024
    store.close()
