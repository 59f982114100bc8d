"""A start never makes a cluster beside one that it cannot see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from raycons.cluster import hosts, opening
from raycons.cluster.hosts import HostReport
from raycons.cluster.settings import ClusterSettings
from raycons.errors import ClusterExists, MembersMissing
from raycons.store import directory

SEEN = HostReport(host="h1", node="n1", hostname="one", root="/data")


def survey(
    patch: pytest.MonkeyPatch, answers: dict[str, HostReport | None], settings: ClusterSettings
) -> list[HostReport]:
    async def on_every_node(*asked: Any) -> dict[str, HostReport | None]:
        return answers

    patch.setattr(hosts, "_on_every_node", on_every_node)
    return asyncio.run(hosts.look_everywhere("prod", settings))


@pytest.mark.parametrize("storage", ["disk", "memory"])
def test_nothing_is_created_while_a_node_has_not_said_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, storage: Any
) -> None:
    async def found_cluster(*asked: Any) -> None:
        pytest.fail("a cluster was created")

    monkeypatch.setattr(opening, "found_cluster", found_cluster)
    settings = ClusterSettings(storage=storage)
    reports = survey(monkeypatch, {"n1": SEEN, "n2": None}, settings)
    with pytest.raises(MembersMissing, match="nodes n2 did not say"):
        asyncio.run(opening.create_or_resume("prod", settings, reports))


@pytest.mark.parametrize("storage", ["disk", "memory"])
def test_a_cluster_is_created_where_every_node_has_spoken(
    monkeypatch: pytest.MonkeyPatch, storage: Any
) -> None:
    made: list[Any] = []

    async def found_cluster(charter: Any, reports: Any) -> None:
        made.append(charter)

    monkeypatch.setattr(opening, "found_cluster", found_cluster)
    settings = ClusterSettings(storage=storage)
    reports = survey(monkeypatch, {"n1": SEEN}, settings)
    asyncio.run(opening.create_or_resume("prod", settings, reports))
    assert [charter.name for charter in made] == ["prod"]


def test_nothing_is_created_beside_stores_in_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, other = tmp_path / "usual", tmp_path / "other"
    monkeypatch.setenv("RAYCONS_HOME", str(usual))
    directory.create(usual, cluster_name="prod", cluster_id="u", replica=1, storage="disk")
    here = hosts.look_here("prod", str(other), "n1")
    settings = ClusterSettings(path=str(other))
    with pytest.raises(ClusterExists, match=str(usual)):
        asyncio.run(opening.create_or_resume("prod", settings, [here]))
    assert hosts.look_here("other-name", str(other), "n1").elsewhere == ""


def test_a_silent_node_gets_no_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    for storage in ("disk", "memory"):
        settings = ClusterSettings(storage=storage)
        reports = survey(monkeypatch, {"n1": SEEN, "n2": None}, settings)
        assert [report.node for report in reports if report.host] == ["n1"]
