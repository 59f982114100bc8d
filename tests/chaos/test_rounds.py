"""Rounds on a cluster that is not there: what was begun is lifted, whatever happens."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from raycons.chaos import kinds, rounds
from raycons.chaos.kinds import chosen
from raycons.chaos.nodes import Replacement
from raycons.chaos.report import Incident
from raycons.chaos.rounds import Rounds
from raycons.chaos.schedule import Planned, Round
from raycons.chaos.timeline import Timeline
from raycons.cluster.settings import ClusterSettings
from raycons.cluster.status import ClusterStatus, ReplicaStatus
from raycons.errors import BadArgument, Unavailable

PAIR = Round((Planned("kill", True, 0.5), Planned("deaf", True, 0.5)), hold_s=0.0, rest_s=0.0)


def status(*serving: int) -> ClusterStatus:
    return ClusterStatus(
        name="fake",
        uuid="",
        leader=1 if 1 in serving else 0,
        term=1,
        commit=1,
        configuration_index=1,
        voters=(1, 2, 3),
        tolerates=1,
        storage="disk",
        transport="tcp",
        reads="read-index",
        replicas=tuple(
            ReplicaStatus(
                id=id, state="serving" if id in serving else "gone", term=1, leader=1, pid=id
            )
            for id in (1, 2, 3)
        ),
    )


class FakeTarget:
    """A cluster that says that these serve, and counts how often its network is healed."""

    name = "fake"

    def __init__(self, *serving: int) -> None:
        self.serving = serving
        self.healed = 0

    async def status(self) -> ClusterStatus:
        return status(*self.serving)

    async def heal_members(self) -> None:
        self.healed += 1


class FakeFault:
    """Writes down what is done to it; may refuse."""

    def __init__(self, name: str, done: list[str], refuses: str = "") -> None:
        self._name, self._done, self._refuses = name, done, refuses

    async def inject(self) -> None:
        await self._do("inject")

    async def lift(self) -> None:
        await self._do("lift")

    async def _do(self, what: str) -> None:
        self._done.append(f"{what} {self._name}")
        if what == self._refuses:
            raise Unavailable("nobody answers")


def carried_out(
    monkeypatch: pytest.MonkeyPatch, target: FakeTarget, refuses: dict[str, str]
) -> tuple[Incident, list[str]]:
    done: list[str] = []

    def made(planned: Planned, *_: Any) -> tuple[FakeFault, int]:
        return FakeFault(planned.kind, done, refuses.get(planned.kind, "")), 1

    monkeypatch.setattr(rounds, "fault", made)
    monkeypatch.setattr(rounds, "WHOLE_S", 0.05)
    monkeypatch.setattr(rounds, "LOOK_S", 0.01)
    whom: Any = target
    carrier = Rounds(whom, Timeline(), begin=0.0, replicas=3)
    return asyncio.run(carrier.carry_out(PAIR)), done


def test_faults_are_lifted_in_the_opposite_order(monkeypatch: pytest.MonkeyPatch) -> None:
    incident, done = carried_out(monkeypatch, FakeTarget(1, 2, 3), {})
    # What a member has to be asked for comes first: it may be dead after the next.
    assert done == ["inject deaf", "inject kill", "lift kill", "lift deaf"]
    assert incident.kinds == ("deaf", "kill")
    assert incident.whole_s is not None
    assert incident.at_leader
    assert incident.note == ""


def test_a_fault_that_does_not_begin_is_noted_and_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    target = FakeTarget(1, 2, 3)
    incident, done = carried_out(monkeypatch, target, {"deaf": "inject"})
    assert done == ["inject deaf", "inject kill", "lift kill", "lift deaf"]
    assert incident.note == "deaf did not begin: nobody answers"
    assert incident.failover_ms is None
    assert target.healed == 1


def test_a_fault_that_cannot_be_had_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    make = rounds.fault

    def refuse(one: Planned, *rest: Any) -> Any:
        if one.kind == "deaf":
            raise Unavailable("not here")
        return make(one, *rest)

    monkeypatch.setattr(rounds, "fault", refuse)
    carrier = Rounds(FakeTarget(1, 2, 3), Timeline(), begin=0.0, replicas=3)  # type: ignore[arg-type]
    only = Round((Planned("deaf", True, 0.5),), hold_s=0.0, rest_s=0.0)
    incident = asyncio.run(carrier.carry_out(only))
    assert incident.kinds == ()
    assert incident.note == "deaf did not begin: not here"


def test_one_that_cannot_be_lifted_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incident, done = carried_out(monkeypatch, FakeTarget(1, 2, 3), {"kill": "lift"})
    assert done[-1] == "lift deaf"
    assert "could not be lifted" in incident.note


def test_a_cluster_that_does_not_come_back_is_told_with_its_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incident, _ = carried_out(monkeypatch, FakeTarget(1, 2), {})
    assert incident.whole_s is None
    assert "leader 1; 1 is serving, 2 is serving, 3 is gone" in incident.note


def test_a_member_has_one_fault_of_its_network_and_one_of_its_disk_at_a_time() -> None:
    whom: Any = FakeTarget()

    def victim(kind: str, taken: dict[int, list[str]], *, at_leader: bool = True) -> int:
        return kinds.fault(Planned(kind, at_leader, 0.0), whom, status(1, 2, 3), taken)[1]

    assert victim("deaf", {}) == 1
    assert victim("deaf", {1: ["mute"]}) == 2
    assert victim("deaf", {1: ["hung-disk"]}) == 1
    assert victim("hung-disk", {1: ["slow-disk"], 2: ["bad-disk"]}) == 3
    assert victim("deaf", {}, at_leader=False) == 2
    with pytest.raises(Unavailable, match="to be had"):
        victim("deaf", {1: ["mute"], 2: ["loss"], 3: ["partition"]})


def test_what_a_cluster_cannot_have_is_refused_by_name_and_left_out_otherwise() -> None:
    plain = ClusterSettings()
    assert "kill" in chosen((), plain)
    assert "deaf" not in chosen((), plain)
    with pytest.raises(BadArgument, match="'deaf': the cluster was started without"):
        chosen(("kill", "deaf"), plain)
    with pytest.raises(BadArgument, match="no fault is called 'flood'; there are kill"):
        chosen(("flood",), plain)
    assert chosen(("deaf", "kill"), ClusterSettings(fault_injection=True)) == ("deaf", "kill")
    assert "kill" not in chosen((), ClusterSettings(storage="memory"))


def test_a_node_is_not_lost_for_good_where_a_majority_lies_on_it() -> None:
    def aim(*nodes: str) -> kinds.Aim:
        seen = status(1, 2, 3)
        replicas = tuple(
            msgspec.structs.replace(one, node=node)
            for one, node in zip(seen.replicas, nodes, strict=True)
        )
        spread = msgspec.structs.replace(seen, replicas=replicas)
        target: Any = SimpleNamespace(name="fake", nodes=object())
        return kinds.Aim(target, spread, replicas[0], 0.0)

    make = kinds.KINDS["lost-node"].make
    assert isinstance(make(aim("x", "y", "z")), Replacement)
    with pytest.raises(Unavailable, match="replicas 1, 3"):
        make(aim("x", "y", "x"))
