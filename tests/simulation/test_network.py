"""The network: links, weather, connections that end, partitions."""

from __future__ import annotations

from typing import Any

import pytest

from raycons.simulation.network import (
    Block,
    Network,
    Weather,
    bridge,
    isolate,
    one_way,
    split,
)
from raycons.simulation.world import World


class Recorder:
    """An endpoint that writes down what it is told, and when."""

    greeting = None

    def __init__(self, id: int, world: World, network: Network) -> None:
        self.id = self.address = id
        self.incarnation = 0
        self.running = False
        self.heard: list[Any] = []
        self.peers: set[int] = set()
        self.unwelcome: set[int] = set()
        self.lost: list[tuple[int, float]] = []
        self._world = world
        self._network = network
        network.add(self)

    def start(self) -> None:
        self.incarnation += 1
        self.running = True
        self.peers.clear()
        self._network.started(self.id)

    def die(self) -> None:
        self.running = False
        self._network.died(self.id)

    def arrived(self, source: int, message: Any) -> None:
        self.heard.append(message)

    def admits(self, peer: int, greeting: None) -> bool:
        return peer not in self.unwelcome

    def connected(self, peer: int, greeting: None) -> None:
        assert peer not in self.peers
        self.peers.add(peer)

    def disconnected(self, peer: int) -> None:
        self.peers.remove(peer)
        self.lost.append((peer, self._world.now))


class Lab:
    """Some started and connected endpoints."""

    def __init__(self, ids: list[int], weather: Weather) -> None:
        self.world = World(5)
        self.network = Network(self.world, self.world.random("network"), weather)
        self.ends = {id: Recorder(id, self.world, self.network) for id in ids}
        for end in self.ends.values():
            end.start()
        self.pass_time(0.2)

    def pass_time(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)


@pytest.fixture
def lab() -> Lab:
    return Lab([1, 2, 3], Weather())


def test_who_is_not_let_in_tries_again_until_it_is(lab: Lab) -> None:
    one, two = lab.ends[1], lab.ends[2]
    two.unwelcome.add(1)
    lab.network.reset(1, 2)
    lab.pass_time(2.0)
    assert not lab.network.is_connected(1, 2)
    assert (one.peers, two.peers) == ({3}, {3})
    two.unwelcome.clear()
    lab.pass_time(1.0)
    assert (one.peers, two.peers) == ({2, 3}, {1, 3})


def test_a_removed_endpoint_is_forgotten(lab: Lab) -> None:
    lab.network.send(1, 3, "late")
    lab.ends[3].die()
    lab.network.remove(lab.ends[3])
    lab.pass_time(1.0)
    assert lab.ends[3].heard == []
    assert lab.ends[1].peers == {2}
    assert lab.network.is_connected(1, 2)


def test_messages_of_a_link_arrive_once_and_in_order(lab: Lab) -> None:
    for number in range(100):
        lab.network.send(1, 2, number)
    lab.pass_time(1.0)
    assert lab.ends[2].heard == list(range(100))
    assert lab.ends[3].heard == []


def test_everyone_connects_except_clients_among_themselves() -> None:
    lab = Lab([-2, -1, 1, 2], Weather())
    assert lab.ends[1].peers == {-2, -1, 2}
    assert lab.ends[-1].peers == {1, 2}


def test_bad_weather_loses_repeats_and_reorders_between_members() -> None:
    lab = Lab([1, 2], Weather(loss=0.2, duplication=0.2, reordering=0.5, jitter_s=0.01))
    for number in range(1000):
        lab.network.send(1, 2, number)
        lab.pass_time(0.001)
    lab.pass_time(5.0)
    heard = lab.ends[2].heard
    assert 700 < len(set(heard)) < 900
    assert len(heard) > len(set(heard)) + 100
    assert heard != sorted(heard)


def test_bad_weather_never_repeats_or_reorders_for_clients() -> None:
    lab = Lab([-1, 1], Weather(loss=0.2, duplication=0.5, reordering=0.5, jitter_s=0.01))
    for number in range(500):
        lab.network.send(-1, 1, number)
    lab.pass_time(5.0)
    heard = lab.ends[1].heard
    assert heard == sorted(set(heard))
    assert 350 < len(heard) < 450


