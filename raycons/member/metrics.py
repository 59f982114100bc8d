"""A member's metrics, through `ray.util.metrics`: counted on the way, published once a second.

Nothing here is called per command beyond adding to an integer. Latencies are samples: one command
at a time is timed from arrival to answer, and of the syncs and commands of a second at most
`SAMPLES_PER_PUBLICATION` reach the histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from raycons.transport.contract import MemberTransport

SAMPLES_PER_PUBLICATION = 100
# Publications between two looks at the status: Ray passes values on every 10 s, and asking the
# store and setting dozens of gauges costs an idle member more than all the rest.
STATUS_EVERY = 5
LATENCY_BOUNDS_S = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0]
BATCH_BOUNDS_BYTES = [128.0, 512.0, 2048.0, 8192.0, 32768.0, 131072.0, 524288.0]

# Fields of the status that count from the start of the process: published as counters, and not as
# gauges, for Ray would add up two metrics of one name.
TOTALS = {
    "snapshots_sent": ("raycons_snapshots_sent", "Snapshots begun for a follower"),
    "snapshots_installed": ("raycons_snapshots_installed", "Snapshots installed"),
    "snapshot_bytes_moved": ("raycons_snapshot_bytes", "Bytes of snapshots sent or received"),
}


class Meter:
    """Counts between two publications; knows nothing of Ray until `Exporter` reads it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew, after a publication."""
        self.frames_submitted = 0
        self.batch_bytes: list[float] = []
        self.commit_s: list[float] = []
        self.sync_s: list[float] = []
        self.syncs = 0
        self.role_changes = 0
        self.elections = 0
        self.other_events = 0

    def submitted(self, size_bytes: int) -> None:
        """A client's frame of commands arrived."""
        self.frames_submitted += 1
        if len(self.batch_bytes) < SAMPLES_PER_PUBLICATION:
            self.batch_bytes.append(size_bytes)

    def commit_took(self, seconds: float) -> None:
        """A command was answered so long after it arrived."""
        if len(self.commit_s) < SAMPLES_PER_PUBLICATION:
            self.commit_s.append(seconds)

    def synced(self, durations_s: list[float]) -> None:
        """Syncs that ended since the last call."""
        self.syncs += len(durations_s)
        self.sync_s.extend(durations_s[: SAMPLES_PER_PUBLICATION - len(self.sync_s)])

    def count_event(self, name: str, fields: Mapping[str, Any]) -> None:
        """An event of the engine."""
        if name != "role-changed":
            self.other_events += 1
            return
        self.role_changes += 1
        if fields["role"] == "candidate":  # a pre-candidate only asks whether to campaign
            self.elections += 1


class Exporter:
    """Publishes one member's meter as Ray metrics, tagged with its cluster and replica."""

    def __init__(self, cluster: str, replica: int) -> None:
        """Registers the metrics; needs a connection to Ray."""
        from ray.util import metrics

        tags = ("cluster", "replica")
        self._tags = {"cluster": cluster, "replica": str(replica)}
        self._metrics = metrics
        self._tag_keys = tags
        self._counters: dict[str, Any] = {}
        self._gauges: dict[str, Any] = {}
        self._histograms = {
            name: metrics.Histogram(name, description, boundaries=bounds, tag_keys=tags)
            for name, description, bounds in (
                ("raycons_sync_seconds", "Time of one disk sync (a sample)", LATENCY_BOUNDS_S),
                (
                    "raycons_commit_seconds",
                    "Time from a command's arrival at the leader to its answer (a sample)",
                    LATENCY_BOUNDS_S,
                ),
                (
                    "raycons_batch_bytes",
                    "Size of a frame of commands as it arrives (a sample)",
                    BATCH_BOUNDS_BYTES,
                ),
            )
        }
        self._last_commit: int | None = None
        self._last_totals = dict.fromkeys(TOTALS, 0)
        self._publications = 0

    def publish(
        self,
        meter: Meter,
        status: Callable[[], Mapping[str, Any]],
        transport: MemberTransport | None,
    ) -> None:
        """Hand everything counted since the last call to Ray; `status` is asked now and then."""
        self._count("raycons_proposals", "Frames of commands received", meter.frames_submitted)
        self._count("raycons_syncs", "Disk syncs", meter.syncs)
        self._count("raycons_elections", "Campaigns started", meter.elections)
        self._count("raycons_role_changes", "Changes of role or leader", meter.role_changes)
        self._count("raycons_events", "Events other than changes of role", meter.other_events)
        self._observe("raycons_sync_seconds", meter.sync_s)
        self._observe("raycons_commit_seconds", meter.commit_s)
        self._observe("raycons_batch_bytes", meter.batch_bytes)
        if self._publications % STATUS_EVERY == 0:
            known = status()
            self._count_totals(known)
            self._publish_gauges(known, transport)
        self._publications += 1
        meter.clear()

    def _count_totals(self, status: Mapping[str, Any]) -> None:
        for field, (name, description) in TOTALS.items():
            total = int(status.get(field, 0))
            self._count(name, description, total - self._last_totals[field])
            self._last_totals[field] = total
        commit = int(status.get("commit", 0))
        if self._last_commit is not None:
            self._count("raycons_commits", "Entries committed", max(0, commit - self._last_commit))
        self._last_commit = commit

    def _publish_gauges(self, status: Mapping[str, Any], transport: MemberTransport | None) -> None:
        for name, value in status.items():
            if name in TOTALS:
                continue
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._gauge(f"raycons_{name}", f"Status field {name}", float(value))
        if transport is not None:
            for name, value in transport.counters.items():
                self._gauge(f"raycons_transport_{name}", f"Transport counter {name}", float(value))

    def _count(self, name: str, description: str, amount: int) -> None:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._metrics.Counter(name, description, tag_keys=self._tag_keys)
            self._counters[name] = counter
        if amount > 0:
            counter.inc(amount, tags=self._tags)

    def _gauge(self, name: str, description: str, value: float) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._metrics.Gauge(name, description, tag_keys=self._tag_keys)
            self._gauges[name] = gauge
        gauge.set(value, tags=self._tags)

    def _observe(self, name: str, samples: Iterable[float]) -> None:
        histogram = self._histograms[name]
        for sample in samples:
            histogram.observe(sample, tags=self._tags)
