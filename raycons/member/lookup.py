"""Asking Ray for actors by name, with its refusals told in our words.

A control plane (GCS) that ended and came back without fault tolerance has another identity and
knows nothing of the nodes that run: it refuses those who were connected to the former one. Calls to
actors that are known go on, which is why only the questions here fail.
"""

from __future__ import annotations

from typing import Any

from raycons.errors import Unavailable
from raycons.member.naming import NAMESPACE

_ANOTHER = "WrongClusterID"  # what Ray says, inside another error's text, of another identity
_REMEDY = (
    "connect this process anew (ray.shutdown(), then ray.init()); where that fails too, restart "
    "Ray on every node: raycons.start then resumes what is on disk. Clients that are connected go "
    "on meanwhile"
)


def actor_named(name: str) -> Any:
    """The handle of raycons' actor `name`; None where there is none. May block.

    Raises Unavailable where Ray refuses to say.
    """
    import ray

    _check_connected()
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise refusal(error) from error


def actor_names() -> list[str]:
    """The names of all actors of raycons, alive or restarting. May block.

    Raises Unavailable where Ray refuses to say.
    """
    import ray

    _check_connected()
    try:
        named = ray.util.list_named_actors(all_namespaces=True)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise refusal(error) from error
    return [actor["name"] for actor in named if actor["namespace"] == NAMESPACE]


def _check_connected() -> None:
    """Raise Unavailable without a Ray: each of its questions would start one in this process."""
    import ray

    if not ray.is_initialized():
        raise refusal(ConnectionError("this process is not connected to Ray any more"))


def refusal(error: BaseException) -> Unavailable:
    """What to tell where Ray answered a question for actors with `error`.

    >>> print(refusal(ConnectionError("it is away")))  # doctest: +ELLIPSIS
    Ray does not say which actors run (it is away): try again; if it lasts, connect this ...
    """
    said = next(iter(str(error).splitlines()), "") or type(error).__name__
    if _ANOTHER in said:  # the rest of it speaks of tokens, which are not what is wrong
        return Unavailable(
            f"Ray's control plane was started anew ({_ANOTHER}) and does not know this process, "
            f"nor the nodes of before: {_REMEDY}"
        )
    return Unavailable(
        f"Ray does not say which actors run ({said}): try again; if it lasts, {_REMEDY}"
    )
