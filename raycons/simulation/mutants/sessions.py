"""Mutants of exactly-once, and of what clients are told."""

from __future__ import annotations

from raycons.client import outcome
from raycons.consensus.raft.replication import Replication
from raycons.machines.sessions.records import Session
from raycons.machines.sessions.table import Sessions
from raycons.member.applier import Applier
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("Raft paper, section 8")
def retries_done_again(patch: Patch) -> None:
    """The session table does not find what it has answered."""
    patch.attribute(Session, "recall", lambda session, number: None)


@mutant("commands of one session may overtake each other")
def only_the_highest_number_remembered(patch: Patch) -> None:
    """The answer to a command is forgotten with the next one, though it may be asked again."""
    patch.edit(
        Session._hold,
        "self._held[number] = answer_bytes + _ANSWER_OVERHEAD_BYTES",
        "self._held = {number: answer_bytes + _ANSWER_OVERHEAD_BYTES}",
    )


@mutant("dissertation, section 6.3: unknown sessions are refused", worlds.short_sessions)
def unknown_session_registered_by_a_retry(patch: Patch) -> None:
    """A command of a session that ran out makes the session anew."""
    patch.edit(
        Sessions._do,
        "return self._encoder.encode(UnknownSession(do.session))",
        "nonce = do.session.to_bytes(16, 'big')\n"
        "        session = Session(self._state, do.session, nonce, 10**6, command.time_us)\n"
        "        self._sessions[do.session] = self._by_nonce[nonce] = session",
    )


@mutant("dissertation, section 6.3: expire by agreed time")
def time_of_the_local_clock(patch: Patch) -> None:
    """Entries carry their leader's own clock, by which sessions run out."""
    patch.edit(
        Replication.replicated_time_us,
        "self.led_from_us + int((now - self.led_since) * 1e6)",
        "int(now * 1e6)",
    )


@mutant("dissertation, section 6.3: expire by agreed time", worlds.short_sessions)
def session_expired_by_the_local_clock(patch: Patch) -> None:
    """Each replica counts a session's age by its own clock."""
    patch.edit(
        Applier.apply,
        "self._apply_entry(entry)",
        "self._apply_entry(type(entry)(entry.index, entry.term, entry.kind, entry.machine, "
        "entry.version, int(now * 1e6), entry.data))",
    )


@mutant("a restart forgets what was answered")
def answers_not_loaded(patch: Patch) -> None:
    """After a restart the table knows its sessions, and not what they were answered."""
    patch.edit(Session._restore, "self._hold(number, len(stored) - _ANSWER_HEADER.size)", "pass")


@mutant("redisraft 2020: a failure reported as certain took effect")
def unknown_outcome_called_certain(patch: Patch) -> None:
    """The client's error promises more than it can know."""
    patch.attribute(outcome, "has_no_effect", lambda call: True)
