"""Recorded clients: their history is judged, and kept where it proves nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from raycons.bench.demo import story
from raycons.bench.workload import LoadReport
from raycons.chaos import witnesses
from raycons.chaos.ledger import Ledger
from raycons.chaos.proofs import Proof
from raycons.chaos.witnesses import CLAIM, NAMES, SHARES, WITNESSES, Evidence, Witnesses
from raycons.errors import OutcomeUnknown, Unavailable
from raycons.verify import read_history
from raycons.verify.history import KEY_VALUE_OPERATIONS

TURNS = 500


class FakeKv:
    """A store in memory; some operations fail, before or after their effect."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.turns = 0
        self.sound = False

    async def _turn(self) -> None:
        self.turns += 1
        await asyncio.sleep(0)
        if self.turns % 50 == 0 and not self.sound:
            raise Unavailable

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.turns % 40 == 0 and not self.sound:
            raise OutcomeUnknown

    async def put(self, key: str, value: bytes) -> int:
        await self._turn()
        self.values[key] = value
        await self._answer()
        return self.turns

    async def get(self, key: str) -> bytes | None:
        await self._turn()
        value = self.values.get(key)
        await self._answer()
        return value

    async def compare_and_swap(self, key: str, *, expect: bytes | None, value: bytes) -> bool:
        await self._turn()
        swaps = self.values.get(key) == expect
        if swaps:
            self.values[key] = value
        await self._answer()
        return swaps

    async def delete(self, key: str) -> int:
        await self._turn()
        removed = self.values.pop(key, None) is not None
        await self._answer()
        return int(removed)


async def evidence(path: Path, kv: FakeKv, restarted: FakeKv, timeout_s: float = 30.0) -> Evidence:
    with Witnesses(path, keep_in=path.parent) as recorded:
        async with asyncio.TaskGroup() as group:
            for client in range(WITNESSES):
                group.create_task(recorded.run(lambda: kv, client, lambda: kv.turns >= TURNS))
        restarted.sound = True  # the faults are over
        await recorded.look(restarted)
        return await recorded.testify(timeout_s)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "PAUSE_S", 0.0)


def test_a_sound_store_holds(tmp_path: Path) -> None:
    kv = FakeKv()
    told = asyncio.run(evidence(tmp_path / "history.jsonl", kv, kv))
    assert told.proof.holds
    assert told.history is None
    history = read_history(tmp_path / "history.jsonl")
    assert len(history) == told.operations > TURNS * 0.6  # an append takes two turns or more
    assert {one.op for one in history} == KEY_VALUE_OPERATIONS == set(SHARES)
    assert any(one.op == "cas" and one.out for one in history)
    assert any(one.op == "delete" and one.out for one in history)
    assert {one.op for one in history if one.unknown} == KEY_VALUE_OPERATIONS - {"get"}
    assert {one.key for one in history[-len(NAMES) :] if one.op == "get"} == {
        f"witness/0{name}" for name in NAMES
    }


def test_a_long_history_is_on_many_keys_each_looked_at_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnesses, "TURNS_ON_A_KEY", 20)
    kv = FakeKv()
    assert asyncio.run(evidence(tmp_path / "history.jsonl", kv, kv)).proof.holds
    history = read_history(tmp_path / "history.jsonl")
    keys = {one.key for one in history}
    assert len(keys) > len(NAMES)
    assert {one.key for one in history[-len(keys) :] if one.op == "get"} == keys


def test_what_is_lost_in_the_restart_fails_and_the_history_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnesses, "TURNS_ON_A_KEY", 25)
    told = asyncio.run(evidence(tmp_path / "history.jsonl", FakeKv(), FakeKv()))
    assert not told.proof.holds
    assert told.history is not None
    assert Path(told.history).read_bytes() == (tmp_path / "history.jsonl").read_bytes()
    assert "nothing explains these" in told.proof.detail
    assert f"raycons check {told.history}" in told.proof.detail


def test_what_is_undecided_fails(tmp_path: Path) -> None:
    kv = FakeKv()
    told = asyncio.run(evidence(tmp_path / "history.jsonl", kv, kv, timeout_s=0.0))
    assert not told.proof.holds
    assert told.history is not None
    assert "undecided after 0 s, on 4 of 4 keys" in told.proof.detail


@pytest.mark.parametrize("holds", [True, False])
def test_the_verdict_of_the_demo_is_also_theirs(holds: bool) -> None:
    evidence = Evidence(Proof(CLAIM, holds, "detail"), 7, None if holds else "/kept.jsonl")
    load = LoadReport(1, 1.0, 1.0, 1, 1, 1.0)
    sound = [Proof("every acknowledged write is present", True, "")]
    report = story._report(Ledger(1), sound, evidence, load, [0.1], 0.1, 0.1, 0.0)
    assert report.verdict is holds
    assert report.proofs == [*sound, evidence.proof]
    assert (report.recorded, report.history) == (7, evidence.history)
