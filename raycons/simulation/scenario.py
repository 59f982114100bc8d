"""What a seed draws before anything happens: sizes, timings, bounds, and kinds of faults.

Each seed switches off some kinds of faults altogether and draws the rates of the others over two
orders of magnitude ("swarm testing": Groce and others, ISSTA 2012). A run with every fault at its
average rate never gets far enough to meet the rare ones alone.
"""

from __future__ import annotations

from random import Random

import msgspec
from msgspec.structs import replace

from raycons.client.settings import ClientSettings
from raycons.config import MemberSettings, RaftSettings, RegisterSettings
from raycons.simulation.network import Weather
from raycons.simulation.provocation import SLOT_POINTS, draw_rates

# The kinds of faults, with the highest rate (per virtual second) at which a seed may draw them.
FAULTS: dict[str, float] = {
    "crash": 1.0,
    "crash-all": 0.15,
    "pause": 0.8,
    "partition": 0.8,
    "tear": 0.5,
    "weather": 0.6,
    "reset": 1.5,
    "slow-disk": 0.5,
    "stalled-disk": 0.3,
    "clock": 0.5,
    "transfer": 0.5,
    "membership": 0.6,
    "lost-disk": 0.3,
    "client-crash": 0.3,
    "clog": 0.8,
    "swizzle": 0.2,
    "io-error": 0.3,
    "disk-full": 0.2,
    "bit-rot": 0.2,
    "lost-fsync": 0.2,
    "impostor": 0.5,
}
# Not beside impostors: whoever joins never met the members that they copy, see `impostors`.
JOINING = ("membership", "lost-disk", "bit-rot", "lost-fsync")
MAX_MEMBERS = 7
SHARE_OF_FAULTS = 0.55  # how likely a seed has a given kind at all
# What clients do, and how often on average; a seed bends each weight by up to a factor of five.
WORK: dict[str, float] = {
    "get": 0.25,
    "scan": 0.05,
    "put": 0.3,
    "swap": 0.2,
    "move": 0.1,  # a transaction that writes one key and deletes another
    "compare": 0.1,  # a transaction with a condition and two branches
}
LEASE_DRIFT = 0.04  # clocks under leases stay this close to true time: less than half the margin


class Scenario(msgspec.Struct, frozen=True):
    """One seed's world."""

    voters: int
    learners: int  # from the beginning; with the voters at most seven
    clients: int
    work: dict[str, float]  # weights of the kinds of operations
    stale_share: float  # of the reads
    concurrency: int  # operations that one client has under way
    keys: int
    think_s: float  # mean pause between a client's operations
    value_bytes: int  # the size of the larger values
    timeout_s: float  # of a client's operation
    lease_s: float
    drift: float  # clocks run between 1 - drift and 1 + drift
    jumps: bool  # whether clocks may leap ahead
    turn_s: float  # how long a member gathers events before a turn; 0: a turn for each event
    sync_s: float
    weather: Weather
    raft: RaftSettings
    member: MemberSettings
    client: ClientSettings
    keep_revisions: int  # old revisions that are kept from compaction
    rates: dict[str, float]  # of each kind of fault, per second
    bends: dict[str, float]  # how often each point of the code is bent that is bent at all
    protocol: str = "raft"
    window: int = 0  # as in a Configuration
    registers: RegisterSettings = RegisterSettings()


def draw(random: Random, protocol: str = "raft") -> Scenario:
    """The scenario that `random` leads to: for all protocols the same, but for their own part."""
    scenario = _draw(random)
    if protocol == "multipaxos":
        bends = {**scenario.bends, **draw_rates(random, SLOT_POINTS)}
        window = random.choice([1, 2, 5, 20, 128])
        scenario = replace(scenario, protocol=protocol, window=window, bends=bends)
    return scenario


