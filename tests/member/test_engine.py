"""The engine's promises, each tested on engines in a hand-driven world."""

from __future__ import annotations

import pytest
from msgspec import msgpack

from raycons.consensus.configuration import Configuration
from raycons.errors import StoreCorrupt
from raycons.member.applier import LONG_BYTES
from raycons.member.engine import bootstrap
from raycons.member.layout import Keys, restore
from raycons.member.protocol import (
    Add,
    Answer,
    Code,
    Inspect,
    Inspected,
    Leader,
    Manage,
    Managed,
    Read,
    ReadLevel,
    Refused,
    Remove,
    Reserve,
    Transfer,
)
from raycons.member.state import CHUNK_BYTES
from raycons.store.contract import Batch, Space

from .harness import CLIENT, GROUP, Recorder, World


def elected(size: int = 3, **member: object) -> tuple[World, int]:
    world = World(size, **member)
    world.run(1.0)
    return world, world.leader()


def add_replica(world: World, replaces: int = 0) -> int:
    """Reserve an id, make a store, add the replica; gives its id."""
    leader = world.leader()
    based_on = world.nodes[leader].engine.replica.configuration_index
    world.client(leader, Manage(901, based_on, Reserve()))
    world.run(0.2)
    id = next(m.value for _, m in world.responses if isinstance(m, Managed) and m.request == 901)
    store = Recorder()
    bootstrap(store, GROUP, id, 100 + id, Configuration((), 0))
    world.open(id, store)
    based_on = world.nodes[leader].engine.replica.configuration_index
    world.client(leader, Manage(902, based_on, Add(id, 100 + id, "host", True, replaces)))
    return id


# --- commands ---------------------------------------------------------------------------------


def test_a_command_is_answered_once_after_a_majority_has_it_on_disk() -> None:
    world, leader = elected()
    for node in world.nodes.values():
        node.disk_stalled = True
    request = world.submit(leader, b"a")
    world.run(0.05)
    assert request not in world.answers()
    follower = next(id for id in world.nodes if id != leader)
    world.nodes[leader].disk_answers_again()
    world.run(0.01)
    assert request not in world.answers(), "the leader's disk alone is no majority"
    world.nodes[follower].disk_answers_again()
    world.run(0.05)
    assert [r for r in world.responses if isinstance(r[1], Answer)] == [
        (leader, Answer(request, b"1"))
    ]


def test_a_long_command_is_answered_before_it_is_carried_out_and_only_once() -> None:
    world, leader = elected()
    short = world.submit(leader, b"a")
    world.run(0.05)
    long = world.submit(leader, b"b" * LONG_BYTES)
    world.run(0.2)
    assert all(node.machine and node.machine.count == 2 for node in world.nodes.values())
    told = [node.machine.told_early for node in world.nodes.values() if node.machine]
    assert sorted(told) == [[], [], [b"1"]], "the leader's machine alone, of the long one alone"
    answered = [message for _, message in world.responses if isinstance(message, Answer)]
    assert answered == [Answer(short, b"1"), Answer(long, b"2")]
    assert len(world.responses) in world.flushed, "it waits for the end of the turn"


def test_a_follower_refuses_and_names_the_leader() -> None:
    world, leader = elected()
    follower = next(id for id in world.nodes if id != leader)
    request = world.submit(follower, b"a")
    refused = world.responses[-1][1]
    assert refused == Refused(request, Code.NOT_LEADER, leader, "not-leader")


def test_commands_in_the_log_of_a_deposed_leader_are_unknown() -> None:
    world, leader = elected()
    for other in world.nodes:
        world.cut |= {(leader, other), (other, leader)}
    request = world.submit(leader, b"a")
    world.run(1.0)
    assert world.responses[-1][1] == Refused(request, Code.LEADERSHIP_LOST, 0, "")


def test_a_follower_gives_the_disk_its_write_before_it_applies() -> None:
    world, leader = elected()
    follower = world.nodes[next(id for id in world.nodes if id != leader)]
    world.submit(leader, b"one")
    world.run(0.01)
    assert follower.machine is not None
    before = follower.machine.count
    follower.disk_stalled = True
    world.submit(leader, b"two")  # its Append tells that "one" is committed
    world.run(0.01)
    assert follower.engine.replica.commit > follower.engine.status(world.now)["applied"]
    assert follower.machine.count == before
    follower.disk_answers_again()
    assert follower.machine.count > before
    assert follower.engine.replica.commit == follower.engine.status(world.now)["applied"]


