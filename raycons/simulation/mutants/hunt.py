"""How many seeds it takes until the simulator finds a mutant.

A campaign goes through seeds from its first one on until something breaks. Several campaigns, of
seeds that do not overlap, tell how much of that was luck.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import msgspec

from raycons.errors import BadArgument
from raycons.simulation.campaign import DEFAULT_SECONDS
from raycons.simulation.life import Outcome
from raycons.simulation.mutants.registry import Mutant, find
from raycons.simulation.protocols import simulated

CAMPAIGN_STRIDE = 1_000_000  # between the first seeds of two campaigns: the most that one may have


class Detection(msgspec.Struct, frozen=True):
    """Where a campaign found a mutant."""

    seed: int
    seeds: int  # that it took, this one included
    invariant: str


class Found(msgspec.Struct, frozen=True):
    """What all campaigns against one mutant came to; seeds are None where most did not find it."""

    name: str
    duty: str
    description: str
    source: str
    world: str
    campaigns: int
    found: int  # in so many of the campaigns
    median_seeds: float | None
    min_seeds: int | None
    max_seeds: int | None  # None: at least one campaign did not find it
    invariants: dict[str, int]  # which check found it, and in how many campaigns
    replay: str  # the command that shows the first detection again; empty: there was none


class Hunt(msgspec.Struct, frozen=True):
    """The campaigns against several mutants."""

    campaigns: int
    seeds: int  # tried at most in each
    virtual_seconds: float
    mutants: list[Found]


def live(mutant: Mutant, seed: int, seconds: float = DEFAULT_SECONDS) -> Outcome:
    """One seed in the mutant's world; the mutant is not planted by this."""
    draw, begin, _ = simulated(mutant.protocol)
    return begin(seed, mutant.world(draw(seed))).execute(seconds)


def campaign(
    mutant: Mutant, first_seed: int, seeds: int, seconds: float = DEFAULT_SECONDS
) -> Detection | None:
    """Plant the mutant and go through the seeds until one of them breaks something."""
    with mutant.planted():
        for seed in range(first_seed, first_seed + seeds):
            broken = live(mutant, seed, seconds).violation
            if broken is not None:
                return Detection(seed, seed - first_seed + 1, broken.invariant)
    return None


def hunt(
    mutants: Sequence[Mutant],
    campaigns: int = 5,
    seeds: int = 200,
    seconds: float = DEFAULT_SECONDS,
    jobs: int = 1,
    progress: Callable[[Found], None] | None = None,
) -> Hunt:
    """Run `campaigns` campaigns of at most `seeds` seeds against each of the mutants.

    The result does not depend on `jobs`, the number of processes; `progress` is called with each
    mutant's result, in their order. Raises BadArgument for numbers that are not positive.
    """
    if not (campaigns > 0 and 0 < seeds <= CAMPAIGN_STRIDE and seconds > 0 and jobs > 0):
        raise BadArgument(
            f"a hunt needs at least one campaign (got {campaigns}), 1 to {CAMPAIGN_STRIDE} seeds "
            f"(got {seeds}), a positive number of seconds (got {seconds}) and a process "
            f"(got {jobs})"
        )
    tasks = [
        (mutant.name, number * CAMPAIGN_STRIDE, seeds, seconds)
        for mutant in mutants
        for number in range(campaigns)
    ]
    detections = _detections(tasks, jobs)
    results: list[Found] = []
    for mutant in mutants:
        results.append(summarize(mutant, [next(detections) for _ in range(campaigns)], seconds))
        if progress is not None:
            progress(results[-1])
    return Hunt(campaigns, seeds, seconds, results)


Task = tuple[str, int, int, float]


def _detections(tasks: list[Task], jobs: int) -> Iterator[Detection | None]:
    if jobs == 1:
        yield from map(_carry_out, tasks)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_carry_out, tasks)


def _carry_out(task: Task) -> Detection | None:
    name, first_seed, seeds, seconds = task
    return campaign(find(name), first_seed, seeds, seconds)


def summarize(mutant: Mutant, detections: Sequence[Detection | None], seconds: float) -> Found:
    """What the campaigns against one mutant came to together."""
    hits = [detection for detection in detections if detection is not None]
    # A campaign without a detection would have taken longer than any other.
    needed = [float(hit.seeds) for hit in hits] + [float("inf")] * (len(detections) - len(hits))
    middle = median(needed)
    length = "" if seconds == DEFAULT_SECONDS else f" --seconds {seconds:g}"
    return Found(
        name=mutant.name,
        duty=mutant.duty,
        description=mutant.description,
        source=mutant.source,
        world=mutant.world.__name__.replace("_", " "),
        campaigns=len(detections),
        found=len(hits),
        median_seeds=None if middle == float("inf") else middle,
        min_seeds=min((hit.seeds for hit in hits), default=None),
        max_seeds=max(hit.seeds for hit in hits) if len(hits) == len(detections) else None,
        invariants=dict(Counter(hit.invariant for hit in hits).most_common()),
        replay=f"raycons mutants {mutant.name} --seed {hits[0].seed}{length}" if hits else "",
    )
