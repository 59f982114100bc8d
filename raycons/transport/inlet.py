"""The checks between a stream of bytes and the handler that acts on its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from raycons.transport.contract import Codec, Greeting, PeerId, UnknownKind
from raycons.transport.counters import Counters
from raycons.transport.gate import Gate
from raycons.transport.settings import TransportSettings
from raycons.transport.turn import Turn
from raycons.transport.wire import FrameParser

Deliver = Callable[[int, Any], None]  # group, message


class Common:
    """What all connections of one transport share."""

    def __init__(
        self,
        *,
        codec: Codec,
        turn: Turn,
        gate: Gate,
        settings: TransportSettings,
        greeting: Greeting,
    ) -> None:
        self.codec = codec
        self.turn = turn
        self.gate = gate
        self.settings = settings
        self.incarnation = greeting.incarnation  # which frames to us must name; 0 for a client
        self.versions = greeting.versions
        self.counters = Counters()
        self.loop = asyncio.get_running_loop()


class Inlet:
    """Takes the bytes of one authenticated sender, and hands over the messages that are for us."""

    __slots__ = (
        "_arrived",
        "_counters",
        "_decode",
        "_deliver",
        "_gate",
        "_incarnation",
        "_parser",
        "_read_over",
        "_sender",
        "version",
    )

    def __init__(self, common: Common) -> None:
        self._counters = common.counters
        self._decode = common.codec.decode
        self._arrived = common.turn.arrived
        self._read_over = common.turn.read_over
        self._gate = common.gate
        self._incarnation = common.incarnation
        self._parser = FrameParser(self._frame, common.settings.max_frame_bytes)
        self._sender: PeerId = 0
        self._deliver: Deliver | None = None
        self.version = 0  # what the sender's frames must be in: what was agreed on

    def open(self, sender: PeerId, version: int, deliver: Deliver) -> None:
        """From now on: these bytes are from `sender` (0: a client), and `deliver` takes them.

        `version` is the protocol version that both agreed on.
        """
        self._sender = sender
        self.version = version
        self._deliver = deliver

    def shut(self) -> None:
        """Take nothing more, not even what follows in the bytes being read."""
        self._deliver = None

    def feed(self, data: bytes) -> None:
        """Hand over what `data` completes; raises Malformed, after which the sender is done for."""
        self._counters["bytes_received"] += len(data)
        try:
            self._parser.feed(data)
        finally:  # what came before a malformed frame has been handed over all the same
            self._read_over()

    def _frame(self, version: int, kind: int, group: int, incarnation: int, body: bytes) -> None:
        deliver = self._deliver
        if deliver is None:
            return
        counters = self._counters
        counters["frames_received"] += 1
        if incarnation != self._incarnation:
            counters["dropped_incarnation"] += 1
            return
        if version != self.version:
            counters["dropped_version"] += 1
            return
        if self._gate.closed and self._gate.drops_from(self._sender):
            counters["dropped_gate"] += 1
            return
        try:
            message = self._decode(kind, body)
        except UnknownKind:
            # A newer peer may say things that this version has no word for: not its fault.
            counters["dropped_unknown_kind"] += 1
            return
        self._arrived()
        deliver(group, message)