def test_a_follower_does_not_wait_for_a_disk_that_stalls() -> None:
    world, leader = elected()
    follower = world.nodes[next(id for id in world.nodes if id != leader)]
    follower.disk_stalled = True
    for _ in range(20):
        world.submit(leader, b"more")
        world.run(0.01)
    world.run(0.1)
    assert follower.machine is not None
    assert follower.machine.count == 20


def test_what_gathered_is_applied_in_slices() -> None:
    world, leader = elected()
    follower = world.nodes[next(id for id in world.nodes if id != leader)]
    follower.disk_stalled = True
    for _ in range(2000):
        world.submit(leader, b"more")
    world.run(0.015)
    turns: list[int] = []
    end_of_turn = follower.engine.end_of_turn

    def counting(now: float) -> None:
        assert follower.machine is not None
        before = follower.machine.count
        end_of_turn(now)
        turns.append(follower.machine.count - before)

    follower.engine.end_of_turn = counting  # type: ignore[method-assign]
    world.run(0.2)
    assert sum(turns) > 1000
    assert max(turns) <= 500


def test_a_full_chunk_of_state_is_written_at_once_and_a_part_of_one_later() -> None:
    world, leader = elected(write_behind_s=0.5)
    node = world.nodes[leader]
    world.submit(leader, b"small")
    world.run(0.1)
    status = node.engine.status(world.now)
    assert status["applied_in_store"] < status["applied"]
    world.submit(leader, bytes(2 * CHUNK_BYTES))
    world.run(0.1)
    status = node.engine.status(world.now)
    assert status["applied_in_store"] == status["applied"]


def test_an_exception_in_the_machine_is_never_answered() -> None:
    world, leader = elected()
    world.submit(leader, b"poison")
    with pytest.raises(RuntimeError, match="breaks the machine"):
        world.run(0.1)
    assert not world.answers()


def test_uncommitted_bytes_are_bounded() -> None:
    world, leader = elected()
    for node in world.nodes.values():
        node.disk_stalled = True
    requests = [world.submit(leader, bytes(1024 * 1024)) for _ in range(80)]
    refused = [m for _, m in world.responses if isinstance(m, Refused)]
    assert refused and all(m.code == Code.OVERLOADED for m in refused)
    assert {m.request for m in refused} < set(requests)


# --- reads ------------------------------------------------------------------------------------


def test_reads_at_leader_and_follower_see_what_was_acknowledged() -> None:
    world, leader = elected()
    world.submit(leader, b"a")
    world.run(0.1)
    for request, id in enumerate(world.nodes, start=500):
        world.client(id, Read(request, 0, ReadLevel.LINEARIZABLE, b""))
    world.run(0.1)
    assert [world.answers()[request] for request in (500, 501, 502)] == [b"1"] * 3


def test_a_cut_off_leader_does_not_answer_reads() -> None:
    world, leader = elected()
    for other in world.nodes:
        world.cut |= {(leader, other), (other, leader)}
    world.run(0.05)
    world.client(leader, Read(500, 0, ReadLevel.LINEARIZABLE, b""))
    world.run(1.0)
    assert 500 not in world.answers()
    assert any(isinstance(m, Refused) and m.request == 500 for _, m in world.responses)
    world.client(leader, Read(501, 0, ReadLevel.STALE, b""))
    answer = world.responses[-1][1]
    assert isinstance(answer, Answer) and answer.lag_s > 0.5


def test_clients_are_told_of_a_new_leader() -> None:
    world, leader = elected()
    others = [id for id in world.nodes if id != leader]
    for id in others:
        world.nodes[id].engine.client_connected(CLIENT)
    world.responses.clear()
    world.crash(leader)
    world.run(0.1)
    told = [m for _, m in world.responses if isinstance(m, Leader)]
    assert told and told[-1].leader == world.leader() != leader


# --- crashes ----------------------------------------------------------------------------------


