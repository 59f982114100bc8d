"""Changes of the configuration, as pure functions from one configuration to the next.

Every change of voters goes through a joint configuration (Raft paper, section 6), in which each
decision needs a majority of the old voters and a majority of the new. A joiner is a learner first,
and becomes a voter when it has caught up; if it `replaces` somebody, both happen in the same joint
change, so that repair never shrinks the quorum.
"""

from __future__ import annotations

import msgspec

from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.quorum import ReplicaId


class BadChange(Exception):
    """The change does not fit; `code` is no-such-member, last-voter or invalid."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def reserve(configuration: Configuration) -> Configuration:
    """Take the next id for a store about to be made; it is the last of `reserved`."""
    return msgspec.structs.replace(
        configuration,
        next_id=configuration.next_id + 1,
        reserved=(*configuration.reserved, configuration.next_id)[-8:],
    )


def add(configuration: Configuration, joiner: Peer) -> Configuration:
    """Add a replica that was reserved, as a learner; JOINING ones become voters by themselves."""
    if joiner.id not in configuration.reserved:
        raise BadChange("invalid", f"replica {joiner.id} was not reserved; reserve an id first")
    if joiner.role == Role.VOTER or joiner.leaving:
        raise BadChange("invalid", f"replica {joiner.id} must join as a learner, to catch up first")
    if joiner.replaces and joiner.replaces not in configuration.voters:
        raise BadChange("no-such-member", f"replica {joiner.replaces} is not a voter to replace")
    return msgspec.structs.replace(
        configuration,
        peers=(*configuration.peers, joiner),
        reserved=tuple(id for id in configuration.reserved if id != joiner.id),
    )


def remove(configuration: Configuration, id: ReplicaId) -> Configuration:
    """Take a replica out: a learner at once, a voter through a joint configuration."""
    peer = configuration.peer(id)
    if peer is None:
        raise BadChange(
            "no-such-member", f"replica {id} is not a member: {sorted_ids(configuration)}"
        )
    if peer.role != Role.VOTER:
        rest = tuple(other for other in configuration.peers if other.id != id)
        return msgspec.structs.replace(configuration, peers=rest)
    if len(configuration.voters) == 1:
        raise BadChange("last-voter", f"replica {id} is the last voter; add another one first")
    return _joint(configuration, configuration.voters - {id})


def promote(configuration: Configuration, id: ReplicaId) -> Configuration:
    """Make a joining replica a voter, in place of the one that it replaces, if any."""
    peer = configuration.peer(id)
    assert peer is not None and peer.role == Role.JOINING
    return _joint(configuration, (configuration.voters | {id}) - {peer.replaces})


def leave_joint(configuration: Configuration) -> Configuration:
    """The second half of a change: only the incoming voters remain."""
    assert configuration.joint
    return msgspec.structs.replace(
        configuration,
        peers=tuple(
            msgspec.structs.replace(peer, leaving=False, replaces=0)
            if peer.role == Role.VOTER
            else peer
            for peer in configuration.peers
            if peer.role == Role.VOTER or not peer.leaving
        ),
    )


def raise_version(configuration: Configuration, version: int) -> Configuration:
    """Let the group write in a newer format, which every member handles."""
    assert version > configuration.version
    return msgspec.structs.replace(configuration, version=version)


def sorted_ids(configuration: Configuration) -> list[ReplicaId]:
    """The ids of all replicas, for messages."""
    return sorted(configuration.ids)


def _joint(configuration: Configuration, voters: frozenset[ReplicaId]) -> Configuration:
    assert not configuration.joint and voters
    outgoing = configuration.voters
    return msgspec.structs.replace(
        configuration,
        peers=tuple(
            msgspec.structs.replace(
                peer,
                role=Role.VOTER
                if peer.id in voters
                else (Role.LEARNER if peer.role == Role.VOTER else peer.role),
                leaving=peer.id in outgoing,
            )
            for peer in configuration.peers
        ),
    )
