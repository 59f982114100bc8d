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
    Proposer,
)
from raycons.consensus.quorum_systems import Majority
from raycons.errors import BadArgument
from raycons.simulation.explorer import explore
from raycons.simulation.mutants.patch import Patch
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


def test_silence_is_followed_by_another_ballot() -> None:
    role = proposer()
    role.propose(b"mine", 0.0)
    assert 0.5 <= role.next_deadline() <= 1.0
    assert messages(role.tick(1.0))[0] == (1, Prepare(Ballot(2, 11, 7)))


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
    assert learner.state.chosen == b"a"


# --- the small scope ------------------------------------------------------------------------------


def test_no_order_of_events_chooses_two_values() -> None:
    found = explore(SynodScope(proposers=2, acceptors=3))
    assert found.broken is None
    assert found.states > 10_000
    assert found.depth > 15


def test_no_order_of_events_chooses_two_values_though_proposers_try_again() -> None:
    assert explore(SynodScope(proposers=2, acceptors=2, rounds=2)).broken is None


def test_a_scope_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadArgument, match="more than 1,000 states"):
        explore(SynodScope(), most=1000)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        pytest.param(
            Acceptor._prepare,
            "AcceptorState(ballot, state.accepted)",
            "AcceptorState(state.promised, state.accepted)",
            id="promise-forgotten",
        ),
        pytest.param(
            Acceptor._accept,
            "proposal.ballot < state.promised",
            "False",
            id="accepted-below-the-promise",
        ),
        pytest.param(
            Acceptor._prepare,
            "Promise(ballot, state.accepted)",
            "Promise(ballot, None)",
            id="promise-without-what-was-accepted",
        ),
        pytest.param(
            Proposer._promised,
            "max(accepted).value if accepted else state.value",
            "state.value",
            id="own-value-though-one-was-accepted",
        ),
        pytest.param(
            Proposer._promised,
            "self._quorums.prepares({acceptor for acceptor, _ in promises})",
            "len(promises) >= 1",
            id="one-promise-is-enough",
        ),
        pytest.param(
            Proposer._accepted,
            "self._quorums.chooses(accepted)",
            "len(accepted) >= 1",
            id="one-acceptance-is-enough",
        ),
    ],
)
def test_planted_mistakes_are_found(function: Any, old: str, new: str) -> None:
    with Patch() as patch:
        patch.edit(function, old, new)
        found = explore(SynodScope())
    assert found.broken is not None
    assert 3 < len(found.story) < 30


def test_quorums_that_do_not_meet_choose_two_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Majority, "prepares", lambda self, granted: len(granted) >= 1)
    assert explore(SynodScope()).broken is not None
