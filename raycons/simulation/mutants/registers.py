"""Mutants of registers (CASPaxos)."""

from __future__ import annotations

from raycons.consensus.paxos.caspaxos.acceptor import Acceptor
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.quorum import Joint
from raycons.machines.register import Registry
from raycons.member.caspaxos.carrying import Carrying
from raycons.member.caspaxos.electorate import Electorate, quorums_of
from raycons.member.caspaxos.engine import RegisterEngine
from raycons.member.caspaxos.ledger import Ledger
from raycons.member.caspaxos.service import Service
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant

# --- rounds ---------------------------------------------------------------------------------------


@mutant("Paxos Made Simple, section 2.2", worlds.contended_registers)
def register_promise_forgotten(patch: Patch) -> None:
    """An acceptor promises, and does not remember it."""
    patch.edit(
        Acceptor._prepare,
        "self.registers.put(key, msgspec.structs.replace(known, promised=ballot))",
        "pass",
    )


@mutant("Paxos Made Simple, section 2.2", worlds.contended_registers)
def register_accepts_below_the_promise(patch: Patch) -> None:
    """Only what was accepted stands against a lower ballot, not what was promised."""
    patch.edit(Acceptor._accept, "if ballot < known.promised:", "if ballot < known.accepted:")


@mutant("Paxos Made Simple, section 2.2: P2c", worlds.contended_registers)
def own_state_though_one_was_accepted(patch: Patch) -> None:
    """A proposer changes nothing at all instead of what the promises tell of."""
    patch.edit(Proposer._promised, "if message.accepted > round.highest:", "if False:")


@mutant("Paxos Made Simple, section 2.2: P2c", worlds.contended_registers)
def state_of_the_lowest_ballot(patch: Patch) -> None:
    """Of what the promises tell of, the oldest is changed."""
    patch.edit(
        Proposer._promised,
        "if message.accepted > round.highest:",
        "if round.highest == NO_BALLOT or NO_BALLOT < message.accepted < round.highest:",
    )


