"""Nodes that are lost: which ones, what comes back, and three real ones under many faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from raycons.chaos import control
from raycons.chaos.control import GcsOutage
from raycons.chaos.kinds import chosen, fault
from raycons.chaos.nodes import Reboot, Replacement
from raycons.chaos.schedule import Planned
from raycons.cluster.settings import ClusterSettings
from raycons.errors import BadArgument, Unavailable
from tests.chaos.test_rounds import status
from tests.cli.sandbox import Sandbox

MINUTES = 2.2
SEED = 3
NOTICED_MS = 1500.0  # without an acknowledged write
KINDS = ("node", "lost-node", "kill", "pause", "partition", "deaf", "mute", "loss", "transfer")


class FakeNodes:
    """Writes down what is done; the third replica's node is the only one that may be killed."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def mortal(self) -> frozenset[str]:
        return frozenset({"node-of-3"})

    def empty_root(self) -> Path:
        return Path("empty")

    async def kill(self, node: str) -> Path:
        self.done.append(f"kill {node}")
        return Path("disk")

    async def add(self, root: Path) -> None:
        self.done.append(f"add {root}")

    async def kill_gcs(self) -> None:
        self.done.append("kill gcs")

    async def start_gcs(self) -> None:
        self.done.append("start gcs")


@pytest.mark.parametrize(("kind", "disk"), [(Reboot, "disk"), (Replacement, "empty")])
def test_what_comes_back(kind: type[Reboot], disk: str) -> None:
    nodes = FakeNodes()
    made = kind(nodes, "b")

    async def begin_and_end() -> None:
        await made.lift()  # nothing was done yet, so there is nothing to undo
        await made.inject()
        await made.lift()

    asyncio.run(begin_and_end())
    assert nodes.done == ["kill b", f"add {disk}"]


def test_the_control_plane_is_back_after_its_time_and_when_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "AWAY_S", (0.05, 3600.0))
    nodes = FakeNodes()

    async def interrupted(outage: GcsOutage) -> None:
        await outage.inject()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await outage.lift()

    async def begin_and_end() -> float:
        await GcsOutage(nodes, 0.0).lift()
        assert nodes.done == []
        began = time.monotonic()
        short = GcsOutage(nodes, 0.0)
        await short.inject()
        await short.lift()
        took_s = time.monotonic() - began
        await interrupted(GcsOutage(nodes, 1.0))
        return took_s

    assert 0.05 <= asyncio.run(begin_and_end()) < 5
    assert nodes.done == ["kill gcs", "start gcs"] * 2


@pytest.mark.parametrize("at_leader", [True, False])
def test_the_node_of_the_head_is_left_alone(at_leader: bool) -> None:
    before = status(1, 2, 3)
    spread = [msgspec.structs.replace(one, node=f"node-of-{one.id}") for one in before.replicas]
    now = msgspec.structs.replace(before, replicas=tuple(spread))
    target: Any = type("Fake", (), {"name": "fake", "nodes": FakeNodes()})
    made, victim = fault(Planned("node", at_leader, 0.0), target, now, {})
    assert isinstance(made, Reboot)
    assert victim == 3
    now = msgspec.structs.replace(now, replicas=tuple(spread[:2]))
    with pytest.raises(Unavailable):
        fault(Planned("node", at_leader, 0.0), target, now, {})


def test_nodes_are_killed_only_where_they_were_started_for_it() -> None:
    settings = ClusterSettings()
    assert "node" not in chosen((), settings)
    assert {"node", "lost-node", "gcs"} <= set(chosen((), settings, on_own_nodes=True))
    with pytest.raises(BadArgument, match="no Ray nodes were started for the run"):
        chosen(("kill", "node"), settings)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_three_nodes_survive_many_faults(sandbox: Sandbox) -> None:
    told = ("--faults", ",".join(KINDS), "--seed", str(SEED), "--format", "json")
    done = sandbox.run("chaos", "--nodes", "3", "--minutes", str(MINUTES), *told, timeout_s=500)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert [proof for proof in report["proofs"] if not proof["holds"]] == []
    assert len(report["proofs"]) == 7
    assert [one["note"] for one in report["incidents"] if one["note"]] == []
    assert {one["kind"] for one in report["faults"]} == set(KINDS)
    assert sum(one["count"] for one in report["faults"]) >= 10
    assert any(one["at_leader"] for one in report["incidents"])
    assert report["acknowledged"] > 5000
    assert report["recorded"] > 2000


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("transport", ["tcp", "actor"])
def test_clients_do_not_notice_that_the_control_plane_is_lost(
    sandbox: Sandbox, transport: str
) -> None:
    told = ("--faults", "gcs,kill", "--transport", transport, "--seed", "4", "--format", "json")
    done = sandbox.run("chaos", "--nodes", "3", "--minutes", "0.8", *told, timeout_s=350)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert [proof for proof in report["proofs"] if not proof["holds"]] == []
    assert [one["note"] for one in report["incidents"] if one["note"]] == []
    outages = [one for one in report["incidents"] if one["kinds"] == ["gcs"]]
    assert len(outages) >= 2
    for one in outages:
        assert one["healed_s"] - one["began_s"] > control.AWAY_S[0]
        assert one["silence_ms"] < NOTICED_MS
    assert any("kill" in one["kinds"] for one in report["incidents"])  # Ray still restarts members
