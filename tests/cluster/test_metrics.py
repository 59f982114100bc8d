"""Metrics, read from where Ray publishes them."""

from __future__ import annotations

import re
import socket
import urllib.request

import ray

from raycons.config import MemberSettings
from raycons.transport.counters import NAMES as TRANSPORT_COUNTERS
from tests.cluster.yard import Yard, eventually
from tests.recording import Recordings

NAMES = (
    "raycons_proposals_total",
    "raycons_commits_total",
    "raycons_syncs_total",
    "raycons_sync_seconds_bucket",
    "raycons_commit_seconds_bucket",
    "raycons_batch_bytes_bucket",
    "raycons_elections_total",
    "raycons_snapshots_sent_total",
    "raycons_snapshots_installed_total",
    "raycons_snapshot_bytes_total",
    "raycons_last_snapshot_bytes",
    "raycons_role_changes_total",
    "raycons_pending_commands",
    "raycons_pending_reads",
    "raycons_applied",
    *(f"raycons_transport_{counter}" for counter in TRANSPORT_COUNTERS),
)


def published() -> str:
    """What this machine's Ray says to Prometheus."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def knock(address: str) -> None:
    """Connect as somebody who speaks another protocol; wait until the member has hung up."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: raycons\r\n\r\n")
        while stranger.recv(1 << 16):
            """The member greets before it listens."""


def test_metrics_reach_rays_endpoint(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(member=MemberSettings(log_limit_bytes=20_000, write_behind_s=0.1))
    kv = recordings.wrap(cluster.kv())
    for number in range(100):
        kv.put(f"key/{number}", bytes(1000))

    def compacted() -> bool:
        kv.put("another", b"v")
        status = cluster.status()
        leader = status.replica(status.leader)
        return leader is not None and leader.snapshot_index > 0

    eventually(compacted, within_s=20, what="the leader's log is cut")
    newcomer = cluster.add_member()
    status = cluster.status()
    met = status.replica(newcomer)
    assert met is not None
    knock(met.address)
    sent = {
        replica.id: replica.last_snapshot_bytes
        for replica in status.replicas
        if replica.last_snapshot_bytes
    }
    assert sent.keys() == {status.leader, newcomer}
    assert sent[newcomer] == sent[status.leader] > 100 * 1000

    def value(name: str, replica: str = r"\d+") -> float:
        tags = rf'[^}}]*cluster="{yard.name}"[^}}]*replica="{replica}"[^}}]*'
        pattern = rf"^ray_{name}\{{{tags}\}} (\S+)$"
        return sum(float(found) for found in re.findall(pattern, published(), re.MULTILINE))

    def missing() -> list[str]:
        text = published()
        return [
            name
            for name in NAMES
            if not re.search(rf'^ray_{name}\{{[^}}]*cluster="{yard.name}"', text, re.MULTILINE)
        ]

    eventually(lambda: not missing(), within_s=60, what="every metric is published")
    eventually(lambda: value("raycons_proposals_total") >= 101, within_s=30, what="proposals")
    eventually(lambda: value("raycons_commits_total") >= 3 * 100, within_s=30, what="commits")
    for histogram in ("raycons_sync_seconds", "raycons_commit_seconds"):
        assert 0 < value(f"{histogram}_sum") < 10 * value(f"{histogram}_count")
    assert value("raycons_batch_bytes_sum") > 1000 * value("raycons_batch_bytes_count") / 2
    assert value("raycons_elections_total") >= 1
    for id, counter in ((status.leader, "sent"), (newcomer, "installed")):
        assert value(f"raycons_snapshots_{counter}\\w*", str(id)) == 1  # under whatever suffix
        assert value("raycons_snapshot_bytes_total", str(id)) == sent[id]
    rejected = "raycons_transport_rejected_stranger"
    eventually(lambda: value(rejected, str(newcomer)) == 1, within_s=30, what="the stranger")
    assert value(rejected) == 1
