"""What is told where Ray refuses to say which actors run. Ray itself is replaced here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import ray

from raycons import errors
from raycons.cluster import hosts, lifecycle
from raycons.cluster.connection import find, has_supervisor
from raycons.cluster.fleet import Charter, Fleet
from raycons.cluster.settings import ClusterSettings
from raycons.member.lookup import actor_named, actor_names
from raycons.member.wiring import resolver

CHARTER = Charter(name="prod", uuid="u", secret=b"s", settings=ClusterSettings())
REPLACED = ray.exceptions.RayError(
    "RPC error: WrongClusterID: Perhaps the client is accessing GCS after it has restarted."
)


@pytest.fixture(params=[REPLACED, ConnectionError("gone")], ids=["replaced", "gone"])
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that refuses every question."""

    def refuse(*_: Any, **__: Any) -> None:
        raise request.param

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_actor", refuse)
    monkeypatch.setattr(ray.util, "list_named_actors", refuse)
    # It would end this very process, where the control plane was replaced.
    monkeypatch.setattr(ray, "nodes", lambda: pytest.fail("asked for the nodes all the same"))


def told(error: errors.Unavailable) -> bool:
    words = ("ray.shutdown()", "ray.init()", "restart Ray", "raycons.start")
    return all(word in str(error) for word in words)


def test_a_refusal_names_the_remedy(refused: None) -> None:
    with pytest.raises(errors.Unavailable) as by_name:
        actor_named("prod/supervisor")
    with pytest.raises(errors.Unavailable) as by_all:
        actor_names()
    assert told(by_name.value)
    assert told(by_all.value)


@pytest.mark.parametrize(
    "question",
    [
        lambda: find(CHARTER),
        lambda: has_supervisor("prod"),
        lambda: Fleet(CHARTER).refresh(),
        lambda: lifecycle.connect_cluster("prod"),
        lambda: lifecycle.stop_cluster("prod", destroy=True, path=None),
        lambda: hosts.look_everywhere("prod", ClusterSettings()),
    ],
    ids=["find", "supervisor", "refresh", "connect", "stop", "hosts"],
)
def test_whoever_asks_gets_our_own_error(
    refused: None, question: Callable[[], Awaitable[Any]]
) -> None:
    async def ask() -> None:
        await question()

    with pytest.raises(errors.Unavailable) as refusal:
        asyncio.run(ask())
    assert told(refusal.value)


def test_a_line_to_an_actor_tries_again(refused: None) -> None:
    assert resolver("prod")(1) is None


def test_a_stop_that_cannot_find_the_members_ends_nobody(
    refused: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handles of actors that are known can be had all the same, and what they name be killed."""
    monkeypatch.setattr(ray, "get_actor", lambda *_, **__: pytest.fail("found the supervisor"))
    with pytest.raises(errors.Unavailable):
        asyncio.run(lifecycle.stop_cluster("prod", destroy=True, path=None))


def test_a_missing_actor_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ValueError("Failed to look up actor with name")

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_actor", missing)
    assert actor_named("prod/replica-1") is None


def test_no_ray_is_started_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "get_actor", lambda *_, **__: pytest.fail("asked all the same"))
    monkeypatch.setattr(ray.util, "list_named_actors", lambda **__: pytest.fail("asked"))
    for question in (lambda: actor_named("prod/supervisor"), actor_names):
        with pytest.raises(errors.Unavailable, match="not connected to Ray any more"):
            question()