def _draw(random: Random) -> Scenario:
    election_s = random.choice([0.1, 0.15, 0.2, 0.4])
    leased = random.random() < 0.3
    value_bytes = random.choice([16, 64, 400, 2000])
    session_ttl_s = random.choice([1.5, 3.0, 60.0])
    rates = {
        kind: highest * 10 ** random.uniform(-1.3, 0.0)
        for kind, highest in FAULTS.items()
        if random.random() < SHARE_OF_FAULTS
    }
    if "impostor" in rates and random.random() < 0.5:
        rates = {kind: rate for kind, rate in rates.items() if kind not in JOINING}
    elif any(kind in rates for kind in JOINING):
        rates.pop("impostor", None)
    voters = random.choice([1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7])
    scenario = Scenario(
        voters=voters,
        learners=min(random.choice([0, 0, 0, 1, 2]), MAX_MEMBERS - voters),
        clients=random.randint(1, 3),
        work={kind: weight * 5 ** random.uniform(-1, 1) for kind, weight in WORK.items()},
        stale_share=random.choice([0.0, 0.1, 0.5]),
        concurrency=random.choice([1, 1, 2, 4]),
        keys=random.choice([1, 3, 8]),
        think_s=random.choice([0.02, 0.05, 0.1]),
        value_bytes=value_bytes,
        timeout_s=random.choice([0.3, 1.0, 3.0]),
        lease_s=election_s * random.uniform(0.5, 2.0) if leased else 0.0,
        drift=LEASE_DRIFT if leased else random.choice([0.0, 0.01, 0.2]),
        jumps=not leased,
        turn_s=random.choice([0.0, 0.0, 0.0001, 0.001]),
        sync_s=random.choice([0.0001, 0.0005, 0.005]),
        weather=_draw_weather(random),
        raft=RaftSettings(
            election_timeout_s=election_s,
            heartbeat_interval_s=election_s * random.choice([0.2, 0.25, 0.4]),
            max_inflight_messages=random.choice([1, 2, 8]),
            max_inflight_bytes=random.choice([1000, 8_000_000]),
            max_append_bytes=random.choice([1, 200, 2000, 1_000_000]),
            max_uncommitted_bytes=random.choice([3000, 64_000_000]),
            max_tail_bytes=random.choice([500, 5000, 8_000_000]),
            caught_up_entries=random.choice([1, 8, 64]),
            reconnect_stagger_s=random.choice([0.0, 0.004, 0.05]),
            disk_stall_s=random.choice([0.3, 1.0]),
            transfer_timeout_s=random.choice([0.3, 1.0]),
        ),
        member=MemberSettings(
            log_limit_bytes=random.choice([3_000, 10_000, 40_000, 64_000_000]),
            # Small enough for streams that take a while, not so small that they take the whole run.
            snapshot_chunk_bytes=random.choice([300 + 4 * value_bytes, 128_000]),
            write_behind_s=random.choice([0.02, 0.1, 0.5]),
            session_ttl_s=session_ttl_s,
            max_pending_reads=random.choice([1, 4, 100_000, 100_000]),
        ),
        client=ClientSettings(
            session_ttl_s=session_ttl_s,
            max_frame_operations=random.choice([2, 128]),
            attempt_timeout_s=random.choice([0.2, 0.5, 1.0]),
            last_attempt_timeout_s=2.0,
        ),
        keep_revisions=random.choice([50, 200, 1000]),
        rates=rates,
        bends=draw_rates(random),
    )
    # Clients seldom pause for long, so a group is idle sooner here than anywhere else.
    idle_after_s, idle_pace = random.choice([0.02, 0.1, 1.0]), random.choice([1, 3, 5])
    raft = replace(scenario.raft, idle_after_s=idle_after_s, idle_pace=idle_pace)
    return replace(scenario, raft=raft)


def _draw_weather(random: Random) -> Weather:
    delay_s = random.choice([0.0001, 0.0005, 0.003])
    return Weather(
        delay_s=delay_s,
        jitter_s=delay_s * random.choice([0.2, 1.0, 3.0]),
        loss=random.choice([0.0, 0.0, 0.001, 0.02]),
        duplication=random.choice([0.0, 0.0, 0.02]),
        reordering=random.choice([0.0, 0.0, 0.05]),
    )


def draw_storm(random: Random, calm: Weather) -> Weather:
    """Bad weather for a while: one or two things at a time become much worse."""
    kind = random.choice(["loss", "delay", "chaos"])
    if kind == "loss":
        return replace(calm, loss=random.uniform(0.05, 0.4))
    if kind == "delay":
        return replace(calm, jitter_s=random.uniform(0.02, 0.15))
    return replace(
        calm,
        duplication=random.uniform(0.05, 0.3),
        reordering=random.uniform(0.1, 0.5),
        jitter_s=random.uniform(0.005, 0.05),
    )
