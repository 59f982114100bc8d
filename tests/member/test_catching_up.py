"""A follower that was away gets the log, or the state and the log after it, whatever gets lost."""

from __future__ import annotations

from typing import Any

import pytest

from raycons.consensus.messages import SnapshotChunk, SnapshotReply
from raycons.consensus.raft.messages import Append
from raycons.consensus.raft.progress import Mode
from raycons.store.contract import Space

from .harness import Recorder, World


def led(**member: Any) -> tuple[World, int, int]:
    """A world with a leader, and one of its followers."""
    world = World(3, **member)
    world.run(1.0)
    leader = world.leader()
    return world, leader, next(id for id in world.nodes if id != leader)


def write(world: World, count: int, every_s: float = 0.003) -> None:
    for _ in range(count):
        world.submit(world.leader(), bytes(100))
        world.run(every_s)


def has_all(world: World, id: int) -> bool:
    log = world.nodes[world.leader()].engine.replica.log
    return bool(world.nodes[id].engine.replica.commit == log.last_index)


def behind_the_log(world: World, leader: int, follower: int) -> Recorder:
    """Crash the follower, and write until the leader's log no longer reaches back to it."""
    store = world.crash(follower)
    write(world, 400)
    world.run(1.0)
    assert world.nodes[leader].engine.replica.log.base.index > 1
    return store


def from_piece(first: int) -> Any:
    return lambda message: type(message) is SnapshotChunk and message.sequence >= first


@pytest.mark.parametrize("delay_s", [0.001, 0.028, 0.04])
def test_a_round_trip_longer_than_a_heartbeat_holds_nobody_up(delay_s: float) -> None:
    world, leader, follower = led()
    term = world.nodes[leader].engine.replica.term
    world.delay_s = delay_s
    write(world, 5, 0.3)
    store = world.crash(follower)
    write(world, 5, 0.3)
    world.open(follower, store)
    restarted = world.now
    world.loses = lambda message: type(message) is Append and world.now < restarted + 0.3
    world.run(5.0)
    assert has_all(world, follower)
    assert world.nodes[leader].engine.replica.term == term


def test_a_snapshot_begins_again_though_its_first_piece_is_lost() -> None:
    world, leader, follower = led(log_limit_bytes=20_000, snapshot_chunk_bytes=2000)
    store = behind_the_log(world, leader, follower)
    world.loses = from_piece(3)
    world.open(follower, store)
    world.run(0.6)
    store = world.crash(follower)
    world.open(follower, store)
    lost: list[Any] = []

    def first_of_the_next(message: Any) -> bool:
        if type(message) is SnapshotChunk and message.sequence == 0 and not lost:
            lost.append(message)
            return True
        return False

    world.loses = first_of_the_next
    world.run(5.0)
    assert lost
    assert has_all(world, follower)


def test_a_late_answer_about_an_earlier_snapshot_does_not_hold_up_the_next() -> None:
    world, leader, follower = led(log_limit_bytes=20_000, snapshot_chunk_bytes=2000)
    store = behind_the_log(world, leader, follower)
    world.loses = from_piece(3)
    world.open(follower, store)
    world.run(0.6)
    term = world.nodes[leader].engine.replica.term
    world.deliver(follower, leader, SnapshotReply(term, 4711, 2, False))
    world.loses = lambda message: False
    world.run(5.0)
    assert has_all(world, follower)


def test_the_log_after_a_snapshot_is_kept_until_the_follower_has_it() -> None:
    world, leader, follower = led(
        log_limit_bytes=50_000, snapshot_chunk_bytes=400, write_behind_s=0.05
    )
    store = world.crash(follower)
    write(world, 1500, 0.0015)
    world.open(follower, store)
    write(world, 2500, 0.0015)
    engine = world.nodes[leader].engine
    assert engine.replica.progress[follower].mode is Mode.REPLICATE
    assert engine.status(world.now)["snapshots_sent"] == 1


def test_half_a_snapshot_goes_when_a_new_leader_s_log_reaches_back() -> None:
    world, leader, follower = led(log_limit_bytes=20_000, snapshot_chunk_bytes=2000)
    other = next(id for id in world.nodes if id not in (leader, follower))
    world.nodes[other].engine._ledger._size._limit = 10**9
    store = behind_the_log(world, leader, follower)
    world.loses = from_piece(5)
    world.open(follower, store)
    world.run(0.3)
    recorder = world.nodes[follower].store

    def generations() -> set[bytes]:
        found = recorder.scan(Space.CURRENT, b"", b"\xff" * 16)
        return {key[:8] for key, _ in found}

    [staged] = generations()  # its own state was not written out before it crashed
    world.crash(leader)
    world.run(3.0)
    assert world.leader() == other
    assert has_all(world, follower)
    assert world.nodes[follower].engine.snapshots_installed == 0
    world.run(1.0)
    assert staged not in generations()
