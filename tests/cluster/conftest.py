"""A fresh place on a real Ray for each test's cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raycons.cluster.settings import TransportKind
from tests.cluster.yard import Yard


@pytest.fixture
def yard(ray_session: None, tmp_path: Path) -> Iterator[Yard]:
    """A place for one test's cluster."""
    yard = Yard(tmp_path)
    yield yard
    yard.clear()


@pytest.fixture(params=["tcp", pytest.param("actor", marks=pytest.mark.long)])
def transport(request: pytest.FixtureRequest) -> TransportKind:
    """Each of the transports; what holds on one has to hold on the other."""
    chosen: TransportKind = request.param
    return chosen
