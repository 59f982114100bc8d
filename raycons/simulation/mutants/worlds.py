"""Scenarios in which a mutant can be met: what a seed drew, with some of it set.

Each takes a drawn scenario and gives the one to live through, so that seeds still differ in all
that is not set. In none of them may the shipped code break anything.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from raycons.simulation.network import Weather
from raycons.simulation.scenario import LEASE_DRIFT, Scenario

World = Callable[[Scenario], Scenario]


def as_drawn(drawn: Scenario) -> Scenario:
    """As the seed drew it."""
    return drawn


def torn(drawn: Scenario) -> Scenario:
    """Leaders are deposed unawares, again and again, while clients read and write one key."""
    return replace(
        drawn,
        voters=3,
        clients=3,
        concurrency=2,
        keys=1,
        think_s=0.02,
        drift=0.0,
        jumps=False,
        lease_s=0.0,
        weather=Weather(),
        rates={"tear": 1.0},
    )


def long_tails(drawn: Scenario) -> Scenario:
    """Deposed leaders gather entries that never commit, and then everybody restarts."""
    return replace(
        torn(drawn),
        voters=5,
        concurrency=4,
        think_s=0.1,
        rates={"tear": 1.0, "partition": 1.0, "crash": 1.0, "crash-all": 0.4},
    )


def repeating_small_pieces(drawn: Scenario) -> Scenario:
    """Followers that are sent again, by an entry or two at a time, what they hold already."""
    return replace(
        drawn,
        voters=3,
        concurrency=4,
        think_s=0.02,
        sync_s=0.005,
        weather=Weather(delay_s=0.003, jitter_s=0.003, loss=0.05, duplication=0.2, reordering=0.2),
        raft=replace(drawn.raft, max_append_bytes=200, max_inflight_messages=8),
        rates={"reset": 3.0, "partition": 0.5, "clog": 1.0},
    )


def dueling(drawn: Scenario) -> Scenario:
    """Several candidates in a term, whose messages are late, repeated and out of order."""
    return replace(
        drawn,
        voters=5,
        weather=Weather(delay_s=0.003, jitter_s=0.05, duplication=0.3, reordering=0.3),
        rates={"transfer": 3.0, "reset": 2.0, "crash": 0.5, "partition": 0.5, "tear": 0.5},
    )


def reelected(drawn: Scenario) -> Scenario:
    """Leaders that come back to office while answers to their former selves are under way."""
    return replace(
        drawn,
        voters=3,
        learners=0,
        weather=Weather(
            delay_s=0.003,
            jitter_s=0.2 * drawn.raft.election_timeout_s,
            duplication=0.2,
            reordering=0.3,
        ),
        rates={"transfer": 4.0, "clog": 1.0, "partition": 0.5},
    )


def leased(drawn: Scenario) -> Scenario:
    """Torn leaders that hold leases twice as long as the election timeout."""
    return replace(torn(drawn), lease_s=2 * drawn.raft.election_timeout_s)


def leased_with_delays(drawn: Scenario) -> Scenario:
    """Long leases, and answers that arrive late: over a slow network, or at a leader that slept."""
    return replace(
        torn(drawn),
        lease_s=2 * drawn.raft.election_timeout_s,
        weather=Weather(delay_s=0.001, jitter_s=0.05),
        rates={"pause": 2.0, "partition": 1.0, "tear": 0.5},
    )


def leased_with_drift(drawn: Scenario) -> Scenario:
    """Long leases, and clocks as far apart as the margin allows."""
    return replace(
        torn(drawn),
        lease_s=4 * drawn.raft.election_timeout_s,
        drift=LEASE_DRIFT,
        rates={"tear": 1.0, "clock": 0.5, "pause": 1.0},
    )


def leased_with_transfers(drawn: Scenario) -> Scenario:
    """Long leases, and leaders that hand over while the network holds messages back."""
    return replace(
        torn(drawn),
        lease_s=8 * drawn.raft.election_timeout_s,
        think_s=0.005,
        concurrency=4,
        weather=Weather(delay_s=0.003, jitter_s=0.05),
        rates={"transfer": 3.0, "tear": 0.3, "partition": 0.5},
    )


def leased_with_crashes(drawn: Scenario) -> Scenario:
    """Long leases, and leaders that sleep while their followers restart."""
    return replace(
        torn(drawn),
        lease_s=8 * drawn.raft.election_timeout_s,
        rates={"tear": 0.5, "crash": 0.5, "doze": 0.5},
    )


def leased_on_slow_disks(drawn: Scenario) -> Scenario:
    """Leases that begin before the disks have taken up a new leader's first entry."""
    return replace(leased(drawn), sync_s=0.02, rates={"tear": 1.0, "slow-disk": 1.0})


