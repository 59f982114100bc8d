"""Failures that other systems once had, by name: the scenario that holds here, and what breaks it.

Those that need a whole member, with its state, its store and its clients, are in
`tests/simulation/regressions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from raycons.consensus.raft.core import Core
from raycons.consensus.raft.log import Log
from raycons.simulation.mutants import find
from raycons.simulation.mutants.patch import Patch

from .runner import run_scenario
from .test_scenarios import SCENARIOS

PATHS = {path.stem: path for path in SCENARIOS}


class Regression(NamedTuple):
    """One failure of another system."""

    failed: str  # who once failed, and how
    scenario: str
    broken_by: str  # a mutant, or one of `BREAKS`
    red: str  # what is said of the scenario then


REGRESSIONS = {
    "stale read from a deposed leader": Regression(
        "etcd 741: a leader that was deposed without knowing it served reads from its own state",
        "read_stale_leader_does_not_serve",
        "read-without-asking-anybody",
        "expect read r: waiting\n    read r is: ready 1",
    ),
    "read index reused in a retry": Regression(
        "etcd 20418: a retry asked under the same name, and took the first question's late answer",
        "read_index_reply_late_and_twice",
        "read-context-reused",
        "expect read s: waiting\n    read s is: ready 1",
    ),
    "single member loses what it acknowledged": Regression(
        "etcd 14370: a single member committed, and answered, before its log was saved",
        "lone_voter_commits_when_on_disk",
        "leader-counts-its-unsynced-log",
        "expect commit 1: 2\n    commit 1 is: 3",
    ),
    "member removed while the leader is isolated": Regression(
        "redisraft 17: a member was removed through an isolated leader, and updates were lost",
        "change_removal_by_an_isolated_leader",
        "configuration-kept-when-its-entry-is-cut",
        "expect configuration 1 2 3: 1 2 3\n    configuration 1 is: 1 2 | 1 2 3",
    ),
    "reconfiguration in a partition": Regression(
        "RethinkDB 2.1.5: reconfigured in a partition, both sides of a table took writes",
        "change_in_a_minority_commits_nothing",
        "joint-quorum-from-one-half",
        "expect commit 1: 2\n    commit 1 is: 5",
    ),
    "acknowledged before fsync": Regression(
        "NATS 7564: writes were acknowledged before the disk had them, and gone after power failed",
        "follower_acknowledges_when_on_disk",
        "acknowledged-before-fsync",
        "Appended(term=1, matched=1) is not on disk",
    ),
    "install-snapshot livelock": Regression(
        "hashicorp/raft 697: a log that conflicts with a snapshot stayed, and asked for the next",
        "snapshot_drops_a_conflicting_log",
        "conflicting log kept",
        "the replicas never come to rest",
    ),
    "leader with a hung disk": Regression(
        "hashicorp/raft 503: a leader whose disk hung went on sending heartbeats, and led for ever",
        "disk_stall_steps_down",
        "hung disk unnoticed",
        "expect role 1: follower\n    role 1 is: leader",
    ),
    "group stuck when its leader is removed": Regression(
        "etcd 11038: a leader that was removed stayed, and the others elected nobody",
        "change_removes_the_leader",
        "removed-leader-stays",
        "expect role 1: follower\n    role 1 is: leader",
    ),
    "pre-vote and check-quorum deadlock": Regression(
        "etcd 8501: a member of a higher term ignored its leader, and nobody heard it",
        "rejoining_member_of_a_higher_term_is_heard",
        "higher-term-never-heard",
        "expect applied 3: a\n    applied 3 is: nothing",
    ),
    "persisted commit beyond the log": Regression(
        "PySyncObj PR 197: a follower committed up to an index that its own log did not verify",
        "heartbeat_commit_names_its_term",
        "heartbeat-commits-the-whole-log",
        "state machine safety: Entry(index=2, term=2",
    ),
    "full restart after term loss": Regression(
        "PySyncObj 201: terms were not written, and after a full restart began anew",
        "terms_outlive_a_full_restart",
        "term-not-persisted",
        "expect term 1 3: 7\n    term 1 is: 1",
    ),
}


def keep_conflicting_log(patch: Patch) -> None:
    """A snapshot moves the log's base, and leaves the entries behind it."""
    patch.attribute(Log, "reset", lambda log, last, time_us: None)


def overlook_hung_disk(patch: Patch) -> None:
    """However long a write waits for the disk, nothing follows."""
    patch.attribute(Core, "disk_silent", lambda replica, now, for_s: False)


BREAKS = {"conflicting log kept": keep_conflicting_log, "hung disk unnoticed": overlook_hung_disk}


@contextmanager
def broken(by: str) -> Iterator[None]:
    """Plant a mutant, or one of the breaks that only these tests know."""
    if by in BREAKS:
        with Patch() as patch:
            BREAKS[by](patch)
            yield
    else:
        with find(by).planted():
            yield


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_failed_elsewhere_holds_and_goes_red_when_broken(name: str) -> None:
    regression = REGRESSIONS[name]
    run_scenario(PATHS[regression.scenario])
    with (
        broken(regression.broken_by),
        pytest.raises(AssertionError, match=re.escape(regression.red)),
    ):
        run_scenario(PATHS[regression.scenario])
