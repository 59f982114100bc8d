"""Joining a Ray: what is joined, and how a refusal is told. Ray itself is replaced here."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import ray

from raycons import errors
from raycons.cluster import rays


class Inits:
    """Takes `ray.init`'s calls."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.error = error

    def __call__(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        if self.error is not None:
            raise self.error


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that no Ray has been connected to, on a machine without one."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in rays.ENVIRONMENT:
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda _: None)
    monkeypatch.setattr(rays, "_hush_death_notices", lambda: None)


@pytest.fixture
def port() -> Any:
    """A port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_without_a_ray_a_local_one_is_started(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    init = Inits()
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_worker_niceness")
    rays.join_or_start_ray()
    assert [call["address"] for call in init.calls] == ["local"]
    assert rays.os.environ["RAY_worker_niceness"] == "0"
    assert rays.os.environ["RAY_event_stats"] == "7"  # the user's own choice


def test_a_ray_started_on_this_machine_is_joined(
    alone: None, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    init = Inits()
    monkeypatch.setattr(ray, "init", init)
    here = f"127.0.0.1:{port}"
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda _: here)
    rays.join_or_start_ray()
    assert [call["address"] for call in init.calls] == [here]


def test_what_a_dead_ray_left_behind_is_not_followed(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would try for a minute, and then end the process."""
    init = Inits()
    monkeypatch.setattr(ray, "init", init)
    stale = f"127.0.0.1:{closed_port()}"
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda _: stale)
    rays.join_or_start_ray()
    assert [call["address"] for call in init.calls] == ["local"]
    with pytest.raises(errors.ClusterNotFound, match="no Ray runs here"):
        rays.join_ray("prod")


def test_an_address_that_was_asked_for_must_answer(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Inits()
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port()}")
    with pytest.raises(errors.ClusterError, match="no Ray answers at RAY_ADDRESS"):
        rays.join_or_start_ray()
    assert init.calls == []


def test_a_missing_token_is_named_with_its_remedy(
    alone: None, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    refused = ConnectionError("Failed to connect to Ray cluster at 127.0.0.1")
    monkeypatch.setattr(ray, "init", Inits(refused))
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(errors.ClusterError) as told:
        rays.join_ray("prod")
    for word in ("RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN_PATH", "Failed to connect"):
        assert word in str(told.value)
