"""Failures that other systems once had, by name, as scripts over whole members.

Each holds, and goes red when the bug is planted. Those that the protocol alone decides are in
`tests/consensus/test_regressions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import pytest

from raycons import errors
from raycons.machines.kv.commands import PutDone
from raycons.member.applier import Applier
from raycons.simulation.disk import Disk, Pairs
from raycons.simulation.mutants import find
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.world import Violation
from raycons.store.contract import Space

from .group import Group


def total_loss_on_failover() -> None:
    """redisraft 14: followers kept the log and applied nothing, so a new leader had no data."""
    group = Group()
    for round in range(3):
        assert group.put(b"k%d" % round, b"v%d" % round) == PutDone(round + 1)
        leader = group.await_leader()
        leader.crash()
        group.await_leader()
        for earlier in range(round + 1):
            assert group.get(b"k%d" % earlier) == b"v%d" % earlier
        leader.restart()
    assert group.all_equal()


def endless_application_of_a_proxied_command() -> None:
    """redisraft 13: a command that a follower handed on was carried out again without end."""
    group = Group()
    leader = group.await_leader()
    assert isinstance(group.put(b"k", b"first"), PutDone)
    group.silence(leader)
    told = group.begin_put(b"k", b"second")
    group.wait(0.7)  # it is committed, nobody was told, and the client asks elsewhere
    leader.crash()
    group.await_leader()
    group.wait(3.0)
    assert [type(result) for result in told] == [PutDone]
    assert len(group.effects) == 2
    assert group.get(b"k") == b"second"


def a_failure_reported_as_certain_that_took_effect() -> None:
    """redisraft 2020: a write was answered with a definite failure, and took effect."""
    group = Group()
    leader = group.await_leader()
    assert isinstance(group.put(b"k", b"first"), PutDone)
    for member in group.members.values():
        group.silence(member)
    result = group.put(b"k", b"second", timeout_s=0.5)
    assert isinstance(result, errors.OutcomeUnknown), result
    group.heal()
    assert group.get(b"k") == b"second"
    assert leader.running


def gap_between_snapshot_and_log_after_a_majority_was_killed() -> None:
    """redisraft 43, 53: after a restart the log began behind the end of the snapshot."""
    group = Group(voters=5, log_limit_bytes=3000)
    behind = next(m for m in group.members.values() if m is not group.await_leader())
    group.isolate(behind)
    for number in range(60):
        assert isinstance(group.put(b"k%d" % (number % 5), b"%d" % number + b"." * 200), PutDone)
    group.heal()
    for _ in range(3):
        group.wait(0.02)
        killed = sorted(group.members.values(), key=lambda member: member.id)[:3]
        for member in killed:
            member.crash()
        group.wait(0.1)
        for member in killed:
            member.restart()
    assert isinstance(group.put(b"k", b"after"), PutDone)
    assert group.all_equal()
    assert group.events["snapshot-installed"] > 0
    assert group.get(b"k4") == b"59" + b"." * 200


def bit_rot_in_a_minority() -> None:
    """NATS 7549: damaged files of a minority were taken as they were, and data was lost."""
    group = Group()
    for number in range(10):
        assert isinstance(group.put(b"k", b"%d" % number), PutDone)
    leader = group.await_leader()
    rotten, sound = (member for member in group.members.values() if member is not leader)
    assert rotten.disk.rot(Random(0))[0] == "LOG"
    for member in (rotten, sound):
        member.crash()
        member.restart()
    leader.crash()
    leader.restart()
    assert isinstance(group.put(b"k", b"after"), PutDone)
    assert rotten.destroyed
    assert group.all_equal()
    assert group.get(b"k") == b"after"


def reads_during_catch_up_after_a_restart() -> None:
    """etcd 3879: after a restart reads were served before the log had been applied again."""
    group = Group(voters=1)
    member = group.await_leader()
    for number in range(5):  # more than is applied in one turn
        assert isinstance(group.put(b"k", b"%d" % number + b"." * 100_000), PutDone)
    member.crash()  # before the state has reached the disk
    member.restart()
    assert member.engine is not None
    assert member.engine.replica.applied == 0
    member.disk.slowness = 100.0  # the read is there before the term's first entry commits
    assert group.get(b"k") == b"4" + b"." * 100_000


def apply_nothing_as_follower(patch: Patch) -> None:
    """Only who has somebody to answer carries a command out."""
    patch.edit(
        Applier._apply_entry,
        "body = self._machine.apply(",
        "body = b'' if not self._requests.commands else self._machine.apply(",
    )


def give_out_decayed_records(patch: Patch) -> None:
    """No checksum is compared: a decayed record is read as it is, with a bit turned over."""

    def as_it_is(disk: Disk, space: Space, key: bytes, value: bytes) -> bytes:
        return value[:-1] + bytes([value[-1] ^ 1]) if (space, key) in disk._rotten else value

    def get(disk: Disk, space: Space, key: bytes) -> bytes | None:
        value = disk.content.get(space, key)
        return value and as_it_is(disk, space, key, value)

    def verified(disk: Disk, space: Space, pairs: Pairs) -> Pairs:
        return ((key, as_it_is(disk, space, key, value)) for key, value in pairs)

    patch.attribute(Disk, "get", get)
    patch.attribute(Disk, "_verified", verified)


class Regression(NamedTuple):
    """A script, and what breaks it: a mutant, or a bug that only this test knows."""

    script: Callable[[], None]
    broken_by: str | Callable[[Patch], None]
    red: str  # the invariant that breaks then, and how


REGRESSIONS = [
    Regression(
        total_loss_on_failover,
        apply_nothing_as_follower,
        "linearizability: a read saw revision 0, but had begun after revision 1 was seen",
    ),
    Regression(
        endless_application_of_a_proxied_command,
        "retries-done-again",
        "exactly-once: b'second' took effect in entry 4 and again in 5",
    ),
    Regression(
        a_failure_reported_as_certain_that_took_effect,
        "unknown-outcome-called-certain",
        "errors-are-true: a client was told Unavailable",
    ),
    Regression(
        gap_between_snapshot_and_log_after_a_majority_was_killed,
        "snapshot-installed-in-two-batches",
        "image: the log of replica 1 begins after entry 62, but the state on its disk ends with 0",
    ),
    Regression(
        bit_rot_in_a_minority,
        give_out_decayed_records,
        "log-matching: replica 1 holds Entry(index=7,",
    ),
    Regression(
        reads_during_catch_up_after_a_restart,
        "read-before-it-is-applied",
        "linearizability: a read saw revision 3, but had begun after revision 5 was seen",
    ),
]


@contextmanager
def broken(by: str | Callable[[Patch], None]) -> Iterator[None]:
    """Have a bug in the shipped code for a while."""
    if isinstance(by, str):
        with find(by).planted():
            yield
    else:
        with Patch() as patch:
            by(patch)
            yield


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda one: one.script.__name__)
def test_what_once_failed_elsewhere_holds_and_goes_red_when_broken(regression: Regression) -> None:
    regression.script()
    with (
        broken(regression.broken_by),
        pytest.raises(Violation, match=re.escape(regression.red)),
    ):
        regression.script()
