r"""Where the key-value machine keeps things: the first byte of each stored key tells what it is.

    CURRENT  01 "revisions"                the group's revision, and up to where it is compacted
    CURRENT  01 "sweep"                    how far the deletion of dead history has come
    CURRENT  02 key                        the key's present record
    HISTORY  01 until number               a page of what commands overwrote: see `undo`
    HISTORY  02 escape(key) 00 00 until    a landmark: a record, by the revision that ended it

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

_pack_page = struct.Struct(">QI").pack


def page_key(until: int, number: int = 0) -> bytes:
    """Where page `number` of those lies that begin at revision `until`."""
    return PAGE + _pack_page(until, number)


def landmark_prefix(key: bytes) -> bytes:
    r"""What all landmarks of `key` begin with, and none of another key.

    >>> landmark_prefix(b"a") < landmark_prefix(b"a\0") < landmark_prefix(b"a\1")
    True
    """
    return PAIR + key.replace(b"\0", b"\0\xff") + _TERMINATOR


def user_key(prefix: bytes) -> bytes:
    r"""The key whose landmarks begin with `prefix`.

    >>> user_key(landmark_prefix(b"a\0b"))
    b'a\x00b'
    """
    return prefix[len(PAIR) : -len(_TERMINATOR)].replace(b"\0\xff", b"\0")


def current_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Where the present records of `key` up to, not including, `end` begin and end."""
    return PAIR + key, PAIR + end if end else AFTER_PAIRS


def landmark_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    r"""Where the landmarks of `key` up to, not including, `end` begin and end.

    >>> start, stop = landmark_bounds(b"a", b"a\0")
    >>> start <= landmark_prefix(b"a") < stop <= landmark_prefix(b"a\0")
    True
    """
    start = PAIR + key.replace(b"\0", b"\0\xff")
    return start, PAIR + end.replace(b"\0", b"\0\xff") if end else AFTER_PAIRS
