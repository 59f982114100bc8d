"""A short run on real members; and each of its proofs, made to fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from raycons import aio
from raycons.aio import AsyncCluster
from raycons.chaos import run
from raycons.chaos.ledger import LEDGER, REFUSED, Ledger
from raycons.chaos.proofs import Proof
from raycons.chaos.report import ChaosReport
from raycons.chaos.run import Plan, unleash
from raycons.chaos.target import Target
from raycons.errors import Unavailable
from raycons.verify import read_history
from raycons.verify.history import KEY_VALUE_OPERATIONS
from tests.cluster.yard import Yard

pytestmark = pytest.mark.timeout(180)


def unleashed(yard: Yard, plan: Plan) -> ChaosReport:
    """Run the plan on the yard's cluster; no key of it may be left if all is well."""

    async def whole() -> ChaosReport:
        async with await aio.connect(yard.name) as cluster:
            report = await unleash(
                cluster, plan, scratch=yard.root, keep_in=yard.root, progress=lambda *_: None
            )
        async with await aio.connect(yard.name) as cluster:
            left = await cluster.kv().range(prefix="chaos/")
        assert bool(left) is not report.verdict
        return report

    return asyncio.run(whole())


def test_all_proofs_hold_after_a_few_faults(yard: Yard) -> None:
    yard.start(fault_injection=True).close()
    report = unleashed(yard, Plan(7.0, ("kill", "deaf", "pause", "stop"), seed=2))
    assert [proof for proof in report.proofs if not proof.holds] == []
    assert report.verdict
    assert [one.note for one in report.incidents if one.note] == []
    assert report.acknowledged > 200
    assert report.recorded > 200
    history = read_history(yard.root / "history.jsonl")
    assert {one.op for one in history if not one.unknown} == KEY_VALUE_OPERATIONS
    assert sum(report.acknowledged_per_second) == pytest.approx(report.acknowledged, abs=50)


def test_each_proof_fails_where_its_claim_is_not_true(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.start().close()
    prove, digest = run._proofs, AsyncCluster.digest

    async def sabotage(target: Target, ledger: Ledger, *rest: Any) -> list[Proof]:
        kv, keys = target.kv(), f"{ledger.prefix}{LEDGER}"
        await kv.delete(f"{keys}000/00000000")  # acknowledged, and lost
        await kv.put(f"{keys}001/00000001", (await kv.get(f"{keys}001/00000001")) or b"")  # twice
        ledger.outcomes[2][1] = REFUSED  # and yet it is there
        await kv.delete(f"{keys}003/00000000")
        await kv.put(f"{keys}003/00000000", b"late")  # after those that followed it
        for name in "abcd":
            await kv.put(f"{ledger.prefix}witness/0{name}", b"out of nowhere")
        return await prove(target, ledger, *rest)

    async def another(cluster: AsyncCluster, member: int) -> tuple[int, str]:
        index, state = await digest(cluster, member)
        return index, state if member != 2 else "other"

    monkeypatch.setattr(run, "_proofs", sabotage)
    monkeypatch.setattr(AsyncCluster, "digest", another)
    report = unleashed(yard, Plan(0.0, ("transfer",)))
    assert not report.verdict
    assert {proof.claim for proof in report.proofs if proof.holds} == {
        "the cluster was whole again after every round"  # see test_report
    }
    assert len(report.proofs) == 7
    assert report.history is not None
    assert Path(report.history).parent == yard.root


def test_what_cannot_be_read_in_the_end_is_a_proof_that_fails(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_answers(*_: Any) -> list[Proof]:
        raise Unavailable("no leader answered")

    yard.start(storage="memory").close()
    monkeypatch.setattr(run, "_proofs", nobody_answers)
    report = unleashed(yard, Plan(0.0, ("transfer",)))
    assert not report.verdict
    failed = [proof for proof in report.proofs if not proof.holds]
    assert [proof.detail for proof in failed[:1]] == ["no leader answered"]
