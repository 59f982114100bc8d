"""Clients beside the load who write down all that they do, and whether it can be explained.

The ledger's keys have one writer each, so its audit says nothing of what clients see of each other.
The witnesses share a few keys, on which they do everything that a history knows: they put, read,
swap, append and delete. Their history (`raycons.verify`) covers the faults and the full restart,
and ends with a look at every key. It must be linearizable.

They are few, and apart from the load: a history holds no transactions, which the ledger's writes
are, and a recorded operation costs some 6 us more, a fifth of a core at 33,000 a second.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from raycons.chaos.appends import Appending
from raycons.chaos.proofs import Proof
from raycons.errors import NotApplied, OutcomeUnknown
from raycons.verify import Operation, Recorder, Verdict, check, read_history
from raycons.verify.story import story

WITNESSES = 8
NAMES = "abcd"
TURNS_ON_A_KEY = 250  # about; all witnesses together
# In a hundred operations of a witness; a value is appended to some twice before it is replaced.
SHARES = {"get": 35, "cas": 25, "append": 15, "put": 17, "delete": 8}
PAUSE_S = 0.05  # after an operation that was not acknowledged
CHECK_S = 30.0  # at most, for the search
SEED = 2026
CLAIM = "what recorded clients saw is linearizable"


Stopped = Callable[[], bool]


class Evidence(msgspec.Struct, frozen=True):
    """What the witnesses' history comes to."""

    proof: Proof
    operations: int
    history: str | None  # where it was kept; None where it proves the claim


class Witnesses:
    """The recorded clients, and their history.

    Args:
        path: where the history is written.
        keep_in: the directory in which it is kept if it does not prove the claim.
        prefix: what the names of their keys begin with; apart for each history of one cluster.
        pace_s: the pause between two operations of one witness.
        seed: what they do follows from it.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_in: Path,
        prefix: str = "",
        pace_s: float = 0.0,
        seed: int = SEED,
    ) -> None:
        self._path = path
        self._keep_in = keep_in
        self._pace_s = pace_s
        self._seed = seed
        self._recorder = Recorder(path)
        self._prefix = prefix
        self._turns = 0
        self._latest: dict[str, bytes | None] = {}  # of each key so far, as any of them knows it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.close()

    async def run(self, handle: Callable[[], Any], client: int, stopped: Stopped) -> None:
        """One witness, until it is `stopped`; `handle` gives the asynchronous handle of bytes."""
        rng = random.Random(self._seed + client)
        number = 0
        while not stopped():
            number += 1
            try:
                kv = self._recorder.wrap(Appending(handle()))
                await self._act(kv, rng, b"%d/%d" % (client, number))
            except (NotApplied, OutcomeUnknown):
                await asyncio.sleep(PAUSE_S)
            if self._pace_s:
                await asyncio.sleep(self._pace_s)

    async def _act(self, kv: Any, rng: random.Random, value: bytes) -> None:
        key = self._key(rng)
        match rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]:
            case "get":
                self._latest[key] = await kv.get(key)
            case "cas":
                if await kv.compare_and_swap(key, expect=self._latest[key], value=value):
                    self._latest[key] = value
            case "append":
                await kv.append(key, b"+" + value)
            case "put":
                await kv.put(key, value)
                self._latest[key] = value
            case "delete":
                await kv.delete(key)
                self._latest[key] = None

    def _key(self, rng: random.Random) -> str:
        batch = self._turns // (TURNS_ON_A_KEY * len(NAMES))
        self._turns += 1
        key = f"{self._prefix}witness/{batch}{rng.choice(NAMES)}"
        self._latest.setdefault(key, None)
        return key

    async def look(self, kv: Any) -> None:
        """Read every key that was used, and write that down."""
        kv = self._recorder.wrap(kv)
        for key in self._latest:
            await kv.get(key)

    async def testify(self, timeout_s: float = CHECK_S) -> Evidence:
        """End the history, and judge it; where it does not prove the claim, keep it."""
        self._recorder.close()
        # In a thread: the connections of this process stay alive meanwhile.
        history, verdict = await asyncio.to_thread(_judged, self._path, timeout_s)
        if verdict.answer == "linearizable":
            detail = f"{_counted(history)} of {WITNESSES} clients on {verdict.objects} keys"
            return Evidence(Proof(CLAIM, True, detail), verdict.operations, None)
        kept = _kept(self._path, self._keep_in)
        finding = _finding(verdict, kept, timeout_s)
        return Evidence(Proof(CLAIM, False, finding), verdict.operations, kept)


def _judged(path: Path, timeout_s: float) -> tuple[Sequence[Operation], Verdict]:
    history = read_history(path)
    return history, check(history, timeout=timeout_s)


def _counted(history: Sequence[Operation]) -> str:
    """How many operations, and of which kinds.

    >>> _counted([Operation(0, "get", "x", 1, 2), Operation(0, "put", "x", 3, None, "1")])
    '2 operations (1 get, 1 put)'
    """
    kinds = Counter(one.op for one in history)
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    return f"{len(history):,} operations ({shown})"


def _kept(path: Path, directory: Path) -> str:
    handle, kept = tempfile.mkstemp(prefix="raycons-history-", suffix=".jsonl", dir=directory)
    os.close(handle)
    shutil.copyfile(path, kept)
    return kept


def _finding(verdict: Verdict, kept: str, timeout_s: float) -> str:
    if verdict.violation is None:
        what = f"undecided after {timeout_s:g} s, on {verdict.undecided} of {verdict.objects} keys"
    else:
        what = story(verdict.violation)[0]
    return f"{what}; to see it: raycons check {kept}"
