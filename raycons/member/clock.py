"""The clock of members and clients: monotonic, and running on while the machine is suspended.

A promise not to vote is counted down by each side on its own clock. A clock that stops during a
suspension would let a leader believe in promises that its followers have long seen end.
"""

from __future__ import annotations

import time

if hasattr(time, "CLOCK_BOOTTIME"):
    _CLOCK = time.CLOCK_BOOTTIME
else:  # a system without it, where CLOCK_MONOTONIC counts suspension (macOS)
    _CLOCK = time.CLOCK_MONOTONIC


def boottime() -> float:
    """Seconds since the machine was started, suspension included."""
    return time.clock_gettime(_CLOCK)
