"""The bytes of a record: one value that a key has, or had.

    mod (8) create (8) version (8) value

A record counts from `mod`, the revision that wrote it, up to, not including, the revision `until`
that overwrote or deleted it. It never changes: superseding it only moves it, and what it is moved
under tells `until`. Numbers are big-endian.
"""

from __future__ import annotations

import struct

from raycons.machines.kv.commands import KeyValue

_REVISION = struct.Struct(">Q")
_NUMBERS = struct.Struct(">QQQ")
_CREATE_AND_VERSION = struct.Struct(">QQ")

REVISION_BYTES = _REVISION.size
HEADER_BYTES = _NUMBERS.size

MILESTONE = 32  # versions from one landmark to the next. Part of the state's format

pack_revision = _REVISION.pack
unpack_revision = _REVISION.unpack_from  # (bytes, offset=0) -> (revision,)
pack_numbers = _NUMBERS.pack  # (mod, create, version) -> header
unpack_numbers = _NUMBERS.unpack_from  # record -> (mod, create, version)
create_and_version = _CREATE_AND_VERSION.unpack_from  # (record, REVISION_BYTES)


def is_milestone(record: bytes) -> bool:
    """Whether the record becomes a landmark when it is overwritten, too; see `undo`."""
    (version,) = unpack_revision(record, 2 * REVISION_BYTES)
    return bool(version % MILESTONE == 0)


def pair(key: bytes, record: bytes) -> KeyValue:
    """What a record says about its key."""
    mod, create, version = unpack_numbers(record)
    return KeyValue(key, record[HEADER_BYTES:], create, mod, version)
