"""Messages of single-decree Paxos, in the words of "Paxos Made Simple" (Lamport, 2001).

proposer  --Prepare-->   acceptors   promise me to accept nothing below `ballot`
acceptor  --Promise-->   proposer    I do; this is what I have accepted
proposer  --Accept-->    acceptors   accept `value` under `ballot`
acceptor  --Accepted-->  proposer and learners
acceptor  --Refusal-->   proposer    I have promised more
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Ballot(NamedTuple):
    """A proposal number: ordered, and never used by two proposers or twice by one."""

    round: int
    proposer: int
    nonce: int  # of the proposer's process: one that restarts knows no ballot that it used


NO_BALLOT = Ballot(0, 0, 0)
MAX_SHOWN = 24  # characters of a value in a story


class Proposal(NamedTuple):
    """A value under a ballot."""

    ballot: Ballot
    value: bytes


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class Prepare(_Message, frozen=True):
    """Phase 1a: promise to accept nothing below `ballot`, and tell what was accepted."""

    ballot: Ballot


class Promise(_Message, frozen=True):
    """Phase 1b; leaves only when the promise is on disk."""

    ballot: Ballot
    accepted: Proposal | None  # the proposal of the highest ballot that the sender accepted


class Accept(_Message, frozen=True):
    """Phase 2a: accept this proposal."""

    proposal: Proposal


class Accepted(_Message, frozen=True):
    """Phase 2b; leaves only when the proposal is on the sender's disk."""

    proposal: Proposal


class Refusal(_Message, frozen=True):
    """The receiver of a Prepare or an Accept has promised more: try above that."""

    ballot: Ballot  # that was refused
    promised: Ballot


def told(message: Prepare | Promise | Accept | Accepted | Refusal) -> str:
    """A message in the paper's words, as stories and charts show it.

    >>> told(Promise(Ballot(2, 11, 7), Proposal(Ballot(1, 12, 7), b"a")))
    "promise 2.11, having accepted 1.12 b'a'"
    """
    match message:
        case Prepare(ballot):
            return f"prepare {_told(ballot)}"
        case Promise(ballot, accepted):
            before = "" if accepted is None else f", having accepted {_told_proposal(accepted)}"
            return f"promise {_told(ballot)}{before}"
        case Accept(proposal):
            return f"accept {_told_proposal(proposal)}"
        case Accepted(proposal):
            return f"accepted {_told_proposal(proposal)}"
        case Refusal(ballot, promised):
            return f"refuse {_told(ballot)}, having promised {_told(promised)}"


def _told(ballot: Ballot) -> str:
    return f"{ballot.round}.{ballot.proposer}"


def _told_proposal(proposal: Proposal) -> str:
    return f"{_told(proposal.ballot)} {shortened(proposal.value)}"


def shortened(value: bytes) -> str:
    """A value in at most a few words.

    >>> print(shortened(b"yes"), shortened(b"a" * 100))
    b'yes' b'aaaaaaaaaaaaaaaa...' (100 bytes)
    """
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:18]}...' ({len(value):,} bytes)"
