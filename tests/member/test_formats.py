"""What an engine does with entries and requests of a format that it does not know."""

from __future__ import annotations

import pytest

from raycons.consensus.contract import EntryId
from raycons.member.applier import UnreadableEntry
from raycons.member.protocol import Code, Read, ReadLevel, Refused, Submit

from .harness import World


def elected() -> tuple[World, int]:
    world = World()
    world.run(1.0)
    return world, world.leader()


@pytest.mark.parametrize(
    "message",
    [
        Submit(8, 5, b"put"),
        Read(8, 5, ReadLevel.LINEARIZABLE, b"get"),
        Read(8, 5, ReadLevel.STALE, b"get"),
    ],
)
def test_a_request_for_a_machine_that_there_is_not_is_refused(message: Submit | Read) -> None:
    world, leader = elected()
    last = world.nodes[leader].engine.replica.log.last_index
    world.client(leader, message)
    world.run(0.1)
    ((_, answer),) = [told for told in world.responses if getattr(told[1], "request", 0) == 8]
    assert isinstance(answer, Refused)
    assert answer.code == Code.INVALID
    assert "no machine 5" in answer.message
    assert world.nodes[leader].engine.replica.log.last_index == last


@pytest.mark.parametrize(("machine", "version"), [(0, 2), (1, 1)])
def test_an_entry_that_cannot_be_read_stops_the_replica(machine: int, version: int) -> None:
    # A newer leader would not write it before every member can read it; if it did, passing over it
    # would leave this replica with another state than the others.
    world, leader = elected()
    replica = world.nodes[leader].engine.replica
    outcome = replica.propose(b"from the future", machine, version, world.now)
    assert isinstance(outcome, EntryId)
    world.nodes[leader].engine.end_of_turn(world.now)
    with pytest.raises(UnreadableEntry, match=f"entry {outcome.index} .* format {version}"):
        world.run(0.1)
