"""Mutants of MultiPaxos: what its texts warn of, and what implementations have got wrong."""

from __future__ import annotations

from raycons.consensus.paxos.multipaxos import eras
from raycons.consensus.paxos.multipaxos.core import Core
from raycons.consensus.paxos.multipaxos.deciding import Deciding
from raycons.consensus.paxos.multipaxos.eras import Era
from raycons.consensus.paxos.multipaxos.leadership import Leadership
from raycons.consensus.paxos.multipaxos.reads import Reads
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.paxos.multipaxos.slots import Slots
from raycons.member.slot_ledger import SlotLedger
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant

SIMPLE = "Paxos Made Simple"


@mutant(f"{SIMPLE}, section 2.5: stable storage", worlds.dueling)
def promise_forgotten(patch: Patch) -> None:
    """A promise is not on disk: a restart takes it back."""
    patch.edit(Core.promise, "self.hard_state_dirty = True", "pass")


@mutant(f"{SIMPLE}, P1a", worlds.dueling)
def accepted_below_the_promise(patch: Patch) -> None:
    """An acceptor takes a proposal though it has promised a higher ballot."""
    patch.edit(
        MultiPaxosReplica.receive,
        "if message.ballot < self.term:",
        "if message.ballot < self.term and self.role == 'leader':",
    )


@mutant(f"{SIMPLE}, P2c", worlds.torn)
def own_value_though_one_was_accepted(patch: Patch) -> None:
    """A new leader begins with commands of its own where others may have got something chosen."""
    patch.edit(
        Deciding.become_leader,
        "self.next_slot = max([self.commit, *self.reported]) + 1",
        "self.next_slot = self.commit + 1\n    self.reported = {}",
    )


@mutant(f"{SIMPLE}, P2c: the highest-numbered proposal", worlds.dueling)
def value_of_the_lowest_proposal(patch: Patch) -> None:
    """Among what was accepted in a slot, a new leader takes the value of the lowest ballot."""
    patch.edit(
        Leadership._note_reported,
        "proposal.ballot > known.ballot",
        "proposal.ballot < known.ballot",
    )


@mutant("Flexible Paxos, 2016: quorums of the two phases must meet")
def quorums_that_do_not_meet(patch: Patch) -> None:
    """One acceptor less than a majority is taken for a quorum of phase 2."""
    patch.edit(
        Era.chooses,
        "self.quorums.chooses(accepted)",
        "len(self.configuration.voters.intersection(accepted)) "
        ">= max(1, len(self.configuration.voters) // 2)",
    )


@mutant("a promise carries the compaction point", worlds.small_logs)
def slot_reused_after_compaction(patch: Patch) -> None:
    """A candidate leads though others have compacted away what it does not know."""
    patch.edit(Leadership.conclude, "if through > self.proposed():", "if through < 0:")


@mutant("Paxos Made Moderately Complex, section 2: slots are executed in order", worlds.torn)
def hole_skipped_in_execution(patch: Patch) -> None:
    """A slot that is not known to be chosen is passed over when a later one is."""
    patch.edit(
        Core.advance,
        "while self.commit + 1 in chosen:\n",
        "while chosen and max(chosen) > self.commit:\n"
        "        if self.commit + 1 not in chosen:\n"
        "            log.open.pop(self.commit + 1, None)\n"
        "            log.decided += 1\n"
        "            self.commit += 1\n"
        "            continue\n",
    )


@mutant("dissertation on Raft, section 6.4.1: bounded clock drift", worlds.leased_with_drift)
def slot_lease_without_a_margin(patch: Patch) -> None:
    """The leader uses up all of a promise that was counted on a faster clock."""
    patch.edit(Reads.round_confirmed, "* (1 - self.settings.lease_margin)", "* 1.0")


@mutant("a lease ends with the word that hands over", worlds.leased_with_transfers)
def slot_lease_kept_during_transfer(patch: Patch) -> None:
    """A leader that told somebody to campaign goes on reading by its lease."""
    patch.edit(Reads.lease_holds, "self.released or", "")


@mutant("what was accepted in another ballot may be something else", worlds.torn)
def watermark_trusted_in_another_ballot(patch: Patch) -> None:
    """A follower takes what it accepted for chosen, in whatever ballot that was."""
    patch.edit(Core.told_decided, "held is not None and held.ballot == ballot", "held is not None")


@mutant(f"{SIMPLE}, section 2.5: stable storage")
def slot_acknowledged_before_fsync(patch: Patch) -> None:
    """An acceptor answers when it has written, not when its disk has."""
    patch.edit(Deciding.send_acknowledgement, "self.after_everything()", "0")


@mutant(f"{SIMPLE}, section 2.5: stable storage", worlds.dueling)
def promised_before_fsync(patch: Patch) -> None:
    """A promise leaves before it is on disk."""
    patch.edit(Leadership.receive_prepare, "self.after_everything()", "0")


@mutant(f"{SIMPLE}, section 2.5: a proposal number is never used twice", worlds.dueling)
def ballot_used_before_it_is_on_disk(patch: Patch) -> None:
    """A candidate that restarts may take the same ballot again."""
    patch.edit(
        Leadership._prepare,
        "self.reply(peer, Prepare(self.term, first, self.campaign_released))",
        "self.send(peer, Prepare(self.term, first, self.campaign_released))",
    )


@mutant("Paxos Made Live, 2007: all that was accepted", worlds.repeating_small_pieces)
def promise_cut_short(patch: Patch) -> None:
    """A promise with more than fits into a message says that it is whole."""
    patch.edit(Leadership._accepted_from, "return held, slot", "return held, 0")


@mutant("Reconfiguring a State Machine, 2010, section 3", worlds.churning)
def reconfiguration_at_once(patch: Patch) -> None:
    """A configuration governs from the next slot on, which may be under way in the old one."""
    patch.edit(eras.era_of, "slot + configuration.window if slot", "slot + 1 if slot")


@mutant("acceptors of the past may go when nothing rests on them", worlds.churning)
def era_opened_without_its_past(patch: Patch) -> None:
    """New acceptors take over before a quorum of them holds what was chosen before."""
    patch.edit(Deciding.may_propose, "slot != era.first or", "True or")


@mutant("what an acceptor accepted above a snapshot may be chosen by that", worlds.small_logs)
def snapshot_empties_the_slots_above(patch: Patch) -> None:
    """A state takes the place of all slots, also of those after it."""
    patch.edit(Slots.reset, "if slot > base.index", "if False")
    patch.edit(SlotLedger._replace_log, "self._keys.entry(last + 1)", "self._keys.log_end")


@mutant("a deposed leader does not know it", worlds.torn)
def slot_read_without_asking_anybody(patch: Patch) -> None:
    """A leader reads at once, whoever may lead by now."""
    patch.edit(Reads.lease_holds, "return self.chosen_by(bound | {self.id})", "return True")
    patch.edit(Reads.lease_holds, "if not self.lease_s or", "if")


@mutant("what earlier leaders got chosen comes first", worlds.torn)
def slot_read_before_the_past_is_known(patch: Patch) -> None:
    """A new leader reads before it knows what it proposes again."""
    patch.edit(Reads.begin_read_round, "or self.commit < self.term_start", "")
