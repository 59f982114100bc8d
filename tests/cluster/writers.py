"""Clients that write while a test does something to their cluster."""

from __future__ import annotations

import contextlib
import threading

from raycons import errors
from raycons.cluster.blocking import Cluster
from tests.cluster.yard import eventually
from tests.recording import Recordings

SHARED = ("shared/a", "shared/b")


class Writers:
    """Threads that put keys of their own, and remember what was acknowledged.

    After each put they read a key that all of them share, and swap it; all is recorded.
    """

    def __init__(self, cluster: Cluster, count: int, recordings: Recordings) -> None:
        self._kv = recordings.wrap(cluster.kv())
        self._stop = threading.Event()
        self.acknowledged: dict[str, int] = {}  # key -> revision
        self.uncertain: list[str] = []
        self._threads = [
            threading.Thread(target=self._write, args=(each,)) for each in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            key = f"load/{writer}/{number}"
            try:
                self.acknowledged[key] = self._kv.put(key, b"x")
            except errors.OutcomeUnknown:
                self.uncertain.append(key)
            self._swap(SHARED[number % len(SHARED)], b"%d/%d" % (writer, number))
            number += 1

    def _swap(self, key: str, value: bytes) -> None:
        # What fails is known to the history.
        with contextlib.suppress(errors.NotApplied, errors.OutcomeUnknown):
            self._kv.compare_and_swap(key, expect=self._kv.get(key), value=value)

    def wait_for(self, more: int) -> None:
        """Until so many more writes are acknowledged than now."""
        goal = len(self.acknowledged) + more
        eventually(
            lambda: len(self.acknowledged) >= goal, within_s=20, what=f"{more} acknowledged writes"
        )

    def end(self) -> None:
        """Stop, and wait until they have."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self, cluster: Cluster) -> None:
        """Every acknowledged write is there, once; nothing else is, but what was uncertain."""
        found = {entry.name: entry for entry in cluster.kv().scan(prefix="load/")}
        assert self.acknowledged.keys() <= found.keys()
        assert found.keys() <= self.acknowledged.keys() | set(self.uncertain)
        assert all(entry.version == 1 for entry in found.values())
        for key, revision in self.acknowledged.items():
            assert found[key].mod_revision == revision
        for key in SHARED:
            self._kv.get(key)  # recorded: the last word on what was swapped
