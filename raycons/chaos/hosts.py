"""Hosts that can be cut off from the others: several on this machine, and the fault that does it.

Each has a Ray node, a data root and an address of its own (`raycons.chaos.namespaces`). The first
holds Ray's head and the program that runs the faults; its cable stays, for the run itself would be
cut off.

Ray's own packets are dropped with those of the members, so Ray cannot reach the actors on that host
either, and after a long cut not at once: cuts are meant to last seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from raycons.chaos.faults import Fault
from raycons.chaos.namespaces import BOTH_WAYS, Chain, Namespaces
from raycons.chaos.nodes import STORE_BYTES
from raycons.cluster.rays import ENVIRONMENT, join_local_cluster
from raycons.errors import ClusterError

PORT = 6379
START_S = 60.0
LOOK_S = 0.1


class Hosts(Protocol):
    """The hosts below a cluster, as a fault sees them."""

    def remote(self) -> frozenset[str]:
        """The addresses of the hosts that may be cut off."""

    def cut(self, address: str, chains: Sequence[Chain]) -> None:
        """Drop what comes to this host (INPUT), or leaves it (OUTPUT)."""

    def heal(self, address: str, chains: Sequence[Chain]) -> dict[Chain, int]:
        """Let it pass again; gives how many packets were dropped."""


class Cut:
    """A host hears nobody, or is not heard, or both.

    Args:
        hosts: all hosts.
        address: of the one that is cut off.
        chains: which way.
        first: what is to be done before, and not undone.
    """

    def __init__(
        self,
        hosts: Hosts,
        address: str,
        chains: Sequence[Chain] = BOTH_WAYS,
        first: Fault | None = None,
    ) -> None:
        self._hosts = hosts
        self._address = address
        self._chains = tuple(chains)
        self._first = first

    async def inject(self) -> None:
        """Cut it off."""
        if self._first is not None:
            await self._first.inject()
        await asyncio.to_thread(self._hosts.cut, self._address, self._chains)

    async def lift(self) -> None:
        """Heal it. Raises ClusterError where no packet was dropped one way: that was no cut."""
        dropped = await asyncio.to_thread(self._hosts.heal, self._address, self._chains)
        idle = [chain for chain in self._chains if not dropped.get(chain)]
        if idle:
            raise ClusterError(f"the cut of {self._address} dropped nothing in {', '.join(idle)}")


def host_of(address: str) -> str:
    """The host's part of a member's address.

    >>> host_of("10.77.0.2:40229")
    '10.77.0.2'
    """
    return address.rpartition(":")[0]


class LocalHosts:
    """A Ray node on each of several hosts on this machine, joined by this thread; gone afterwards.

    Args:
        root: a directory for the data roots.
        count: how many hosts, the head's included.
    """

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        self._space = Namespaces(count)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # A short path: sockets lie below it.
            logs = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
            stack.callback(shutil.rmtree, logs, ignore_errors=True)
            stack.enter_context(_environment(_driver_environment(self._data_root(self._head))))
            stack.enter_context(self._space)
            self._start_all(stack, logs)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def remote(self) -> frozenset[str]:
        """All but the head's."""
        return frozenset(self._space.addresses) - {self._head}

    def cut(self, address: str, chains: Sequence[Chain]) -> None:
        """Drop what comes to this host (INPUT), or leaves it (OUTPUT)."""
        self._space.cut(address, chains)

    def heal(self, address: str, chains: Sequence[Chain]) -> dict[Chain, int]:
        """Let it pass again; gives how many packets were dropped."""
        return self._space.heal(address, chains)

    @property
    def _head(self) -> str:
        return self._space.addresses[0]

    def _start_all(self, stack: contextlib.ExitStack, logs: Path) -> None:
        import ray

        address = f"{self._head}:{PORT}"
        stack.enter_context(self._space.entered(self._head))
        self._start(logs, self._head, "--head", f"--port={PORT}", "--include-dashboard=false")
        _wait(lambda: _accepts(self._head), "its head took no connection")
        for other in self._space.addresses[1:]:
            self._start(logs, other, f"--address={address}")
        stack.callback(ray.shutdown)
        join_local_cluster(address)
        count = len(self._space.addresses)
        _wait(lambda: _alive() == count, f"not all of its {count} nodes joined")

    def _start(self, logs: Path, address: str, *arguments: str) -> None:
        number = address.rpartition(".")[2]
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")
        node = (
            *(f"--node-ip-address={address}", "--num-cpus=1", "--disable-usage-stats"),
            *(f"--object-store-memory={STORE_BYTES}", f"--temp-dir={logs / number}"),
        )
        with (logs / f"{number}.log").open("wb") as output:
            subprocess.Popen(
                self._space.command(address, *ray, *arguments, *node),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at this terminal is not meant for it
                env=os.environ | {"RAYCONS_HOME": str(self._data_root(address))},
            )

    def _data_root(self, address: str) -> Path:
        root = self._root / f"host-{address.rpartition('.')[2]}"
        root.mkdir(exist_ok=True)
        return root


def _driver_environment(data_root: Path) -> dict[str, str]:
    """Nobody outside reaches these nodes, so they ask for no token."""
    asked = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**ENVIRONMENT, **asked, "RAYCONS_HOME": str(data_root)}


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _alive() -> int:
    import ray

    return sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def _accepts(address: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(LOOK_S)
        return probe.connect_ex((address, PORT)) == 0


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() >= deadline:
            raise ClusterError(f"Ray did not start on the hosts of this machine: {otherwise}")
        time.sleep(LOOK_S)
