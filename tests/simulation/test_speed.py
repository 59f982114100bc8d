"""The simulator is fast enough for campaigns: in processor time, and with a wide margin."""

from __future__ import annotations

import time

from raycons.simulation.campaign import simulate

PROMISED = 20_000  # events in a second of one core, all invariants on
SEEDS = 4


def test_events_a_second_of_one_core() -> None:
    began = time.process_time()
    campaign = simulate("raft", SEEDS)
    took_s = time.process_time() - began
    assert campaign.violations == []
    assert campaign.events / took_s > PROMISED / 2
