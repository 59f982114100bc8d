"""Members without Ray, in every test of this folder."""

from __future__ import annotations

import pytest

from .town import leave_ray_out


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_ray_out(monkeypatch)
