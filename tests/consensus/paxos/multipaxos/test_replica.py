"""MultiPaxos, duty by duty: replicas whose messages and disks move only when a test says so."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from raycons.consensus import membership
from raycons.consensus.configuration import Peer, Role
from raycons.consensus.contract import Entry, EntryId, EntryKind, HardState, Proposal, Refusal, Send
from raycons.consensus.messages import Retire, SnapshotChunk, TimeoutNow
from raycons.consensus.paxos.multipaxos.ballots import DECIDED, ballot_of, owner_of, round_of
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.messages import (
    Accept,
    Accepted,
    AskReply,
    CatchUp,
    Chosen,
    Heartbeat,
    HeartbeatReply,
    Prepare,
    Promise,
    Refused,
)
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.paxos.multipaxos.slots import Slots
from tests.consensus.paxos.multipaxos.group import SETTINGS, Group, voters

LOW, HIGH = ballot_of(1, 2), ballot_of(2, 3)
NOW = 50.0


def entry(slot: int, term: int, data: bytes = b"x", time_us: int = 0) -> Entry:
    return Entry(slot, term, EntryKind.COMMAND, 0, 1, time_us, data)


def replica(*held: Proposal, term: int = 0, decided: int = 0, id: int = 1) -> MultiPaxosReplica:
    """Replica `id` of three, with this on its disk."""
    slots = Slots(None, EntryId(decided, LOW), decided, held)  # type: ignore[arg-type]
    start = Start(HardState(term), slots, [(0, voters(1, 2, 3))], 0)
    return MultiPaxosReplica(id, start, SETTINGS, Random(1), NOW)


def said(one: MultiPaxosReplica, to: int = 0) -> list[object]:
    """What it says at once, or will when its disk is done, to `to` or to anybody."""
    return [
        effect.message
        for effect in one.drain(NOW)
        if isinstance(effect, Send) and to in (0, effect.to)
    ]


def candidate(*held: Proposal, decided: int = 0) -> MultiPaxosReplica:
    """Replica 1 in the middle of phase 1, its own promise on disk."""
    one = replica(*held, decided=decided)
    one.campaign(NOW, release=False)
    one.drain(NOW)
    one.durable(one.write_number, NOW)
    return one


# --- acceptors ------------------------------------------------------------------------------------


def test_a_promise_leaves_when_it_is_on_disk() -> None:
    one = replica()
    one.receive(3, Prepare(HIGH, 1, False), NOW)
    sends = [effect for effect in one.drain(NOW) if isinstance(effect, Send)]
    assert [(type(send.message), send.after) for send in sends] == [(Promise, one.write_number)]
    assert one.write_number == 1


def test_nothing_is_accepted_below_a_promise() -> None:
    one = replica()
    one.receive(3, Prepare(HIGH, 1, False), NOW)
    one.drain(NOW)
    one.receive(2, Accept(LOW, (entry(1, LOW),), 0), NOW)
    assert said(one) == [Refused(LOW, HIGH)]
    assert 1 not in one.log.open


def test_a_promise_tells_all_that_was_accepted_in_pieces() -> None:
    large = b"x" * SETTINGS.max_append_bytes
    one = replica(Proposal(LOW, entry(3, LOW, large)), Proposal(LOW, entry(5, LOW)))
    one.receive(3, Prepare(HIGH, 1, False), NOW)
    (first,) = said(one)
    assert isinstance(first, Promise)
    assert ([held.entry.index for held in first.accepted], first.next) == ([3], 5)
    one.receive(3, Prepare(HIGH, 5, False), NOW)
    (rest,) = said(one)
    assert isinstance(rest, Promise)
    assert ([held.entry.index for held in rest.accepted], rest.next) == ([5], 0)


def test_who_is_asked_for_the_next_piece_does_not_campaign_meanwhile() -> None:
    one = replica(Proposal(LOW, entry(3, LOW)), Proposal(LOW, entry(5, LOW)))
    one.receive(3, Prepare(HIGH, 1, False), NOW)
    later = one.election_deadline
    one.receive(3, Prepare(HIGH, 5, False), later)
    assert one.election_deadline > later


def test_a_follower_that_hears_its_leader_promises_nobody() -> None:
    one = replica()
    one.receive(2, Heartbeat(LOW, 0, 1, 1), NOW)
    one.drain(NOW)
    one.receive(3, Prepare(HIGH, 1, False), NOW)
    assert (said(one), one.term) == ([], LOW)
    one.receive(3, Prepare(HIGH, 1, True), NOW)  # unless the leader itself asked for it
    assert one.term == HIGH


def test_a_restart_knows_what_it_accepted_with_gaps() -> None:
    one = replica(Proposal(LOW, entry(2, LOW)), Proposal(HIGH, entry(5, LOW)), term=LOW)
    assert one.term == HIGH  # what was accepted was promised
    assert (one.commit, one.log.last_index, sorted(one.log.open)) == (0, 5, [2, 5])


# --- proposers ------------------------------------------------------------------------------------


def test_the_value_of_the_highest_ballot_is_proposed_again() -> None:
    one = candidate(Proposal(LOW, entry(1, LOW, b"low")))
    high = Proposal(HIGH, entry(1, HIGH, b"high"))
    one.receive(3, Promise(one.term, 1, (high,), 0, 0, 0), NOW)
    accepts = [message for message in said(one) if isinstance(message, Accept)]
    assert [each.entries for each in accepts] == [(high.entry,)] * 2


def test_holes_are_filled_with_no_ops_and_values_keep_their_names() -> None:
    one = candidate()
    one.receive(3, Promise(one.term, 1, (Proposal(LOW, entry(3, LOW)),), 0, 0, 0), NOW)
    accept = next(message for message in said(one) if isinstance(message, Accept))
    assert [(e.kind, e.term) for e in accept.entries] == [
        (EntryKind.NOOP, one.term),
        (EntryKind.NOOP, one.term),
        (EntryKind.COMMAND, LOW),
    ]


def test_no_ballot_is_used_before_it_is_on_disk() -> None:
    one = replica()
    one.campaign(NOW, release=False)
    sends = [effect for effect in one.drain(NOW) if isinstance(effect, Send)]
    assert sends
    assert all(send.after == one.write_number for send in sends)


def test_who_lacks_what_others_compacted_gets_it_before_it_leads() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(2)
    group.cut_off(1)
    for number in range(6):
        group.propose(2, b"%d" % number)
    group.run()
    group.beat(2)
    for id in (2, 3):
        group.compact(id, 4)
    group.heal()
    group.nodes.pop(2)
    group.now += 10
    seen: list[object] = []
    group.lost = lambda source, to, message: bool(seen.append(message))
    group.elect(1)
    assert any(isinstance(message, SnapshotChunk) for message in seen)
    accepted = [e.index for m in seen if isinstance(m, Accept) for e in m.entries]
    assert not accepted or min(accepted) > 4
    assert group[1].commit == 6


def test_a_late_promise_of_what_binds_nobody_is_let_be() -> None:
    """Its sender may have accepted a change of the configuration that was replaced since."""
    one = candidate()
    one.receive(3, Promise(one.term, 1, (), 0, 0, 0), NOW)
    assert one.role == "leader"
    one.propose(b"ours", 0, 1, NOW)
    one.receive(2, Promise(one.term, 1, (Proposal(LOW, entry(1, LOW)),), 0, 0, 0), NOW)
    accept = next(message for message in said(one) if isinstance(message, Accept))
    assert [each.data for each in accept.entries] == [b"ours"]


def test_a_lower_rank_asks_first_when_the_leader_is_lost() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    for id in (2, 3):
        group[id].connection_lost(1, group.now)
    assert group[2].election_deadline < group[3].election_deadline < group.now + 0.02


# --- deciding and learning ------------------------------------------------------------------------


def test_slots_are_decided_out_of_order_and_applied_in_order() -> None:
    one = candidate()
    one.receive(3, Promise(one.term, 1, (), 0, 0, 0), NOW)
    for data in (b"a", b"b"):
        one.propose(data, 0, 1, NOW)
    one.drain(NOW)
    one.durable(one.write_number, NOW)
    one.receive(2, Accepted(one.term, ((2, 2),), 0), NOW)
    assert (one.commit, one.chosen) == (0, {2})
    one.receive(2, Accepted(one.term, ((1, 1),), 0), NOW)
    assert one.commit == 2


def test_the_leader_counts_itself_when_its_disk_is_done() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.lazy = {1}
    group.lost = lambda source, to, message: to == 3
    group.propose(1, b"a")
    group.run()
    assert group[1].commit == 0
    group.sync(1)
    group.run()
    assert group[1].commit == 1


def test_a_watermark_says_nothing_of_what_was_accepted_in_another_ballot() -> None:
    one = replica(Proposal(LOW, entry(1, LOW, b"old")))
    one.receive(3, Heartbeat(HIGH, 1, 2, 1), NOW)
    assert one.commit == 0
    asked = [message for message in said(one) if isinstance(message, CatchUp)]
    assert asked == [CatchUp(1)]  # it was chosen in an earlier ballot: none will bring it
    one.receive(3, Chosen((entry(1, HIGH, b"new"),), 1), NOW)
    assert one.commit == 1
    assert one.log.slice(1, 1, 1)[0].data == b"new"


def test_what_it_accepted_in_the_leaders_ballot_is_chosen() -> None:
    one = replica()
    one.receive(2, Accept(LOW, (entry(1, LOW),), 0), NOW)
    one.receive(2, Heartbeat(LOW, 1, 1, 1), NOW)
    assert one.commit == 1


def test_a_laggard_learns_from_any_replica() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.cut_off(3)
    group.propose(1, b"a")
    group.run()
    group.beat(1)
    group.cut_off(1)
    group[3].catch_up_from(2, group.now)
    group.run()
    assert group.data(3) == [b"a"]


def test_a_time_that_is_proposed_again_does_not_run_backwards() -> None:
    one = candidate()
    late, early = entry(1, LOW, time_us=900), entry(2, LOW, time_us=100)
    held = (Proposal(LOW, late), Proposal(LOW, early))
    one.receive(3, Promise(one.term, 1, held, 0, 0, 0), NOW)
    one.drain(NOW)
    one.durable(one.write_number, NOW)
    one.receive(3, Accepted(one.term, ((1, 2),), 0), NOW)
    applied = [each for effect in one.drain(NOW) for each in getattr(effect, "entries", ())]
    assert [each.time_us for each in applied] == [900, 900]
    assert one.log.slice(2, 2, 1)[0] == early  # the value stays what it was


def test_what_waits_is_bounded() -> None:
    group = Group(voters(1, 2, 3, window=2))
    group.elect(1)
    group.cut_off(1)
    for _ in range(4):
        group.propose(1, b"x")
    group.run()
    assert (group[1].last_proposed, group[1].next_slot) == (2, 5)  # two in the window, two behind
    group[1].uncommitted_bytes = SETTINGS.max_uncommitted_bytes
    assert group[1].propose(b"x", 0, 1, group.now) == Refusal("overloaded", 1)


def test_an_acceptor_that_lags_takes_no_more_than_fits() -> None:
    one = replica()
    one.log.open_bytes = SETTINGS.max_uncommitted_bytes + 1
    one.receive(2, Accept(LOW, (entry(2, LOW), entry(3, LOW)), 0), NOW)
    assert one.log.open == {}
    one.receive(2, Accept(LOW, (entry(1, LOW),), 0), NOW)  # what it needs next it takes
    one.receive(2, Accept(LOW, (entry(999, LOW),), 0), NOW)
    assert sorted(one.log.open) == [1]


def test_a_follower_whose_disk_forgot_is_retired() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.propose(1, b"a")
    group.run()
    group.nodes[2].slots, group.nodes[2].applied = {}, []
    group.restart(2)
    group.beat(1)
    assert "was acknowledged" in group.nodes[2].retired
    assert group[2].silent
    assert not group.nodes[3].retired


def test_a_late_answer_retires_nobody() -> None:
    one = candidate()
    one.receive(3, Promise(one.term, 1, (), 0, 0, 0), NOW)
    one.propose(b"a", 0, 1, NOW)
    one.beat(NOW)
    one.drain(NOW)
    early = HeartbeatReply(one.term, one.round, 0.0, 0, 0)  # sent before what follows
    one.receive(3, Accepted(one.term, ((1, 1),), 1), NOW)
    one.receive(3, early, NOW)
    assert not any(isinstance(message, Retire) for message in said(one))


# --- offices --------------------------------------------------------------------------------------


def test_a_leader_that_hears_no_quorum_steps_down() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.cut_off(1)
    for _ in range(15):
        group.beat(1)
    assert group[1].role == "follower"


def test_a_leader_whose_disk_stalls_steps_down() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.lazy = {1}
    group.propose(1, b"a")
    group.run()
    for _ in range(12):
        group.beat(1)
    assert group[1].role == "follower"
    assert group.data(2) == [b"a"]  # the others decided meanwhile


def test_a_deposed_leader_learns_it_from_whom_it_speaks_to() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.cut_off(1)
    group.now += 10
    group.elect(2)
    group.heal()
    group[1].beat(group.now)
    group.run()
    assert group[1].role == "follower"
    assert owner_of(group[2].term) == 2
    assert round_of(group[2].term) > 1


def test_leadership_is_handed_over() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.propose(1, b"a")
    group.run()
    assert group[1].transfer(3, group.now) is None
    assert isinstance(group[1].propose(b"b", 0, 1, group.now), Refusal)
    group.run()
    assert (group[3].role, group[1].leader) == ("leader", 3)
    assert group[1].transfer(2, group.now) == Refusal("not-leader", 3)


def test_a_late_word_to_campaign_is_ignored() -> None:
    one = replica(term=HIGH)
    one.receive(2, TimeoutNow(LOW), NOW)
    assert one.role == "follower"


# --- reads ----------------------------------------------------------------------------------------


def test_a_read_waits_for_a_quorum_and_for_the_past() -> None:
    group = Group(voters(1, 2, 3))
    group.elect(1)
    group.propose(1, b"a")
    group.run()
    group.cut_off(1)
    group[1].read(7, group.now)
    group.run()
    assert group.nodes[1].ready == {}
    group.heal()
    group.beat(1)
    assert group.nodes[1].ready == {7: 1}
    group[3].read(8, group.now)
    group.run()
    assert group.nodes[3].ready == {8: 1}


@pytest.mark.parametrize(("later_s", "holds"), [(1.7, True), (1.85, False)])
def test_a_lease_ends_a_margin_before_the_promises(later_s: float, holds: bool) -> None:
    group = Group(voters(1, 2, 3, lease_s=2.0))
    group.now += 10  # since a restart forgets promises
    group.elect(1)
    group.beat(1)
    assert group[1].lease_holds(group.now + later_s) is holds  # of 2.0 s, less a tenth


def test_a_promise_to_a_leader_binds_though_its_connection_dropped() -> None:
    group = Group(voters(1, 2, 3, lease_s=2.0))
    group.now += 10
    group.elect(1)
    group.beat(1)
    group[2].connection_lost(1, group.now)
    assert not group[2].may_campaign(group.now + 1.9)
    group[2].receive(3, Prepare(ballot_of(9, 3), 1, False), group.now + 1.9)
    assert owner_of(group[2].term) == 1


# --- eras -----------------------------------------------------------------------------------------


def change(group: Group, leader: int, what: object) -> EntryId | Refusal:
    index = group[leader].configuration_index
    return group[leader].propose_change(what, index, group.now)  # type: ignore[arg-type]


def test_a_change_governs_a_window_later_and_waits_for_no_traffic() -> None:
    group = Group(voters(1, 2, 3, window=4))
    group.elect(1)
    told = change(group, 1, partial(membership.remove, id=3))
    assert isinstance(told, EntryId)
    assert change(group, 1, membership.reserve) == Refusal("change-in-progress", 1)
    for _ in range(3):
        group.beat(1)
    assert [(era.slot, era.first) for era in group[1].eras] == [(told.index, told.index + 4)]
    assert group[1].configuration.voters == {1, 2}
    assert not group[1].configuration.joint
    kinds = [each.kind for each in group.nodes[1].applied]
    assert kinds == [EntryKind.CONFIGURATION, *[EntryKind.NOOP] * 4]
    assert not group[3].is_acceptor()  # it was told, and falls silent
    assert group[1].settled()


def test_an_era_opens_when_its_quorum_knows_the_past() -> None:
    group = Group(voters(1, 2, 3, window=4))
    group.elect(1)
    group.lost = lambda source, to, message: to == 2  # it hears nothing of what is chosen
    told = change(group, 1, partial(membership.remove, id=3))
    assert isinstance(told, EntryId)
    for _ in range(3):
        group.now += 0.1
        group[1].send_heartbeats(group.now)
        group.run()
    opens = told.index + 4
    assert group[1].commit == opens - 1 == group[1].last_proposed
    group.heal()
    for _ in range(4):
        group.beat(1)
    assert group[1].commit == opens


def test_nothing_is_proposed_in_an_era_that_has_not_promised() -> None:
    slots = Slots(None, EntryId(9, LOW), 9)  # type: ignore[arg-type]
    eras = [(0, voters(1, window=4)), (6, voters(1, 2, window=4))]
    one = MultiPaxosReplica(1, Start(HardState(), slots, eras, 0), SETTINGS, Random(1), NOW)
    one.campaign(NOW, release=False)
    one.drain(NOW)
    one.durable(one.write_number, NOW)
    assert (one.role, one.promised_us) == (
        "candidate",
        {1},
    )  # the lone one of the past is not enough
    one.receive(2, Promise(one.term, 10, (Proposal(LOW, entry(10, LOW)),), 0, 9, 9), NOW)
    assert one.role == "leader"
    one.drain(NOW)
    assert one.last_proposed == 9  # until both know what came before
    one.receive(2, HeartbeatReply(one.term, one.round, 0.0, 9, 10), NOW)
    one.durable(one.write_number, NOW)
    one.drain(NOW)
    assert one.last_proposed == 10
    assert one.log.open[10].entry.term == LOW


def test_a_lone_acceptor_goes_on_after_a_restart_without_those_of_the_past() -> None:
    group = Group(voters(1, 2, window=4))
    group.elect(1)
    change(group, 1, partial(membership.remove, id=2))
    for _ in range(3):
        group.beat(1)
    group.nodes.pop(2)
    node = group.nodes[1]
    node.applied = []  # nothing of the state had reached the disk
    group.restart(1)
    group.now += 10
    group.elect(1)
    assert group.propose(1, b"a").index == 6


def test_a_leader_that_is_removed_leads_until_then_and_hands_over() -> None:
    group = Group(voters(1, 2, 3, window=2))
    group.elect(1)
    change(group, 1, partial(membership.remove, id=1))
    for _ in range(3):
        if group[1].role == "leader":
            group.beat(1)
    assert group[1].role == "follower"
    assert [id for id in (2, 3) if group[id].role == "leader"]


def test_a_joiner_is_promoted_when_it_has_caught_up() -> None:
    group = Group(voters(1, 2, 3, window=2))
    group.elect(1)
    change(group, 1, membership.reserve)
    for _ in range(3):
        group.beat(1)
    joiner = Peer(4, 0, Role.JOINING)
    assert isinstance(change(group, 1, partial(membership.add, joiner=joiner)), EntryId)
    for _ in range(3):
        group.beat(1)
    assert 4 not in group[1].configuration.voters  # it never came up
    group.add(4, voters(4)).configurations = [(0, voters(4).__class__((), 1))]
    group.restart(4)
    for _ in range(6):
        group.beat(1)
    assert group[1].configuration.voters == {1, 2, 3, 4}
    assert group[4].is_acceptor()


def test_bad_changes_are_refused_as_raft_refuses_them() -> None:
    group = Group(voters(1))
    group.elect(1)
    with pytest.raises(membership.BadChange, match="last voter"):
        change(group, 1, partial(membership.remove, id=1))
    with pytest.raises(membership.BadChange, match="is not a member"):
        change(group, 1, partial(membership.remove, id=9))
    told = group[1].propose_change(membership.reserve, 5, group.now)
    assert told == Refusal("configuration-changed", 1)


def test_the_groups_version_rises_when_all_have_told_of_it() -> None:
    group = Group(voters(1, 2, 3, window=2))
    for id in (1, 2):
        group[id].newest_version = 2
    group.elect(1)
    for _ in range(3):
        group.beat(1)
    assert group[1].configuration.version == 1
    group[3].newest_version = 2
    for _ in range(4):
        group.beat(1)
    assert group[1].configuration.version == 2
    group[3].newest_version = 1
    group[3].check_version(group[1].configuration)
    assert group[3].silent


def test_what_is_known_to_be_chosen_is_above_all_ballots() -> None:
    assert ballot_of(2**20, 2**31) < DECIDED


def test_who_knows_more_is_asked_where_nobody_leads() -> None:
    one = replica()
    one.receive(3, AskReply(HIGH, False, HIGH, 5), NOW)
    assert CatchUp(1) in said(one, to=3)
