"""What a run's figures are made from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from raycons.chaos.picture import svg
from raycons.chaos.proofs import Proof
from raycons.chaos.report import ChaosReport, Incident, by_kind, recovered
from raycons.chaos.timeline import Timeline


def incident(*kinds: str, **fields: Any) -> Incident:
    usual: dict[str, Any] = {
        "victims": (1,),
        "at_leader": True,
        "began_s": 1.0,
        "healed_s": 2.0,
        "whole_s": 2.5,
        "failover_ms": 100.0,
        "silence_ms": 120.0,
    }
    return Incident(kinds=kinds, **(usual | fields))


def timeline(*writes: tuple[float, float]) -> Timeline:
    made = Timeline()
    for issued, answered in writes:
        made.acknowledged(issued, answered)
    return made


def test_an_answer_to_a_write_from_before_the_fault_ends_no_failover() -> None:
    writes = timeline((9.0, 10.1), (9.9, 10.4), (10.05, 10.9), (10.3, 11.0))
    assert writes.failover_s(10.0, 10.05) == pytest.approx(0.9)
    assert writes.failover_s(10.0, 10.2) == pytest.approx(1.0)
    assert writes.failover_s(10.0, 10.5) is None


def test_silence_counts_from_the_edges_of_the_time_that_is_asked_about() -> None:
    assert timeline().silence_s(3.0, 7.0) == 4.0
    assert timeline((1.0, 1.0), (5.0, 5.0)).silence_s(2.0, 9.0) == 4.0


def test_failovers_are_those_of_single_faults_on_the_leader() -> None:
    found = by_kind(
        [
            incident("kill", failover_ms=300.0),
            incident("kill", failover_ms=100.0),
            incident("kill", at_leader=False, failover_ms=1.0),
            incident("kill", "pause", failover_ms=9000.0, silence_ms=8000.0),
            incident("loss", failover_ms=None),
        ]
    )
    kill, loss, pause = found
    assert (kill.kind, kill.count, kill.failovers) == ("kill", 4, 2)
    assert (kill.failover_p50_ms, kill.failover_max_ms) == (200.0, 300.0)
    assert kill.silence_max_ms == pause.silence_max_ms == 8000.0
    assert (loss.failovers, loss.failover_p50_ms) == (0, None)


def test_a_cluster_that_does_not_come_back_fails_its_proof() -> None:
    assert recovered([incident("kill")]).holds
    proof = recovered([incident("kill"), incident("deaf", whole_s=None, note="2 is vacant")])
    assert not proof.holds
    assert "deaf at 1.0 s: 2 is vacant" in proof.detail


def test_the_picture_has_a_bar_for_each_second_and_a_band_for_each_round() -> None:
    incidents = [incident("kill"), incident("deaf", "pause")]
    report = ChaosReport(
        verdict=True,
        proofs=[Proof("a < b", True, "")],
        seed=1,
        rounds=2,
        faults=by_kind(incidents),
        available=0.75,
        longest_silence_ms=1.0,
        acknowledged=8,
        unknown=0,
        refused=0,
        recorded=1,
        history=None,
        replicas=3,
        storage="disk",
        transport="tcp",
        reads="read-index",
        ray_failures_percent=0,
        seconds=4.0,
        incidents=incidents,
        acknowledged_per_second=(3, 0, 1, 4),
    )
    shown = ElementTree.fromstring(svg(report))
    kinds = [one.get("class") for one in shown.iter() if one.tag.endswith("rect")]
    assert sorted(map(str, kinds)) == ["fault"] * 2 + ["none"] + ["writes"] * 3
    dots = [one for one in shown.iter() if one.tag.endswith("circle")]
    assert len(dots) == sum(one.at_leader and one.failover_ms is not None for one in incidents)
    assert dots
    assert "deaf+pause" in {one.text for one in shown.iter() if one.tag.endswith("text")}


def test_no_name_is_over_another_and_none_leaves_the_picture() -> None:
    crowded = [incident("hung-disk", "bad-disk") for _ in range(5)]
    report = SimpleNamespace(
        rounds=5,
        transport="tcp",
        seed=1,
        available=1.0,
        seconds=4.0,
        incidents=crowded,
        acknowledged_per_second=(1,) * 4,
    )
    shown = ElementTree.fromstring(svg(report))  # type: ignore[arg-type]
    names = [one for one in shown.iter() if one.text == "hung-disk+bad-disk"]
    assert len({one.get("y") for one in names}) == 5
    assert all(float(one.get("x", "0")) + 7 * 18 <= 1080 for one in names)
