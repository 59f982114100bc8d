"""What a member counts, and under which names Ray hears of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from raycons.consensus.messages import SnapshotChunk
from raycons.member.metrics import STATUS_EVERY, Exporter, Meter

from .harness import World


class Published:
    """Stands in for `ray.util.metrics`: keeps what each metric was last set, or raised, to."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.values: dict[str, float] = {}

    def metric(self, name: str, *_: Any, **__: Any) -> _Metric:
        self.made[name] += 1
        return _Metric(name, self.values)


class _Metric:
    def __init__(self, name: str, values: dict[str, float]) -> None:
        self._name = name
        self._values = values

    def inc(self, amount: float, tags: Any) -> None:
        self._values[self._name] = self._values.get(self._name, 0) + amount

    def set(self, value: float, tags: Any) -> None:
        self._values[self._name] = value

    def observe(self, value: float, tags: Any) -> None:
        """A histogram's samples are not looked at here."""


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    from ray.util import metrics

    published = Published()
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(metrics, kind, published.metric)
    return published


def test_only_real_campaigns_count_as_elections() -> None:
    meter = Meter()
    for role in ("pre-candidate", "follower", "pre-candidate", "candidate", "leader"):
        meter.count_event("role-changed", {"role": role})
    meter.count_event("log-compacted", {"through": 7})
    assert (meter.elections, meter.role_changes, meter.other_events) == (1, 5, 1)


def test_snapshots_are_counted_at_both_ends_and_under_one_name_each(published: Published) -> None:
    world = World(3, log_limit_bytes=20_000, snapshot_chunk_bytes=2000)
    world.run(1.0)
    leader = world.leader()
    follower = next(id for id in world.nodes if id != leader)
    store = world.crash(follower)
    for _ in range(400):
        world.submit(leader, bytes(100))
        world.run(0.003)
    world.run(1.0)
    sizes: list[int] = []

    def watch(message: Any) -> bool:
        if type(message) is SnapshotChunk:
            sizes.append(len(message.data))
        return False

    world.loses = watch
    world.open(follower, store)
    world.run(3.0)
    assert len(sizes) > 3

    for id, name in ((leader, "raycons_snapshots_sent"), (follower, "raycons_snapshots_installed")):
        published.values.clear()
        published.made.clear()
        status = world.nodes[id].engine.status(world.now)
        assert status["last_snapshot_bytes"] == sum(sizes)
        exporter = Exporter("c", id)
        for _ in range(STATUS_EVERY + 1):
            exporter.publish(Meter(), lambda status=status: status, None)
        assert published.values[name] == 1
        assert published.values["raycons_snapshot_bytes"] == sum(sizes)
        assert max(published.made.values()) == 1


def test_the_status_is_looked_at_now_and_then(published: Published) -> None:
    status = {"commit": 0}
    asked: list[int] = []

    def look() -> dict[str, Any]:
        asked.append(status["commit"])
        return status

    exporter = Exporter("c", 1)
    for commit in range(2 * STATUS_EVERY + 1):
        status["commit"] = commit
        meter = Meter()
        meter.submitted(100)
        exporter.publish(meter, look, None)
    assert asked == [0, STATUS_EVERY, 2 * STATUS_EVERY]
    assert published.values["raycons_commits"] == 2 * STATUS_EVERY
    assert published.values["raycons_proposals"] == 2 * STATUS_EVERY + 1