def churning(drawn: Scenario) -> Scenario:
    """Members come and go all the time, among crashes and partitions."""
    return replace(
        drawn,
        voters=min(drawn.voters, 3),
        rates={"membership": 2.0, "crash": 0.5, "partition": 0.4, "reset": 0.5, "transfer": 0.3},
    )


def learning(drawn: Scenario) -> Scenario:
    """More learners than voters; leaders that are deposed unawares among learners only."""
    return replace(
        torn(drawn),
        voters=3,
        learners=4,
        stale_share=0.0,
        rates={"tear": 1.0, "partition": 1.0, "crash": 0.3},
    )


def learning_with_short_leases(drawn: Scenario) -> Scenario:
    """The same with leases that end before a leader gives its office up."""
    return replace(learning(drawn), lease_s=0.5 * drawn.raft.election_timeout_s)


def growing(drawn: Scenario) -> Scenario:
    """Groups of one or two voters that change and crash a lot, over a slow network."""
    return replace(
        drawn,
        voters=min(drawn.voters, 2),
        weather=Weather(delay_s=0.01, jitter_s=0.05, loss=0.05),
        rates={"membership": 3.0, "crash": 1.0, "crash-all": 0.3},
    )


def small_logs(drawn: Scenario) -> Scenario:
    """Logs so short that whoever was away needs a snapshot, in several pieces."""
    return replace(
        drawn,
        voters=3,
        raft=replace(drawn.raft, max_tail_bytes=500),
        member=replace(
            drawn.member, log_limit_bytes=3000, snapshot_chunk_bytes=300 + 4 * drawn.value_bytes
        ),
        rates={"crash": 0.6, "partition": 0.6, "reset": 0.5, "pause": 0.5},
    )


def long_tails_and_small_logs(drawn: Scenario) -> Scenario:
    """Deposed leaders whose logs reach beyond the snapshot that they are sent, in another term."""
    return replace(
        long_tails(drawn),
        raft=replace(drawn.raft, max_tail_bytes=500),
        member=replace(drawn.member, log_limit_bytes=3000),
    )


def small_logs_in_a_storm(drawn: Scenario) -> Scenario:
    """Snapshots whose pieces are lost, repeated and overtaken."""
    return replace(
        small_logs(drawn),
        weather=Weather(loss=0.1, duplication=0.2, reordering=0.2, jitter_s=0.02),
    )


def snapshots_without_end(drawn: Scenario) -> Scenario:
    """Snapshots that nobody needs, late pieces of earlier ones, and states that lag behind."""
    return replace(
        small_logs(drawn),
        weather=Weather(
            delay_s=0.001,
            jitter_s=0.2 * drawn.raft.election_timeout_s,
            duplication=0.3,
            reordering=0.3,
        ),
        bends={"early-snapshot": 0.1, "early-compaction": 0.5, "late-apply": 0.8},
    )


def small_logs_on_slow_disks(drawn: Scenario) -> Scenario:
    """Snapshots that come while something waits for the disk, or for its turn."""
    return replace(
        small_logs(drawn),
        sync_s=0.02,
        turn_s=0.01,
        rates={"crash": 1.0, "crash-all": 0.2, "slow-disk": 1.5, "partition": 1.0},
    )


def duplicating(drawn: Scenario) -> Scenario:
    """A network that repeats messages and changes their order, and many elections."""
    return replace(
        drawn,
        voters=max(drawn.voters, 3),
        weather=Weather(duplication=0.3, reordering=0.3, jitter_s=0.02),
        rates={"crash": 0.8, "partition": 0.6, "reset": 0.5},
    )


def lagging_states(drawn: Scenario) -> Scenario:
    """States that lag behind what is committed, while clients read what they have just written."""
    return replace(
        duplicating(drawn),
        clients=3,
        concurrency=4,
        keys=1,
        think_s=0.02,
        stale_share=0.0,
        bends={"late-apply": 0.8},
    )


def shunned_leaders(drawn: Scenario) -> Scenario:
    """Clients that must read through followers, whose questions and answers are repeated."""
    return replace(
        duplicating(drawn),
        clients=3,
        concurrency=4,
        think_s=0.02,
        stale_share=0.0,
        rates={"shun": 1.5, "reset": 0.5, "partition": 0.3},
    )


