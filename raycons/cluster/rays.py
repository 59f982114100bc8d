"""This process and Ray: joining a running Ray or starting a local one; its noise and errors."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

from raycons.errors import ClusterError, ClusterNotFound, InsideRayWorker

log = logging.getLogger(__name__)

# What a Ray that raycons starts has in its environment, unless the user's says otherwise. Ray gives
# its workers a lower priority than its user's other programs, and a member that waits for the
# processor behind them misses its heartbeats. And each Ray process times its own callbacks for
# statistics in Ray's debug logs, a hundred a second when idle: a fifth of an idle actor's cost.
ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_event_stats": "0"}

REACH_S = 2.0  # a head that has not taken a connection by then is not there

_TOKEN_REMEDY = (
    "it refused this process for lack of the cluster's token (Ray 2.60 and later ask for one by "
    "default): set RAY_AUTH_MODE=token and give the token of the head in RAY_AUTH_TOKEN, or the "
    "file that holds it in RAY_AUTH_TOKEN_PATH (default ~/.ray/auth_token)"
)


def refuse_worker(what: str) -> None:
    """Raise InsideRayWorker in a task or actor; `what` is the call that does not belong there."""
    if in_worker():
        raise InsideRayWorker(
            f"{what} belongs in a driver program: a worker can be ended at any moment, also half "
            "way; inside a task or actor use raycons.connect(name)"
        )


def in_worker() -> bool:
    """Whether this process runs a task or an actor."""
    import ray

    return bool(ray.is_initialized() and ray._private.worker.global_worker.mode == ray.WORKER_MODE)


def join_or_start_ray() -> None:
    """Use the Ray that this process is connected to, or that runs here, or start a local one.

    Raises ClusterError where Ray refuses this process.
    """
    import ray

    if not ray.is_initialized() and not _join():
        start_local_ray()


def start_local_ray() -> None:
    """Start a Ray for this process alone, whatever else runs here; it ends with the process.

    Raises ClusterError where Ray does not start.
    """
    import ray

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    log.info("event=ray-start address=local")
    try:
        ray.init(address="local", include_dashboard=False, **_quiet())
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise _explained(error) from error
    _hush_death_notices()


def join_local_cluster(address: str) -> None:
    """Use the Ray whose head this process has just started, quietly."""
    import ray

    ray.init(address=address, **_quiet())
    _hush_death_notices()


def join_ray(name: str) -> None:
    """Use the Ray that this process is connected to, or that runs here.

    Raises ClusterNotFound where there is none, ClusterError where Ray refuses this process.
    """
    import ray

    if not ray.is_initialized() and not _join():
        raise ClusterNotFound(
            f"cluster {name!r} cannot be looked for: no Ray runs here; set RAY_ADDRESS, or call "
            "ray.init(address=...), or raycons.start(...)"
        )


def _join() -> bool:
    """Join the Ray of RAY_ADDRESS, or the one that `ray start` started here; False without one.

    A Ray that another program started for itself (by `ray.init`) ends with that program, so it is
    left alone, as Ray's own `ray.init()` does.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS") or _started_here()
    if not address:
        return False
    if not address.startswith("ray://") and not _answers(address):
        # Ray would try for a minute, and then end this process.
        raise ClusterError(
            f"no Ray answers at RAY_ADDRESS={address}; start it, or unset RAY_ADDRESS to start a "
            "local one"
        )
    try:
        ray.init(address=address, **_quiet())
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise _explained(error) from error
    _hush_death_notices()
    return True


def _started_here() -> str | None:
    """The address that the last `ray start` on this machine left behind, if it still answers."""
    from ray._private.services import find_bootstrap_address

    address: str | None = find_bootstrap_address(None)
    return address if address and _answers(address) else None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return True  # "auto" and the like: Ray's own words
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError:
        return False
    return True


def _quiet() -> dict[str, Any]:
    return {"log_to_driver": False, "logging_level": logging.ERROR}


def _explained(error: BaseException) -> ClusterError:
    import ray

    text = str(error)
    refused = isinstance(error, getattr(ray.exceptions, "AuthenticationError", ()))
    if refused or ("auth" in text.lower() and "token" in text.lower()):
        return ClusterError(f"{text.splitlines()[0]}: {_TOKEN_REMEDY}")
    if isinstance(error, ConnectionError):
        # Whoever gets here was answered on the port. Of a refusal Ray's Python side says no more
        # than that it could not connect; the token is what is refused nearly always.
        return ClusterError(
            f"{text.splitlines()[0]}, though its port answers. Most likely {_TOKEN_REMEDY}"
        )
    return ClusterError(f"cannot connect to Ray: {text}")


def _hush_death_notices() -> None:
    """Log Ray's notices of dead workers instead of printing them over the user's screen.

    raycons expects processes to die and says itself what that means. Only where raycons connected
    this process to Ray: whoever calls ray.init sees what Ray has to say.
    """
    worker = sys.modules.get("ray._private.worker")
    printing = getattr(worker, "print_to_stdstream", None)
    if printing is None:
        return

    def log_notices(data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        if data.get("pid") == "raylet":
            log.debug("event=ray-notice text=%r", data.get("lines"))
        else:
            printing(data, *arguments, **named)

    worker.print_to_stdstream = log_notices  # type: ignore[union-attr]


def unwrap(error: BaseException) -> BaseException:
    """What an actor raised, without Ray's wrapping and remote traceback."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        cause = error.cause
        return cause if isinstance(cause, BaseException) else error
    return error
