"""Bugs planted into the shipped code, which the simulator must find, and find again.

Each one is a mistake that implementations of Raft have really shipped with. The patches change the
engine, the replica or the machines themselves, never a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from raycons.client import outcome as outcome_module
from raycons.consensus import quorum
from raycons.consensus.configuration import Configuration
from raycons.consensus.raft import membership
from raycons.consensus.raft import replica as replica_module
from raycons.consensus.raft.change import Changes
from raycons.consensus.raft.core import Core
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.messages import Heartbeat, RequestVote
from raycons.consensus.raft.reads import Reads
from raycons.consensus.raft.replication import Replication
from raycons.machines.sessions.records import Session
from raycons.member.state_view import Staging
from raycons.simulation.network import Weather
from raycons.simulation.run import Outcome, Run, run_seed
from raycons.simulation.scenario import draw
from raycons.simulation.world import World

SECONDS = 20.0
SEEDS = 60  # at most so many are tried for one bug

Plant = Callable[[pytest.MonkeyPatch], None]


def vote_before_it_is_on_disk(patch: pytest.MonkeyPatch) -> None:
    """Answers and counts votes that a crash may forget."""
    patch.setattr(Core, "after_hard_state", lambda replica: 0)


def acknowledge_before_fsync(patch: pytest.MonkeyPatch) -> None:
    """Followers answer for entries that are not on their disk yet."""
    patch.setattr(Core, "after_everything", lambda replica: 0)


def leader_counts_its_unsynced_log(patch: pytest.MonkeyPatch) -> None:
    """The leader counts itself before its own write is durable."""
    original = Replication.advance_commit

    def advance(replica: Any, now: float) -> None:
        replica.durable_index = replica.log.last_index
        original(replica, now)

    patch.setattr(Replication, "advance_commit", advance)


def commit_entries_of_old_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8 of the Raft paper."""

    def advance(replica: Any, now: float) -> None:
        durable = {id: progress.match for id, progress in replica.progress.items()}
        durable[replica.id] = replica.durable_index
        candidate = quorum.committed_index(replica.configuration.halves, durable)
        if candidate > replica.commit:
            replica.commit_to(candidate, now)

    patch.setattr(Replication, "advance_commit", advance)


def vote_for_anyone(patch: pytest.MonkeyPatch) -> None:
    """Section 5.4.1 forgotten: a log that lacks committed entries may win."""
    patch.setattr(Log, "up_to_date", lambda log, last: True)


def one_vote_less_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A quorum that is no majority."""
    patch.setattr(quorum, "majority", lambda size: max(1, size // 2))


def forget_whom_it_voted_for(patch: pytest.MonkeyPatch) -> None:
    """The vote is granted, and not remembered."""

    def receive(replica: Any, sender: int, message: Any, now: float) -> None:
        replica.receive_request_vote(sender, message, now)
        if replica.role == "follower":
            replica.vote = 0

    patch.setitem(replica_module._ELECTION, RequestVote, receive)


def read_without_asking_anybody(patch: pytest.MonkeyPatch) -> None:
    """A leader that was deposed without knowing it serves old values."""
    patch.setattr(
        Reads, "_read_as_leader", lambda replica, read, now: replica._ready([read], replica.commit)
    )


def commit_what_was_never_compared(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat is taken for a word about the whole log of the follower."""

    def receive(replica: Any, sender: int, message: Any, now: float) -> None:
        replica.receive_heartbeat(sender, message, now)
        if replica.log.last_index > replica.commit:
            replica.commit_to(replica.log.last_index, now)

    patch.setitem(replica_module._FROM_LEADER, Heartbeat, receive)


def wait_for_the_configuration_to_commit(patch: pytest.MonkeyPatch) -> None:
    """Section 6: a configuration counts from when it is in the log, not from its commit."""
    patch.setattr(Changes, "configuration_appended", lambda replica, entry: None)


def do_every_retry_again(patch: pytest.MonkeyPatch) -> None:
    """The session table does not find what it has answered."""
    patch.setattr(Session, "recall", lambda session, number: None)


def say_not_applied_when_nobody_knows(patch: pytest.MonkeyPatch) -> None:
    """The client's error promises more than it can know."""
    patch.setattr(outcome_module, "has_no_effect", lambda call: True)


def break_promises(patch: pytest.MonkeyPatch) -> None:
    """Votes and campaigns though a leader's lease rests on the promise not to."""
    patch.setattr(Core, "bound", lambda replica, now: False)


def change_voters_in_one_step(patch: pytest.MonkeyPatch) -> None:
    """Replaces one voter by another without a joint configuration."""
    original = membership._joint

    def at_once(configuration: Configuration, voters: frozenset[int]) -> Configuration:
        return membership.leave_joint(original(configuration, voters))

    patch.setattr(membership, "_joint", at_once)


def lose_a_piece_of_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Some pieces are taken for received, and never written."""
    original = Staging.add

    def add(staging: Staging, data: bytes) -> int:
        return original(staging, data) if len(data) % 3 else 0

    patch.setattr(Staging, "add", add)


PLANTS: list[tuple[Plant, set[str]]] = [
    (vote_before_it_is_on_disk, {"vote-once", "election-safety"}),
    (acknowledge_before_fsync, {"acknowledged-is-durable"}),
    (leader_counts_its_unsynced_log, {"committed-is-durable"}),
    (commit_entries_of_old_terms_by_counting, {"committed-is-durable"}),
    (vote_for_anyone, {"leader-completeness", "no-exception", "state-machine-safety"}),
    (one_vote_less_is_enough, {"election-safety", "committed-is-durable"}),
    (forget_whom_it_voted_for, {"vote-once"}),
    (read_without_asking_anybody, {"linearizability"}),
    (commit_what_was_never_compared, {"committed-is-durable"}),
    (wait_for_the_configuration_to_commit, {"configuration"}),
    (do_every_retry_again, {"exactly-once"}),
    (say_not_applied_when_nobody_knows, {"errors-are-true"}),
    (break_promises, {"linearizability"}),
    (change_voters_in_one_step, {"configuration"}),
    (lose_a_piece_of_a_snapshot, {"state-machine-safety", "equal-states", "no-exception"}),
]


def live(seed: int, plant: Plant) -> Outcome:
    """A run of the seed; for broken leases in a world where leaders are deposed unawares."""
    if plant is not break_promises:
        return run_seed(seed, SECONDS)
    drawn = draw(World(seed).random("scenario"))
    scenario = msgspec.structs.replace(
        drawn,
        voters=3,
        clients=3,
        concurrency=2,
        keys=1,
        think_s=0.02,
        drift=0.0,
        jumps=False,
        lease_s=2 * drawn.raft.election_timeout_s,
        weather=Weather(),
        rates={"tear": 1.0},
    )
    return Run(seed, scenario).execute(SECONDS)


def hunt(plant: Plant) -> Outcome:
    """The first seed's outcome that breaks something."""
    for seed in range(SEEDS):
        outcome = live(seed, plant)
        if outcome.violation is not None:
            return outcome
    pytest.fail(f"none of {SEEDS} seeds found the bug")


@pytest.mark.parametrize(
    ("plant", "invariants"), PLANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_bug_is_found_and_replays_to_the_same_step(
    plant: Plant, invariants: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    found = hunt(plant)
    assert found.violation is not None
    assert found.violation.invariant in invariants
    assert live(found.seed, plant) == found


def test_the_world_of_broken_leases_breaks_nothing_while_promises_are_kept() -> None:
    assert live(0, break_promises).violation is None
