"""Clients beside the load who write down all that they do, and whether it can be explained.

The ledger's keys have one writer each, so its audit says nothing of what clients see of each other.
The witnesses share a few keys, which they put, read and swap; their history (`raycons.verify`)
covers the faults and the full restart, and ends with a look at every key. It must be linearizable.

They are few, and apart from the load: a history holds no transactions, which the ledger's writes
are, and a recorded operation costs some 6 us more, a fifth of a core at 33,000 a second.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from raycons.bench.demo.ledger import Proof
from raycons.bench.scratch import scratch_root
from raycons.errors import NotApplied, OutcomeUnknown
from raycons.verify import Recorder, Verdict, check, read_history
from raycons.verify.story import story

WITNESSES = 8
KEYS = tuple(f"witness/{name}" for name in "abcd")
SHARE_OF_READS, SHARE_OF_SWAPS = 0.4, 0.3  # the others put
PAUSE_S = 0.05  # after an operation that was not acknowledged
CHECK_S = 30.0  # at most, for the search
SEED = 2026
CLAIM = "what recorded clients saw is linearizable"


class Evidence(msgspec.Struct, frozen=True):
    """What the witnesses' history comes to."""

    proof: Proof
    operations: int
    history: str | None  # where it was kept; None where it proves the claim


class Witnesses:
    """The recorded clients, and their history.

    Args:
        path: where the history is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorder = Recorder(path)
        self._latest: dict[str, bytes | None] = dict.fromkeys(KEYS)  # that any of them knows of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.close()

    async def run(self, kv: Any, client: int, stopped: Callable[[], bool]) -> None:
        """One witness, until it is `stopped`; `kv` is an asynchronous handle of bytes."""
        kv = self._recorder.wrap(kv)
        rng = random.Random(SEED + client)
        number = 0
        while not stopped():
            number += 1
            try:
                await self._act(kv, rng, b"%d/%d" % (client, number))
            except (NotApplied, OutcomeUnknown):
                await asyncio.sleep(PAUSE_S)

    async def _act(self, kv: Any, rng: random.Random, value: bytes) -> None:
        key, kind = rng.choice(KEYS), rng.random()
        if kind < SHARE_OF_READS:
            self._latest[key] = await kv.get(key)
        elif kind < SHARE_OF_READS + SHARE_OF_SWAPS:
            if await kv.compare_and_swap(key, expect=self._latest[key], value=value):
                self._latest[key] = value
        else:
            await kv.put(key, value)
            self._latest[key] = value

    async def look(self, kv: Any) -> None:
        """Read every key, and write that down."""
        kv = self._recorder.wrap(kv)
        for key in KEYS:
            await kv.get(key)

    async def testify(self) -> Evidence:
        """End the history, and judge it; where it does not prove the claim, keep it."""
        self._recorder.close()
        # In a thread: the connections of this process stay alive meanwhile.
        verdict = await asyncio.to_thread(lambda: check(read_history(self._path), timeout=CHECK_S))
        if verdict.answer == "linearizable":
            detail = f"{verdict.operations:,} operations of {WITNESSES} clients on {len(KEYS)} keys"
            return Evidence(Proof(CLAIM, True, detail), verdict.operations, None)
        kept = _kept(self._path)
        return Evidence(Proof(CLAIM, False, _finding(verdict, kept)), verdict.operations, kept)


def _kept(path: Path) -> str:
    handle, kept = tempfile.mkstemp(prefix="raycons-demo-", suffix=".jsonl", dir=scratch_root())
    os.close(handle)
    shutil.copyfile(path, kept)
    return kept


def _finding(verdict: Verdict, kept: str) -> str:
    if verdict.violation is None:
        what = f"undecided after {CHECK_S:g} s, on {verdict.undecided} of {verdict.objects} keys"
    else:
        what = story(verdict.violation)[0]
    return f"{what}; to see it: raycons check {kept}"
