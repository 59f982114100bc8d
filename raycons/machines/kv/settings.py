"""What the key-value machine accepts."""

from __future__ import annotations

import msgspec

from raycons.machines.kv.commands import Failed, Failure

KIB = 1024
MIB = 1024 * 1024


class KeyValueSettings(msgspec.Struct, frozen=True):
    """The bounds of keys, values and answers.

    All but `keep_revisions` and `sweep_records` decide what applying a command does: they are the
    same on every replica of a group, for as long as its log may be applied again.
    """

    max_key_bytes: int = 8 * KIB
    max_value_bytes: int = 1 * MIB
    max_range_bytes: int = 4 * MIB  # a range stops, with `more`, once what it reads passes this
    max_queries_bytes: int = 8 * MIB  # queries after those whose pairs pass this are not answered
    keep_revisions: int = 100_000  # the leader compacts when there are twice as many; 0: never
    sweep_records: int = 2048  # superseded values that one sweep deletes, and the rest of a page


def invalid(message: str) -> Failed:
    """The answer to an operation that no client should have sent."""
    return Failed(Failure.INVALID, 0, message)


def refused_pair(settings: KeyValueSettings, key: bytes, value: bytes) -> Failed | None:
    """Why `key` cannot be set to `value`, or None."""
    if not key:
        return invalid("the key is empty; a key has at least one byte")
    if len(key) > settings.max_key_bytes:
        return invalid(
            f"the key has {len(key)} bytes; at most {settings.max_key_bytes} are allowed"
        )
    if len(value) > settings.max_value_bytes:
        return invalid(
            f"the value of {key[:64]!r} has {len(value)} bytes; "
            f"at most {settings.max_value_bytes} are allowed"
        )
    return None


def refused_span(key: bytes, end: bytes | None) -> Failed | None:
    """Why `key` up to `end` cannot be read or deleted, or None."""
    if not key and end is None:
        return invalid("the key is empty; to mean all keys, give an empty end too")
    return None
