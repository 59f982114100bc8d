"""The run itself: load, rounds of faults until the time is over, and then the proofs."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from raycons.aio import AsyncCluster
from raycons.chaos.faults import until_whole
from raycons.chaos.hosts import Hosts
from raycons.chaos.kinds import ALONE, chosen
from raycons.chaos.ledger import Ledger, audit, entries, tallies
from raycons.chaos.load import WRITERS, Load
from raycons.chaos.nodes import Nodes
from raycons.chaos.proofs import Proof, equal_replicas
from raycons.chaos.report import ChaosReport, Incident, availability, by_kind, recovered
from raycons.chaos.rounds import Rounds
from raycons.chaos.schedule import rounds
from raycons.chaos.target import Target
from raycons.chaos.witnesses import Evidence, Witnesses
from raycons.cluster.status import ClusterStatus
from raycons.errors import RayconsError

WITNESS_PACE_S = 0.02
CHECK_S = 120.0  # at most, for the search through the history
SETTLE_S = 1.0  # of load before the first fault

Progress = Callable[[float, str], None]  # seconds that are over, and what comes next


class Plan(msgspec.Struct, frozen=True):
    """What a run is asked for."""

    seconds: float  # of faults; the round that is under way then is ended
    kinds: tuple[str, ...] = ()  # none named: all that the cluster can have
    seed: int = 0
    ray_failures_percent: int = 0  # with which Ray was started, for the report


async def unleash(
    cluster: AsyncCluster,
    plan: Plan,
    *,
    scratch: Path,
    keep_in: Path,
    progress: Progress,
    nodes: Nodes | None = None,
    hosts: Hosts | None = None,
) -> ChaosReport:
    """Put faults on a cluster under load, and prove that it kept its promises.

    Args:
        cluster: whole; it is again when this returns, but for what a proof says.
        plan: what to do.
        scratch: a directory for the history while it is written.
        keep_in: where the history goes if it does not prove what it should.
        progress: told before each round and each proof.
        nodes: those that the cluster lies on, where they may be killed.
        hosts: those that the cluster lies on, where they may be cut off.

    Raises:
        BadArgument: a kind of fault that there is not, or that the cluster cannot have.
        ClusterError: it was not whole to begin with.
    """
    kinds = chosen(
        plan.kinds,
        cluster.charter.settings,
        on_own_nodes=nodes is not None,
        on_own_hosts=hosts is not None,
    )
    prefix = f"chaos/{uuid.uuid4().hex[:8]}/"
    target = Target(cluster, nodes, hosts)
    ledger = Ledger(WRITERS, prefix)
    before = await until_whole(target.status, cluster.charter.settings.replicas)
    try:
        with Witnesses(
            scratch / "history.jsonl",
            keep_in=keep_in,
            prefix=prefix,
            pace_s=WITNESS_PACE_S,
            seed=plan.seed,
        ) as witnesses:
            load = Load(target, ledger, witnesses)
            course = await _under_load(target, load, plan, kinds, progress)
            proofs = [recovered(course.incidents)]
            try:
                proofs += await _proofs(target, ledger, plan, progress)
                await witnesses.look(target.kv())
            except RayconsError as error:
                proofs.append(Proof("what the cluster holds can be read", False, str(error)))
            progress(plan.seconds, "checking the history of the recorded clients")
            evidence = await witnesses.testify(CHECK_S)
        report = _report(plan, before, ledger, [*proofs, evidence.proof], evidence, load, course)
        if report.verdict:
            await target.kv().delete_range(prefix=prefix)
        return report
    finally:
        await target.heal_members()
        await target.close()


class _Course(NamedTuple):
    begin: float
    end: float
    incidents: list[Incident]


async def _under_load(
    target: Target, load: Load, plan: Plan, kinds: Sequence[str], progress: Progress
) -> _Course:
    """The rounds, until the time is over or the cluster does not come back."""
    incidents: list[Incident] = []
    async with load.at_work():
        begin = time.monotonic()
        replicas = target.charter.settings.replicas
        carrier = Rounds(target, load.timeline, begin=begin, replicas=replicas)
        await asyncio.sleep(SETTLE_S)
        for planned in rounds(plan.seed, kinds, ALONE):
            past = time.monotonic() - begin
            if past >= plan.seconds:
                break
            progress(past, " and ".join(one.kind for one in planned.faults))
            incidents.append(await carrier.carry_out(planned))
            if incidents[-1].whole_s is None:
                break
        end = time.monotonic()
    return _Course(begin, end, incidents)


async def _proofs(target: Target, ledger: Ledger, plan: Plan, progress: Progress) -> list[Proof]:
    progress(plan.seconds, "accounting for every write")
    cluster = target.cluster
    found = [entry async for entry in entries(cluster, ledger.prefix)]
    proofs = audit(ledger.outcomes, found, await tallies(cluster, ledger.prefix))
    progress(plan.seconds, "comparing the replicas")
    proofs.append(await equal_replicas(cluster))
    return proofs


def _report(
    plan: Plan,
    status: ClusterStatus,
    ledger: Ledger,
    proofs: list[Proof],
    evidence: Evidence,
    load: Load,
    course: _Course,
) -> ChaosReport:
    acknowledged, unknown, refused = ledger.count()
    per_second = load.timeline.per_second(course.begin, course.end)
    silence = load.timeline.silence_s(course.begin, course.end)
    return ChaosReport(
        verdict=all(proof.holds for proof in proofs),
        proofs=proofs,
        seed=plan.seed,
        rounds=len(course.incidents),
        faults=by_kind(course.incidents),
        available=availability(per_second),
        longest_silence_ms=round(silence * 1e3, 1),
        acknowledged=acknowledged,
        unknown=unknown,
        refused=refused,
        recorded=evidence.operations,
        history=evidence.history,
        replicas=len(status.voters),
        storage=status.storage,
        transport=status.transport,
        reads=status.reads,
        ray_failures_percent=plan.ray_failures_percent,
        seconds=round(course.end - course.begin, 1),
        incidents=course.incidents,
        acknowledged_per_second=per_second,
    )
