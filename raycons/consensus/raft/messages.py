"""Raft's messages: one small type each; what a field is for is told beside it.

    follower  --PreVote-->  peers      would you vote for me?        --PreVoteReply-->
    candidate --RequestVote--> peers   vote for me                   --VoteReply-->
    leader    --Append-->   follower   put these after `previous`    --Appended / AppendRejected-->
    leader    --Heartbeat--> follower  I lead; round n               --HeartbeatReply-->

and those that it shares with other protocols (`consensus/messages.py`). Where a message carries a
`term`, it is the sender's unless said otherwise.
"""

from __future__ import annotations

import msgspec

from raycons.consensus.contract import Entry, Term
from raycons.consensus.messages import CODES as SHARED
from raycons.consensus.messages import Message
from raycons.consensus.quorum import Index


class PreVote(Message, frozen=True):
    """Would you vote for me in `campaign_term`? Changes nothing at the receiver.

    Raft dissertation, section 9.6.
    """

    term: Term
    campaign_term: Term  # the term of the election that would follow
    last: tuple[Index, Term]  # the sender's last entry, for the up-to-date check


class PreVoteReply(Message, frozen=True):
    """The answer to a PreVote; counts only for the campaign it names."""

    term: Term
    campaign_term: Term
    granted: bool


class RequestVote(Message, frozen=True):
    """Vote for me in `term`. Raft paper, section 5.2 and 5.4.1."""

    term: Term
    last: tuple[Index, Term]
    release: bool  # the old leader asked for this election: lease promises to it are released


class VoteReply(Message, frozen=True):
    """The answer to a RequestVote of the same term; leaves only when the vote is on disk."""

    term: Term
    granted: bool


class Append(Message, frozen=True):
    """Put `entries` after `previous`, if you have `previous`. Raft paper, section 5.3.

    Empty `entries` is a probe for where the two logs part.
    """

    term: Term
    previous: tuple[Index, Term]
    entries: tuple[Entry, ...]
    commit: Index  # the leader's commit index; the receiver trusts it only up to what this verifies


class Appended(Message, frozen=True):
    """The sender's log agrees with the leader's up to `matched`, and that much is on its disk."""

    term: Term
    matched: Index


class AppendRejected(Message, frozen=True):
    """The sender does not hold `previous`."""

    term: Term
    previous: Index  # echoed, so that an old rejection is not taken for a new one
    hint: tuple[Index, Term]  # the last entry, at or before `previous`, not of a later term than it
    last: Index  # where the sender's log ends


class Heartbeat(Message, frozen=True):
    """I lead `term`. Resets the election timer; asks the receiver to confirm `round`."""

    term: Term
    commit: tuple[Index, Term]  # committed, and held by the receiver as far as we know
    round: int  # echoed: a quorum of echoes proves leadership after the round was sent
    pace: int  # the next one may come so many intervals later; see `idleness`


class HeartbeatReply(Message, frozen=True):
    """I still follow you; with a promise not to vote for `promise_s` from now, if not zero."""

    term: Term
    round: int
    promise_s: float
    last: Index  # where the sender's log ends: an end below what it acknowledged means a lost disk
    version: int = 1  # the newest format that the sender's release handles; see `upgrade`


# The code of each type on the wire; a code is never given to another type.
CODES: dict[type[msgspec.Struct], int] = {
    **SHARED,
    PreVote: 1,
    PreVoteReply: 2,
    RequestVote: 3,
    VoteReply: 4,
    Append: 5,
    Appended: 6,
    AppendRejected: 7,
    Heartbeat: 8,
    HeartbeatReply: 9,
}
