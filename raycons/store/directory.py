"""The directory of one member's store: who it belongs to, and who holds it now.

    <root>/host-id                          names this machine, whatever Ray calls it today
    <root>/<cluster name>/replica-<id>/
        identity.json                       whose store this is; written when it is made
        lock                                held by the living process that serves it
        db/                                 the RocksDB, and in wal/ its write-ahead log

Rules of this file
- Making a store is one act of its own, and opening never makes one: a process that is started again
  with its old arguments on a disk that lost its store must not come back empty under its old name.
- A store is made aside and moved into place whole, so that a crash leaves none or one.
- A retired identity stays on disk as such and opens no more.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec

from raycons.errors import (
    BadArgument,
    StoreCorrupt,
    StoreError,
    StoreFormatMismatch,
    StoreLocked,
)
from raycons.store.contract import Batch, Space
from raycons.store.failures import store_error
from raycons.store.host import (
    default_root,
    host_id,
    refuse_network_file_system,
    sync_directory,
    write_synced,
)
from raycons.store.openings import OWN
from raycons.store.rocks import RocksStore, set_log_aside

__all__ = [
    "Found",
    "Identity",
    "MemberDirectory",
    "create",
    "default_root",
    "find",
    "host_id",
    "open",
    "read_identity",
    "refuse_network_file_system",
    "replica_path",
]

# Of the directory and of every key and value in it. Snapshots carry these to other members, so
# `transport.contract.PROTOCOL_VERSION` rises whenever this does.
FORMAT = 3
IDENTITY, LOCK, DATABASE = "identity.json", "lock", "db"
NONCE_KEY = OWN + b"nonce"


class Identity(msgspec.Struct, frozen=True):
    """Whose store this is; fixed when the store is made, but for `retired`."""

    format: int
    cluster_name: str
    cluster_id: str  # the cluster's UUID: two clusters of one name differ in it
    replica: int
    nonce: int  # minted with the store: a new store for an old replica id differs in it
    host: str
    storage: str
    retired: str | None = None  # why this identity must never serve again


class Found(NamedTuple):
    """A store seen on disk: its identity, or why that could not be read."""

    path: Path
    identity: Identity | None
    problem: StoreError | None


def replica_path(root: Path, cluster_name: str, replica: int) -> Path:
    """Where the store of `replica` lives. Raises BadArgument for an unusable cluster name."""
    plain = cluster_name.replace("-", "").replace("_", "").replace(".", "")
    if (
        not (plain.isascii() and plain.isalnum())
        or cluster_name[0] == "."
        or len(cluster_name) > 64
    ):
        raise BadArgument(
            f"cluster name {cluster_name!r}: use 1 to 64 letters, digits, '-', '_' and '.', "
            "and no '.' at the start"
        )
    return root / cluster_name / f"replica-{replica}"


def create(
    root: Path,
    *,
    cluster_name: str,
    cluster_id: str,
    replica: int,
    storage: str = "disk",
) -> Identity:
    """Make an empty store for a replica that never existed, and its identity with a fresh nonce.

    Raises StoreError where one is there already; StoreFull, StoreReadOnly, BadArgument.
    """
    path = replica_path(root, cluster_name, replica)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_network_file_system(path.parent)
        identity = Identity(
            format=FORMAT,
            cluster_name=cluster_name,
            cluster_id=cluster_id,
            replica=replica,
            nonce=secrets.randbits(63),
            host=host_id(root),
            storage=storage,
        )
        aside = path.parent / f".new-{path.name}-{secrets.token_hex(8)}"
        aside.mkdir()
        try:
            _make_database(aside / DATABASE, identity.nonce)
            _write_identity(aside, identity)
            os.rename(aside, path)  # fails where another, non-empty directory has come to be
        finally:
            if aside.exists():
                shutil.rmtree(aside)
        sync_directory(path.parent)
        sync_directory(root)
    except OSError as error:
        if path.exists():
            raise StoreError(
                f"{path} exists already: replica ids are never used twice; open that store, "
                "or add a replica under a new id"
            ) from error
        raise store_error(error, path) from error
    return identity


def open(
    root: Path, cluster_name: str, replica: int, *, allow_network_file_system: bool = False
) -> MemberDirectory:
    """Take hold of an existing store's directory for the life of this process.

    Raises StoreError where there is none or it is retired, StoreLocked, StoreFormatMismatch,
    StoreCorrupt, StoreReadOnly.
    """
    path = replica_path(root, cluster_name, replica)
    if not path.is_dir():
        raise StoreError(
            f"there is no store at {path}; if the disk was lost, remove this replica "
            "and add a new one"
        )
    if not allow_network_file_system:
        refuse_network_file_system(path)
    lock = _lock(path)
    try:
        identity = read_identity(path)
        if identity.retired is not None:
            raise StoreError(
                f"the replica in {path} is retired and must not serve again: {identity.retired}; "
                "add a new replica instead"
            )
        if (identity.cluster_name, identity.replica) != (cluster_name, replica):
            raise StoreCorrupt(
                f"{path / IDENTITY} is that of replica {identity.replica} of "
                f"{identity.cluster_name!r}; the directory was moved or copied: put it back"
            )
    except BaseException:
        os.close(lock)
        raise
    return MemberDirectory(path, identity, lock)


class MemberDirectory:
    """The directory of one store, held by this process until `close` or its end."""

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.identity = identity
        self._lock = lock

    @property
    def database_path(self) -> Path:
        """Where the RocksDB lives."""
        return self.path / DATABASE

    def open_store(self) -> RocksStore:
        """Open the store. Raises StoreCorrupt where it is gone, damaged, or another replica's."""
        store = RocksStore(self.database_path, create_if_missing=False)
        found = store.get(Space.META, NONCE_KEY)
        if found != self.identity.nonce.to_bytes(8, "big"):
            store.close()
            raise StoreCorrupt(
                f"{self.database_path} does not belong to {self.path / IDENTITY}: one of them was "
                "replaced; this replica must not serve again: replace it by a new one"
            )
        return store

    def retire(self, reason: str) -> None:
        """Write down that this identity must never serve again; the data stays."""
        self.identity = msgspec.structs.replace(self.identity, retired=reason)
        try:
            _write_identity(self.path, self.identity)
        except OSError as error:
            raise store_error(error, self.path) from error

    def destroy(self) -> None:
        """Remove the directory with all its data, and let go of it; the store must be closed."""
        try:
            # Moved away first: what a crash leaves of it is not taken for a damaged store.
            gone = self.path.parent / f".gone-{self.path.name}-{secrets.token_hex(8)}"
            os.rename(self.path, gone)
            sync_directory(self.path.parent)
            shutil.rmtree(gone)
        except OSError as error:
            raise store_error(error, self.path) from error
        self.close()

    def close(self) -> None:
        """Let go of the lock; the store must be closed before."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def find(root: Path, cluster_name: str) -> list[Found]:
    """The stores of `cluster_name` below `root`, by replica id, without opening or locking any."""
    parent = replica_path(root, cluster_name, 0).parent
    found = []
    for path in parent.glob("replica-*"):
        try:
            found.append(Found(path, read_identity(path), None))
        except StoreError as error:
            found.append(Found(path, None, error))
    return sorted(found, key=lambda each: (len(each.path.name), each.path.name))


def read_identity(path: Path) -> Identity:
    """The identity in `path`. Raises StoreFormatMismatch, StoreCorrupt or StoreError."""
    file = path / IDENTITY
    try:
        raw = file.read_bytes()
        format_found = msgspec.json.decode(raw, type=_FormatOnly).format
        if format_found != FORMAT:
            raise StoreFormatMismatch(
                f"{file} has format {format_found}, this raycons reads format {FORMAT}; run the "
                f"version of raycons that wrote it, or add a new replica with this one"
            )
        return msgspec.json.decode(raw, type=Identity)
    except FileNotFoundError as error:
        raise StoreCorrupt(
            f"{file} is missing; this replica must not serve again: replace it by a new one"
        ) from error
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"{file} cannot be read ({error}); this replica must not serve again: "
            "replace it by a new one"
        ) from error
    except OSError as error:
        raise store_error(error, path) from error


class _FormatOnly(msgspec.Struct):
    format: int


def _make_database(path: Path, nonce: int) -> None:
    set_log_aside(path)
    store = RocksStore(path)
    batch = Batch()
    batch.put(Space.META, NONCE_KEY, nonce.to_bytes(8, "big"))
    store.write(batch)
    store.sync()
    store.close()
    sync_directory(path)


def _lock(path: Path) -> int:
    """An open file that holds the lock. Raises StoreLocked, naming the holder's process id."""
    file = path / LOCK
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise store_error(error, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(
            f"{path} is held by process {holder}; end that process before opening the store again"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise store_error(error, path) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise store_error(error, path) from error
    return descriptor


def _write_identity(path: Path, identity: Identity) -> None:
    text = msgspec.json.format(msgspec.json.encode(identity)) + b"\n"
    aside = path / f".{IDENTITY}-{secrets.token_hex(8)}"
    write_synced(aside, text)
    os.replace(aside, path / IDENTITY)
    sync_directory(path)
