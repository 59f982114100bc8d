"""Every message of every kind survives the wire; nothing else gets through."""

from __future__ import annotations

import contextlib
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import Entry, Proposal, SnapshotMeta
from raycons.consensus.paxos.caspaxos import messages as caspaxos
from raycons.consensus.paxos.messages import Ballot
from raycons.consensus.paxos.multipaxos import messages as multipaxos
from raycons.consensus.raft import messages as raft
from raycons.member import protocol
from raycons.member.codec import MemberCodec
from raycons.transport.contract import Malformed, UnknownKind

CODEC = MemberCodec()
KINDS = {**raft.CODES, **multipaxos.CODES, **caspaxos.CODES, **protocol.CODES}
ENTRY = Entry(index=3, term=2, kind=1, machine=0, version=1, time_us=5, data=b"\x00\xff")
CONFIGURATION = Configuration(peers=(Peer(id=1, nonce=8, role=Role.VOTER, host="h"),), next_id=4)
META = SnapshotMeta(last=(9, 2), time_us=7, configuration=CONFIGURATION, configuration_index=1)
SAMPLES: dict[Any, Any] = {
    int: 2**40,
    float: 0.25,
    bool: True,
    str: "näme",
    bytes: b"\x00payload",
    tuple[int, int]: (7, 2),
    tuple[Entry, ...]: (ENTRY, ENTRY),
    tuple[Proposal, ...]: (Proposal(7 << 32 | 3, ENTRY),),
    tuple[tuple[int, int], ...]: ((1, 4), (6, 6)),
    tuple[bytes, ...]: (b"a", b""),
    tuple[tuple[bytes, Ballot], ...]: ((b"k", Ballot(3, 1, 2**47)),),
    Ballot: Ballot(9, 2, 2**47),
    Configuration: CONFIGURATION,
    SnapshotMeta: META,
    protocol.Action: protocol.Add(id=3, nonce=4, host="h", voter=False, replaces=2),
    tuple[tuple[int, str, int], ...]: ((1, "10.0.0.1", 7000), (2, "::1", 7001)),
}


def sample(type_: type[msgspec.Struct]) -> msgspec.Struct:
    hints = typing.get_type_hints(type_)
    return type_(**{name: SAMPLES[hints[name]] for name in type_.__struct_fields__})


# What members of registers say to each other travels in bundles, and in nothing else.
BUNDLED: tuple[type[msgspec.Struct], ...] = typing.get_args(caspaxos.Message)
SAMPLES[tuple[caspaxos.Message, ...]] = tuple(sample(type_) for type_ in BUNDLED)


@pytest.mark.parametrize("type_", KINDS, ids=lambda type_: type_.__name__)
def test_a_message_comes_back_as_it_was(type_: type[msgspec.Struct]) -> None:
    message = sample(type_)
    kind, body = CODEC.encode(message)
    assert kind == KINDS[type_]
    for given_as in (body, memoryview(body)):
        decoded = CODEC.decode(kind, given_as)
        assert decoded == message
        assert type(decoded) is type_


@pytest.mark.parametrize(
    "action",
    [protocol.Reserve(), protocol.Remove(id=4), protocol.Transfer(to=0), SAMPLES[protocol.Action]],
)
def test_every_action_keeps_its_type(action: Any) -> None:
    message = protocol.Manage(request=1, based_on=2, action=action)
    assert CODEC.decode(*CODEC.encode(message)) == message


def test_an_unknown_kind_is_told_apart_from_a_broken_body() -> None:
    with pytest.raises(UnknownKind):
        CODEC.decode(255, b"")
    with pytest.raises(Malformed, match="kind 3"):
        CODEC.decode(raft.CODES[raft.RequestVote], b"\x93\x01\xa1x\xc2")


@given(st.sampled_from(sorted(KINDS.values())), st.binary(max_size=80))
def test_random_bytes_decode_to_the_kinds_type_or_are_malformed(kind: int, body: bytes) -> None:
    try:
        message = CODEC.decode(kind, body)
    except Malformed:
        return
    assert KINDS[type(message)] == kind


@given(st.data())
def test_a_damaged_message_is_malformed_or_of_its_type(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(list(KINDS)))
    kind, body = CODEC.encode(sample(type_))
    place = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:place] + bytes([data.draw(st.integers(0, 255))]) + body[place + 1 :]
    with contextlib.suppress(Malformed):
        assert type(CODEC.decode(kind, damaged)) is type_


def test_something_that_is_no_message_is_the_callers_bug() -> None:
    with pytest.raises(KeyError):
        CODEC.encode({"not": "a message"})
