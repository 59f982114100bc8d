"""A fresh place on a real Ray, as the tests of clusters have it."""

from __future__ import annotations

from tests.cluster.conftest import yard

__all__ = ["yard"]
