"""`raycons bench failover` with the faults that no dropped connection tells of."""

from __future__ import annotations

import pytest

from tests.cli.sandbox import Sandbox

TRIALS = 3
# Above any election timeout, and below what a client waits before it gives up.
MOST_MS = 5000.0


@pytest.mark.long
@pytest.mark.parametrize("fault", ["pause", "partition"])
def test_service_is_back_after(sandbox: Sandbox, fault: str) -> None:
    report = sandbox.json("bench", "failover", "--fault", fault, "--trials", str(TRIALS))
    assert (report["fault"], report["trials"], report["replicas"]) == (fault, TRIALS, 3)
    failovers = report["failover_ms"]
    assert len(failovers["samples"]) == TRIALS
    # The others notice by the heartbeats that do not come, so it takes an election timeout.
    assert all(100.0 < sample < MOST_MS for sample in failovers["samples"])
    assert min(failovers["samples"]) <= failovers["p50"] <= failovers["max"]
    assert failovers["max"] == max(failovers["samples"])
