"""How a client behaves; units are in the names. The defaults suit one data centre."""

from __future__ import annotations

import msgspec

from raycons.config import KIB, MIB


class ClientSettings(msgspec.Struct, frozen=True):
    """Bounds and timings of a client."""

    timeout_s: float = 10.0  # of an operation whose caller names none
    session_ttl_s: float = 60.0  # asked for; the group may grant another
    machine: int = 0  # the machine of the group that reads the commands

    max_frame_operations: int = 128  # so many leave at once, before the turn of the loop ends
    max_frame_bytes: int = 512 * KIB  # a larger operation travels alone
    max_in_flight_operations: int = 100_000
    max_in_flight_bytes: int = 256 * MIB

    first_backoff_s: float = 0.010  # pause after a refusal that names no other leader
    last_backoff_s: float = 0.200
    attempt_timeout_s: float = 1.0  # silence after which a request is sent again; doubles
    last_attempt_timeout_s: float = 8.0
    deadline_grain_s: float = 0.010  # deadlines are rounded up to this, and share timers
    free_redirects: int = 3  # leader hints followed in a row without a pause
    rediscovery_interval_s: float = 0.5  # between questions where the members are

    max_key_bytes: int = 8 * KIB
    max_value_bytes: int = 1 * MIB
    max_transaction_bytes: int = 4 * MIB
