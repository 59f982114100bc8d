"""What a transport counts, and how it speaks of those it turns away."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("raycons.transport")

NAMES = (
    "frames_sent",
    "frames_received",
    "bytes_sent",
    "bytes_received",
    "connections_opened",
    "dropped_unreachable",  # no live connection to the recipient
    "dropped_full",  # the recipient's buffer is full
    "dropped_oversize",  # larger than the recipient would take
    "dropped_gate",  # an injected partition
    "dropped_incarnation",  # meant for another life of this member
    "dropped_version",  # a frame of another protocol version
    "dropped_unknown_kind",
    "rejected_stranger",  # does not speak this protocol at all
    "rejected_version",
    "rejected_secret",
    "rejected_cluster",
    "rejected_identity",  # not who was dialed, or an older holder of an identity that is connected
    "rejected_admission",  # the member said no
    "rejected_malformed",
    "rejected_oversize",
    "rejected_deadline",  # did not prove itself in time
    "rejected_crowd",  # too many connections that have not proved themselves
    "rejected_slow",  # a client that does not read what it asked for
    "refused_by_other",  # the other side turned us away
)


class Counters(dict[str, int]):
    """The counts by name; rejections are logged too, but no more than one of a kind a second."""

    def __init__(self) -> None:
        super().__init__((name, 0) for name in NAMES)
        self._quiet_until: dict[str, float] = {}

    def reject(self, name: str, reason: str, who: str) -> None:
        """Count a connection that was turned away; whoever knocks often cannot flood the log."""
        self[name] += 1
        now = time.monotonic()
        if now >= self._quiet_until.get(name, 0.0):
            self._quiet_until[name] = now + 1.0
            logger.warning("connection with %s ended: %s (%s)", who, reason, name)
