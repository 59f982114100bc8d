"""Network namespaces as hosts: a cable and an address each, a switch that joins them, cuts.

The switch is in a namespace of its own. So nothing is added to the network of this machine, and no
rule comes into its tables; names hold the id of the process that made them. Only on Linux, for
root, with `ip` and `iptables`.

A cut drops every packet between a host and the others, as a broken cable does: connections stay
open, and silent.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from raycons.errors import ClusterError

Chain = Literal["INPUT", "OUTPUT"]
BOTH_WAYS: tuple[Chain, ...] = ("INPUT", "OUTPUT")

PREFIX = "raycons"
SUBNET = "10.77.0"  # seen by nobody outside
CABLE = "eth0"
CLONE_NEWNET = 0x40000000  # setns(2): a network namespace and nothing else


def missing() -> str:
    """Why there can be no hosts on this machine; empty where there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces exist on Linux only"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not found in PATH" if absent else ""


class Namespaces:
    """Hosts on this machine, joined by a switch; gone after the block, with all that runs in them.

    Args:
        count: how many hosts.
    """

    def __init__(self, count: int) -> None:
        self._switch = f"{PREFIX}-{os.getpid()}-switch"
        self._names = {
            f"{SUBNET}.{number}": f"{PREFIX}-{os.getpid()}-{number}"
            for number in range(1, count + 1)
        }

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the hosts, in order."""
        return tuple(self._names)

    def __enter__(self) -> Self:
        reason = missing()
        if reason:
            raise ClusterError(f"no hosts can be made on this machine: {reason}")
        _sweep()
        try:
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "bridge", "up")
            for address in self.addresses:
                self._plug_in(address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in [*self._names.values(), self._switch]:
            if name in _existing():
                _remove(name)

    def _plug_in(self, address: str) -> None:
        name, port = self._names[address], f"port{address.rpartition('.')[2]}"
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        peer = ("peer", "name", port, "netns", self._switch)
        _ip("-n", name, "link", "add", CABLE, "type", "veth", *peer)
        _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", CABLE)
        _ip("-n", name, "link", "set", CABLE, "up")
        # Ray finds its own address by asking which one it would use to the world.
        _ip("-n", name, "route", "add", "default", "dev", CABLE)

    def command(self, address: str, *words: str) -> list[str]:
        """A command line that runs another one on a host."""
        return ["ip", "netns", "exec", self._names[address], *words]

    def cut(self, address: str, chains: Sequence[Chain]) -> None:
        """Drop what comes to this host (INPUT), or leaves it (OUTPUT)."""
        for chain in chains:
            _run(self.command(address, "iptables", "-w", "-I", *_rule(chain)))

    def heal(self, address: str, chains: Sequence[Chain]) -> dict[Chain, int]:
        """Let it pass again; gives how many packets were dropped."""
        dropped = {chain: self._dropped(address, chain) for chain in chains}
        for chain in chains:
            if dropped[chain] is not None:
                _run(self.command(address, "iptables", "-w", "-D", *_rule(chain)))
        return {chain: count or 0 for chain, count in dropped.items()}

    def _dropped(self, address: str, chain: Chain) -> int | None:
        """The packets that met our rule; None where there is no rule."""
        listed = _run(self.command(address, "iptables", "-w", "-v", "-S", chain))
        found = re.search(r"-c (\d+) \d+ -j DROP", listed)
        return None if found is None else int(found.group(1))

    @contextlib.contextmanager
    def entered(self, address: str) -> Iterator[None]:
        """Make this thread, and those that it starts, talk from a host."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            inside = os.open(f"/run/netns/{self._names[address]}", os.O_RDONLY)
            try:
                _set_namespace(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _set_namespace(before)
        finally:
            os.close(before)


def _rule(chain: Chain) -> tuple[str, ...]:
    """All that passes the cable; what a host says to itself does not."""
    return chain, "-i" if chain == "INPUT" else "-o", CABLE, "-j", "DROP"


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _existing() -> set[str]:
    return {line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()}


def _sweep() -> None:
    """Remove what a process left that was killed before it could."""
    for name in _existing():
        found = re.fullmatch(rf"{PREFIX}-(\d+)-\w+", name)
        if found is not None and not Path(f"/proc/{found.group(1)}").exists():
            _remove(name)


def _remove(name: str) -> None:
    for pid in map(int, _ip("netns", "pids", name).split()):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _ip("netns", "delete", name)


def _ip(*words: str) -> str:
    return _run(["ip", *words])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
