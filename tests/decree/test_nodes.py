"""A synod over three Ray nodes on one machine, each with a data root of its own; one is lost.

In a process of its own, because a driver that was in one Ray cannot have another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SCRIPT = """
import sys, time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

import raycons

home = Path(sys.argv[1])
roots = [home / name for name in ("a", "b", "c")]


def options(root):
    return {
        "num_cpus": 1,
        "env_vars": {"RAYCONS_HOME": str(root), "RAY_worker_niceness": "0"},
        "object_store_memory": 80 * 1024 * 1024,
    }


def stores(name):
    return [sorted(path.name for path in (root / name).glob("replica-*")) for root in roots]


nodes = Cluster(
    initialize_head=True, head_node_args={**options(roots[0]), "include_dashboard": False}
)
others = [nodes.add_node(**options(root)) for root in roots[1:]]
nodes.wait_for_nodes()
ray.init(address=nodes.address, log_to_driver=False)
try:
    synod = raycons.synod(acceptors=3, proposers=2, learners=1)
    first, second = synod.proposers
    assert first.propose(b"one", timeout=60) == b"one"
    assert sorted(stores(synod.name)) == [["replica-1"], ["replica-2"], ["replica-3"]]
    told = str(synod.chart())
    for name in ("a1", "a2", "a3"):
        assert f"{name} to p1: promise 1.1" in told, told

    nodes.remove_node(others[1])
    deadline = time.monotonic() + 90
    while True:
        try:
            assert second.propose(b"two", timeout=10) == b"one"
            break
        except (raycons.OutcomeUnknown, raycons.NotApplied) as error:  # it was on that node
            assert time.monotonic() < deadline, error
    synod.stop()
    assert sorted(map(len, stores(synod.name))) == [0, 0, 1]  # a host that is away keeps its own
finally:
    ray.shutdown()
    nodes.shutdown()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Short: the paths of Ray's sockets lie in it, and may have at most 107 characters."""
    made = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_acceptors_lie_on_different_hosts_and_one_may_be_lost(home: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "RAYCONS_"))}
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home)],
        env=environment,
        capture_output=True,
        timeout=240,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