def test_every_prefix_of_the_batches_is_a_state_to_restart_from() -> None:
    """The log comes before what it does to the state: no crash leaves the state ahead of it."""
    world, leader = elected(write_behind_s=0.01, log_limit_bytes=1000)
    for number in range(120):
        world.submit(leader, b"%d" % number)
        world.run(0.004)
    store = world.nodes[leader].store
    assert any(name == "log-compacted" for name, _ in world.nodes[leader].events)
    for batches in range(1, len(store.batches) + 1):
        survivor = store.after_crash(batches)
        found = restore(survivor, GROUP)
        assert found.base.index <= found.header.index <= found.last
        lone = World(0)
        node = lone.open(found.identity.id, survivor)
        entries = found.header.index + len(found.tail)
        assert node.engine.replica.log.last_index == entries
        assert node.machine is not None
        state = node.engine._state
        assert state.applied == (found.header.index, found.header.term)


def test_a_restart_loses_nothing_that_was_answered() -> None:
    world, leader = elected(write_behind_s=10.0)
    requests = [world.submit(leader, b"%d" % n) for n in range(20)]
    world.run(0.1)
    assert set(requests) <= set(world.answers())
    stores = {id: world.crash(id) for id in list(world.nodes)}
    for id, store in stores.items():
        world.open(id, store)
    world.run(1.0)
    for node in world.nodes.values():
        assert node.machine is not None and node.machine.count == 20


def test_the_log_is_not_cut_before_the_state_is_on_disk() -> None:
    world, leader = elected(write_behind_s=0.01, log_limit_bytes=1000)
    node = world.nodes[leader]
    node.disk_stalled = True
    for number in range(100):
        world.submit(leader, b"%d" % number)
        world.run(0.0005)
    assert node.engine._ledger.log_bytes > 1000
    assert node.engine.replica.log.base.index == 0
    node.disk_answers_again()
    for number in range(100):
        world.submit(world.leader(), b"%d" % number)
        world.run(0.004)
    base = world.nodes[world.leader()].engine.replica.log.base.index
    assert base > 0
    durable = world.nodes[world.leader()].store.after_crash(
        world.nodes[world.leader()].batches_synced
    )
    assert restore(durable, GROUP).header.index >= base


def test_a_damaged_record_is_refused() -> None:
    world, leader = elected()
    store = world.nodes[leader].store
    batch = Batch()
    batch.delete(Space.META, Keys(GROUP).state)
    store.write(batch)
    with pytest.raises(StoreCorrupt, match="lacks record"):
        restore(store, GROUP)


# --- snapshots --------------------------------------------------------------------------------


def lagging_world() -> tuple[World, int, int]:
    """A leader whose log no longer reaches back to what replica `lost` needs."""
    world, leader = elected(write_behind_s=0.01, log_limit_bytes=4000, snapshot_chunk_bytes=700)
    lost = next(id for id in world.nodes if id != leader)
    store = world.crash(lost)
    for number in range(400):
        world.submit(leader, b"%d" % number)
        world.run(0.002)
    assert world.nodes[leader].engine.replica.log.base.index > 100
    world.open(lost, store)
    return world, leader, lost


def test_a_snapshot_streams_beside_commits() -> None:
    world, leader, lost = lagging_world()
    for number in range(50):
        world.submit(leader, b"later %d" % number)
        world.run(0.004)
    world.run(1.0)
    assert world.nodes[lost].engine.snapshots_installed == 1
    assert len(world.answers()) == 450
    counts = {node.machine.count for node in world.nodes.values() if node.machine}
    assert counts == {450}


def test_a_snapshot_is_installed_all_at_once_or_not_at_all() -> None:
    """Crash after every single batch: the state is the old one or the new one, never between."""
    world, _leader, lost = lagging_world()
    before = len(world.nodes[lost].store.batches)
    old = world.nodes[lost].engine._state.applied
    world.run(1.0)
    store = world.nodes[lost].store
    assert world.nodes[lost].engine.snapshots_installed == 1
    seen = set()
    for batches in range(before, len(store.batches) + 1):
        survivor = store.after_crash(batches)
        lone = World(0)
        node = lone.open(lost, survivor)
        applied = node.engine._state.applied
        assert node.machine is not None
        records = sum(1 for _ in survivor.scan(Space.CURRENT, b"\0", b"\xff" * 12))
        # Whatever else was staged is swept at open: just one generation is left, and it is whole.
        assert records == (node.machine.count + 1 if node.machine.count else 0)
        seen.add("old" if applied <= old else "new")
    assert seen == {"old", "new"}


