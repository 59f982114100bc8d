"""Hosts that are cut off: their network, which of them is chosen, and three real ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from raycons.chaos.hosts import Cut
from raycons.chaos.kinds import chosen, fault
from raycons.chaos.namespaces import BOTH_WAYS, Chain, Namespaces, missing
from raycons.chaos.schedule import Planned
from raycons.cluster.settings import ClusterSettings
from raycons.errors import BadArgument, ClusterError
from tests.chaos.test_rounds import status
from tests.cli.sandbox import Sandbox

KINDS = ("host-cut", "host-deaf", "host-mute")
MINUTES = 0.4
SEED = 1

on_linux_as_root = pytest.mark.skipif(bool(missing()), reason=missing() or "none")


class FakeHosts:
    """Writes down what is done; the first host is the one that stays."""

    def __init__(self, dropped: int = 7) -> None:
        self.done: list[str] = []
        self._dropped = dropped

    def remote(self) -> frozenset[str]:
        return frozenset({"10.0.0.2", "10.0.0.3"})

    def cut(self, address: str, chains: Sequence[Chain]) -> None:
        self.done.append(f"cut {address} {' '.join(chains)}")

    def heal(self, address: str, chains: Sequence[Chain]) -> dict[Chain, int]:
        self.done.append(f"heal {address} {' '.join(chains)}")
        return dict.fromkeys(chains, self._dropped)


class FakeTarget:
    """A cluster of which nothing is real but the order of what it is asked."""

    name = "fake"

    def __init__(self) -> None:
        self.hosts = FakeHosts()
        self.cluster = self

    async def transfer_leader(self, to: int, **_: Any) -> None:
        self.hosts.done.append(f"lead to {to}")


def under(target: FakeTarget, kind: str, leader: int) -> tuple[int, bool]:
    """Put the fault on a cluster of three, and lift it; gives whom it hit."""
    before = status(1, 2, 3)
    replicas = tuple(
        msgspec.structs.replace(one, address=f"10.0.0.{one.id}:4000") for one in before.replicas
    )
    now = msgspec.structs.replace(before, replicas=replicas, leader=leader)
    anything: Any = target
    made, victim = fault(Planned(kind, False, 0.0), anything, now, {})

    async def begin_and_end() -> None:
        await made.inject()
        await made.lift()

    asyncio.run(begin_and_end())
    return victim, isinstance(made, Cut)


@pytest.mark.parametrize(
    ("kind", "chains"),
    [("host-cut", "INPUT OUTPUT"), ("host-deaf", "INPUT"), ("host-mute", "OUTPUT")],
)
def test_the_leaders_host_is_cut_off(kind: str, chains: str) -> None:
    target = FakeTarget()
    assert under(target, kind, leader=3) == (3, True)
    assert target.hosts.done == [f"cut 10.0.0.3 {chains}", f"heal 10.0.0.3 {chains}"]


def test_the_host_of_the_head_stays_and_gives_the_lead_away() -> None:
    target = FakeTarget()
    victim, _ = under(target, "host-cut", leader=1)
    assert victim in {2, 3}
    assert target.hosts.done[:2] == [f"lead to {victim}", f"cut 10.0.0.{victim} INPUT OUTPUT"]


def test_a_cut_that_dropped_nothing_is_told() -> None:
    cut = Cut(FakeHosts(dropped=0), "10.0.0.2")
    asyncio.run(cut.inject())
    with pytest.raises(ClusterError, match="dropped nothing in INPUT, OUTPUT"):
        asyncio.run(cut.lift())


def test_hosts_are_cut_off_only_where_they_were_made_for_it() -> None:
    settings = ClusterSettings()
    assert not set(KINDS) & set(chosen((), settings))
    assert set(KINDS) <= set(chosen((), settings, on_own_hosts=True))
    with pytest.raises(BadArgument, match="no hosts were made for the run"):
        chosen(("host-cut",), settings)


def interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def namespaces() -> str:
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return done.stdout


def reaches(server: socket.socket) -> bool:
    try:
        socket.create_connection(server.getsockname(), timeout=0.3).close()
    except TimeoutError:
        return False
    return True


@on_linux_as_root
def test_a_cable_is_cut_both_ways_and_each_way_and_healed() -> None:
    before = interfaces()
    with Namespaces(2) as space:
        first, second = space.addresses
        assert interfaces() == before
        with space.entered(second):
            server = socket.create_server((second, 0))
        with server, space.entered(first):
            for chains in (BOTH_WAYS, ("INPUT",), ("OUTPUT",)):
                assert reaches(server)
                space.cut(second, chains)
                assert not reaches(server)
                dropped = space.heal(second, chains)
                # Cut both ways it hears nothing that it could answer.
                assert dropped["INPUT" if "INPUT" in chains else "OUTPUT"] > 0
                assert dropped.keys() == set(chains)
                assert space.heal(second, chains) == dict.fromkeys(chains, 0)
            assert reaches(server)


def fail_with_a_process_inside(begun: list[subprocess.Popen[bytes]]) -> None:
    words = (sys.executable, "-c", "import time; print(flush=True); time.sleep(60)")
    with Namespaces(1) as space:
        command = space.command(space.addresses[0], *words)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        assert f"raycons-{os.getpid()}-" in namespaces()
        raise ZeroDivisionError


@on_linux_as_root
def test_a_failure_leaves_no_namespace_and_no_process() -> None:
    begun: list[subprocess.Popen[bytes]] = []
    with pytest.raises(ZeroDivisionError):
        fail_with_a_process_inside(begun)
    (process,) = begun
    assert process.wait(timeout=5) == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()
    assert f"raycons-{os.getpid()}-" not in namespaces()


@on_linux_as_root
def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = f"raycons-{ended.pid}-1"
    subprocess.run(["ip", "netns", "add", left], check=True)
    with Namespaces(1):
        assert left not in namespaces()


@pytest.mark.long
@pytest.mark.timeout(300)
@on_linux_as_root
def test_a_cluster_on_three_hosts_survives_cuts_of_its_leaders_host(sandbox: Sandbox) -> None:
    told = ("--faults", ",".join(KINDS), "--seed", str(SEED), "--format", "json")
    done = sandbox.run("chaos", "--hosts", "3", "--minutes", str(MINUTES), *told, timeout_s=240)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert [proof for proof in report["proofs"] if not proof["holds"]] == []
    assert len(report["proofs"]) == 7
    # A cut that dropped no packet would be noted.
    assert [one["note"] for one in report["incidents"] if one["note"]] == []
    assert {one["kind"] for one in report["faults"]} == set(KINDS)
    assert all(one["failovers"] == one["count"] for one in report["faults"])
    assert report["acknowledged"] > 2000
    assert report["recorded"] > 1000
    assert "raycons-" not in namespaces()
