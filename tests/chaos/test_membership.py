"""Churn leaves a cluster as large as it was, also where adding or removing fails."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from raycons.chaos import membership
from raycons.chaos.membership import Churn
from raycons.cluster.settings import ClusterSettings
from raycons.errors import ChangeInProgress, Unavailable


class FakeCluster:
    """Three members, and changes that fail as often as it is told."""

    def __init__(self, *, adding_fails: bool = False, removals_fail: int = 0) -> None:
        self.ids = [1, 2, 3]
        self._adding_fails = adding_fails
        self._removals_fail = removals_fail
        self.cluster = self.charter = self
        self.settings = ClusterSettings()

    async def members(self) -> tuple[int, ...]:
        return tuple(self.ids)

    async def add_member(self, *, timeout: float) -> None:  # noqa: ASYNC109
        if self._adding_fails:
            raise Unavailable
        self.ids.append(4)

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
    with contextlib.suppress(Unavailable):
        asyncio.run(churn())
    return list(cluster.ids)


def test_one_comes_and_one_goes_once_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert churned(FakeCluster(removals_fail=2), monkeypatch) == [2, 3, 4]


def test_nobody_goes_where_nobody_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert churned(FakeCluster(adding_fails=True), monkeypatch) == [1, 2, 3]
