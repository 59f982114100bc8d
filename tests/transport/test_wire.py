"""Frames survive any cutting of the stream, and garbage never gets past the bound."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycons.transport.wire import HEADER_BYTES, FrameParser, Oversize, encode_frame

VERSION = 7  # of the protocol: the parser hands on whatever it is
MAX_BODY = 300
frames = st.tuples(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=MAX_BODY),
)


def parse(pieces: list[bytes], max_body: int = MAX_BODY) -> list[tuple[int, int, int, bytes]]:
    found: list[tuple[int, int, int, bytes]] = []
    parser = FrameParser(lambda _version, *frame: found.append(frame), max_body)
    for piece in pieces:
        parser.feed(piece)
    return found


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(frames, max_size=12), st.lists(st.integers(0, 10_000), max_size=20))
def test_frames_come_out_whole_however_the_stream_is_cut(
    sent: list[tuple[int, int, int, bytes]], places: list[int]
) -> None:
    stream = b"".join(encode_frame(VERSION, *frame) for frame in sent)
    assert parse(cut(stream, places)) == sent
    assert parse([bytes([byte]) for byte in stream]) == sent


@given(st.lists(frames, max_size=4), st.integers(1, HEADER_BYTES + MAX_BODY))
def test_a_truncated_stream_gives_the_whole_frames_and_nothing_else(
    sent: list[tuple[int, int, int, bytes]], missing: int
) -> None:
    last = encode_frame(VERSION, 1, 2, 3, b"x" * MAX_BODY)
    stream = b"".join(encode_frame(VERSION, *frame) for frame in sent)
    assert parse([stream + last[:-missing]]) == sent


@given(st.lists(st.binary(max_size=400), max_size=10))
def test_garbage_is_refused_or_parsed_but_never_gathered_beyond_the_bound(
    pieces: list[bytes],
) -> None:
    parser = FrameParser(lambda *frame: None, MAX_BODY)
    try:
        for piece in pieces:
            parser.feed(piece)
            assert len(parser._partial) <= HEADER_BYTES + MAX_BODY
    except Oversize:
        pass
    expected = reference(b"".join(pieces))
    if expected is None:
        with pytest.raises(Oversize):
            parse(pieces)
    else:
        assert parse(pieces) == expected


def reference(stream: bytes) -> list[tuple[int, int, int, bytes]] | None:
    """The plainest parser there is; None: oversize."""
    found = []
    while len(stream) >= HEADER_BYTES:
        length, _, kind, group, incarnation = struct.unpack("<IBBIQ", stream[:HEADER_BYTES])
        if length > MAX_BODY:
            return None
        end = HEADER_BYTES + length
        if len(stream) < end:
            break
        found.append((kind, group, incarnation, stream[HEADER_BYTES:end]))
        stream = stream[end:]
    return found


@pytest.mark.parametrize("first_read", [HEADER_BYTES, 3])
def test_an_oversize_frame_is_refused_from_its_header_alone(first_read: int) -> None:
    header = encode_frame(VERSION, 1, 1, 1, b"x" * (MAX_BODY + 1))[:HEADER_BYTES]
    with pytest.raises(Oversize, match="301 bytes; the limit is 300"):
        parse([header[:first_read], header[first_read:]])


def test_frames_before_an_oversize_one_are_handed_over() -> None:
    found: list[bytes] = []
    parser = FrameParser(lambda *frame: found.append(frame[-1]), 2)
    with pytest.raises(Oversize):
        parser.feed(encode_frame(VERSION, 1, 1, 1, b"ok") + encode_frame(VERSION, 1, 1, 1, b"bad"))
    assert found == [b"ok"]
