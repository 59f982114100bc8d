"""Cluster names, and what Ray knows under them."""

from __future__ import annotations

import re

from raycons.errors import BadArgument
from raycons.member.lookup import actor_names
from raycons.member.naming import cluster_of, member_id

MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(name: str) -> str:
    """Give back a usable cluster name; it becomes a directory's name and part of actors' names.

    Raises BadArgument.
    """
    if not isinstance(name, str):
        raise BadArgument(f"a cluster's name is a string, not {type(name).__name__}")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise BadArgument(
            f"cluster name {name!r}: use 1 to {MAX_NAME} letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def running_clusters() -> list[str]:
    """The names of all clusters that have an actor in this Ray cluster. Raises Unavailable."""
    return sorted({name for name in map(cluster_of, actor_names()) if name is not None})


def running_members(cluster: str) -> list[int]:
    """The ids of the cluster's members that have an actor (alive or restarting).

    Raises Unavailable where Ray refuses to say.
    """
    ids = (member_id(cluster, actor) for actor in actor_names())
    return sorted(id for id in ids if id is not None)
