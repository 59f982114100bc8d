"""Frames: how messages lie on a byte stream, and how they are found in it again.

    length u32 | version u8 | kind u8 | group u32 | incarnation u64 | body (length bytes)

All numbers are little-endian. `length` counts the body alone. `incarnation` is the recipient's, as
the sender knows it: a frame meant for an earlier life of a member must not be taken by a later one,
whose disk may have lost what the sender counts on. Clients have no incarnation; theirs is 0.
`version` is the one that both ends of the connection agreed on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from raycons.transport.contract import Malformed

HEADER = struct.Struct("<IBBIQ")
HEADER_BYTES = HEADER.size

# version, kind, group, incarnation, body
FrameSink = Callable[[int, int, int, int, bytes], None]


class Oversize(Malformed):
    """A frame announces more bytes than the bound: the connection ends, nothing is buffered."""


def encode_frame(version: int, kind: int, group: int, incarnation: int, body: bytes) -> bytes:
    """One whole frame.

    >>> encode_frame(4, 5, 1, 2, b"hi").hex(" ", 4)
    '02000000 04050100 00000200 00000000 00006869'
    """
    return HEADER.pack(len(body), version, kind, group, incarnation) + body


class FrameParser:
    """Cuts a stream into frames, however the stream was cut into reads.

    Whole frames are handed over straight from the read that brought them. Only a frame that is
    spread over several reads is gathered, once, in a buffer that holds no more than has arrived:
    what a header announces costs no memory before its bytes are here.

    An exception, its own or one out of `sink`, ends the parser's use: the stream is not trusted
    beyond it.
    """

    __slots__ = ("_max_body_bytes", "_partial", "_sink")

    def __init__(self, sink: FrameSink, max_body_bytes: int) -> None:
        self._sink = sink
        self._max_body_bytes = max_body_bytes
        self._partial = bytearray()  # the beginning of one frame

    def feed(self, data: bytes) -> None:
        """Hand every frame that `data` completes to the sink; raises Oversize."""
        position = self._complete_partial(data) if self._partial else 0
        size = len(data)
        unpack, sink, max_body_bytes = HEADER.unpack_from, self._sink, self._max_body_bytes
        while size - position >= HEADER_BYTES:
            length, version, kind, group, incarnation = unpack(data, position)
            if length > max_body_bytes:
                raise self._oversize(length)
            start = position + HEADER_BYTES
            end = start + length
            if end > size:
                break
            position = end
            sink(version, kind, group, incarnation, data[start:end])
        if position < size:
            self._partial += memoryview(data)[position:]

    def _complete_partial(self, data: bytes) -> int:
        """Add what belongs to the frame begun by earlier reads; how much of `data` that was."""
        partial = self._partial
        taken = 0
        if len(partial) < HEADER_BYTES:
            taken = min(HEADER_BYTES - len(partial), len(data))
            partial += data[:taken]
            if len(partial) < HEADER_BYTES:
                return taken
        length: int
        length, version, kind, group, incarnation = HEADER.unpack_from(partial)
        if length > self._max_body_bytes:
            raise self._oversize(length)
        end = HEADER_BYTES + length
        missing = min(end - len(partial), len(data) - taken)
        partial += memoryview(data)[taken : taken + missing]
        taken += missing
        if len(partial) == end:
            self._partial = bytearray()
            self._sink(version, kind, group, incarnation, bytes(memoryview(partial)[HEADER_BYTES:]))
        return taken

    def _oversize(self, length: int) -> Oversize:
        return Oversize(f"a frame of {length} bytes; the limit is {self._max_body_bytes}")
