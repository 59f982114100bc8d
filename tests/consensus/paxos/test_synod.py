"""Single-decree Paxos: the roles one by one, and a small scope with every order of its events."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from raycons.consensus.contract import Send
from raycons.consensus.paxos.messages import (
    Accept,
    Accepted,
    Ballot,
    Prepare,
    Promise,
    Proposal,
    Refusal,
)
from raycons.consensus.paxos.synod import (
    Acceptor,
    AcceptorState,
    Chosen,
    Keep,
    Learner,
    LearnerState,
    Proposer,
)
from raycons.consensus.quorum import Majority, Weighted
from raycons.errors import BadArgument
from raycons.simulation.explorer import explore
from raycons.simulation.mutants.synod import Mistake, all_mistakes, mistake_named
from raycons.simulation.synod_chart import chart_of
from raycons.simulation.synod_scope import SynodScope

THREE = Majority({1, 2, 3})
LOW, HIGH = Ballot(1, 11, 7), Ballot(2, 12, 7)


def proposer(id: int = 11) -> Proposer:
    return Proposer(id, 7, THREE, Random(1))


def messages(effects: list[Any]) -> list[tuple[int, Any]]:
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, Send)]


# --- acceptor -------------------------------------------------------------------------------------


def test_an_acceptor_answers_only_when_its_state_is_on_disk() -> None:
    acceptor = Acceptor((21,), AcceptorState())
    kept, promise = acceptor.receive(11, Prepare(LOW))
    assert kept == Keep(1, AcceptorState(LOW, None))
    assert promise == Send(11, Promise(LOW, None), after=1)
    proposal = Proposal(LOW, b"a")
    kept, *told = acceptor.receive(11, Accept(proposal))
    assert kept == Keep(2, AcceptorState(LOW, proposal))
    assert told == [Send(to, Accepted(proposal), after=2) for to in (11, 21)]


def test_a_promise_forbids_lower_ballots_and_tells_what_was_accepted() -> None:
    acceptor = Acceptor((), AcceptorState())
    acceptor.receive(11, Accept(Proposal(LOW, b"a")))
    assert messages(acceptor.receive(12, Prepare(HIGH))) == [
        (12, Promise(HIGH, Proposal(LOW, b"a")))
    ]
    for low in (Prepare(LOW), Accept(Proposal(LOW, b"a"))):
        assert acceptor.receive(11, low) == [Send(11, Refusal(LOW, HIGH))]
    assert acceptor.state == AcceptorState(HIGH, Proposal(LOW, b"a"))


def test_an_acceptor_that_restarts_goes_on_from_its_disk() -> None:
    before = Acceptor((), AcceptorState())
    before.receive(12, Prepare(HIGH))
    again = Acceptor((), before.state)
    assert messages(again.receive(11, Prepare(LOW))) == [(11, Refusal(LOW, HIGH))]


def test_a_learner_is_told_again_what_was_accepted() -> None:
    acceptor = Acceptor((), AcceptorState())
    assert acceptor.remind(21) == []
    acceptor.receive(11, Accept(Proposal(LOW, b"a")))
    assert acceptor.remind(21) == [Send(21, Accepted(Proposal(LOW, b"a")), after=1)]


# --- proposer -------------------------------------------------------------------------------------


def test_a_proposer_asks_all_and_goes_on_with_a_majority() -> None:
    role = proposer()
    assert messages(role.propose(b"mine", 0.0)) == [(id, Prepare(LOW)) for id in (1, 2, 3)]
    assert role.receive(1, Promise(LOW, None), 0.0) == []
    assert role.receive(1, Promise(LOW, None), 0.0) == []  # the same acceptor again
    proposal = Proposal(LOW, b"mine")
    asked = role.receive(3, Promise(LOW, None), 0.0)
    assert messages(asked) == [(id, Accept(proposal)) for id in (1, 2, 3)]
    assert role.receive(2, Promise(LOW, None), 0.0) == []
    assert role.receive(2, Accepted(proposal), 0.0) == []
    assert role.receive(2, Accepted(proposal), 0.0) == []
    assert role.receive(1, Accepted(proposal), 0.0) == [Chosen(b"mine")]
    assert role.propose(b"other", 1.0) == [Chosen(b"mine")]
    assert role.next_deadline() == float("inf")


def test_the_value_of_the_highest_ballot_among_the_promises_is_proposed() -> None:
    role = Proposer(13, 7, Majority(range(1, 6)), Random(1))
    role.propose(b"mine", 0.0)
    ballot = role.state.ballot
    role.receive(1, Promise(ballot, Proposal(LOW, b"low")), 0.0)
    role.receive(2, Promise(ballot, Proposal(HIGH, b"high")), 0.0)
    asked = role.receive(3, Promise(ballot, None), 0.0)
    assert {message for _, message in messages(asked)} == {Accept(Proposal(ballot, b"high"))}


def test_a_refused_proposer_pauses_and_takes_a_higher_ballot_at_once() -> None:
    role = proposer()
    role.propose(b"mine", 0.0)
    far = Ballot(40, 12, 7)
    assert role.receive(1, Refusal(LOW, far), 0.0) == []
    assert 0.0 < role.next_deadline() < 0.01
    assert role.tick(0.0) == []
    assert messages(role.tick(0.01))[0] == (1, Prepare(Ballot(41, 11, 7)))
    # A promise for the ballot that it left is no promise for this one.
    assert role.receive(2, Promise(LOW, None), 0.02) == []
    assert role.receive(3, Promise(LOW, None), 0.02) == []
    assert role.state.proposal is None


def test_pauses_grow_and_differ_so_that_duels_end() -> None:
    roles = [Proposer(id, 7, THREE, Random(id)) for id in (11, 12)]
    pauses: list[list[float]] = [[], []]
    for role, own in zip(roles, pauses, strict=True):
        role.propose(b"x", 0.0)
        for _ in range(12):
            above = Ballot(role.state.highest.round + 1, 13, 7)
            role.receive(1, Refusal(role.state.ballot, above), 0.0)
            own.append(role.next_deadline())
            role.tick(1e9)
        assert own[6] > 10 * own[0]
        assert max(own) <= 0.75
    assert all(one != other for one, other in zip(*pauses, strict=True))


def test_the_silent_are_asked_again_and_late_answers_count() -> None:
    role = proposer()
    role.propose(b"mine", 0.0)
    assert 0.5 <= role.next_deadline() <= 1.0
    role.receive(2, Promise(LOW, None), 0.9)
    assert messages(role.tick(1.0)) == [(id, Prepare(LOW)) for id in (1, 3)]
    assert role.tick(1.0) == []
    proposal = Proposal(LOW, b"mine")
    assert len(messages(role.receive(3, Promise(LOW, None), 7.0))) == 3
    role.receive(1, Accepted(proposal), 8.0)
    assert messages(role.tick(9.0)) == [(id, Accept(proposal)) for id in (2, 3)]
    assert role.receive(2, Accepted(proposal), 20.0) == [Chosen(b"mine")]
    assert role.tick(30.0) == []


def test_an_abandoned_proposal_sends_nothing_more() -> None:
    role = proposer()
    role.propose(b"mine", 0.0)
    role.abandon()
    assert role.next_deadline() == float("inf")
    for id in (1, 2, 3):
        assert role.receive(id, Promise(LOW, None), 0.1) == []
    assert messages(role.propose(b"again", 1.0))[0] == (1, Prepare(Ballot(2, 11, 7)))


def test_a_process_that_restarts_uses_none_of_its_ballots_again() -> None:
    before, again = proposer(), Proposer(11, 8, THREE, Random(1))
    before.propose(b"one", 0.0)
    again.propose(b"other", 0.0)
    assert before.state.ballot != again.state.ballot


# --- learner --------------------------------------------------------------------------------------


def test_a_learner_counts_acceptors_of_one_proposal() -> None:
    learner = Learner(THREE)
    low, high = Proposal(LOW, b"a"), Proposal(HIGH, b"a")
    assert learner.receive(1, Accepted(low)) == []
    assert learner.receive(2, Accepted(high)) == []  # one value, but under two ballots
    assert learner.receive(1, Accepted(low)) == []
    assert learner.receive(3, Accepted(high)) == [Chosen(b"a")]
    assert learner.receive(1, Accepted(high)) == []
    assert learner.state == LearnerState(chosen=b"a")  # the rest is forgotten


# --- the small scope ------------------------------------------------------------------------------


@pytest.mark.long
def test_no_order_of_events_chooses_two_values() -> None:
    """2 proposers, 3 acceptors, every fate of every message."""
    found = explore(SynodScope(proposers=2, acceptors=3))
    assert found.broken is None
    assert (found.states, found.depth) == (313_763, 32)


@pytest.mark.parametrize(
    ("scope", "states"),
    [
        pytest.param(SynodScope(2, 2), 2_852, id="two-acceptors"),
        pytest.param(SynodScope(2, 3, refusals=False), 32_218, id="refusals-lost"),
        pytest.param(SynodScope(2, 2, (2, 1), refusals=False), 8_043, id="one-tries-again"),
        pytest.param(SynodScope(3, 1), 6_980, id="three-proposers"),
    ],
)
def test_no_order_of_events_of_a_smaller_scope_does(scope: SynodScope, states: int) -> None:
    found = explore(scope)
    assert found.broken is None
    assert found.states == states


def test_states_that_differ_in_names_alone_are_one() -> None:
    """Nothing else is merged: for quorums in which acceptors are not alike nothing is."""
    merged = explore(SynodScope(2, 2, refusals=False))
    apart = explore(SynodScope(2, 2, quorums=Weighted({1: 1, 2: 1}), refusals=False))
    assert apart.broken is None
    assert merged.states < apart.states <= 2 * merged.states


def test_a_scope_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadArgument, match="more than 1,000 states"):
        explore(SynodScope(), most=1000)


@pytest.mark.parametrize("arguments", [(0, 3), (2, 0), (2, 11), (2, 3, (1,)), (2, 3, -1)], ids=str)
def test_a_scope_that_makes_no_sense_is_refused(arguments: Any) -> None:
    with pytest.raises(BadArgument, match="expected"):
        SynodScope(*arguments)


SLOW = {"value-of-the-lowest-ballot"}


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.long] if each.name in SLOW else [])
        for each in all_mistakes()
    ],
)
def test_planted_mistakes_are_found(mistake: Mistake) -> None:
    with mistake.planted():
        scope = mistake.scope()
        found = explore(scope)
        chart = chart_of(found, scope)
    assert found.broken is not None
    assert 3 < len(found.story) < 30
    assert str(chart).count("\n") >= len(found.story)
    assert ", lost" not in str(chart)


def test_a_scope_that_shows_a_mistake_is_whole_without_it() -> None:
    for mistake in all_mistakes():
        if mistake.acceptors == 2:
            assert explore(mistake.scope()).broken is None


def test_a_mistake_that_is_not_there() -> None:
    with pytest.raises(BadArgument, match="promise-forgotten"):
        mistake_named("nothing")
