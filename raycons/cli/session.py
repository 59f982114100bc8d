"""A command's connection to Ray and to a cluster."""

from __future__ import annotations

import contextlib
import logging
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


def use_our_ray() -> None:
    """Prefer the Ray that `raycons up` started, unless the user names another in RAY_ADDRESS."""
    record = localray.recorded()
    if record is not None:
        os.environ.setdefault("RAY_ADDRESS", record.address)


def hush() -> None:
    """Keep Ray's own log lines off the terminal; its errors reach us as exceptions."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)


@contextlib.contextmanager
def connected(name: str) -> Iterator[Cluster]:
    """The running cluster `name`. Raises ClusterNotFound where it, or Ray, does not run."""
    import raycons

    use_our_ray()
    hush()
    cluster = raycons.connect(name)
    try:
        yield cluster
    finally:
        cluster.close()
