"""A command's connection to Ray and to a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from raycons.cli import localray

if TYPE_CHECKING:
    from raycons.cluster.blocking import Cluster

DEFAULT_NAME = "default"

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="The cluster's name."
)


def prepare() -> None:
    """Choose the Ray to join.

    Must come before Ray is imported, for Ray reads how to authenticate then. The Ray that
    `raycons up` started is preferred, unless the user names another in RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    record = localray.recorded()
    if record is not None and "RAY_ADDRESS" not in os.environ:
        os.environ["RAY_ADDRESS"] = record.address
        os.environ.setdefault("RAY_AUTH_MODE", record.auth_mode)


@contextlib.contextmanager
def connected(name: str) -> Iterator[Cluster]:
    """The running cluster `name`. Raises ClusterNotFound where it, or Ray, does not run."""
    import raycons

    prepare()
    cluster = raycons.connect(name)
    try:
        yield cluster
    finally:
        cluster.close()
