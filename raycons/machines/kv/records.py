"""The bytes of a record: one value that a key has, or had.

    present      mod (8) create (8) version (8) value         under the key
    superseded   until (8) create (8) version (8) value       under the key and mod

A record counts from `mod`, the revision that wrote it, up to, not including, `until`, the revision
that overwrote or deleted it. So a deletion needs no tombstone, and a read at revision R wants the
one record with mod <= R < until. Both forms differ in the first field only, which makes superseding
a record a matter of slicing. Numbers are big-endian, so that they sort as bytes.
"""

from __future__ import annotations

import struct

from raycons.machines.kv.commands import KeyValue

_REVISION = struct.Struct(">Q")
_NUMBERS = struct.Struct(">QQQ")
_CREATE_AND_VERSION = struct.Struct(">QQ")

REVISION_BYTES = _REVISION.size
HEADER_BYTES = _NUMBERS.size

pack_revision = _REVISION.pack
unpack_revision = _REVISION.unpack_from  # (bytes, offset=0) -> (revision,)
pack_numbers = _NUMBERS.pack  # (mod, create, version) -> header
unpack_numbers = _NUMBERS.unpack_from  # record -> (mod, create, version)
create_and_version = _CREATE_AND_VERSION.unpack_from  # (record, REVISION_BYTES)


def present(key: bytes, record: bytes) -> KeyValue:
    """The pair that a present record stands for."""
    mod, create, version = unpack_numbers(record)
    return KeyValue(key, record[HEADER_BYTES:], create, mod, version)


def superseded(key: bytes, mod: int, record: bytes) -> KeyValue:
    """The pair that a superseded record stood for."""
    create, version = create_and_version(record, REVISION_BYTES)
    return KeyValue(key, record[HEADER_BYTES:], create, mod, version)
