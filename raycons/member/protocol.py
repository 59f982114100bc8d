"""What clients and members say to each other.

    client --Submit--> leader      a command for the log          --Answer | Refused-->
    client --Read-->   member      a question                     --Answer | Refused-->
    client --Manage--> leader      change members, transfer       --Managed | Refused-->
    client --Inspect--> member     status, digest                 --Inspected-->
    member --Leader--> clients     pushed when it learns of a new leader, and on connect

`request` is chosen by the client and echoed; unique per connection.
"""

from __future__ import annotations

import enum

import msgspec

from raycons.transport.contract import Address, PeerId


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class ReadLevel(enum.IntEnum):
    """What a read may miss."""

    LINEARIZABLE = 0  # nothing that was acknowledged before it began
    STALE = 1  # whatever the asked member has not applied; the answer tells how old that may be


class Submit(_Message, frozen=True):
    """Put `payload` in the log and answer with what the machine makes of it.

    Opaque to the member: logged, forwarded and stored as received, decoded once by the machine.
    """

    request: int
    machine: int
    payload: bytes


class Read(_Message, frozen=True):
    """Ask the machine; a follower gets the index from its leader first, unless STALE."""

    request: int
    machine: int
    level: int  # ReadLevel
    payload: bytes


class Answer(_Message, frozen=True):
    """The machine's answer."""

    request: int
    body: bytes
    lag_s: float = 0.0  # STALE reads: for how long this member has not heard from a leader at most


class Code(enum.IntEnum):
    """Why a member did not carry out a request."""

    NOT_LEADER = 0  # nothing was done by this attempt; `leader` may know
    LEADERSHIP_LOST = 1  # the command was in the log and may yet take effect
    OVERLOADED = 2  # a queue is full; nothing was done
    UNAVAILABLE = 3  # not now (starting, no leader, a leader about to hand over); nothing was done
    CONFIGURATION_CHANGED = 4
    CHANGE_IN_PROGRESS = 5
    NO_SUCH_MEMBER = 6
    LAST_VOTER = 7
    INVALID = 8


class Refused(_Message, frozen=True):
    """The request was not carried out; `code` tells what is certain."""

    request: int
    code: int  # Code
    leader: PeerId  # 0: unknown
    message: str = ""


class Leader(_Message, frozen=True):
    """Who leads, as far as this member knows, and where everyone listens.

    Term 0 names no leader, but somebody who serves as well as any: the group has no leader.
    """

    term: int
    leader: PeerId  # 0: nobody known
    addresses: tuple[tuple[PeerId, str, int], ...]


# --- management -----------------------------------------------------------------------------------


class Reserve(_Message, tag=1, frozen=True):
    """Take the next replica id, for a store about to be made."""


class Add(_Message, tag=2, frozen=True):
    """Add a replica as a learner.

    With `voter` it becomes a voter, in place of `replaces`, once it is caught up.
    """

    id: PeerId
    nonce: int
    host: str
    voter: bool = True
    replaces: PeerId = 0


class Remove(_Message, tag=3, frozen=True):
    """Take a replica out of the configuration."""

    id: PeerId


class Transfer(_Message, tag=4, frozen=True):
    """Hand leadership to `to` (0: the most caught-up voter)."""

    to: PeerId


Action = Reserve | Add | Remove | Transfer


class Manage(_Message, frozen=True):
    """A change of the group; `based_on` is the configuration index it was computed from."""

    request: int
    based_on: int
    action: Action


class Managed(_Message, frozen=True):
    """The change is committed (a transfer: done). `value` is the reserved id, or the new leader."""

    request: int
    configuration_index: int
    value: int


class Inspect(_Message, frozen=True):
    """Ask for a member's status; with `digest`, for the state's digest too (slow: reads it all)."""

    request: int
    digest: bool = False


class Inspected(_Message, frozen=True):
    """The status: JSON-able, see `raycons.cluster.status`."""

    request: int
    status: bytes  # msgpack of a map


CODES: dict[type[msgspec.Struct], int] = {
    Submit: 64,
    Read: 65,
    Answer: 66,
    Refused: 67,
    Leader: 68,
    Manage: 69,
    Managed: 70,
    Inspect: 71,
    Inspected: 72,
}


def addresses(leader: Leader) -> dict[PeerId, Address]:
    """The addresses of a Leader message as a mapping."""
    return {id: Address(host, port) for id, host, port in leader.addresses}
