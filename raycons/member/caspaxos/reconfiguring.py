"""The configuration's register: its key, and what requests do to it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.caspaxos.messages import Epoch, Key
from raycons.machines.register import Settle
from raycons.member.caspaxos.ledger import KnownConfiguration

CONFIGURATION_KEY: Key = b""
CARRY = Settle("carry")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KnownConfiguration).decode


class Reconfigure(NamedTuple):
    """Make `successor` the configuration, if that of `based_on` is; None: only carry it over."""

    based_on: Epoch
    successor: Configuration | None


class Reconfigured(NamedTuple):
    """What the configuration is now."""

    value: bytes
    deleted: bool
    outcomes: list[KnownConfiguration | None]  # None: it still is that of the founders


def reconfigure(value: bytes, requests: list[Reconfigure]) -> Reconfigured:
    """The transition of the configuration's register (empty: that of the founders, epoch 1)."""
    known = _decode(value) if value else None
    outcomes: list[KnownConfiguration | None] = []
    for request in requests:
        epoch = known.epoch if known is not None else 1
        if request.successor is not None and request.based_on == epoch:
            known = KnownConfiguration(epoch + 1, request.successor)
        outcomes.append(known)
    return Reconfigured(_encode(known) if known is not None else b"", False, outcomes)
