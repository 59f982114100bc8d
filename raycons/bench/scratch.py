"""A place for data that is thrown away, on a real disk where there is one.

On many systems the usual directory for temporary files lives in memory, where a sync costs nothing:
what is measured there says nothing about a disk.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
CANDIDATES = (Path("/var/tmp"),)  # kept across reboots, so it is on a disk


def file_system(path: Path, mounts: str | None = None) -> str:
    r"""The type of the file system that holds `path`, as in /proc/mounts; "" if that is unknown.

    >>> file_system(Path("/tmp/a"), "/dev/sda1 / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n")
    'tmpfs'
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text()
        except OSError:
            return ""
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, place, mounted, *_ = line.split()
        if path.is_relative_to(place) and len(place) >= best:
            best, kind = len(place), mounted
    return kind


def scratch_root() -> Path:
    """The directory under which throw-away data goes: on a disk if one is to be found."""
    usual = Path(tempfile.gettempdir())
    for place in (usual, *CANDIDATES):
        if place.is_dir() and file_system(place.resolve()) not in IN_MEMORY:
            return place
    return usual


@contextlib.contextmanager
def scratch_directory(purpose: str) -> Iterator[Path]:
    """A new directory, removed at the end with all that is in it."""
    path = Path(tempfile.mkdtemp(prefix=f"raycons-{purpose}-", dir=scratch_root()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
