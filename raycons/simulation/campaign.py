"""Many seeds, one after the other or on several processes, and what they came to together.

A campaign also counts what happened in it, for one in which nothing happens proves nothing.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from raycons.errors import BadArgument
from raycons.simulation.life import Outcome
from raycons.simulation.protocols import SIMULATED, simulated
from raycons.simulation.rare import never_reached

PROTOCOLS = tuple(SIMULATED)
DEFAULT_SECONDS = 20.0
SEEDS_AT_ONCE = 4  # handed to a process together


class Finding(msgspec.Struct, frozen=True):
    """A broken invariant, and how to see it again."""

    seed: int
    step: int
    time_s: float  # virtual
    invariant: str
    message: str
    replay: str  # the command that leads to the same step
    story: list[str]  # the last things that happened before


class Campaign(msgspec.Struct, frozen=True):
    """What a campaign came to; times are real seconds unless said otherwise."""

    protocol: str
    first_seed: int
    seeds: int
    virtual_seconds: float  # with faults, of each seed; the recovery comes on top
    violations: list[Finding]
    duration_s: float
    seeds_per_second: float
    events: int
    events_per_second: float
    coverage: dict[str, int]
    never_reached: list[str]  # of the rare things that are listed (`raycons.simulation.rare`)
    trace: str  # of all seeds together: equal for equal campaigns


def simulate(
    protocol: str,
    seeds: int,
    first_seed: int = 0,
    seconds: float = DEFAULT_SECONDS,
    jobs: int = 1,
    progress: Callable[[Outcome], None] | None = None,
) -> Campaign:
    """Run `seeds` seeds from `first_seed` on, each with `seconds` virtual seconds of faults.

    Args:
        protocol: which protocol the groups run; one of `PROTOCOLS`.
        seeds: how many seeds.
        first_seed: the first of them.
        seconds: virtual seconds of faults a seed; the recovery after them is not counted.
        jobs: how many processes share the work. The result does not depend on it.
        progress: called with each seed's outcome, in the order of the seeds.

    Raises BadArgument for an unknown protocol, or numbers that are not positive.
    """
    listed = simulated(protocol).listed
    if seeds < 1 or seconds <= 0 or jobs < 1:
        raise BadArgument(
            f"a campaign needs at least one seed (got {seeds}), one process (got {jobs}) and a "
            f"positive number of seconds (got {seconds})"
        )
    began = time.perf_counter()
    findings: list[Finding] = []
    coverage: Counter[str] = Counter()
    events, trace = 0, 0
    for outcome in _outcomes(protocol, range(first_seed, first_seed + seeds), seconds, jobs):
        events += outcome.events
        trace = hash((trace, outcome.trace))
        coverage.update(outcome.coverage)
        if outcome.violation is not None:
            findings.append(_finding(protocol, seconds, outcome))
        if progress is not None:
            progress(outcome)
    duration_s = time.perf_counter() - began
    return Campaign(
        protocol=protocol,
        first_seed=first_seed,
        seeds=seeds,
        virtual_seconds=seconds,
        violations=findings,
        duration_s=round(duration_s, 3),
        seeds_per_second=round(seeds / duration_s, 3),
        events=events,
        events_per_second=round(events / duration_s, 1),
        coverage=dict(sorted(coverage.items())),
        never_reached=never_reached(coverage, listed),
        trace=f"{trace & 0xFFFFFFFFFFFFFFFF:016x}",
    )


def _outcomes(protocol: str, seeds: Iterable[int], seconds: float, jobs: int) -> Iterator[Outcome]:
    run = partial(simulated(protocol).run, seconds=seconds)
    if jobs == 1:
        yield from map(run, seeds)
        return
    # Fork, so that a test's planted bug is also in the processes that share the work.
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(run, seeds, SEEDS_AT_ONCE)


def _finding(protocol: str, seconds: float, outcome: Outcome) -> Finding:
    broken = outcome.violation
    assert broken is not None
    length = "" if seconds == DEFAULT_SECONDS else f" --seconds {seconds:g}"
    return Finding(
        seed=outcome.seed,
        step=broken.step,
        time_s=broken.time_s,
        invariant=broken.invariant,
        message=broken.message,
        replay=f"raycons simulate --protocol {protocol} --seed {outcome.seed}{length}",
        story=outcome.story,
    )
