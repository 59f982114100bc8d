"""What tests of several layers share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.sandbox import Sandbox
from tests.lanes import Lanes
from tests.recording import Recordings


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    """How tests are dealt out to several processes."""
    return Lanes(config, log)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A home, a data root and a Ray of its own for the `raycons` command."""
    made = Sandbox()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One small Ray for all tests that need a real one; its default data root is thrown away."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYCONS_HOME", str(tmp_path_factory.mktemp("home")))
        _start_ray()
    yield
    ray.shutdown()


def _start_ray() -> None:
    import ray

    ray.init(
        address="local",  # whatever `ray start` may have left on this machine
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 1024 * 1024,
        namespace="raycons-tests",
    )


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    """Handles that record; at the end of the test their histories must be linearizable."""
    with Recordings(tmp_path) as recordings:
        yield recordings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(point)],
        check=False,
        capture_output=True,
    )
    if made.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {made.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)
