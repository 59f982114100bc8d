"""What a replica tells about itself: plain values, ready for JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from raycons.consensus.configuration import Peer
from raycons.consensus.contract import Replica


def describe(replica: Replica, now: float) -> dict[str, Any]:
    """The protocol's side of a member's status: role, log, configuration and, if it leads, lags."""
    configuration = replica.listed
    return {
        "id": replica.id,
        "role": replica.role if replica.id in configuration.electors else "learner",
        "term": replica.term,
        "ballot": replica.ballot,
        "leader": replica.leader,
        "commit": replica.commit,
        "log_first": replica.log.base.index + 1,
        "log_last": replica.log.last_index,
        "retired": replica.retired,
        "configuration_index": replica.configuration_index,
        "configuration": msgspec.to_builtins(configuration),  # `msgspec.convert` gives it back
        "group_version": configuration.version,
        "newest_version": replica.newest_version,
        "joint": configuration.joint,
        "members": [_describe_peer(peer) for peer in configuration.peers],
        "followers": {
            str(id): {
                "match": progress.match,
                "lag": replica.log.last_index - progress.match,
                "mode": progress.condition,
                "silent_s": round(now - progress.heard_at, 4),
            }
            for id, progress in replica.progress.items()
        },
    }


def _describe_peer(peer: Peer) -> dict[str, Any]:
    return {
        "id": peer.id,
        "nonce": peer.nonce,
        "role": peer.role.name.lower(),
        "leaving": peer.leaving,
        "replaces": peer.replaces,
        "host": peer.host,
    }
