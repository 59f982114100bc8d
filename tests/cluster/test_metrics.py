"""Metrics, read from where Ray publishes them."""

from __future__ import annotations

import re
import urllib.request

import ray

from tests.cluster.yard import Yard, eventually

NAMES = (
    "raycons_proposals_total",
    "raycons_commits_total",
    "raycons_syncs_total",
    "raycons_sync_seconds_bucket",
    "raycons_commit_seconds_bucket",
    "raycons_batch_bytes_bucket",
    "raycons_elections_total",
    "raycons_role_changes_total",
    "raycons_pending_commands",
    "raycons_applied",
)


def published() -> str:
    """What this machine's Ray says to Prometheus."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def test_metrics_reach_rays_endpoint(yard: Yard) -> None:
    kv = yard.start().kv()
    for number in range(50):
        kv.put(f"key/{number}", b"v")

    def value(name: str) -> float:
        pattern = rf'^ray_{name}\{{[^}}]*cluster="{yard.name}"[^}}]*\}} (\S+)$'
        return sum(float(found) for found in re.findall(pattern, published(), re.MULTILINE))

    def missing() -> list[str]:
        text = published()
        return [
            name
            for name in NAMES
            if not re.search(rf'^ray_{name}\{{[^}}]*cluster="{yard.name}"', text, re.MULTILINE)
        ]

    eventually(lambda: not missing(), within_s=60, what="every metric is published")
    eventually(lambda: value("raycons_proposals_total") >= 51, within_s=30, what="proposals")
    eventually(lambda: value("raycons_commits_total") >= 3 * 50, within_s=30, what="commits")
    assert value("raycons_sync_seconds_count") > 0
    assert value("raycons_elections_total") >= 1
