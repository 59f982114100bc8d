"""A Ray of our own on this machine, which outlives the command that started it.

`raycons up` needs a Ray that stays when it returns. `ray start` leaves one that only `ray stop`
ends, and that ends every Ray of this user on the machine. So the head is run in the foreground mode
of `ray start --block`, as a detached process of which we keep the id: ending that process ends
exactly the Ray that it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from raycons.cluster.rays import ENVIRONMENT
from raycons.errors import ClusterError
from raycons.store.host import default_root

RECORD = "local-ray.json"
LOG = "local-ray.log"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOOK_S = 0.1


class LocalRay(msgspec.Struct, frozen=True):
    """A Ray head that this user's `raycons up` started."""

    pid: int  # of the `ray start --block` process
    started: int  # the kernel's start time of that process: a later process may get the same pid
    address: str
    auth_mode: str  # Ray's RAY_AUTH_MODE: whoever joins by address must ask for it, too


def recorded() -> LocalRay | None:
    """The Ray that we started and that still runs, or None."""
    try:
        record = msgspec.json.decode((default_root() / RECORD).read_bytes(), type=LocalRay)
    except (OSError, msgspec.MsgspecError):
        return None
    return record if start_time(record.pid) == record.started else None


def start() -> LocalRay:
    """Start a Ray head on this machine, and wait until it accepts connections.

    Raises ClusterError, naming the log, where it does not come up.
    """
    import ray

    root = default_root()
    root.mkdir(parents=True, exist_ok=True)
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    port = _free_port()
    environment = head_environment()
    _make_token(environment)
    log = root / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *(f"--port={port}", f"--node-ip-address={host}", "--include-dashboard=false"),
                "--disable-usage-stats",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at this terminal is not meant for it
            env=environment,
        )
    started = start_time(process.pid)
    address = f"{host}:{port}"
    record = LocalRay(process.pid, started or 0, address, environment["RAY_AUTH_MODE"])
    (root / RECORD).write_bytes(msgspec.json.encode(record))
    try:
        up = _wait(lambda: process.poll() is not None or _accepts(host, port), START_TIMEOUT_S)
    except KeyboardInterrupt:
        stop(record)
        raise
    if not up or process.poll() is not None:
        stop(record)
        raise ClusterError(f"Ray did not start on this machine; its output is in {log}")
    return record


def head_environment() -> dict[str, str]:
    """The environment of a Ray head: ours, with what Ray would by itself choose worse.

    It listens on the machine's network address; `ray.init` asks whoever connects for a token,
    `ray start` does not, unless told.
    """
    environment = {**ENVIRONMENT, **os.environ}
    environment.setdefault("RAY_AUTH_MODE", "token")
    environment.pop("RAY_ADDRESS", None)
    return environment


def _make_token(environment: dict[str, str]) -> None:
    """Have Ray make its token file, where token authentication is on and there is no token yet."""
    if environment["RAY_AUTH_MODE"].lower() == "token":
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it is a secret
            stderr=subprocess.DEVNULL,
            env=environment,
            check=False,  # the head says better what is wrong
        )


def stop(record: LocalRay) -> None:
    """End the Ray that `start` started, and every process of its session."""
    with contextlib.suppress(ProcessLookupError):
        if start_time(record.pid) == record.started:
            os.kill(record.pid, signal.SIGTERM)
            if not _wait(lambda: start_time(record.pid) != record.started, STOP_TIMEOUT_S):
                os.killpg(record.pid, signal.SIGKILL)
    (default_root() / RECORD).unlink(missing_ok=True)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    after_name = stat[stat.rindex(")") + 2 :].split()  # the name may hold spaces
    return None if after_name[0] == "Z" else int(after_name[19])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(LOOK_S)
        return probe.connect_ex((host, port)) == 0


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_S)
    return True
