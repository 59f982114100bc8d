"""What proposers and acceptors of registers say to each other.

    proposer   --Prepare-->  acceptors   --Promise | Refusal-->
    proposer   --Accept-->   acceptors   --Accepted | Refusal-->
    proposer   --Query-->    acceptors   --Told-->              a read that changes nothing

    collector  --Outgrow-->  proposers   --Outgrown-->          a register is about to be erased:
    collector  --Forbid-->   acceptors   --Forbidden-->         see `collection`
    collector  --Erase-->    acceptors

    member     --Listing-->  acceptors   --Listed-->            a change of members is under way:
    member     --Inform-->   members     --Informed-->          see `raycons.member.caspaxos`
    member     --Inherit-->  acceptors   --Inherited-->
    acceptor   --Elsewhere--> whoever speaks of another epoch

Every request names the epoch of the configuration that it was made in: an acceptor answers those
of its own epoch only, so that quorums of two configurations never mix.
"""

from __future__ import annotations

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.messages import Ballot

Key = bytes
Epoch = int  # rises with every change of the configuration
Age = int  # of a proposer; rises when it outgrows rounds of registers that are to be erased
Stamp = int  # in what order things were made that a register has to remember; see the machine


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


# --- rounds ---------------------------------------------------------------------------------------


class Prepare(_Message, tag=1, frozen=True):
    """Phase 1a: promise to accept nothing below `ballot`, and tell what was accepted."""

    key: Key
    ballot: Ballot
    age: Age
    epoch: Epoch


class Promise(_Message, tag=2, frozen=True):
    """Phase 1b; leaves only when the promise is on disk."""

    key: Key
    ballot: Ballot
    accepted: Ballot  # NO_BALLOT: nothing
    value: bytes
    erased: Stamp  # the highest of all registers that the sender ever erased


class Accept(_Message, tag=3, frozen=True):
    """Phase 2a: accept `value` under `ballot`, and promise `following` with it.

    The promise spares the same proposer phase 1 of its next change; NO_BALLOT: it wants none.
    """

    key: Key
    ballot: Ballot
    value: bytes
    following: Ballot
    deleted: bool  # the value says that there is none: a tombstone, to be collected
    age: Age
    epoch: Epoch


class Accepted(_Message, tag=4, frozen=True):
    """Phase 2b; leaves only when the value, and the promise with it, is on the sender's disk."""

    key: Key
    ballot: Ballot


class Refusal(_Message, tag=5, frozen=True):
    """The receiver of a Prepare or an Accept has promised more: try above that."""

    key: Key
    ballot: Ballot  # that was refused
    promised: Ballot


class Outdated(_Message, tag=6, frozen=True):
    """The sender of a Prepare or an Accept has outgrown it: its round is to begin anew."""

    key: Key
    ballot: Ballot


class Query(_Message, tag=7, frozen=True):
    """What have you accepted? Promises nothing."""

    key: Key
    number: int  # echoed in the answer
    epoch: Epoch


class Told(_Message, tag=8, frozen=True):
    """Leaves only when what it tells of is on disk."""

    key: Key
    number: int
    accepted: Ballot
    value: bytes


# --- collection of tombstones ---------------------------------------------------------------------


class Outgrow(_Message, tag=9, frozen=True):
    """Collector to proposers: begin anew what you do to these registers, above `round`."""

    number: int  # of the collection; echoed
    keys: tuple[Key, ...]
    round: int  # all ballots from now on are above it
    epoch: Epoch


class Outgrown(_Message, tag=10, frozen=True):
    """The sender is of this age from now on; leaves only when that is on disk."""

    number: int
    age: Age


class Forbid(_Message, tag=11, frozen=True):
    """Collector to acceptors: answer no proposer that says it is younger than this."""

    number: int
    ages: tuple[tuple[int, Age], ...]
    epoch: Epoch


class Forbidden(_Message, tag=12, frozen=True):
    """Leaves only when the ages are on disk."""

    number: int


class Erase(_Message, tag=13, frozen=True):
    """Collector to acceptors: forget these registers, where they are as they were then."""

    registers: tuple[tuple[Key, Ballot], ...]
    stamp: Stamp  # the highest of theirs
    epoch: Epoch


# --- configurations -------------------------------------------------------------------------------


class Elsewhere(_Message, tag=14, frozen=True):
    """The sender is in another epoch than the message that it got, which it did not answer."""

    epoch: Epoch  # the sender's


class Inform(_Message, tag=15, frozen=True):
    """This configuration is chosen; the round is one that no proposer of it may stay below."""

    epoch: Epoch
    configuration: Configuration
    round: int


class Informed(_Message, tag=16, frozen=True):
    """The sender is in this epoch; leaves only when that is on disk."""

    epoch: Epoch


class Listing(_Message, tag=17, frozen=True):
    """Which registers do you have behind `after`?"""

    number: int
    after: Key
    epoch: Epoch


class Listed(_Message, tag=18, frozen=True):
    """Some of the sender's registers, in order; none: there are no more."""

    number: int
    keys: tuple[Key, ...]
    erased: Stamp


class Inherit(_Message, tag=19, frozen=True):
    """Take over that registers with stamps up to this were erased."""

    number: int
    erased: Stamp
    epoch: Epoch


class Inherited(_Message, tag=20, frozen=True):
    """Leaves only when that is on disk."""

    number: int


ToAcceptor = Prepare | Accept | Query | Forbid | Erase | Listing | Inherit
ToProposer = Promise | Accepted | Refusal | Outdated | Told
Message = (
    ToAcceptor
    | ToProposer
    | Outgrow
    | Outgrown
    | Forbidden
    | Elsewhere
    | Inform
    | Informed
    | Listed
    | Inherited
)


class Bundle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that one turn of a member has for another: one frame, and one sync, for many keys."""

    messages: tuple[Message, ...]


CODES: dict[type[msgspec.Struct], int] = {Bundle: 96}
