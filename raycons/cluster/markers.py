"""What hosts remember of a cluster beside its stores: that it exists, and where it lies.

    <default root>/<cluster name>/cluster.json

A store can lie where nobody looks: in another data root, or on a host that is away. A host that
remembers the cluster keeps `start` from making a second one of the name meanwhile. It is written
into the default root, which every `start` looks at, whatever its `path`.

Rules of this file
- Written before the cluster can acknowledge anything, removed after its stores are.
- The marker of another cluster of the name is never written over: only `destroy` removes it.
- A marker that cannot be read still says that there is a cluster.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from raycons.errors import StoreError
from raycons.store import directory
from raycons.store.failures import store_error
from raycons.store.host import sync_directory, write_synced

MARKER = "cluster.json"


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster on disk, as a host remembers it."""

    name: str
    uuid: str = ""  # "": the marker cannot be read
    path: str | None = None  # the data root of its stores; None: each host's default one
    hosts: tuple[str, ...] = ()  # the ids of hosts that were given a member, ever
    problem: str = ""  # why it cannot be read

    def with_hosts(self, hosts: Iterable[str]) -> Marker:
        """The same, remembering these hosts too."""
        return msgspec.structs.replace(self, hosts=tuple(sorted({*self.hosts, *hosts})))


def read_marker(name: str) -> Marker | None:
    """What this host remembers of the cluster `name`; None: nothing."""
    file = _file(name)
    try:
        return msgspec.json.decode(file.read_bytes(), type=Marker)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # where nothing may be read, nothing was written either
    except (OSError, msgspec.MsgspecError) as error:
        return Marker(name=name, problem=f"{file}: {error}")


def write_marker(marker: Marker) -> str:
    """Have this host remember the cluster, on disk before it returns; why it does not, or "".

    Hosts that it already remembers of the same cluster stay. A host whose default root cannot be
    written may hold members elsewhere, so it is told of and hinders nothing.
    """
    before = read_marker(marker.name)
    if before is not None and before.uuid != marker.uuid:
        return f"{_file(marker.name)} is of another cluster: {before.problem or before.uuid}"
    whole = marker.with_hosts(before.hosts if before is not None else ())
    if whole == before:
        return ""
    try:
        _replace(_file(marker.name), msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    except (OSError, StoreError) as error:
        return str(store_error(error, _file(marker.name)))
    return ""


def remove_marker(name: str, path: str | None, uuid: str) -> str:
    """Forget the cluster of that place, and of that `uuid` unless that is ""; the file removed."""
    found = read_marker(name)
    if found is None or (uuid and found.uuid != uuid):
        return ""
    if not found.problem and _root(found.path) != _root(path):
        return ""  # its stores lie elsewhere, and are still there
    file = _file(name)
    file.unlink(missing_ok=True)
    sync_directory(file.parent)
    with contextlib.suppress(OSError):
        file.parent.rmdir()
    return str(file)


def _file(name: str) -> Path:
    return directory.replica_path(directory.default_root(), name, 0).parent / MARKER


def _root(path: str | None) -> Path:
    return Path(path) if path else directory.default_root()


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.parent / f".{MARKER}-{secrets.token_hex(8)}"
    write_synced(aside, content)
    os.replace(aside, file)
    for changed in (file.parent, file.parent.parent, file.parent.parent.parent):
        sync_directory(changed)
