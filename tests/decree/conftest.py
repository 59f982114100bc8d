"""Synods on a real Ray, stopped when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raycons
from raycons.decree.blocking import Synod


@pytest.fixture
def start(ray_session: None, tmp_path: Path) -> Iterator[Callable[..., Synod[Any]]]:
    """Starts synods below the test's directory."""
    started: list[Synod[Any]] = []

    def start(**arguments: Any) -> Synod[Any]:
        made = raycons.synod(**{"path": tmp_path / "root", **arguments})
        started.append(made)
        return made

    yield start
    for each in started:
        each.stop()
