"""The greeting: two strangers become a member and its peer (or client), or part.

    dialer   -> acceptor   HELLO     magic, versions, greeting, nonce
    acceptor -> dialer     HELLO     the same, its own
    dialer   -> acceptor   proof
    acceptor -> dialer     verdict, proof
    dialer   -> acceptor   verdict

A proof is HMAC-SHA256 under the cluster's secret over the prover's direction and both HELLOs, so
over both fresh nonces and both identities: a recorded proof fits no other connection, and a proof
sent back to its maker carries the wrong direction. The acceptor answers a HELLO with its own, and
says no more until the dialer proved itself; each side judges the other's greeting only after its
proof, and a reason for a refusal comes after a proof too.

The greeting proves who is at the other end when the connection is made. It does not encrypt, and
does not stop someone who can alter packets on the way: that is what TLS is for (see `tls.py`).

Pure: bytes in, bytes out. Deadlines are the caller's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Generator
from typing import NamedTuple

import msgspec

from raycons.transport.contract import Greeting
from raycons.transport.versions import Versions, agreed, disagreement

MAGIC = b"raycons\x00"
MAX_GREETING_BYTES = 2048
MAX_REASON_BYTES = 1024
NONCE_BYTES = 32
PROOF_BYTES = hashlib.sha256().digest_size

# Oldest and newest protocol version, in every release; length of the encoded greeting.
_VERSIONS_AND_LENGTH = struct.Struct("<HHH")
_REASON_LENGTH = struct.Struct("<H")
_DIALER, _ACCEPTOR = b"dialer", b"acceptor"
_WELCOME, _REFUSED, _WRONG_PROOF = b"\x00", b"\x01", b"\x02"

encode_greeting = msgspec.msgpack.Encoder().encode
decode_greeting = msgspec.msgpack.Decoder(Greeting).decode


class Refusal(NamedTuple):
    """Why an authenticated greeting is turned away."""

    counter: str  # which count it raises, see `counters.NAMES`
    reason: str  # told to the other side


class Rejected(Exception):
    """The connection ends here; `farewell` may be sent before it is closed."""

    def __init__(self, counter: str, reason: str, farewell: bytes = b"") -> None:
        super().__init__(reason)
        self.counter = counter
        self.reason = reason
        self.farewell = farewell


Judge = Callable[[Greeting], Refusal | None]
_Steps = Generator[int, bytes, Greeting]  # yields how many bytes it needs next


class Handshake:
    """One side of a greeting; made by `dialing` or `accepting`.

    Send `take()` after making it and after each `feed`. It is over when `peer` is set; bytes that
    came after the greeting are then in `rest`.
    """

    def __init__(self, own: Greeting, secret: bytes, judge: Judge) -> None:
        self.peer: Greeting | None = None
        self._versions = own.versions
        self._secret = secret
        self._judge = judge
        greeting = encode_greeting(own)
        if len(greeting) > MAX_GREETING_BYTES:
            raise ValueError(f"the greeting has {len(greeting)} bytes, limit {MAX_GREETING_BYTES}")
        self._prelude = MAGIC + _VERSIONS_AND_LENGTH.pack(*own.versions, len(greeting))
        self._hello = self._prelude + greeting + os.urandom(NONCE_BYTES)
        self._received = bytearray()
        self._outgoing = bytearray()
        self._steps: _Steps
        self._wanted = 0

    @classmethod
    def dialing(cls, own: Greeting, secret: bytes, judge: Judge) -> Handshake:
        """The side that opened the connection; it speaks first."""
        handshake = cls(own, secret, judge)
        handshake._begin(handshake._dial())
        return handshake

    @classmethod
    def accepting(cls, own: Greeting, secret: bytes, judge: Judge) -> Handshake:
        """The side that was called; silent until it has seen the magic."""
        handshake = cls(own, secret, judge)
        handshake._begin(handshake._accept())
        return handshake

    @property
    def rest(self) -> bytes:
        """What arrived after the greeting's last byte."""
        return bytes(self._received)

    def take(self) -> bytes:
        """What to send now."""
        outgoing = bytes(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def feed(self, data: bytes) -> None:
        """Bytes from the other side; raises Rejected."""
        received = self._received
        received += data
        # Every step wants a bounded number of bytes and is taken as soon as they are here, so no
        # more is ever kept than one step's bytes and the read that brought them.
        while self.peer is None and len(received) >= self._wanted:
            piece = bytes(received[: self._wanted])
            del received[: self._wanted]
            try:
                self._wanted = self._steps.send(piece)
            except StopIteration as end:
                self.peer = end.value

    def _begin(self, steps: _Steps) -> None:
        self._steps = steps
        self._wanted = next(steps)

    def _dial(self) -> _Steps:
        self._outgoing += self._hello
        their_hello, peer = yield from self._hear_hello(farewell=b"")
        hellos = self._hello + their_hello
        self._outgoing += self._proof(_DIALER, hellos)
        verdict = yield 1
        if verdict == _WRONG_PROOF:
            raise Rejected("rejected_secret", "the other side has another secret")
        proof = yield PROOF_BYTES
        self._check(proof, _ACCEPTOR, hellos, farewell=b"")
        yield from self._hear_reason(verdict)
        refusal = self._judge(peer)
        if refusal is not None:
            raise Rejected(*refusal, farewell=_REFUSED + _encode_reason(refusal.reason))
        self._outgoing += _WELCOME
        return peer

    def _accept(self) -> _Steps:
        # A dialer of other versions learns ours from the prelude, and can name the mismatch.
        their_hello, peer = yield from self._hear_hello(farewell=self._prelude)
        hellos = their_hello + self._hello
        self._outgoing += self._hello
        proof = yield PROOF_BYTES
        self._check(proof, _DIALER, hellos, farewell=_WRONG_PROOF)
        own_proof = self._proof(_ACCEPTOR, hellos)
        refusal = self._judge(peer)
        if refusal is not None:
            farewell = _REFUSED + own_proof + _encode_reason(refusal.reason)
            raise Rejected(*refusal, farewell=farewell)
        self._outgoing += _WELCOME + own_proof
        verdict = yield 1
        yield from self._hear_reason(verdict)
        return peer

    def _hear_hello(self, farewell: bytes) -> Generator[int, bytes, tuple[bytes, Greeting]]:
        """The other side's HELLO; `farewell` goes to one that speaks no version of ours."""
        magic = yield len(MAGIC)
        if magic != MAGIC:
            raise Rejected("rejected_stranger", f"not raycons: it began with {magic!r}")
        sizes = yield _VERSIONS_AND_LENGTH.size
        oldest, newest, length = _VERSIONS_AND_LENGTH.unpack(sizes)
        theirs = Versions(oldest, newest)
        if agreed(self._versions, theirs) is None:
            reason = disagreement(self._versions, theirs)
            raise Rejected("rejected_version", reason, farewell)
        if length > MAX_GREETING_BYTES:
            raise Rejected("rejected_oversize", f"a greeting of {length} bytes")
        encoded = yield length
        nonce = yield NONCE_BYTES
        try:
            peer = decode_greeting(encoded)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Rejected("rejected_malformed", f"a greeting that is none: {error}") from error
        if peer.versions != theirs:
            reason = f"announced {theirs}, but its greeting says {peer.versions}"
            raise Rejected("rejected_malformed", reason)
        return magic + sizes + encoded + nonce, peer

    def _hear_reason(self, verdict: bytes) -> Generator[int, bytes, None]:
        if verdict == _WELCOME:
            return
        if verdict != _REFUSED:
            raise Rejected("rejected_malformed", f"verdict {verdict!r}")
        (length,) = _REASON_LENGTH.unpack((yield _REASON_LENGTH.size))
        if length > MAX_REASON_BYTES:
            raise Rejected("rejected_oversize", f"a reason of {length} bytes")
        reason = yield length
        raise Rejected("refused_by_other", f"refused: {reason.decode(errors='replace')}")

    def _proof(self, direction: bytes, hellos: bytes) -> bytes:
        return hmac.digest(self._secret, direction + b"\x00" + hellos, "sha256")

    def _check(self, proof: bytes, direction: bytes, hellos: bytes, farewell: bytes) -> None:
        if not hmac.compare_digest(proof, self._proof(direction, hellos)):
            raise Rejected("rejected_secret", "it does not know the cluster's secret", farewell)


def _encode_reason(reason: str) -> bytes:
    text = reason.encode()[:MAX_REASON_BYTES]
    return _REASON_LENGTH.pack(len(text)) + text
