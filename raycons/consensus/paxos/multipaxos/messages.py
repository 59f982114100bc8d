"""MultiPaxos' messages: one small type each; what a field is for is told beside it.

    follower  --Ask-->      acceptors  would you promise me?                 --AskReply-->
    candidate --Prepare-->  acceptors  promise; what did you accept?         --Promise-->
    leader    --Accept-->   everyone   accept these, each in its slot        --Accepted-->
    leader    --Heartbeat--> everyone  I lead; round n                       --HeartbeatReply-->
    laggard   --CatchUp-->  anyone     what is chosen from this slot on?     --Chosen-->
    acceptor  --Refused-->  proposer   I have promised a higher ballot

and those that it shares with other protocols (`consensus/messages.py`), whose `term` is a ballot.
"""

from __future__ import annotations

import msgspec

from raycons.consensus.contract import Entry, Proposal
from raycons.consensus.messages import CODES as SHARED
from raycons.consensus.messages import Message
from raycons.consensus.paxos.multipaxos.ballots import Ballot
from raycons.consensus.quorum import Index


class Ask(Message, frozen=True):
    """Would you promise me `ballot`? Changes nothing at the receiver.

    As Raft's pre-vote: who cannot win, or would depose a living leader, disturbs nobody.
    """

    ballot: Ballot


class AskReply(Message, frozen=True):
    """The answer to an Ask; counts only for the ballot that it names."""

    ballot: Ballot  # as asked
    granted: bool
    promised: Ballot  # the sender's, for the next try
    decided: Index  # up to where the sender knows what is chosen


class Prepare(Message, frozen=True):
    """Phase 1a for all slots from `first` on: promise to accept nothing below `ballot`."""

    ballot: Ballot
    first: Index  # the first slot of which the sender does not know what is chosen
    release: bool  # the old leader asked for this: lease promises to it are released


class Promise(Message, frozen=True):
    """Phase 1b: the sender has promised, and had accepted this; all of it is on its disk."""

    ballot: Ballot
    first: Index  # as asked
    accepted: tuple[Proposal, ...]  # in the order of slots; DECIDED as ballot: chosen
    next: Index  # ask from here for the rest; 0: that is all
    decided: Index  # up to where the sender knows what is chosen
    base: Index  # and up to where it has nothing but the state that came of it


class Refused(Message, frozen=True):
    """The sender has promised a ballot above the one that it was spoken to in."""

    ballot: Ballot  # the one refused
    promised: Ballot


class Accept(Message, frozen=True):
    """Phase 2a: accept these entries, which follow one another, each in the slot of its index."""

    ballot: Ballot
    entries: tuple[Entry, ...]
    decided: (
        Index  # all up to here is chosen: what, the receiver knows where it accepted in `ballot`
    )


class Accepted(Message, frozen=True):
    """Phase 2b: accepted in `ballot`, and on the sender's disk."""

    ballot: Ballot
    slots: tuple[tuple[Index, Index], ...]  # from, to
    decided: Index  # up to where the sender holds what is chosen on its disk


class Heartbeat(Message, frozen=True):
    """I lead `ballot`. Asks the receiver to confirm `round`."""

    ballot: Ballot
    decided: Index  # as in Accept
    first: Index  # slots below it were chosen in earlier ballots: no Accept will bring them
    round: int  # echoed: a quorum of echoes proves leadership after the round was sent


class HeartbeatReply(Message, frozen=True):
    """I have promised nobody above you; with leases, and will not for `promise_s` from now."""

    ballot: Ballot
    round: int
    promise_s: float
    decided: Index  # up to where the sender holds what is chosen on its disk
    last: Index  # the sender's highest slot: below one that it acknowledged, its disk forgot
    version: int = 1  # the newest format that the sender's release handles


class CatchUp(Message, frozen=True):
    """What is chosen from slot `first` on? Anybody may be asked."""

    first: Index


class Chosen(Message, frozen=True):
    """What is chosen in some slots that follow one another; whoever knows it may say it."""

    entries: tuple[Entry, ...]
    decided: Index  # up to where the sender knows more


# The code of each type on the wire; a code is never given to another type.
CODES: dict[type[msgspec.Struct], int] = {
    **SHARED,
    Ask: 20,
    AskReply: 21,
    Prepare: 22,
    Promise: 23,
    Refused: 24,
    Accept: 25,
    Accepted: 26,
    Heartbeat: 27,
    HeartbeatReply: 28,
    CatchUp: 29,
    Chosen: 30,
}
