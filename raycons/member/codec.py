"""The one table of all messages that members and clients exchange, and their bytes.

Bodies are msgpack arrays, decoded straight into the message's type: a body that does not fit its
type is refused before anyone acts on it. Nothing is ever unpickled from the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from raycons.consensus.paxos.caspaxos import messages as caspaxos
from raycons.consensus.paxos.multipaxos import messages as multipaxos
from raycons.consensus.raft import messages as raft
from raycons.member import protocol
from raycons.transport.contract import Malformed, UnknownKind


def _all_kinds() -> dict[type[msgspec.Struct], int]:
    kinds = {**raft.CODES, **multipaxos.CODES, **caspaxos.CODES, **protocol.CODES}
    if len(set(kinds.values())) != len(kinds) or not all(
        0 <= kind < 256 for kind in kinds.values()
    ):
        raise AssertionError("two messages share a code, or a code does not fit in a byte")
    return kinds


class MemberCodec:
    """Implements `transport.contract.Codec` for replicas' messages and the clients' protocol."""

    def __init__(self) -> None:
        self._kinds = _all_kinds()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoders: dict[int, Callable[[memoryview | bytes], Any]] = {
            kind: msgspec.msgpack.Decoder(type_).decode for type_, kind in self._kinds.items()
        }

    def encode(self, message: Any) -> tuple[int, bytes]:
        """The kind and the body; KeyError for a type that is no message: a bug of the caller."""
        return self._kinds[type(message)], self._encode(message)

    def decode(self, kind: int, body: memoryview | bytes) -> Any:
        """The message; raises UnknownKind or Malformed."""
        decode = self._decoders.get(kind)
        if decode is None:
            raise UnknownKind(f"kind {kind} is unknown to this version")
        try:
            return decode(body)
        # ValueError: msgspec reports text that is not UTF-8 with Python's own exception.
        except (msgspec.MsgspecError, ValueError) as error:
            raise Malformed(f"a body of kind {kind}: {error}") from error