def slow_disks(drawn: Scenario) -> Scenario:
    """Disks on which writes wait long, and leaders that change meanwhile."""
    return replace(
        drawn,
        voters=3,
        sync_s=0.02,
        think_s=0.02,
        rates={"slow-disk": 1.0, "stalled-disk": 1.0, "partition": 1.0, "tear": 0.5},
    )


def short_sessions(drawn: Scenario) -> Scenario:
    """Sessions that run out while their clients still retry."""
    ttl_s = 1.0
    return replace(
        drawn,
        timeout_s=6.0,
        member=replace(drawn.member, session_ttl_s=ttl_s),
        client=replace(drawn.client, session_ttl_s=ttl_s),
        rates={"partition": 2.0, "tear": 0.5, "pause": 1.0, "weather": 0.5},
    )


def crashing(drawn: Scenario) -> Scenario:
    """Power fails often, for one or for all, and disks are slow enough to lose something."""
    return replace(
        drawn,
        sync_s=0.02,
        think_s=0.02,
        member=replace(drawn.member, log_limit_bytes=3000),
        rates={"crash": 2.0, "crash-all": 0.3, "slow-disk": 0.5, "stalled-disk": 1.0},
    )


def copied(drawn: Scenario) -> Scenario:
    """Members are away now and then, and meanwhile somebody else goes by their id."""
    return replace(
        drawn,
        voters=3,
        learners=0,
        concurrency=2,
        think_s=0.05,
        rates={"impostor": 1.0, "crash": 1.0, "partition": 0.2},
    )


# --- registers ------------------------------------------------------------------------------------


def contended_registers(drawn: Scenario) -> Scenario:
    """Several proposers at a time change few keys, and are cut off in the midst of it."""
    return replace(
        drawn,
        voters=3,
        clients=3,
        concurrency=2,
        keys=1,
        think_s=0.02,
        registers=replace(drawn.registers, max_waiting=1024),
        rates={"tear": 0.5, "partition": 0.8, "crash": 1.0, "reset": 1.5, "weather": 0.6},
    )


def forgetful_registers(drawn: Scenario) -> Scenario:
    """Registers remember one client at a time, and answers are lost."""
    return replace(
        contended_registers(drawn),
        weather=Weather(loss=0.02),
        registers=replace(drawn.registers, max_sessions=1, max_waiting=1024, give_up_s=3.0),
        timeout_s=3.0,
    )


def hesitant_registers(drawn: Scenario) -> Scenario:
    """Members hand back what no quorum takes at once, and others carry it out after all."""
    return replace(
        contended_registers(drawn),
        voters=5,
        weather=Weather(loss=0.1),
        timeout_s=1.0,
        registers=replace(drawn.registers, max_waiting=1024, patience_s=0.02, give_up_s=0.03),
        rates={"partition": 2.0, "reset": 2.0, "clog": 2.0},
    )


def deleting_registers(drawn: Scenario) -> Scenario:
    """Keys are deleted and written again all the time, and collected at once."""
    return replace(
        contended_registers(drawn),
        keys=4,
        concurrency=1,
        think_s=0.05,
        weather=Weather(jitter_s=0.005, loss=0.02, duplication=0.1, reordering=0.1),
        work={"get": 0.1, "put": 0.4, "swap": 0.1, "delete": 0.4},
        timeout_s=3.0,
        registers=replace(
            drawn.registers,
            collect_after_s=0.002,
            give_up_s=3.0,
            max_waiting=1024,
            max_sessions=512,
        ),
        rates={"reset": 2.0, "clog": 2.0, "crash": 0.4, "weather": 1.0, "pause": 0.5},
    )


def churning_registers(drawn: Scenario) -> Scenario:
    """Members come and go without end."""
    return replace(
        contended_registers(drawn),
        keys=8,
        registers=replace(drawn.registers, max_waiting=1024, collect_after_s=0.02),
        rates={"membership": 3.0, "lost-disk": 0.3, "partition": 0.5, "crash": 0.5, "clog": 0.5},
    )


def crashing_registers(drawn: Scenario) -> Scenario:
    """Members crash while they collect what was deleted, and their disks take their time."""
    return replace(
        deleting_registers(drawn),
        sync_s=0.005,
        weather=Weather(),
        rates={"crash": 3.0, "slow-disk": 1.0},
    )


def crashing_electorates(drawn: Scenario) -> Scenario:
    """Members crash while they change, and their disks take their time."""
    return replace(
        churning_registers(drawn),
        sync_s=0.005,
        weather=Weather(),
        rates={"membership": 4.0, "crash": 4.0, "slow-disk": 2.0},
    )
