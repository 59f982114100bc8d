"""Ballots: one number for round and replica, so that none is ever used by two.

Whoever campaigns takes a round above all that it knows, and has its ballot on disk before anyone
else hears of it: so it takes another one after a restart.
"""

from __future__ import annotations

from raycons.consensus.quorum import ReplicaId

Ballot = int

# Stands where a ballot would, for a value that is known to be chosen: it is above all others, so
# whoever takes the value of the highest ballot takes this one.
DECIDED: Ballot = 1 << 62


def ballot_of(round: int, replica: ReplicaId) -> Ballot:
    """The ballot of a replica in a round.

    >>> ballot_of(2, 1) > ballot_of(1, 3) > ballot_of(1, 2)
    True
    """
    return round << 32 | replica


def round_of(ballot: Ballot) -> int:
    """The round of a ballot.

    >>> round_of(ballot_of(7, 3))
    7
    """
    return ballot >> 32


def owner_of(ballot: Ballot) -> ReplicaId:
    """The replica that may lead a ballot; 0 for none.

    >>> owner_of(ballot_of(7, 3))
    3
    """
    return ballot & 0xFFFFFFFF


def told(ballot: Ballot) -> str:
    """A ballot as people read it.

    >>> told(ballot_of(7, 3))
    '7 of replica 3'
    """
    return f"{round_of(ballot)} of replica {owner_of(ballot)}"
