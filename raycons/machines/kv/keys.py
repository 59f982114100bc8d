r"""Where the key-value machine keeps things: the first byte of each stored key tells what it is.

    CURRENT  01 "revisions"              the group's revision, and up to where it is compacted
    CURRENT  01 "sweep"                  how far the deletion of dead history has come
    CURRENT  02 key                      the key's present record
    HISTORY  02 escape(key) 00 00 mod    a superseded record, by the revision that wrote it

In HISTORY a key is followed by a revision, so it must be encoded prefix-free, and in the order of
the keys themselves: 00 becomes 00 ff, and 00 00 ends it. Otherwise the revisions of "a" would sort
among those of "a\0".
"""

from __future__ import annotations

PAIR = b"\x02"
AFTER_PAIRS = b"\x03"
REVISIONS = b"\x01revisions"
SWEEP = b"\x01sweep"

_TERMINATOR = b"\0\0"
_REVISION_BYTES = 8
_SUFFIX_BYTES = len(_TERMINATOR) + _REVISION_BYTES


def history_prefix(key: bytes) -> bytes:
    r"""What all superseded records of `key` begin with, and none of another key.

    >>> history_prefix(b"a") < history_prefix(b"a\0") < history_prefix(b"a\1")
    True
    """
    return PAIR + key.replace(b"\0", b"\0\xff") + _TERMINATOR


def history_start(key: bytes) -> bytes:
    r"""Where the records of `key` and of all keys after it begin.

    >>> history_start(b"a") <= history_prefix(b"a") < history_start(b"a\0")
    True
    """
    return PAIR + key.replace(b"\0", b"\0\xff")


def user_key(history_key: bytes) -> bytes:
    r"""The key that a superseded record belongs to.

    >>> user_key(history_prefix(b"a\0b") + bytes(8))
    b'a\x00b'
    """
    return history_key[1:-_SUFFIX_BYTES].replace(b"\0\xff", b"\0")


def current_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Where the present records of `key` up to, not including, `end` begin and end."""
    return PAIR + key, PAIR + end if end else AFTER_PAIRS


def history_bounds(key: bytes, end: bytes) -> tuple[bytes, bytes]:
    """Where the superseded records of `key` up to, not including, `end` begin and end."""
    return history_start(key), history_start(end) if end else AFTER_PAIRS
