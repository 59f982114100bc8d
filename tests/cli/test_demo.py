"""The whole demonstration, as `make demo` runs it: one that holds, and one whose proof fails."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from raycons.bench.demo.story import CLIENTS, KILLS
from tests.cli.sandbox import Sandbox

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

WITHIN_S = 300.0

# A write that was acknowledged is lost before the proofs; less load and fewer kills, to be short.
LOSES_A_WRITE = """
import sys

from raycons.bench.demo import story
from raycons.cli import main

prove = story._proofs


async def lose_a_write(cluster, ledger, progress):
    client = next(c for c, writes in enumerate(ledger.outcomes) if writes[0] > 0)
    assert await cluster.kv().delete(f"ledger/{client:03d}/{0:08d}") == 1
    return await prove(cluster, ledger, progress)


story._proofs, story.KILLS, story.LOAD_S = lose_a_write, 1, 1.0
sys.exit(main.run(["demo", "--format", "json"]))
"""


def test_the_demo_proves_its_run(sandbox: Sandbox) -> None:
    done = sandbox.run("demo", "--format", "json", timeout_s=WITHIN_S)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert report["verdict"] is True
    assert len(report["proofs"]) == 6
    assert all(proof["holds"] for proof in report["proofs"])
    failovers = report["failover_ms"]
    assert len(failovers["samples"]) == KILLS
    assert 0 < failovers["p50"] <= failovers["max"] == max(failovers["samples"])
    assert report["partition_ms"] > 0
    assert report["clients"] == CLIENTS
    assert (report["replicas"], report["storage"], report["transport"]) == (3, "disk", "tcp")
    assert report["operations_per_second"] > 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]
    assert report["acknowledged"] > 1000
    assert report["recorded"] > 100
    assert report["history"] is None


def test_a_lost_write_is_found_and_is_exit_code_one(sandbox: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOSES_A_WRITE],
        env=sandbox.environment,
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 1, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert report["verdict"] is False
    broken = {proof["claim"] for proof in report["proofs"] if not proof["holds"]}
    assert "every acknowledged write is present" in broken, report["proofs"]
    whole = {"all replicas are equal", "what recorded clients saw is linearizable"}
    assert not broken & whole, report["proofs"]
