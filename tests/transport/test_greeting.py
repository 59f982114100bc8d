"""The greeting as a pure exchange: who gets in, who does not, and what each of them learns."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycons.transport.contract import SPOKEN, Greeting
from raycons.transport.greeting import (
    MAGIC,
    MAX_GREETING_BYTES,
    Handshake,
    Judge,
    Refusal,
    Rejected,
    decode_greeting,
    encode_greeting,
)
from raycons.transport.versions import Versions

SECRET = b"k" * 32


def hello_of(id: int, **fields: object) -> Greeting:
    values: dict[str, object] = {
        "versions": SPOKEN,
        "cluster": "c",
        "id": id,
        "nonce": 5,
        "incarnation": 1,
        "opening": 9,
        "address": ("10.0.0.1", 7000),
    }
    return Greeting(**{**values, **fields})  # type: ignore[arg-type]


def welcome(_: Greeting) -> Refusal | None:
    return None


def sides(
    dialer_secret: bytes = SECRET, dialer_judge: Judge = welcome, acceptor_judge: Judge = welcome
) -> tuple[Handshake, Handshake]:
    dialer = Handshake.dialing(hello_of(1), dialer_secret, dialer_judge)
    return dialer, Handshake.accepting(hello_of(2), SECRET, acceptor_judge)


def exchange(dialer: Handshake, acceptor: Handshake) -> list[bytes]:
    """Carry bytes to and fro until both are quiet; everything that the dialer said."""
    said = []
    while True:
        there = dialer.take()
        if there:
            said.append(there)
            acceptor.feed(there)
        back = acceptor.take()
        if back:
            dialer.feed(back)
        if not there and not back:
            return said


def test_two_holders_of_the_secret_learn_each_others_greeting() -> None:
    dialer, acceptor = sides()
    exchange(dialer, acceptor)
    assert dialer.peer == hello_of(2)
    assert acceptor.peer == hello_of(1)


def test_the_greeting_may_arrive_byte_by_byte_with_frames_right_behind() -> None:
    dialer, acceptor = sides()
    while dialer.peer is None:
        for byte in dialer.take():
            acceptor.feed(bytes([byte]))
        for byte in acceptor.take():
            dialer.feed(bytes([byte]))
    acceptor.feed(dialer.take() + b"first frame")
    assert acceptor.peer == hello_of(1)
    assert acceptor.rest == b"first frame"


def test_a_stranger_is_recognised_and_told_nothing() -> None:
    _, acceptor = sides()
    with pytest.raises(Rejected) as rejected:
        acceptor.feed(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert rejected.value.counter == "rejected_stranger"
    assert rejected.value.farewell == b""
    assert acceptor.take() == b""


def test_the_acceptor_is_silent_until_it_heard_a_hello() -> None:
    dialer, acceptor = sides()
    assert acceptor.take() == b""
    acceptor.feed(dialer.take()[:-1])
    assert acceptor.take() == b""


def test_a_wrong_secret_is_refused_before_the_acceptor_proved_anything() -> None:
    dialer, acceptor = sides(dialer_secret=b"w" * 32, acceptor_judge=not_called)
    acceptor.feed(dialer.take())
    dialer.feed(acceptor.take())
    with pytest.raises(Rejected) as rejected:
        acceptor.feed(dialer.take())
    assert rejected.value.counter == "rejected_secret"
    assert len(rejected.value.farewell) == 1  # no proof with it
    with pytest.raises(Rejected, match="another secret"):
        dialer.feed(rejected.value.farewell)


def test_an_acceptor_without_the_secret_is_not_believed() -> None:
    dialer = Handshake.dialing(hello_of(1), SECRET, not_called)
    impostor = Handshake.accepting(hello_of(2), b"w" * 32, welcome)
    impostor.feed(dialer.take())
    dialer.feed(impostor.take())
    dialer.take()
    with pytest.raises(Rejected) as rejected:
        dialer.feed(b"\x00" + b"p" * 32)
    assert rejected.value.counter == "rejected_secret"


def not_called(_: Greeting) -> Refusal | None:
    raise AssertionError("judged before it proved itself")


def test_a_proof_sent_back_to_its_maker_is_refused() -> None:
    # Without the direction in the proof, a dialer's own proof would authenticate its reflection.
    dialer = Handshake.dialing(hello_of(1), SECRET, not_called)
    hello = dialer.take()
    dialer.feed(hello)
    proof = dialer.take()
    with pytest.raises(Rejected) as rejected:
        dialer.feed(b"\x00" + proof)
    assert rejected.value.counter == "rejected_secret"


def test_a_recorded_greeting_opens_no_second_connection() -> None:
    dialer, acceptor = sides()
    recording = exchange(dialer, acceptor)
    _, another = sides(acceptor_judge=not_called)
    hello, proof, _ = recording
    another.feed(hello)
    another.take()
    with pytest.raises(Rejected) as rejected:
        another.feed(proof)
    assert rejected.value.counter == "rejected_secret"
    assert another.peer is None


def test_a_greeting_changed_on_the_way_fails_the_proof() -> None:
    dialer, acceptor = sides(acceptor_judge=not_called)
    changed = dialer.take().replace(b"10.0.0.1", b"10.6.6.6")
    acceptor.feed(changed)
    dialer.feed(acceptor.take())
    with pytest.raises(Rejected) as rejected:
        acceptor.feed(dialer.take())
    assert rejected.value.counter == "rejected_secret"


@pytest.mark.parametrize("who", ["dialer", "acceptor"])
def test_a_refusal_reaches_the_other_side_with_its_reason(who: str) -> None:
    def refuse(_: Greeting) -> Refusal:
        return Refusal("rejected_admission", "removed at index 12")

    dialer, acceptor = sides(
        dialer_judge=refuse if who == "dialer" else welcome,
        acceptor_judge=refuse if who == "acceptor" else welcome,
    )
    with pytest.raises(Rejected) as rejected:
        exchange(dialer, acceptor)
    assert rejected.value.counter == "rejected_admission"
    other = acceptor if who == "dialer" else dialer
    with pytest.raises(Rejected, match="removed at index 12") as told:
        other.feed(rejected.value.farewell)
    assert told.value.counter == "refused_by_other"
    assert other.peer is None


def with_versions(dialer: Versions, acceptor: Versions) -> tuple[Handshake, Handshake]:
    return (
        Handshake.dialing(hello_of(1, versions=dialer), SECRET, welcome),
        Handshake.accepting(hello_of(2, versions=acceptor), SECRET, welcome),
    )


def test_ranges_that_overlap_get_in_and_learn_each_other() -> None:
    dialer, acceptor = with_versions(Versions(3, 5), Versions(5, 8))
    exchange(dialer, acceptor)
    assert acceptor.peer is not None
    assert acceptor.peer.versions == Versions(3, 5)
    assert dialer.peer is not None
    assert dialer.peer.versions == Versions(5, 8)


def test_ranges_that_do_not_overlap_are_named_on_both_sides() -> None:
    newer, acceptor = with_versions(Versions(6, 9), Versions(4, 5))
    with pytest.raises(
        Rejected, match=r"speaks protocol versions 6 to 9, this side .* 4 to 5"
    ) as no:
        acceptor.feed(newer.take())
    assert no.value.counter == "rejected_version"
    with pytest.raises(Rejected, match=r"speaks protocol versions 4 to 5, this side .* 6 to 9"):
        newer.feed(no.value.farewell)


def test_a_greeting_that_contradicts_the_range_before_it_is_refused() -> None:
    dialer, acceptor = with_versions(Versions(4, 5), Versions(4, 5))
    hello = bytearray(dialer.take())
    hello[len(MAGIC)] = 3  # the oldest version of the prelude
    with pytest.raises(Rejected, match="announced protocol versions 3 to 5") as rejected:
        acceptor.feed(bytes(hello))
    assert rejected.value.counter == "rejected_malformed"


def test_a_greeting_of_a_later_release_may_say_more_at_its_end() -> None:
    told = msgspec.msgpack.decode(encode_greeting(hello_of(2)))
    assert decode_greeting(msgspec.msgpack.encode([*told, "news"])) == hello_of(2)


def test_an_oversize_greeting_is_refused_from_its_length_alone() -> None:
    _, acceptor = sides()
    with pytest.raises(Rejected) as rejected:
        acceptor.feed(MAGIC + struct.pack("<HHH", *SPOKEN, MAX_GREETING_BYTES + 1))
    assert rejected.value.counter == "rejected_oversize"


def test_a_greeting_that_is_none_is_refused() -> None:
    _, acceptor = sides()
    with pytest.raises(Rejected) as rejected:
        acceptor.feed(MAGIC + struct.pack("<HHH", *SPOKEN, 3) + b"\x93\x01\x02" + bytes(32))
    assert rejected.value.counter == "rejected_malformed"


def acceptor_after_hello() -> Handshake:
    dialer, acceptor = sides(acceptor_judge=not_called)
    acceptor.feed(dialer.take())
    return acceptor


def dialer_after_hello() -> Handshake:
    dialer, acceptor = sides(dialer_judge=not_called)
    acceptor.feed(dialer.take())
    dialer.feed(acceptor.take())
    return dialer


@pytest.mark.parametrize(
    "make", [lambda: sides()[0], lambda: sides()[1], acceptor_after_hello, dialer_after_hello]
)
@given(pieces=st.lists(st.binary(min_size=1, max_size=200), max_size=8))
def test_garbage_never_gets_in(make: Callable[[], Handshake], pieces: list[bytes]) -> None:
    handshake = make()
    try:
        for piece in pieces:
            handshake.feed(piece)
    except Rejected:
        pass
    assert handshake.peer is None
