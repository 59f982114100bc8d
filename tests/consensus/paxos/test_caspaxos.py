"""CASPaxos: acceptor, proposer and collector one by one, and together over a lossy network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycons.config import RegisterSettings
from raycons.consensus.contract import Send
from raycons.consensus.paxos.caspaxos.acceptor import Acceptor, AcceptorState, Register
from raycons.consensus.paxos.caspaxos.collection import Collector
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Elsewhere,
    Erase,
    Forbid,
    Forbidden,
    Inherit,
    Inherited,
    Listed,
    Listing,
    Outdated,
    Outgrown,
    Prepare,
    Promise,
    Query,
    Refusal,
    Told,
)
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.paxos.caspaxos.rounds import ProposerState
from raycons.consensus.paxos.caspaxos.transition import Change, Decided, Deleted, GaveUp
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.consensus.quorum import Flexible, Majority, QuorumSystem

KEY = b"k"
LOW, MIDDLE, HIGH = Ballot(1, 1, 7), Ballot(2, 2, 7), Ballot(3, 1, 7)
EPOCH = 4


class Kept:
    """Registers in a dict."""

    def __init__(self) -> None:
        self.content: dict[bytes, Register] = {}

    def get(self, key: bytes) -> Register | None:
        return self.content.get(key)

    def put(self, key: bytes, register: Register) -> None:
        self.content[key] = register

    def erase(self, key: bytes) -> None:
        del self.content[key]

    def keys(self, after: bytes) -> Iterator[bytes]:
        return iter(sorted(key for key in self.content if key > after))


class Appending:
    """A transition: a register is the requests that it was ever asked, each of them once."""

    def change(self, value: bytes, erased: int, round: int, requests: Sequence[bytes]) -> Change:
        outcomes = []
        for request in requests:
            if request == b"delete":
                value = b""
            elif request not in value.split():
                value = b" ".join([*value.split(), request])
            outcomes.append(value)
        return Change(value, not value, outcomes)

    def look(self, value: bytes, requests: Sequence[bytes]) -> Sequence[bytes]:
        return [value] * len(requests)


def acceptor(epoch: int = EPOCH) -> Acceptor:
    return Acceptor(Kept(), AcceptorState(), epoch)


def prepare(ballot: Ballot, age: int = 0) -> Prepare:
    return Prepare(KEY, ballot, age, EPOCH)


def accept(
    ballot: Ballot, value: bytes = b"v", following: Ballot = NO_BALLOT, age: int = 0
) -> Accept:
    return Accept(KEY, ballot, value, following, not value, age, EPOCH)


def proposer(
    id: int = 1, quorums: QuorumSystem | None = None, patience: RegisterSettings | None = None
) -> Proposer:
    return Proposer(
        id,
        7,
        Appending(),
        Random(id),
        patience or RegisterSettings(),
        ProposerState(),
        EPOCH,
        quorums or Majority({1, 2, 3}),
    )


def sent(proposer: Proposer, now: float = 0.0) -> list[Any]:
    """What the proposer sends: one message each, where all acceptors get the same."""
    sends = [effect for effect in proposer.drain(now) if isinstance(effect, Send)]
    return list(dict.fromkeys(send.message for send in sends))


# --- acceptor -------------------------------------------------------------------------------------


def test_a_promise_forbids_lower_ballots_and_tells_what_was_accepted() -> None:
    one = acceptor()
    assert one.receive(accept(LOW)) == Accepted(KEY, LOW)
    assert one.receive(prepare(MIDDLE)) == Promise(KEY, MIDDLE, LOW, b"v", 0)
    assert one.receive(prepare(LOW)) == Refusal(KEY, LOW, MIDDLE)
    assert one.receive(accept(LOW, b"w", HIGH)) == Accepted(KEY, LOW)  # again: nothing changes
    assert one.registers.get(KEY) == Register(MIDDLE, LOW, b"v")


def test_what_is_accepted_promises_the_next_ballot_of_the_same_proposer() -> None:
    one = acceptor()
    assert one.receive(accept(LOW, following=HIGH)) == Accepted(KEY, LOW)
    assert one.receive(prepare(MIDDLE)) == Refusal(KEY, MIDDLE, HIGH)
    assert one.receive(accept(HIGH, b"w")) == Accepted(KEY, HIGH)


def test_an_acceptor_answers_its_own_epoch_only() -> None:
    one = acceptor(epoch=EPOCH + 1)
    assert one.receive(prepare(LOW)) == Elsewhere(EPOCH + 1)
    assert one.registers.get(KEY) is None


def test_what_a_proposer_sent_before_it_outgrew_it_is_not_answered() -> None:
    one = acceptor()
    assert one.receive(Forbid(9, ((1, 3),), EPOCH)) == Forbidden(9)
    assert one.state.ages == ((1, 3),)
    assert one.receive(prepare(LOW, age=2)) == Outdated(KEY, LOW)
    assert one.receive(accept(LOW, age=2)) == Outdated(KEY, LOW)
    assert one.receive(prepare(MIDDLE)) == Promise(KEY, MIDDLE, NO_BALLOT, b"", 0)  # another's
    assert Acceptor(Kept(), one.state, EPOCH).receive(prepare(LOW, age=2)) == Outdated(KEY, LOW)


@pytest.mark.parametrize(
    ("since", "stays"),
    [
        (None, False),
        (prepare(HIGH), True),  # a promise that would be forgotten
        (accept(HIGH, b"new"), True),
    ],
)
def test_a_tombstone_is_erased_unless_something_came_since(since: Any, stays: bool) -> None:
    one = acceptor()
    one.receive(accept(MIDDLE, b""))
    if since is not None:
        one.receive(since)
    assert one.receive(Erase(((KEY, MIDDLE),), 55, EPOCH)) is None
    assert (one.registers.get(KEY) is not None) == stays
    assert one.state.erased == 55


def test_acceptors_list_their_registers_and_inherit_what_was_erased() -> None:
    one = acceptor()
    for key in (b"c", b"a", b"b"):
        one.registers.put(key, Register(LOW))
    assert one.receive(Listing(1, b"a", EPOCH)) == Listed(1, (b"b", b"c"), 0)
    assert one.receive(Inherit(2, 77, EPOCH)) == Inherited(2)
    assert one.receive(Inherit(3, 11, EPOCH)) == Inherited(3)
    assert one.receive(prepare(LOW)) == Promise(KEY, LOW, NO_BALLOT, b"", 77)


# --- proposer -------------------------------------------------------------------------------------


def choose(one: Proposer, request: bytes) -> list[Any]:
    """Have the request chosen by acceptors 1 and 2, that know of nothing; the effects."""
    assert one.submit(KEY, request, 0.0)
    [asked] = sent(one)
    if isinstance(asked, Prepare):
        for id in (1, 2):
            one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
        [asked] = sent(one)
    for id in (1, 2):
        one.receive(id, Accepted(KEY, asked.ballot), 0.0)
    return one.drain(0.0)


def test_a_change_takes_two_round_trips_and_the_next_of_the_same_proposer_one() -> None:
    one = proposer()
    [first] = choose(one, b"a")
    assert (first.outcome, first.repeated, one.short_rounds) == (b"a", False, 0)
    one.submit(KEY, b"b", 0.0)
    [asked] = sent(one)
    assert isinstance(asked, Accept)
    assert (asked.value, asked.following > asked.ballot > first.ballot) == (b"a b", True)
    assert one.short_rounds == 1


def test_the_highest_of_what_the_promises_tell_of_is_changed() -> None:
    one = proposer()
    one.submit(KEY, b"c", 0.0)
    [asked] = sent(one)
    one.receive(1, Promise(KEY, asked.ballot, MIDDLE, b"a b", 0), 0.0)
    one.receive(3, Promise(KEY, asked.ballot, LOW, b"a", 0), 0.0)
    [proposal] = sent(one)
    assert proposal.value == b"a b c"


def test_requests_that_wait_are_combined_in_order_into_one_change() -> None:
    one = proposer()
    for request in (b"a", b"b", b"c"):
        one.submit(KEY, request, 0.0)
    [asked] = sent(one)
    for id in (1, 2):
        one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
    [proposal] = sent(one)
    for id in (2, 3):
        one.receive(id, Accepted(KEY, proposal.ballot), 0.0)
    told = [(effect.request, effect.outcome) for effect in one.drain(0.0)]
    assert told == [(b"a", b"a"), (b"b", b"a b"), (b"c", b"a b c")]


def test_who_is_refused_goes_above_after_a_pause_and_begins_anew() -> None:
    one = proposer()
    choose(one, b"a")
    one.submit(KEY, b"b", 1.0)
    [short] = sent(one, 1.0)
    one.receive(3, Refusal(KEY, short.ballot, Ballot(40, 2, 7)), 1.0)
    assert sent(one, 1.0) == []
    later = 2.0
    one.tick(later)
    [asked] = sent(one, later)
    assert isinstance(asked, Prepare) and asked.ballot > Ballot(40, 2, 7)
    # The change that was refused may have been taken all the same: it is found, not made again.
    for id in (1, 2):
        one.receive(id, Promise(KEY, asked.ballot, short.ballot, b"a b", 0), later)
    [proposal] = sent(one, later)
    assert proposal.value == b"a b"
    for id in (1, 2):
        one.receive(id, Accepted(KEY, proposal.ballot), later)
    [decided] = one.drain(later)
    assert decided.repeated


def test_promises_for_the_next_change_count_as_a_quorum_of_phase_one() -> None:
    """Two acceptors choose here, and four must promise: so four must have accepted."""
    one = proposer(quorums=Flexible({1, 2, 3, 4, 5}, prepare=4, accept=2))
    one.submit(KEY, b"a", 0.0)
    [asked] = sent(one)
    for id in (1, 2, 3, 4):
        one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
    [proposal] = sent(one)
    one.receive(1, Accepted(KEY, proposal.ballot), 0.0)
    one.receive(2, Accepted(KEY, proposal.ballot), 0.0)
    one.submit(KEY, b"b", 0.0)
    assert isinstance(sent(one)[-1], Prepare)

    other = proposer(quorums=Flexible({1, 2, 3, 4, 5}, prepare=4, accept=2))
    other.submit(KEY, b"a", 0.0)
    [asked] = sent(other)
    for id in (1, 2, 3, 4):
        other.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
    [proposal] = sent(other)
    for id in (1, 2, 3, 4):
        other.receive(id, Accepted(KEY, proposal.ballot), 0.0)
    other.submit(KEY, b"b", 0.0)
    assert isinstance(sent(other)[-1], Accept)


def test_what_no_quorum_takes_is_handed_back_with_what_is_certain() -> None:
    one = proposer(patience=RegisterSettings(patience_s=0.1, give_up_s=0.15))
    one.submit(KEY, b"a", 0.0)
    sent(one)
    assert give_up(one) == [GaveUp(KEY, b"a", True)]
    one.submit(KEY, b"b", 10.0)
    [asked] = sent(one, 10.0)
    for id in (1, 2):
        one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 10.0)
    sent(one, 10.0)
    assert give_up(one) == [GaveUp(KEY, b"b", False)]  # it was proposed, and may be chosen yet


def give_up(one: Proposer) -> list[GaveUp]:
    for _ in range(100):
        now = one.next_deadline()
        one.tick(now)
        given = [effect for effect in one.drain(now) if isinstance(effect, GaveUp)]
        if given:
            return given
    raise AssertionError("it goes on for ever")


def test_a_read_is_answered_by_a_quorum_that_agrees_and_changes_nothing() -> None:
    one = proposer()
    one.read(KEY, b"?", 0.0)
    [asked] = sent(one)
    assert isinstance(asked, Query)
    one.receive(1, Told(KEY, asked.number, MIDDLE, b"a b"), 0.0)
    one.receive(2, Told(KEY, asked.number, LOW, b"a"), 0.0)
    assert one.drain(0.0) == []
    one.receive(3, Told(KEY, asked.number, MIDDLE, b"a b"), 0.0)
    assert one.drain(0.0) == [Decided(KEY, b"?", b"a b", MIDDLE, False)]


def test_a_read_of_acceptors_that_differ_is_decided_by_a_change_of_nothing() -> None:
    one = proposer(quorums=Majority({1, 2}))
    one.read(KEY, b"?", 0.0)
    [asked] = sent(one)
    one.receive(1, Told(KEY, asked.number, MIDDLE, b"a b"), 0.0)
    one.receive(2, Told(KEY, asked.number, LOW, b"a"), 0.0)
    [prepared] = sent(one)
    assert isinstance(prepared, Prepare)


def test_a_reader_that_came_later_has_a_read_of_its_own() -> None:
    one = proposer()
    one.read(KEY, b"?", 0.0)
    [first] = sent(one)
    one.read(KEY, b"??", 0.0)
    assert sent(one) == []
    for id in (1, 2):
        one.receive(id, Told(KEY, first.number, LOW, b"a"), 0.0)
    effects = one.drain(0.0)
    assert [effect.request for effect in effects if isinstance(effect, Decided)] == [b"?"]
    assert any(isinstance(effect, Send) for effect in effects)


def test_another_configuration_begins_everything_anew() -> None:
    one = proposer()
    choose(one, b"a")
    one.submit(KEY, b"b", 0.0)
    [short] = sent(one)
    one.configure(EPOCH + 1, Majority({2, 3, 4}))
    one.receive(1, Accepted(KEY, short.ballot), 0.0)
    one.receive(2, Accepted(KEY, short.ballot), 0.0)
    [asked] = sent(one)
    assert isinstance(asked, Prepare)
    assert asked.epoch == EPOCH + 1
    one.configure(EPOCH + 2, None)  # this one does not list it
    assert one.drain(0.0) == [GaveUp(KEY, b"b", False)]


# --- collection -----------------------------------------------------------------------------------


class Settlement:
    deleted, stamp, round = True, 31, 12


def test_a_tombstone_is_erased_in_four_steps() -> None:
    one = proposer()
    collector = Collector(one, b"delete", 100)
    everyone = frozenset({1, 2, 3})
    collector.begin([KEY], everyone, everyone, 0.0)
    [asked] = sent(one)
    for id in (1, 2):
        one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
    [tombstone] = sent(one)
    assert (tombstone.deleted, tombstone.following) == (True, NO_BALLOT)
    for id in (1, 2):
        one.receive(id, Accepted(KEY, tombstone.ballot), 0.0)
    assert one.drain(0.0) == []  # a quorum is not enough
    one.receive(3, Accepted(KEY, tombstone.ballot), 0.0)
    [decided] = one.drain(0.0)
    collector.settled(KEY, decided.ballot, Settlement(), 0.0)

    outgrow = collector.drain()[0].message
    assert (outgrow.keys, outgrow.round) == ((KEY,), 12)  # above ballot and revision
    for id, age in ((1, 4), (2, 9), (3, 1)):
        assert collector.drain() == []
        collector.outgrown(id, Outgrown(outgrow.number, age), 0.0)
    forbid = collector.drain()[0].message
    assert forbid.ages == ((1, 4), (2, 9), (3, 1))
    for id in (1, 2, 3):
        assert collector.drain() == []
        collector.forbidden(id, Forbidden(forbid.number))
    erase = collector.drain()[0].message
    assert (erase.registers, erase.stamp) == (((KEY, tombstone.ballot),), 31)
    assert (collector.busy, collector.collected) == (False, 1)


def test_a_collection_that_lacks_one_is_given_up() -> None:
    one = proposer()
    collector = Collector(one, b"delete", 100)
    everyone = frozenset({1, 2, 3})
    collector.begin([KEY], everyone, everyone, 0.0)
    collector.settled(KEY, MIDDLE, Settlement(), 0.0)
    collector.tick(collector.next_deadline())
    assert (collector.busy, collector.given_up) == (False, 1)
    one.configure(EPOCH + 1, Majority(everyone))
    collector.begin([KEY], everyone, everyone, 0.0)
    one.configure(EPOCH + 2, Majority(everyone))
    collector.tick(0.0)
    assert not collector.busy


def test_what_has_to_be_everywhere_gives_way_to_what_a_quorum_can_do() -> None:
    one = proposer()
    one.submit(KEY, b"everywhere", 0.0, everywhere=True)
    [asked] = sent(one)
    for id in (1, 2):
        one.receive(id, Promise(KEY, asked.ballot, NO_BALLOT, b"", 0), 0.0)
    [proposal] = sent(one)
    for id in (1, 2):
        one.receive(id, Accepted(KEY, proposal.ballot), 0.0)
    one.submit(KEY, b"a", 0.0)
    given, *_ = one.drain(0.0)
    assert given == GaveUp(KEY, b"everywhere", False)


def test_who_outgrows_a_key_drops_its_round_and_its_lead_and_goes_above() -> None:
    one = proposer()
    choose(one, b"a")
    one.outgrow([KEY], one.state.older(500))
    assert one.state == ProposerState(1, 500)
    one.submit(KEY, b"b", 0.0)
    [asked] = sent(one)
    assert isinstance(asked, Prepare)
    assert asked.ballot.round > 500
    assert asked.age == 1


# --- all together ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_is_lost_or_overtakes_no_change_is_lost_or_made_twice(seed: int) -> None:
    """Three proposers append to one register, over messages that are dropped and shuffled."""
    random = Random(seed)
    acceptors = {id: acceptor() for id in (1, 2, 3)}
    proposers = {id: proposer(id, patience=RegisterSettings(give_up_s=1e9)) for id in (1, 2, 3)}
    requests = {(id, n): b"%d.%d" % (id, n) for id in proposers for n in range(3)}
    flying: list[tuple[int, int, Any]] = []  # from, to, message
    done: list[bytes] = []
    now = 0.0
    for (id, _), request in requests.items():
        proposers[id].submit(KEY, request, now)
    for step in range(20_000):
        now += 0.0005
        for id, one in proposers.items():
            one.tick(now)
            for effect in one.drain(now):
                if isinstance(effect, Decided):
                    done.append(effect.outcome)
                elif isinstance(effect, Send):
                    flying.append((id, effect.to, effect.message))
                else:
                    assert isinstance(effect, Deleted), effect
        if len(done) == len(requests):
            break
        if not flying:
            continue
        source, target, message = flying.pop(random.randrange(len(flying)))
        if random.random() < 0.1 and step < 5000:
            continue
        if isinstance(message, Prepare | Accept):
            answer = acceptors[target].receive(message)
            flying.append((target, source, answer))
        else:
            proposers[target].receive(source, message, now)
    assert len(done) == len(requests)
    last = max(done, key=len).split()
    assert sorted(last) == sorted(requests.values())  # each once
    for outcome in done:
        assert last[: len(outcome.split())] == outcome.split()  # one chain
