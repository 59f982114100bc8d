"""Whether a seed leads to the same run in every process, whatever Python's hash seed.

A set of strings is iterated in another order under another PYTHONHASHSEED, an object's `id` differs
from process to process: whatever depends on either makes a run that cannot be replayed. So each
seed runs in two processes with different hash seeds, and both must tell the same trace.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from raycons.errors import BadArgument
from raycons.simulation.protocols import simulated

HASH_SEEDS = ("1", "2")


class Difference(msgspec.Struct, frozen=True):
    """A seed whose two runs were not the same."""

    seed: int
    traces: tuple[str, str]  # under the first and the second hash seed


def check_determinism(
    seeds: Sequence[int], seconds: float, protocol: str = "raft"
) -> list[Difference]:
    """Run each of `seeds` in two processes with different hash seeds; returns what differs.

    Both processes run side by side, each through all of the seeds. `seconds` are virtual.

    Raises BadArgument without seeds, and CalledProcessError if a process fails.
    """
    if not seeds or seconds <= 0:
        raise BadArgument(
            f"needs at least one seed (got {len(seeds)}) and a positive time (got {seconds})"
        )
    processes = [_start(seeds, seconds, protocol, hash_seed) for hash_seed in HASH_SEEDS]
    first, second = [_traces(process) for process in processes]
    return [
        Difference(seed, (one, other))
        for seed, one, other in zip(seeds, first, second, strict=True)
        if one != other
    ]


def _start(
    seeds: Sequence[int], seconds: float, protocol: str, hash_seed: str
) -> subprocess.Popen[str]:
    # The path goes along: a process that is started anew must find the same code.
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
    }
    command = [sys.executable, "-m", __name__, protocol, str(seconds), *map(str, seeds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _traces(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return output.split()


def main(arguments: Sequence[str]) -> None:
    """Print the trace of each seed; `arguments` are protocol, virtual seconds and seeds."""
    protocol, seconds, *seeds = arguments
    for seed in seeds:
        trace = simulated(protocol).run(int(seed), float(seconds)).trace
        sys.stdout.write(f"{trace & 0xFFFFFFFFFFFFFFFF:016x}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
