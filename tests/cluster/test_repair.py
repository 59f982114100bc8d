"""What the supervisor decides, from what it saw: pure."""

from __future__ import annotations

from collections.abc import Mapping

from raycons.cluster.placement import home_for_addition, home_for_replacement, spread
from raycons.cluster.repair import Discard, Plan, Replace, Revive, Sweep, plan
from raycons.consensus.configuration import Configuration, Peer, Role

GRACE_S = 30.0


def configuration(
    *hosts: str, joining: Peer | None = None, outgoing: int = 0, reserved: tuple[int, ...] = ()
) -> Configuration:
    """Voters 1, 2, ... on these hosts."""
    peers = [
        Peer(id, 100 + id, Role.VOTER, leaving=id == outgoing, host=host)
        for id, host in enumerate(hosts, 1)
    ]
    if joining is not None:
        peers.append(joining)
    return Configuration(peers=tuple(peers), next_id=10, reserved=reserved)


def decide(
    members: Configuration,
    states: Mapping[int, str],
    *,
    lost_for_s: Mapping[int, float] | None = None,
    alive: tuple[str, ...] = ("a", "b", "c"),
) -> Plan:
    now = 1000.0
    return plan(
        configuration=members,
        states=states,
        lost_since={id: now - ago for id, ago in (lost_for_s or {}).items()},
        alive=alive,
        now=now,
        grace_s=GRACE_S,
    )


HEALTHY = {1: "serving", 2: "serving", 3: "serving"}


def test_nothing_is_done_while_all_serve() -> None:
    assert decide(configuration("a", "b", "c"), HEALTHY) == Plan((), ())


def test_a_replica_that_is_away_is_given_time() -> None:
    decided = decide(
        configuration("a", "b", "c"), HEALTHY | {2: "unreachable"}, lost_for_s={2: 10.0}
    )
    assert decided.steps == ()
    assert decided.notes == ("replica 2 is unreachable; it is replaced in 20 s if it stays away",)


def test_after_the_grace_period_it_is_replaced_on_a_free_host() -> None:
    decided = decide(
        configuration("a", "b", "c"),
        {1: "serving", 3: "serving"},
        lost_for_s={2: 31.0},
        alive=("a", "c", "d"),
    )
    assert decided.steps == (Replace(2, "d", "replica 2 is gone"),)


def test_no_host_gets_a_second_voter() -> None:
    decided = decide(
        configuration("a", "b", "c"),
        {1: "serving", 3: "serving"},
        lost_for_s={2: 3000.0},
        alive=("a", "c"),
    )
    assert decided.steps == ()
    assert "no host is free of other voters" in decided.notes[0]


def test_on_one_machine_the_machine_is_used_again() -> None:
    decided = decide(
        configuration("a", "a", "a"), HEALTHY | {2: "vacant"}, lost_for_s={2: 2.0}, alive=("a",)
    )
    assert decided.steps == (Replace(2, "a", "replica 2 is vacant"),)


def test_who_says_that_its_store_is_gone_is_replaced_at_once() -> None:
    for state in ("vacant", "retired"):
        decided = decide(configuration("a", "b", "c"), HEALTHY | {2: state}, lost_for_s={2: 1.5})
        assert decided.steps == (Replace(2, "b", f"replica 2 is {state}"),)


def test_one_replacement_at_a_time() -> None:
    away = {1: 100.0, 2: 100.0}
    states = {1: "unreachable", 2: "unreachable", 3: "serving"}
    decided = decide(
        configuration("a", "b", "c", "d", "e"),
        states | {4: "serving", 5: "serving"},
        lost_for_s=away,
        alive=("c", "d", "e", "f", "g"),
    )
    assert decided.steps == (Replace(1, "f", "replica 1 is unreachable"),)


def test_a_change_under_way_is_left_to_finish() -> None:
    lost = {2: 100.0}
    states = {1: "serving", 2: "unreachable", 3: "serving", 4: "serving"}
    joining = Peer(4, 7, Role.JOINING, replaces=2, host="d")
    decided = decide(configuration("a", "b", "c", joining=joining), states, lost_for_s=lost)
    assert decided == Plan((), ("replica 4 joins in place of replica 2",))
    joint = configuration("a", "b", "c", outgoing=2)
    assert decide(joint, HEALTHY, lost_for_s=lost).steps == ()


def test_a_joining_replica_that_was_lost_is_taken_out_again() -> None:
    joining = Peer(4, 7, Role.JOINING, replaces=2, host="d")
    states = {1: "serving", 2: "unreachable", 3: "serving", 4: "vacant"}
    decided = decide(
        configuration("a", "b", "c", joining=joining), states, lost_for_s={2: 100.0, 4: 2.0}
    )
    assert [type(step) for step in decided.steps] == [Discard]


def test_a_replica_without_an_actor_is_revived_where_its_host_lives() -> None:
    decided = decide(
        configuration("a", "b", "c"), {1: "serving", 2: "gone"}, lost_for_s={2: 1.0, 3: 1.0},
        alive=("a", "b"),
    )  # fmt: skip
    assert decided.steps == (Revive(2, "b"),)


def test_actors_outside_the_configuration_are_swept_but_not_newer_ones() -> None:
    members = configuration("a", "b", "c", reserved=(5,))
    states = HEALTHY | {4: "serving", 5: "made", 10: "serving"}
    assert decide(members, states).steps == (Sweep(4), Sweep(5))


def test_placement() -> None:
    assert spread(3, ["a", "b", "c", "d"]) == ["a", "b", "c"]
    assert home_for_replacement(["a", "b"], ["a", "a", "b"], "a") == "a"
    assert home_for_replacement([], ["a"], "a") is None
    assert home_for_addition(["a", "b", "c"], ["a", "b"]) == "c"
    assert home_for_addition([], []) is None
