"""Deciding what to do about lost replicas: pure, from what was seen to one step at a time.

Rules
- One change at a time, computed from the configuration that it names; a change that is under way is
  left to finish.
- A replica is replaced by one joint change, in which the successor takes the place of the lost one:
  the quorum is never smaller on the way.
- A replica that is away may come back: it is replaced after a grace period. One that says itself
  that its store is gone or damaged cannot, and is replaced at once.
- No host gets a second voter, unless the cluster had to double up from the start. Without a
  fitting host, wait and say so.
- Nothing is replaced without a leader: what the group cannot decide is not decided beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from raycons.cluster.placement import home_for_replacement
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.transport.contract import PeerId

BEYOND_HOPE = ("vacant", "retired")
HOPELESS_GRACE_S = 1.0  # a vacant member may be one that is about to be made


class Replace(NamedTuple):
    """Make a new replica on `host`, to take the place of `lost`."""

    lost: PeerId
    host: str
    reason: str


class Discard(NamedTuple):
    """Take a joining replica that was lost before it caught up out again."""

    id: PeerId
    reason: str


class Revive(NamedTuple):
    """The replica has no actor, and its host is alive: make its actor there."""

    id: PeerId
    host: str


class Sweep(NamedTuple):
    """The actor belongs to no replica of the configuration (any more): end it."""

    id: PeerId


Step = Replace | Discard | Revive | Sweep


class Plan(NamedTuple):
    """What to do now, and what to tell whoever asks."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def plan(
    *,
    configuration: Configuration,
    states: Mapping[PeerId, str],
    lost_since: Mapping[PeerId, float],
    alive: Collection[str],
    now: float,
    grace_s: float,
) -> Plan:
    """The next steps.

    `states` is what each member's actor says ("gone" or absent: it has none), `lost_since` since
    when each has not served, `alive` the ids of the hosts that could hold a replica now.
    """
    notes: list[str] = []
    steps: list[Step] = [
        Revive(peer.id, peer.host)
        for peer in configuration.peers
        if states.get(peer.id, "gone") == "gone" and peer.host in alive
    ]
    steps += [
        Sweep(id)
        for id in states
        # From `next_id` on, the configuration is older than the actor. A reserved id that is not
        # listed is what an addition left that failed half way: none is under way meanwhile.
        if id not in configuration.ids and id < configuration.next_id
    ]
    change = _change(configuration, states, lost_since, alive, now, grace_s, notes)
    if change is not None:
        steps.append(change)
    return Plan(tuple(steps), tuple(notes))


def _change(
    configuration: Configuration,
    states: Mapping[PeerId, str],
    lost_since: Mapping[PeerId, float],
    alive: Collection[str],
    now: float,
    grace_s: float,
    notes: list[str],
) -> Step | None:
    if configuration.joint:
        notes.append("a change of voters is under way")
        return None
    for peer in configuration.peers:
        if peer.role != Role.JOINING:
            continue
        if _past_grace(peer, states, lost_since, now, grace_s):
            return Discard(peer.id, f"joining replica {peer.id} was lost before it caught up")
        place = f" in place of replica {peer.replaces}" if peer.replaces else ""
        notes.append(f"replica {peer.id} joins{place}")
        return None
    voters = [peer for peer in configuration.peers if peer.role == Role.VOTER]
    for peer in voters:
        if peer.id not in lost_since:
            continue
        why = f"replica {peer.id} is {states.get(peer.id, 'gone')}"
        if not _past_grace(peer, states, lost_since, now, grace_s):
            left = grace_s - (now - lost_since[peer.id])
            notes.append(f"{why}; it is replaced in {max(0.0, left):.0f} s if it stays away")
            continue
        host = home_for_replacement(sorted(alive), [voter.host for voter in voters], peer.host)
        if host is None:
            notes.append(f"{why}; no host is free of other voters: waiting for one")
            continue
        return Replace(peer.id, host, why)
    return None


def _past_grace(
    peer: Peer,
    states: Mapping[PeerId, str],
    lost_since: Mapping[PeerId, float],
    now: float,
    grace_s: float,
) -> bool:
    since = lost_since.get(peer.id)
    if since is None:
        return False
    hopeless = states.get(peer.id) in BEYOND_HOPE
    return now - since >= (min(grace_s, HOPELESS_GRACE_S) if hopeless else grace_s)