def test_a_snapshot_goes_on_after_lost_messages() -> None:
    world, leader, lost = lagging_world()
    for _ in range(10):
        world.run(0.015)
        world.cut = {(leader, lost)}
        world.run(0.01)
        world.cut = set()
    world.run(3.0)
    assert world.nodes[lost].engine.snapshots_installed >= 1
    assert world.nodes[lost].engine.replica.commit == world.nodes[leader].engine.replica.commit


# --- membership -------------------------------------------------------------------------------


def test_a_lost_voter_is_replaced_in_one_change() -> None:
    world, leader = elected()
    lost = next(id for id in world.nodes if id != leader)
    world.crash(lost)
    world.run(0.1)
    joiner = add_replica(world, replaces=lost)
    world.run(2.0)
    configuration = world.nodes[world.leader()].engine.configuration
    assert configuration.voters == {joiner, *world.nodes} - {lost}
    joint = [f for n, f in world.nodes[leader].events if n == "configuration" and f["joint"]]
    assert len(joint) == 1, "joining and leaving are one joint change"
    assert world.nodes[joiner].engine.configuration == configuration


def test_an_id_is_never_used_twice() -> None:
    world, _ = elected()
    first = add_replica(world)
    world.run(1.0)
    leader = world.leader()
    replica = world.nodes[leader].engine.replica
    world.client(leader, Manage(903, replica.configuration_index, Remove(first)))
    world.run(1.0)
    assert first not in replica.configuration.ids
    world.client(leader, Manage(904, replica.configuration_index, Add(first, 5, "host")))
    refused = world.responses[-1][1]
    assert isinstance(refused, Refused) and refused.code == Code.INVALID
    assert f"replica {first} was not reserved" in refused.message


def test_a_removed_replica_learns_it() -> None:
    world, leader = elected()
    gone = next(id for id in world.nodes if id != leader)
    index = world.nodes[leader].engine.replica.configuration_index
    world.client(leader, Manage(903, index, Remove(gone)))
    world.run(0.5)
    assert any(isinstance(m, Managed) and m.request == 903 for _, m in world.responses)
    assert any(name == "removed" for name, _ in world.nodes[gone].events)


def test_a_change_computed_from_another_configuration_is_refused() -> None:
    world, leader = elected()
    world.client(leader, Manage(903, 12345, Reserve()))
    refused = world.responses[-1][1]
    assert isinstance(refused, Refused) and refused.code == Code.CONFIGURATION_CHANGED


def test_the_last_voter_and_strangers_cannot_be_removed() -> None:
    world, leader = elected(1)
    index = world.nodes[leader].engine.replica.configuration_index
    world.client(leader, Manage(903, index, Remove(leader)))
    assert world.responses[-1][1].code == Code.LAST_VOTER
    world.client(leader, Manage(904, index, Remove(42)))
    assert world.responses[-1][1].code == Code.NO_SUCH_MEMBER


def test_a_transfer_ends_with_the_chosen_leader() -> None:
    world, leader = elected()
    to = max(id for id in world.nodes if id != leader)
    world.client(leader, Manage(905, 0, Transfer(to)))
    world.run(0.5)
    assert world.leader() == to
    assert Managed(905, 0, to) in [m for _, m in world.responses]


# --- disks and digests ------------------------------------------------------------------------


def test_a_leader_whose_disk_stalls_steps_down() -> None:
    world, leader = elected()
    world.nodes[leader].disk_stalled = True
    world.submit(leader, b"a")
    world.run(0.9)
    assert world.leader() == leader
    world.run(0.7)
    assert world.leader() != leader
    reasons = [f["reason"] for n, f in world.nodes[leader].events if n == "role-changed"]
    assert "our disk does not answer" in reasons


def test_replicas_have_equal_digests_whatever_way_they_came_by_their_state() -> None:
    world, _leader, lost = lagging_world()
    world.run(2.0)
    assert world.nodes[lost].engine.snapshots_installed == 1
    for request, id in enumerate(world.nodes, start=700):
        world.client(id, Inspect(request, digest=True))
    world.run(1.0)
    seen = [msgpack.decode(m.status) for _, m in world.responses if isinstance(m, Inspected)]
    assert len(seen) == 3
    assert len({(status["digest"], status["digest_at"]) for status in seen}) == 1
