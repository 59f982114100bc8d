"""Typed settings; units are in the names."""

from __future__ import annotations

import msgspec

# What a cluster's replicas can run; the first by default.
PROTOCOLS = ("raft", "multipaxos", "caspaxos")
WITH_A_LOG = ("raft", "multipaxos")  # and a leader; the others keep each key by itself

KIB = 1024
MIB = 1024 * 1024


class RaftSettings(msgspec.Struct, frozen=True):
    """How a Raft replica behaves. The defaults suit one machine or one data centre."""

    election_timeout_s: float = 0.2  # followers wait between this and twice this
    heartbeat_interval_s: float = 0.06  # three fit into an election timeout, with some to spare
    idle_after_s: float = 1.0  # a group of which nothing was asked for so long beats seldom,
    idle_pace: int = 5  # so many heartbeat intervals apart
    reconnect_stagger_s: float = 0.004  # between followers that ask at once after a lost connection
    disk_stall_s: float = 1.0  # a leader whose disk is silent for longer gives up
    max_inflight_messages: int = 8  # unacknowledged Appends to one follower
    max_inflight_bytes: int = 8 * MIB
    max_append_bytes: int = 1 * MIB  # entries in one Append; at least one entry always goes
    max_uncommitted_bytes: int = 64 * MIB  # beyond, only a lone proposal is not refused
    max_tail_bytes: int = 8 * MIB  # entries kept in memory; older ones are read from the store
    caught_up_entries: int = 64  # a joining replica this close to the leader becomes a voter
    transfer_timeout_s: float = 1.0
    lease_margin: float = 0.1  # share of a lease that the leader gives up for clock drift


class RegisterSettings(msgspec.Struct, frozen=True):
    """How a member of a CASPaxos cluster behaves."""

    patience_s: float = 0.3  # without a quorum's answer, after which a round begins anew
    read_patience_s: float = 0.05  # while answers to a read differ, or lack
    first_backoff_s: float = 0.003  # the pause after a refusal; doubles
    last_backoff_s: float = 0.3
    give_up_s: float = 3.0  # after which a request that no quorum took is handed back
    max_waiting: int = 1024  # requests for one key
    collect_after_s: float = 5.0  # a tombstone's age before it is collected
    step_patience_s: float = 2.0  # with one step of a collection, or of a change of members
    max_sessions: int = 512  # clients that a register remembers
    max_answer_bytes: int = 1 * MIB  # and what it answered them


class MemberSettings(msgspec.Struct, frozen=True):
    """How a member stores and bounds things."""

    max_key_bytes: int = 8 * KIB
    max_value_bytes: int = 1 * MIB
    max_frame_bytes: int = 16 * MIB
    log_limit_bytes: int = 64 * MIB  # the log is compacted when it grows beyond this
    snapshot_chunk_bytes: int = 128 * KIB
    write_behind_s: float = 0.5  # applied state waits at most so long for the store
    max_pending_reads: int = 100_000  # read requests waiting in one member
    due_pause_s: float = 0.02  # between two housekeeping commands (expiry, sweeping)
    session_ttl_s: float = 60.0
