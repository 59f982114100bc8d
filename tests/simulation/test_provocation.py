"""Bends of the product's code: every mark has one, and they find what ordinary runs do not."""

from __future__ import annotations

import msgspec
from click.testing import CliRunner

from raycons.cli.simulate import command
from raycons.provocation import marks
from raycons.simulation.members import VirtualMember
from raycons.simulation.provocation import BENDS, POINTS, SLOT_POINTS, parts
from raycons.simulation.rare import LISTED, never_reached
from raycons.simulation.run import Run
from raycons.simulation.scenario import draw
from raycons.simulation.world import World


def bent_run(seed: int, bends: dict[str, float], protocol: str = "raft") -> Run:
    scenario = draw(World(seed).random("scenario"), protocol)
    return Run(seed, msgspec.structs.replace(scenario, bends=bends, rates={}, voters=3))


def a_member(run: Run) -> VirtualMember:
    member = run.members[1]
    member.start()
    return member


def test_every_point_is_marked_once_and_has_a_bend() -> None:
    engine = a_member(bent_run(1, {})).engine
    assert engine is not None
    found = [point for part in parts(engine) for point, _ in marks(type(part))]
    assert sorted([*found, "late-sync"]) == sorted(POINTS)
    of_raft = [point for point in BENDS if point not in SLOT_POINTS]
    assert sorted(found) == sorted(of_raft)


def test_multipaxos_has_points_of_its_own() -> None:
    bends = {**POINTS, **dict.fromkeys(SLOT_POINTS, 0.5)}
    run = bent_run(1, bends, "multipaxos")
    engine = a_member(run).engine
    assert engine is not None
    found = {point for part in parts(engine) for point, _ in marks(type(part))}
    assert found == set(BENDS) - {"early-snapshot"}
    reached: set[str] = set()
    for seed in range(4):
        outcome = bent_run(seed, bends, "multipaxos").execute(5.0)
        assert outcome.violation is None, (seed, outcome.violation)
        reached |= {name for name in outcome.coverage if name.startswith("bend ")}
    assert reached == {f"bend {point}" for point in [*found, "late-sync"]}


def test_only_the_points_that_a_seed_drew_are_bent() -> None:
    plain, bent = a_member(bent_run(1, {})).engine, a_member(bent_run(1, POINTS)).engine
    assert plain is not None and bent is not None
    for part in parts(plain):
        assert not {name for _, name in marks(type(part))} & set(vars(part))
    for part in parts(bent):
        assert {name for _, name in marks(type(part))} <= set(vars(part))


def test_every_point_is_reached_and_breaks_nothing() -> None:
    reached: set[str] = set()
    for seed in range(3):
        run = bent_run(seed, POINTS)
        outcome = run.execute(5.0)
        assert outcome.violation is None, (seed, outcome.violation)
        reached |= {name for name in outcome.coverage if name.startswith("bend ")}
    assert reached == {f"bend {point}" for point in POINTS}


def test_what_was_never_reached_is_named_and_may_be_an_error() -> None:
    assert never_reached({}) == list(LISTED)
    arguments = ["--seeds", "1", "--seconds", "0.1"]
    told = CliRunner().invoke(command, arguments)
    assert told.exit_code == 0, told.output
    assert "never reached: " in told.output and "fault bit-rot" in told.output
    assert CliRunner().invoke(command, [*arguments, "--require-coverage"]).exit_code == 3
