"""Bounds and delays of a transport; units are in the names."""

from __future__ import annotations

import msgspec

from raycons.config import MIB


class TransportSettings(msgspec.Struct, frozen=True):
    """Every queue of a transport is bounded, and every wait ends: here is where."""

    max_frame_bytes: int = 16 * MIB  # the largest body; both buffers below must hold one
    peer_buffer_bytes: int = 32 * MIB  # waiting for one peer; messages beyond it are dropped
    client_buffer_bytes: int = 32 * MIB  # waiting for one client; beyond it the client is dropped
    max_strangers: int = 512  # connections that have not proved themselves yet
    handshake_deadline_s: float = 2.0
    connect_timeout_s: float = 2.0
    first_backoff_s: float = 0.01  # before the second attempt to connect; doubles with each
    max_backoff_s: float = 0.5
    dead_host_s: int = 10  # sent bytes unacknowledged for so long end the connection
