"""`raycons chaos --name` on a cluster that somebody started: judged, healed and left as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import ray

from tests.cluster.yard import Yard, eventually, whole
from tests.recording import Recordings

pytestmark = pytest.mark.timeout(180)

SEED = 78  # its first round is short, and of both kinds at once, on different members


def test_a_running_cluster_is_left_healed_and_with_nothing_but_its_own(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(fault_injection=True)
    kv = recordings.wrap(cluster.kv())
    kv.put("mine", b"1")
    before = cluster.status()
    told = ("--minutes", "0.03", "--faults", "kill,deaf", "--seed", str(SEED), "--format", "json")
    done = subprocess.run(
        [sys.executable, "-m", "raycons.cli", "chaos", "--name", yard.name, *told],
        env=os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    report = json.loads(done.stdout)
    assert report["verdict"]
    assert [proof for proof in report["proofs"] if not proof["holds"]] == []
    assert len(report["proofs"]) == 7
    assert {one["kind"] for one in report["faults"]} == {"kill", "deaf"}
    assert [one["note"] for one in report["incidents"] if one["note"]] == []
    assert report["acknowledged"] > 100
    assert report["recorded"] > 50

    eventually(whole(cluster), within_s=30, what="all three serve")
    after = cluster.status()
    assert (after.uuid, after.voters) == (before.uuid, before.voters)
    assert {one.pid for one in after.replicas} != {one.pid for one in before.replicas}  # killed
    assert [entry.name for entry in cluster.kv().range(prefix="")] == ["mine"]
    assert kv.get("mine") == b"1"
