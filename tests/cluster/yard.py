"""Clusters on a real Ray, made for one test each."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raycons
from raycons.cluster.blocking import Cluster
from raycons.cluster.status import ClusterStatus

_numbers = itertools.count(1)


def eventually(condition: Callable[[], Any], *, within_s: float, what: str) -> Any:
    """The first true value of `condition`; fails the test after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            pytest.fail(f"not within {within_s} s: {what}")
        time.sleep(0.05)


class Yard:
    """Starts clusters below one directory, and clears them away."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = f"test-{os.getpid()}-{next(_numbers)}"
        self._handles: list[Cluster] = []

    def start(self, **settings: Any) -> Cluster:
        """Start, or start again, this test's cluster."""
        cluster = raycons.start(self.name, path=self.root, **settings)
        self._handles.append(cluster)
        return cluster

    def store(self, id: int) -> Path:
        """Where a replica's store lies."""
        return self.root / self.name / f"replica-{id}"

    def clear(self) -> None:
        """End the cluster and remove its data."""
        for handle in self._handles:
            handle.close()
        with contextlib.suppress(raycons.ClusterNotFound):
            raycons.stop(self.name, destroy=True, path=self.root)


def serving(status: ClusterStatus) -> list[int]:
    """The voters that serve, in order; the leader must be one of them."""
    return [
        replica.id
        for replica in status.replicas
        if replica.state == "serving" and replica.listed == "voter"
    ]


def whole(cluster: Cluster, voters: int = 3) -> Callable[[], bool]:
    """A condition: a leader, and so many serving voters and no more listed."""

    def condition() -> bool:
        status = cluster.status()
        return bool(status.leader) and len(serving(status)) == voters == len(status.voters)

    return condition
