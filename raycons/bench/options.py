"""What a bench can be asked for; apart, so that a command line can list it without loading Ray."""

from __future__ import annotations

STORAGES = ("disk", "memory")
TRANSPORTS = ("tcp", "actor")
FAULTS = ("kill", "pause", "partition")
