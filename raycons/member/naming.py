"""What raycons' actors are called in Ray: one namespace, and the cluster's name in front."""

from __future__ import annotations

NAMESPACE = "raycons"
_REPLICA = "/replica-"
_SUPERVISOR = "/supervisor"


def member_name(cluster: str, id: int) -> str:
    """The actor name of a member.

    >>> member_name("prod", 3)
    'prod/replica-3'
    """
    return f"{cluster}{_REPLICA}{id}"


def supervisor_name(cluster: str) -> str:
    """The actor name of a cluster's supervisor.

    >>> supervisor_name("prod")
    'prod/supervisor'
    """
    return f"{cluster}{_SUPERVISOR}"


def member_id(cluster: str, actor: str) -> int | None:
    """Which member of `cluster` an actor is, by its name; None for any other actor.

    >>> member_id("prod", "prod/replica-3"), member_id("prod", "prod/supervisor")
    (3, None)
    """
    prefix = f"{cluster}{_REPLICA}"
    digits = actor[len(prefix) :]
    return int(digits) if actor.startswith(prefix) and digits.isdigit() else None


def cluster_of(actor: str) -> str | None:
    """The cluster to which an actor belongs, by its name; None for a foreign actor.

    >>> cluster_of("prod/replica-3"), cluster_of("prod/supervisor"), cluster_of("else")
    ('prod', 'prod', None)
    """
    name, slash, rest = actor.rpartition("/")
    ours = slash and (rest == "supervisor" or member_id(name, actor) is not None)
    return name if ours else None
