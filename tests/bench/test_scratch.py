"""Throw-away data goes to a disk, and goes away."""

from pathlib import Path

import pytest

from raycons.bench import scratch

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb1 /tmp/disk xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/tmp/a", "ext4"), ("/tmp/a", "tmpfs"), ("/tmp/disk/a", "xfs"), ("/tmpfoo", "ext4")],
)
def test_the_longest_mount_point_decides(path: str, kind: str) -> None:
    assert scratch.file_system(Path(path), MOUNTS) == kind


def test_memory_is_avoided_where_there_is_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    memory = tmp_path / "memory"
    disk.mkdir()
    memory.mkdir()
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(memory))
    monkeypatch.setattr(scratch, "CANDIDATES", (disk,))
    monkeypatch.setattr(
        scratch, "file_system", lambda path: "tmpfs" if path == memory.resolve() else "ext4"
    )
    assert scratch.scratch_root() == disk
    monkeypatch.setattr(scratch, "file_system", lambda path: "tmpfs")
    assert scratch.scratch_root() == memory


def test_the_directory_is_removed_with_its_content() -> None:
    with scratch.scratch_directory("test") as path:
        (path / "file").write_bytes(b"x")
    assert not path.exists()
