"""The machine that stores live on: where they go, what it is called, which disks will do."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import platformdirs

from raycons.errors import StoreError
from raycons.store.failures import store_error

HOST_ID = "host-id"
ALLOW_NETWORK = "RAYCONS_ALLOW_NETWORK_FILE_SYSTEM"  # "1" in the environment of each Ray node
NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "fuse.ceph", "fuse.cephfs"),
        *("fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)


def default_root() -> Path:
    """Where stores live unless told otherwise: RAYCONS_HOME, else the user's data directory."""
    chosen = os.environ.get("RAYCONS_HOME")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("raycons"))


def host_id(root: Path) -> str:
    """This machine's own random name, made once for each data root; safe against a race."""
    file = root / HOST_ID
    try:
        if not file.exists():
            root.mkdir(parents=True, exist_ok=True)
            aside = root / f".{HOST_ID}-{secrets.token_hex(8)}"
            write_synced(aside, secrets.token_hex(16).encode())
            try:
                os.link(aside, file)  # unlike a rename, refuses to replace the one who came first
            except FileExistsError:
                pass
            finally:
                aside.unlink()
            sync_directory(root)
        return file.read_text().strip()
    except OSError as error:
        raise store_error(error, root) from error


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise StoreError where `path` lies on a file system that other machines can write.

    Locks and syncs cannot be trusted there, and two machines would answer to one host id. Says
    nothing where the mounts cannot be read (systems other than Linux), or where whoever started Ray
    on this host vouches for its disks: the environment reaches all that looks, creates and opens.
    """
    if os.environ.get(ALLOW_NETWORK) == "1":
        return
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return
    real = path.resolve()
    best, kind = Path(), ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode().decode("unicode_escape"))  # spaces are written \040
        # Of mounts on one point the last one counts: it hides the others.
        if real.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, fields[2]
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} lies on a network file system ({kind} at {best}), where locks and syncs "
            "cannot be trusted; choose a local disk with RAYCONS_HOME or start(path=...); or, "
            "if it locks and syncs truly and each host has a directory of its own, set "
            f"{ALLOW_NETWORK}=1 on every host before Ray is started there"
        )


def write_synced(file: Path, content: bytes) -> None:
    """Write a new file and wait until its content is on disk."""
    with file.open("xb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sync_directory(path: Path) -> None:
    """Wait until what was created, renamed or removed in the directory is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