@mutant("Flexible Paxos, section 2", worlds.contended_registers)
def register_quorums_do_not_meet(patch: Patch) -> None:
    """Half of the acceptors are enough."""
    patch.attribute(
        Joint,
        "prepares",
        lambda joint, granted: all(
            len(half.intersection(granted)) >= max(1, len(half) // 2) for half in joint.halves
        ),
    )


@mutant("CASPaxos, section 2.2.1: the promise came with an accepted value")
def lead_kept_after_a_refusal(patch: Patch) -> None:
    """A proposer takes the promise for its next change from those who refused this one."""
    patch.edit(
        Proposer._refused,
        "    self._drop_round(slot)\n",
        "    if round.change is not None and round.following != NO_BALLOT:\n"
        "        everyone = set(self._quorums.acceptors)\n"
        "        slot.lead = Lead(round.following, everyone, round.ballot, round.change.value)\n"
        "    self._drop_round(slot)\n",
    )


@mutant("Paxos Made Simple, section 2.5: proposers never use the same", worlds.contended_registers)
def ballots_without_the_proposer(patch: Patch) -> None:
    """Two members use the same ballots."""
    patch.edit(
        Proposer._next_ballot,
        "Ballot(self._highest, self.id, self._nonce)",
        "Ballot(self._highest, 0, 0)",
    )


@mutant("Paxos Made Simple, section 2.5", worlds.contended_registers)
def acceptor_answers_before_fsync(patch: Patch) -> None:
    """Promises and acceptances leave before they are on disk."""
    patch.edit(RegisterEngine.end_of_turn, "if self._number <= self._durable:", "if True:")


# --- reads ----------------------------------------------------------------------------------------


@mutant("a value on one acceptor may never be chosen", worlds.contended_registers)
def read_of_one_acceptor(patch: Patch) -> None:
    """A read takes the first answer."""
    patch.edit(
        Proposer._told,
        "self._quorums.prepares(same) and self._quorums.chooses(same)",
        "answers",
    )


@mutant("a value on a minority may never be chosen", worlds.contended_registers)
def read_of_a_quorum_that_differs(patch: Patch) -> None:
    """A read takes the newest of what a quorum accepted, and leaves it on a minority."""
    patch.edit(
        Proposer._told,
        "if accepted == message.accepted}",
        "if accepted <= message.accepted}",
    )


# --- exactly once ---------------------------------------------------------------------------------


@mutant("Raft paper, section 8", worlds.contended_registers)
def change_applied_twice_on_a_retry(patch: Patch) -> None:
    """A register does not look for what it has answered."""
    patch.edit(Registry._once, "if known is not None:", "if False:")


@mutant("what is forgotten may have been done", worlds.forgetful_registers)
def forgotten_requests_done_again(patch: Patch) -> None:
    """A session that had to go for want of room is taken for a new one."""
    patch.edit(
        Registry._once,
        "request.number < mark or (not mark and request.session <= draft.forgotten)",
        "request.number < mark",
    )


@mutant("what is erased may have been done", worlds.deleting_registers)
def sessions_of_erased_registers_forgotten(patch: Patch) -> None:
    """An erased register leaves nothing behind, so a late retry brings its value back."""
    patch.edit(Acceptor._erase, "self._inherit(stamp)", "pass")


@mutant("redisraft 2020: a failure reported as certain took effect", worlds.hesitant_registers)
def abandoned_changes_called_harmless(patch: Patch) -> None:
    """A change that no quorum answered in time is reported as not applied."""
    patch.edit(
        Proposer._hand_back, "harmless = waiting.reads or not waiting.proposals", "harmless = 1"
    )


# --- collection -----------------------------------------------------------------------------------


@mutant("CASPaxos, section 3.1, step 2d", worlds.deleting_registers)
def register_erased_that_was_written_again(patch: Patch) -> None:
    """An acceptor erases what it is told to, whatever it holds by then."""
    patch.edit(
        Acceptor._erase,
        "known is not None and known.accepted == known.promised == ballot",
        "known is not None",
    )


@mutant("a promise above the tombstone is one", worlds.deleting_registers)
def promises_erased_with_the_tombstone(patch: Patch) -> None:
    """An acceptor erases a tombstone though it has promised more since."""
    patch.edit(
        Acceptor._erase, "known.accepted == known.promised == ballot", "known.accepted == ballot"
    )


@mutant("CASPaxos, section 3.1, step 2a", worlds.deleting_registers)
def tombstone_on_a_quorum_only(patch: Patch) -> None:
    """Collected though an acceptor still holds what was deleted."""
    patch.edit(Proposer._chosen, "if round.everywhere:", "if False:")


@mutant("CASPaxos, section 3.1, step 2b", worlds.deleting_registers)
def lead_kept_by_who_outgrew_it(patch: Patch) -> None:
    """A proposer raises its age, and goes on with what it had under way for the key."""
    patch.edit(Proposer.outgrow, "if slot is not None:", "if False:")


@mutant("CASPaxos, section 3.1, step 2b", worlds.deleting_registers)
def ballots_below_the_tombstone(patch: Patch) -> None:
    """A proposer does not move above the ballots of what is erased."""
    patch.edit(Proposer.outgrow, "self.rise_above(state.round)", "pass")


@mutant("CASPaxos, section 3.1, step 2b", worlds.deleting_registers)
def age_and_round_not_persisted(patch: Patch) -> None:
    """A proposer that restarts is as young as ever, and begins with the lowest ballots."""
    patch.edit(Ledger.keep_proposer, "self.proposer = state", "return")


@mutant("an age that is forgotten is used a second time", worlds.crashing_registers)
def age_used_before_it_is_on_disk(patch: Patch) -> None:
    """A proposer speaks at its new age at once, and may forget it."""
    patch.edit(
        RegisterEngine._handle,
        "self._answers.append((self.id, Older(sender, message, older)))",
        "self._send(self.id, Older(sender, message, older))",
    )


@mutant("CASPaxos, section 3.1, step 2c", worlds.deleting_registers)
def late_messages_of_a_younger_proposer(patch: Patch) -> None:
    """An acceptor answers what a proposer sent before it outgrew it."""
    patch.edit(Acceptor._outgrown, "age < self._ages.get(ballot.proposer, 0)", "False")


# --- members --------------------------------------------------------------------------------------


@mutant("acceptors refuse older epochs", worlds.churning_registers)
def epochs_not_told_apart(patch: Patch) -> None:
    """An acceptor answers whoever asks, whatever configuration it counts its quorum in."""
    patch.edit(Acceptor.receive, "message.epoch != self.epoch", "False")


@mutant("CASPaxos, section 2.3: every key is proposed anew", worlds.churning_registers)
def registers_not_carried_over(patch: Patch) -> None:
    """The old voters go as soon as the new ones are there."""
    patch.edit(Carrying._carry, "if self._configuration_carried and not full:", "if True:")


@mutant("CASPaxos, section 2.3: in two steps", worlds.churning_registers)
def voters_changed_at_once(patch: Patch) -> None:
    """One configuration follows the other without a joint one in between."""
    patch.edit(
        Electorate._order,
        "successor = successor_of(configuration, action)",
        "successor = successor_of(configuration, action)\n"
        "        if successor.joint:\n"
        "            successor = membership.leave_joint(successor)",
    )


@mutant("a member may forget what it told of", worlds.crashing_electorates)
def configuration_told_before_it_is_on_disk(patch: Patch) -> None:
    """Members hear of a configuration that whoever told them does not know after a crash."""
    patch.edit(
        RegisterEngine._answer,
        "isinstance(message, HELD)",
        "isinstance(message, HELD) and not isinstance(message, Inform)",
    )


@mutant("what is erased is agreed upon with all proposers", worlds.churning_registers)
def removed_member_goes_on_proposing(patch: Patch) -> None:
    """Who is not listed any more proposes by the configuration that it was told last."""
    patch.edit(quorums_of, "id in configuration.ids", "configuration.voters")


# --- clients --------------------------------------------------------------------------------------


@mutant("of our own change, perhaps", worlds.forgetful_registers)
def own_forgotten_change_called_undone(patch: Patch) -> None:
    """A change that was chosen while its proposer took it for refused is done in a new session."""
    patch.edit(Service.decided, "outcome == FORGOTTEN and effect.repeated", "False")