def test_a_death_is_noticed_by_the_others_within_milliseconds(lab: Lab) -> None:
    died = lab.world.now
    lab.ends[1].die()
    lab.pass_time(0.1)
    for survivor in (2, 3):
        [(peer, when)] = lab.ends[survivor].lost
        assert peer == 1
        assert 0.0 < when - died <= 0.015


def test_a_restarted_process_connects_anew_and_never_hears_what_was_for_its_predecessor() -> None:
    lab = Lab([1, 2], Weather(delay_s=0.2, jitter_s=0.0))
    lab.network.send(1, 2, "for the first")
    lab.ends[2].die()
    lab.ends[2].start()
    lab.pass_time(0.15)
    assert lab.ends[1].lost
    assert lab.ends[1].peers == {2}
    lab.network.send(1, 2, "for the second")
    lab.pass_time(1.0)
    assert lab.ends[2].heard == ["for the second"]


def test_a_partition_ends_no_connection_and_hides_a_death_until_it_heals(lab: Lab) -> None:
    links = split([1], [2, 3])
    lab.network.block(links, Block.CUT)
    lab.pass_time(0.5)
    assert not lab.ends[2].lost
    lab.ends[1].die()
    lab.pass_time(0.5)
    assert not lab.ends[2].lost
    healed = lab.world.now
    lab.network.unblock(links)
    lab.pass_time(0.5)
    [(peer, when)] = lab.ends[2].lost
    assert (peer, 0.0 < when - healed <= 0.015) == (1, True)


def test_a_restart_behind_a_partition_reconnects_after_the_healing(lab: Lab) -> None:
    links = isolate(1, [1, 2, 3])
    lab.network.block(links, Block.CUT)
    lab.ends[1].die()
    lab.ends[1].start()
    lab.pass_time(0.5)
    assert lab.ends[1].peers == set()
    lab.network.heal()
    assert lab.network.is_whole
    lab.pass_time(0.5)
    assert lab.ends[1].peers == {2, 3}
    assert [peer for peer, _ in lab.ends[2].lost] == [1]


def test_a_cut_link_loses_and_a_held_one_delivers_late(lab: Lab) -> None:
    lab.network.block([(1, 2)], Block.CUT)
    lab.network.block([(1, 3)], Block.HOLD)
    lab.network.send(1, 2, "lost")
    lab.network.send(1, 3, "late")
    lab.network.send(2, 1, "the other way is open")
    lab.pass_time(0.5)
    assert lab.ends[1].heard == ["the other way is open"]
    assert lab.ends[2].heard == lab.ends[3].heard == []
    lab.network.heal()
    lab.pass_time(0.5)
    assert (lab.ends[2].heard, lab.ends[3].heard) == ([], ["late"])


def test_a_reset_is_noticed_on_both_sides_and_mended(lab: Lab) -> None:
    lab.network.reset(1, 2)
    lab.pass_time(0.5)
    assert [peer for peer, _ in lab.ends[1].lost] == [2]
    assert [peer for peer, _ in lab.ends[2].lost] == [1]
    assert 2 in lab.ends[1].peers
    assert lab.network.is_connected(1, 2)


def test_shapes_of_partitions() -> None:
    assert set(isolate(1, [1, 2])) == {(1, 2), (2, 1)}
    assert set(one_way([1, 2], [2])) == {(1, 2)}
    ring = set(bridge([1, 2, 3, 4, 5]))
    assert (1, 3) in ring
    assert (1, 2) not in ring
    assert (1, 5) not in ring


def test_a_clog_delays_one_direction_only_and_ends(lab: Lab) -> None:
    lab.network.clog([(1, 2)], 0.5)
    lab.network.send(1, 2, "slow")
    lab.network.send(2, 1, "quick")
    lab.pass_time(0.3)
    assert (lab.ends[1].heard, lab.ends[2].heard) == (["quick"], [])
    lab.pass_time(0.3)
    assert lab.ends[2].heard == ["slow"]
    lab.network.clog([(1, 2)], 0.0)
    lab.network.send(1, 2, "quick again")
    lab.pass_time(0.1)
    assert lab.ends[2].heard == ["slow", "quick again"]
