"""A start never makes a cluster beside one that it cannot see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from raycons.cluster import hosts, opening, supervisor
from raycons.cluster.hosts import HostReport
from raycons.cluster.markers import Marker, read_marker, remove_marker, write_marker
from raycons.cluster.settings import ClusterSettings
from raycons.errors import ClusterExists, MembersMissing
from raycons.member.clock import boottime
from raycons.store import directory

SEEN = HostReport(host="h1", node="n1", hostname="one", root="/data")


def survey(
    patch: pytest.MonkeyPatch, answers: dict[str, HostReport | None], settings: ClusterSettings
) -> list[HostReport]:
    async def on_every_node(*asked: Any) -> dict[str, HostReport | None]:
        return answers

    patch.setattr(hosts, "on_every_node", on_every_node)
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


A_MARKER = Marker(name="prod", uuid="u", hosts=("h7", "h8"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This host's default data root, not yet there; nothing may be created."""

    async def found_cluster(*asked: Any) -> None:
        pytest.fail("a cluster was created")

    monkeypatch.setattr(opening, "found_cluster", found_cluster)
    root = tmp_path / "usual"
    monkeypatch.setenv("RAYCONS_HOME", str(root))
    return root


def try_to_create(path: str | None = None, storage: Any = "disk") -> None:
    """What a start does once all nodes have answered; a host other than the marker's is alive."""
    settings = ClusterSettings(path=path, storage=storage)
    here = hosts.look_here("prod", path, "n1")
    asyncio.run(opening.create_or_resume("prod", settings, [here, SEEN]))


def test_a_start_that_forgets_its_path_is_told_of_it(home: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    assert write_marker(Marker(name="prod", uuid="u", path=place)) == ""
    for other in (None, str(tmp_path / "third")):
        with pytest.raises(ClusterExists, match=f"start it with path='{place}'"):
            try_to_create(other)
    with pytest.raises(MembersMissing, match=f"destroy=True, path='{place}'"):
        try_to_create(place)  # the right place, and its stores are gone


@pytest.mark.parametrize("storage", ["disk", "memory"])
def test_a_host_without_a_store_remembers_the_cluster(home: Path, storage: Any) -> None:
    assert write_marker(A_MARKER) == ""
    with pytest.raises(MembersMissing, match=r"on hosts h7, h8; living are .*h1"):
        try_to_create(storage=storage)


def test_a_marker_that_cannot_be_read_still_forbids(home: Path) -> None:
    write_marker(A_MARKER)
    (home / "prod" / "cluster.json").write_text("{")
    with pytest.raises(MembersMissing, match=r"cluster\.json.*destroy=True"):
        try_to_create()
    assert hosts.destroy_here("prod", None, "") == [str(home / "prod" / "cluster.json")]
    assert read_marker("prod") is None


def test_a_marker_grows_and_is_not_written_over_by_another_cluster(home: Path) -> None:
    write_marker(A_MARKER)
    write_marker(Marker(name="prod", uuid="u", hosts=("h9",)))
    assert "of another cluster: u" in write_marker(Marker(name="prod", uuid="v"))
    assert read_marker("prod") == A_MARKER.with_hosts(["h9"])


def test_only_its_own_end_removes_a_marker(home: Path, tmp_path: Path) -> None:
    write_marker(A_MARKER)
    assert remove_marker("prod", None, "another") == ""
    assert remove_marker("prod", str(tmp_path / "elsewhere"), "") == ""
    assert read_marker("prod") == A_MARKER
    assert remove_marker("prod", str(home), "u")  # the default place by its own name
    assert not (home / "prod").exists()


def test_a_host_that_cannot_remember_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYCONS_HOME", "/proc/nowhere")
    assert "/proc/nowhere" in write_marker(A_MARKER)
    assert read_marker("prod") is None


def test_a_start_looks_again_until_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    async def come_back_at_the_third_look(name: str, *asked: Any) -> str:
        looks.append(name)
        if len(looks) < 3:
            raise MembersMissing("its hosts are away")
        return "the fleet"

    async def nothing(*asked: Any) -> None: ...

    async def start(timeout_s: float) -> Any:
        looks.clear()
        supervising = supervisor.Supervising("prod")
        return await supervising._opened(ClusterSettings(), boottime() + timeout_s)

    monkeypatch.setattr(supervisor, "LOOK_S", 0.01)
    monkeypatch.setattr(supervisor, "adopt", nothing)
    monkeypatch.setattr(supervisor, "look_everywhere", nothing)
    monkeypatch.setattr(supervisor, "create_or_resume", come_back_at_the_third_look)
    with pytest.raises(MembersMissing):
        asyncio.run(start(0.0))
    assert asyncio.run(start(30.0)) == "the fleet"
    assert len(looks) == 3
