"""Members of two releases: what the group writes, and what becomes of a member that is too old."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import Entry, EntryId, EntryKind
from raycons.member import hosting
from raycons.member.applier import VERSION, OutdatedRelease
from raycons.member.hosting import Hosting
from raycons.member.layout import bootstrap
from raycons.member.shell import GROUP
from raycons.member.spec import MemberSpec, MemberState
from raycons.store import directory

from .harness import GROUP as GROUP_OF_NODES
from .harness import World

NEXT = VERSION + 1


def mixed() -> World:
    """Three members, of which the third is of our release, and the others of the next."""
    world = World(handled={1: NEXT, 2: NEXT})
    world.run(1.0)
    return world


def entries(world: World, id: int) -> list[Entry]:
    log = world.nodes[id].engine.replica.log
    found: list[Entry] = []
    while len(found) < log.last_index:
        found += log.slice(len(found) + 1, log.last_index, 1 << 20)
    return found


def versions(world: World) -> set[int]:
    return {node.engine.status(world.now)["group_version"] for node in world.nodes.values()}


def upgrade(world: World, id: int, version: int) -> None:
    """Stop a member and start it on its disk with another release."""
    store = world.crash(id)
    world.handled[id] = version
    world.open(id, store)


def test_the_next_format_is_written_once_the_last_member_knows_it() -> None:
    world = mixed()
    world.submit(world.leader(), b"old")
    world.run(1.0)
    assert versions(world) == {VERSION}
    upgrade(world, 3, NEXT)
    world.run(2.0)
    assert versions(world) == {NEXT}
    world.submit(world.leader(), b"new")
    world.run(1.0)
    logs = [entries(world, id) for id in world.nodes]
    assert logs[0] == logs[1] == logs[2]
    written = [(each.data, each.version) for each in logs[0] if each.kind == EntryKind.COMMAND]
    assert written == [(b"old", VERSION), (b"new", NEXT)]
    raised = [each for each in logs[0] if each.kind == EntryKind.CONFIGURATION]
    assert len(raised) == 1
    for node in world.nodes.values():
        assert node.machine is not None
        assert node.machine.count == 2


def test_a_member_taken_back_to_an_older_release_does_not_open_until_it_is_newer() -> None:
    world = mixed()
    upgrade(world, 3, NEXT)
    world.run(2.0)
    assert versions(world) == {NEXT}
    store = world.crash(3)
    world.handled[3] = VERSION
    for _ in range(2):
        with pytest.raises(OutdatedRelease, match=f"version is {NEXT}, .* handles {VERSION}: run"):
            world.open(3, store)
    world.handled[3] = NEXT
    world.open(3, store)
    world.submit(world.leader(), b"on")
    world.run(1.0)
    assert entries(world, 3)[-1].data == b"on"


def test_an_older_joiner_ends_with_the_reason_and_before_it_applies_anything() -> None:
    world = World(handled={1: NEXT, 2: NEXT, 3: NEXT})
    world.run(2.0)
    assert versions(world) == {NEXT}
    leader = world.leader()
    world.submit(leader, b"new")
    change(world, leader, membership.reserve)
    joiner = Peer(4, 104, Role.JOINING)
    store = type(world.nodes[leader].store)()
    bootstrap(store, GROUP_OF_NODES, 4, 104, Configuration((), 0))
    old = world.open(4, store)
    change(world, leader, lambda now: membership.add(now, joiner), expect=OutdatedRelease)
    assert old.machine is not None
    assert old.machine.count == 0
    del world.nodes[4]
    world.run(1.0)
    assert 4 not in world.nodes[leader].engine.configuration.voters


def change(world: World, leader: int, of: Any, expect: type[Exception] | None = None) -> None:
    replica = world.nodes[leader].engine.replica
    outcome = replica.propose_change(of, replica.configuration_index, world.now)
    assert isinstance(outcome, EntryId)
    world.nodes[leader].engine.end_of_turn(world.now)
    if expect is None:
        world.run(0.5)
    else:
        with pytest.raises(expect):
            world.run(0.5)


def member_of_a_newer_group(root: Path) -> MemberSpec:
    """A store whose group is one version above this release, and the member that is to serve it."""
    identity = directory.create(root, cluster_name="prod", cluster_id="u", replica=1)
    held = directory.open(root, "prod", 1)
    store = held.open_store()
    peers = (Peer(1, identity.nonce, Role.VOTER),)
    bootstrap(store, GROUP, 1, identity.nonce, Configuration(peers, 2, version=NEXT))
    store.sync()
    store.close()
    held.close()
    return MemberSpec(
        cluster="prod",
        uuid="u",
        id=1,
        secret=b"s" * 32,
        storage="disk",
        transport="tcp",
        path=str(root),
        port_range=None,
        fault_injection=False,
        raft=RaftSettings(),
        member=MemberSettings(),
        settings=msgspec.json.encode({}),
    )


def test_a_member_older_than_its_group_says_so_once_and_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "REOPEN_AFTER_S", 0.01)
    spec = member_of_a_newer_group(tmp_path)

    async def story() -> None:
        member = Hosting(spec)
        await member._opened.wait()
        await asyncio.sleep(0.1)  # ten times as long as one that may recover waits
        assert member.state is MemberState.OUTDATED
        assert f"version is {NEXT}, and this release of raycons handles {VERSION}" in member.reason
        assert member._opening.incarnation == 1  # it did not open again and again
        directory.open(tmp_path, "prod", 1).close()  # nor does it hold the store

    asyncio.run(story())


def test_a_member_that_learns_of_a_newer_group_while_it_serves_says_so(tmp_path: Path) -> None:
    spec = member_of_a_newer_group(tmp_path)

    async def story() -> None:
        member = Hosting(spec)
        await member._opened.wait()
        member._become(MemberState.SERVING, "")
        member._broke(OutdatedRelease(NEXT, VERSION))
        assert member.state is MemberState.OUTDATED
        assert "run a newer raycons" in member.reason

    asyncio.run(story())
