r"""Where the key-value machine keeps things: the first byte of each stored key tells what it is.

    CURRENT  01 "revisions"                the group's revision, and up to where it is compacted
    CURRENT  01 "sweep"                    how far the deletion of dead history has come
    CURRENT  02 key                        the key's present record
    HISTORY  01 until number               a page of what commands overwrote: see `undo`
    HISTORY  02 escape(key) 00 00 until    a deleted record, by the revision that deleted it

Revisions and page numbers are big-endian, so that they sort as bytes. Where a key is followed by a
revision it must be encoded prefix-free, and in the order of the keys themselves: 00 becomes 00 ff,
and 00 00 ends it. Otherwise the revisions of "a" would sort among those of "a\0".
"""

from __future__ import annotations

import struct

PAGE = b"\x01"
PAIR = b"\x02"
AFTER_PAIRS = b"\x03"
REVISIONS = b"\x01revisions"
SWEEP = b"\x01sweep"

_TERMINATOR = b"\0\0"
_REVISION_BYTES = 8
_SUFFIX_BYTES = len(_TERMINATOR) + _REVISION_BYTES

_pack_page = struct.Struct(">QI").pack


def page_key(until: int, number: int = 0) -> bytes:
    """Where page `number` of those lies that begin at revision `until`."""
    return PAGE + _pack_page(until, number)


def deleted_prefix(key: bytes) -> bytes:
    r"""What all deleted records of `key` begin with, and none of another key.

    >>> deleted_prefix(b"a") < deleted_prefix(b"a\0") < deleted_prefix(b"a\1")
    True
    """
    return PAIR + key.replace(b"\0", b"\0\xff") + _TERMINATOR


def deleted_start(key: bytes) -> bytes:
    r"""Where the deleted records of `key` and of all keys after it begin.

    >>> deleted_start(b"a") <= deleted_prefix(b"a") < deleted_start(b"a\0")
    True
    """
    return PAIR + key.replace(b"\0", b"\0\xff")


def user_key(deleted_key: bytes) -> bytes:
    r"""The key that a deleted record belongs to.

    >>> user_key(deleted_prefix(b"a\0b") + bytes(8))
    b'a\x00b'
    """
    return deleted_key[1:-_SUFFIX_BYTES].replace(b"\0\xff", b"\0")


def current_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Where the present records of `key` up to, not including, `end` begin and end."""
    return PAIR + key, PAIR + end if end else AFTER_PAIRS


def deleted_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Where the deleted records of `key` up to, not including, `end` begin and end."""
    return deleted_start(key), deleted_start(end) if end else AFTER_PAIRS
