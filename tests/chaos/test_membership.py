"""Churn leaves a cluster as large as it was, also where adding or removing fails."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from raycons.chaos import membership
from raycons.chaos.membership import Churn
from raycons.cluster.settings import ClusterSettings
from raycons.errors import ChangeInProgress, OutcomeUnknown, Unavailable


class FakeCluster:
    """Three members, and changes that fail as often as it is told."""

    def __init__(
        self, *, adding_fails: bool = False, removals_fail: int = 0, is_lost: bool | None = None
    ) -> None:
        self.ids = [1, 2, 3]
        self.hosts = dict.fromkeys((1, 2, 3, 4), "one")
        self._is_lost = is_lost  # the answer to adding, or the question; None: neither
        self._adding_fails = adding_fails
        self._removals_fail = removals_fail
        self.cluster = self.charter = self
        self.settings = ClusterSettings()

    async def members(self) -> tuple[int, ...]:
        return tuple(self.ids)

    async def add_member(self, *, timeout: float) -> None:  # noqa: ASYNC109
        if self._adding_fails:
            raise Unavailable
        if self._is_lost is not False:
            self.ids.append(4)
        if self._is_lost is not None:
            raise OutcomeUnknown

    async def status(self) -> Any:
        replicas = [SimpleNamespace(id=id, host=self.hosts[id]) for id in self.ids]
        return SimpleNamespace(voters=tuple(self.ids), replicas=replicas)

    async def remove_member(self, id: int, *, timeout: float) -> None:  # noqa: ASYNC109
        self._removals_fail -= 1
        if self._removals_fail >= 0:
            raise ChangeInProgress
        self.ids.remove(id)


def churned(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    async def churn() -> None:
        fault = Churn(cluster, 1)
        try:
            await fault.inject()
        finally:
            await fault.lift()

    monkeypatch.setattr(membership, "PAUSE_S", 0.0)
    monkeypatch.setattr(membership, "ADDED_S", 0.05)
    with contextlib.suppress(Unavailable, TimeoutError):
        asyncio.run(churn())
    return list(cluster.ids)


def test_one_comes_and_one_goes_once_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert churned(FakeCluster(removals_fail=2), monkeypatch) == [2, 3, 4]


def test_nobody_goes_where_nobody_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert churned(FakeCluster(adding_fails=True), monkeypatch) == [1, 2, 3]


def test_one_that_came_unnoticed_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert churned(FakeCluster(is_lost=True), monkeypatch) == [2, 3, 4]
    assert churned(FakeCluster(is_lost=False), monkeypatch) == [1, 2, 3]


@pytest.mark.parametrize(
    ("beside", "left"),
    [
        ("a", [2, 3, 4]),  # the new one is on the host of the planned one
        ("b", [1, 3, 4]),  # beside another: room is made there
        ("d", [2, 3, 4]),  # on a host of its own
    ],
)
def test_no_two_are_left_on_a_host(
    monkeypatch: pytest.MonkeyPatch, beside: str, left: list[int]
) -> None:
    cluster = FakeCluster()
    cluster.hosts = {1: "a", 2: "b", 3: "c", 4: beside}
    assert churned(cluster, monkeypatch) == left
