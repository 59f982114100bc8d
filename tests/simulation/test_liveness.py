"""The second phase: a bare quorum is healed, the rest stays broken, and progress must come back."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from raycons.consensus import quorum
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.errors import StoreError
from raycons.simulation.caspaxos.run import RegisterRun
from raycons.simulation.core import choose_core
from raycons.simulation.process import Process
from raycons.simulation.run import Run
from raycons.simulation.scenario import draw
from raycons.simulation.world import Violation, World


def members(voters: list[int], leaving: tuple[int, ...] = (), joining: int = 0) -> Configuration:
    peers = [Peer(id, id, Role.VOTER) for id in voters]
    peers += [Peer(id, id, Role.LEARNER, leaving=True) for id in leaving]
    peers += [Peer(joining, joining, Role.JOINING)] if joining else []
    return Configuration(tuple(peers), 10)


def cores(configurations: list[Configuration], sound: list[int]) -> set[frozenset[int]]:
    found = (choose_core(Random(seed), configurations, sound) for seed in range(50))
    return {core for core in found if core is not None}


def test_a_core_is_any_smallest_quorum_of_the_sound() -> None:
    assert cores([members([1, 2, 3])], [1, 2, 3, 4]) == {
        frozenset({1, 2}),
        frozenset({1, 3}),
        frozenset({2, 3}),
    }
    assert cores([members([1, 2, 3])], [1, 3]) == {frozenset({1, 3})}
    assert cores([members([1, 2, 3])], [3]) == set()


def test_a_core_is_a_quorum_of_both_halves_and_keeps_who_is_joining() -> None:
    joint = members([1, 2, 4], leaving=(3,))
    assert all(len(core & {1, 2, 4}) > 1 for core in cores([joint], [1, 2, 3, 4]))
    assert all(5 in core for core in cores([members([1, 2, 3], joining=5)], [1, 2, 3, 5]))
    assert cores([members([1, 2, 3], joining=5)], [1, 2, 3]) == set()


def execute(seed: int) -> tuple[str | None, dict[str, int]]:
    scenario = draw(World(seed).random("scenario"))
    calm = msgspec.structs.replace(scenario, rates={}, bends={}, voters=3, learners=0)
    outcome = Run(seed, calm).execute(1.0)
    return outcome.violation and outcome.violation.invariant, outcome.coverage


def test_a_bare_quorum_makes_progress() -> None:
    for seed in range(3):
        violation, coverage = execute(seed)
        assert violation is None
        assert coverage["core healed"] == 1
        assert sum(count for name, count in coverage.items() if "doom" in name) == 1


def test_whose_disk_has_just_failed_is_not_back_before_all_is_healed() -> None:
    scenario = draw(World(0).random("scenario"))
    calm = msgspec.structs.replace(scenario, rates={}, bends={}, voters=3, learners=0)
    run = Run(0, calm)
    for member in run.members.values():
        member.start()
    doomed = run.members[3]
    for fate in range(8):
        run.world.run(run.world.now + 0.5)
        doomed._disk_failed(StoreError(f"failure {fate}"))
        run.nemesis.heal_only(frozenset({1, 2}))
        run.world.run(run.world.now + 2.0)
        assert not doomed.running
        run.nemesis.calm()
        assert doomed.running


@pytest.mark.parametrize(
    ("error", "invariant"),
    [(KeyError("x"), "no-exception"), (Violation("recovery", "nothing is there"), "recovery")],
)
@pytest.mark.parametrize("kind", [Run, RegisterRun])
def test_what_a_process_raises_that_the_healing_starts_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Run] | type[RegisterRun],
    error: Exception,
    invariant: str,
) -> None:
    def fail(member: Process) -> None:
        raise error

    monkeypatch.setattr(Process, "restart", fail)
    broken = kind(0).execute(0.5).violation
    assert broken is not None
    assert (broken.invariant, broken.step > 0, broken.time_s > 0.0) == (invariant, True, True)


def test_a_group_that_needs_everybody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda size: size)
    assert [execute(seed)[0] for seed in range(3)] == ["progress"] * 3
