"""The engine of a member of registers, over stores in memory and a network of plain lists."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from raycons.config import RegisterSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.paxos.caspaxos.messages import Bundle, Inform, Prepare, Promise
from raycons.consensus.paxos.messages import Ballot
from raycons.errors import StoreCorrupt
from raycons.machines import sessions
from raycons.machines.kv import commands
from raycons.machines.kv.settings import KeyValueSettings
from raycons.member.caspaxos.engine import RegisterEngine, bootstrap
from raycons.member.protocol import (
    Add,
    Answer,
    Code,
    Leader,
    Manage,
    Managed,
    Read,
    Refused,
    Remove,
    Reserve,
    Submit,
    Transfer,
)
from raycons.store.memory import MemoryStore
from raycons.store.openings import opened

GROUP, CLIENT = 0, 9
encode = msgspec.msgpack.encode


class Member:
    """An engine with its store, and what it asked of the world."""

    def __init__(self, id: int, configuration: Configuration) -> None:
        self.id = id
        self.store = MemoryStore()
        bootstrap(self.store, GROUP, id, 100 + id, configuration)
        self.sent: list[tuple[int, Any]] = []
        self.told: list[Any] = []
        self.asked_sync = 0
        self.open(0.0)

    def open(self, now: float) -> None:
        """Start over what the store holds."""
        self.sent, self.asked_sync = [], 0
        self.engine = RegisterEngine(
            group=GROUP,
            store=self.store,
            ports=self,
            key_value=KeyValueSettings(),
            registers=RegisterSettings(collect_after_s=1.0),
            random=Random(self.id),
            now=now,
        )

    def send(self, to: int, message: Any) -> None:
        self.sent.append((to, message))

    def respond(self, client: int, message: Any) -> None:
        self.told.append(message)

    def flush(self) -> None:
        pass

    def step_aside(self) -> None:
        pass

    def sync(self, number: int) -> None:
        self.asked_sync = number

    def event(self, name: str, fields: dict[str, Any]) -> None:
        pass


class Group:
    """Members whose messages arrive at once, and whose disks are done at once, if asked to."""

    def __init__(self, size: int = 3) -> None:
        peers = tuple(Peer(id, 100 + id, Role.VOTER) for id in range(1, size + 1))
        self.founders = Configuration(peers, size + 1)
        self.members = {id: Member(id, self.founders) for id in range(1, size + 1)}
        self.now = 0.0
        self.down: set[int] = set()
        self.requests = 0

    def settle(self) -> None:
        """Deliver everything, and finish every sync, until nothing is left."""
        for _ in range(1000):
            busy = False
            for id, member in self.members.items():
                sent, member.sent = member.sent, []
                for to, message in sent:
                    if to in self.members and not {id, to} & self.down:
                        busy = True
                        self.members[to].engine.receive(id, message, self.now)
                        self.members[to].engine.end_of_turn(self.now)
                if member.asked_sync:
                    busy = True
                    number, member.asked_sync = member.asked_sync, 0
                    member.engine.durable(number, self.now)
                    member.engine.end_of_turn(self.now)
            if not busy:
                return
        raise AssertionError("they never come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let timers fire for a while."""
        for _ in range(int(seconds / 0.05)):
            self.now += 0.05
            for id, member in self.members.items():
                if id not in self.down:
                    member.engine.tick(self.now)
                    member.engine.end_of_turn(self.now)
            self.settle()

    def ask(self, id: int, message: Any) -> Any:
        """What the member tells its client."""
        member = self.members[id]
        member.told.clear()
        member.engine.client(CLIENT, message, self.now)
        member.engine.end_of_turn(self.now)
        self.settle()
        return member.told[-1] if member.told else None

    def do(self, id: int, *operations: Any, session: int = 2**40, number: int = 1) -> Any:
        """The results of a frame of operations."""
        self.requests += 1
        body = msgspec.Raw(encode(operations))
        command = encode(sessions.Do(session, number, number, body))
        return results(self.ask(id, Submit(self.requests, 0, command)))

    def get(self, id: int, key: bytes) -> bytes | None:
        """The value of a key."""
        self.requests += 1
        answer = self.ask(id, Read(self.requests, 0, 0, encode((commands.Range(key),))))
        [found] = msgspec.msgpack.decode(answer.body, type=commands.Results)
        assert isinstance(found, commands.RangeDone)
        return found.pairs[0].value if found.pairs else None

    def manage(self, id: int, action: Any) -> Any:
        """What becomes of a change of members."""
        self.requests += 1
        based_on = self.members[id].engine.electorate.epoch
        return self.ask(id, Manage(self.requests, based_on, action))

    def join(self, through: int, replaces: int = 0) -> int:
        """Add a voter."""
        reserved = self.manage(through, Reserve())
        assert isinstance(reserved, Managed)
        id = reserved.value
        self.members[id] = Member(id, Configuration((), 0))
        added = self.manage(through, Add(id, 100 + id, "host", True, replaces))
        assert isinstance(added, Managed)
        self.pass_time(1.0)
        return id


def results(answer: Any) -> Any:
    """The results inside an answer; another message as it is."""
    if not isinstance(answer, Answer):
        return answer
    done = msgspec.msgpack.decode(answer.body, type=sessions.SessionAnswer)
    if not isinstance(done, sessions.Done):
        return done
    return msgspec.msgpack.decode(bytes(done.body), type=commands.Results)


# --- turns, disks, bundles ------------------------------------------------------------------------


def test_an_answer_leaves_when_the_disk_has_what_it_says() -> None:
    group = Group()
    one = group.members[2]
    prepare = Prepare(b"k", Ballot(1, 1, 7), 0, 1)
    one.engine.receive(1, Bundle((prepare,)), 0.0)
    one.engine.end_of_turn(0.0)
    assert (one.sent, one.asked_sync) == ([], 1)
    one.engine.durable(1, 0.0)
    assert one.engine.owes_turn
    one.engine.end_of_turn(0.0)
    [(to, bundle)] = one.sent
    assert to == 1
    assert [type(message) for message in bundle.messages] == [Promise]


def test_one_frame_and_one_sync_cover_many_keys() -> None:
    group = Group()
    one, other = group.members[1], group.members[2]
    puts = [commands.Put(b"key-%d" % number, b"v") for number in range(100)]
    body = msgspec.Raw(encode(puts))
    command = encode(sessions.Do(2**40, 1, 1, body))
    one.engine.client(CLIENT, Submit(1, 0, command), 0.0)
    one.engine.end_of_turn(0.0)
    assert [to for to, _ in one.sent] == [2, 3]
    assert one.asked_sync == 1
    [bundle] = [message for to, message in one.sent if to == 2]
    assert len(bundle.messages) == 100
    other.engine.receive(1, bundle, 0.0)
    other.engine.end_of_turn(0.0)
    assert other.asked_sync == 1


def test_any_member_serves_and_a_retry_anywhere_is_answered_as_before() -> None:
    group = Group()
    assert group.do(1, commands.Put(b"a", b"1"), commands.Put(b"b", b"2"))
    swapped = group.do(2, commands.Swap(b"a", b"1", b"3"), number=2)
    assert swapped[0].succeeded
    assert group.do(3, commands.Swap(b"a", b"1", b"3"), number=2) == swapped
    assert [group.get(id, b"a") for id in (1, 2, 3)] == [b"3"] * 3


def test_a_member_that_restarts_goes_on_from_its_store() -> None:
    group = Group()
    group.do(1, commands.Put(b"a", b"1"))
    for member in group.members.values():
        member.open(group.now)
    assert group.get(2, b"a") == b"1"
    with pytest.raises(StoreCorrupt, match="holds a replica"):
        bootstrap(group.members[1].store, GROUP, 1, 101, group.founders)
    group.members[1].store = MemoryStore()
    with pytest.raises(StoreCorrupt, match="lacks its record"):
        group.members[1].open(group.now)


def test_without_a_quorum_nothing_is_certain_but_what_was_not_proposed() -> None:
    group = Group()
    group.do(1, commands.Put(b"a", b"1"))
    group.down = {2, 3}
    assert group.do(1, commands.Put(b"a", b"2"), number=2) is None
    assert group.do(1, commands.Put(b"new", b"2"), number=3) is None
    member = group.members[1]
    group.pass_time(5.0)
    codes = {told.request: told.code for told in member.told if isinstance(told, Refused)}
    # The first was proposed at once, by the promises of the change before; the other never was.
    assert codes == {2: Code.LEADERSHIP_LOST, 3: Code.UNAVAILABLE}
    group.down = set()
    assert group.get(2, b"a") in (b"1", b"2")


# --- sessions -------------------------------------------------------------------------------------


def test_sessions_are_numbers_that_no_other_has() -> None:
    group = Group()
    found = set()
    for id in (1, 2, 3):
        for _ in range(50):
            opening = encode(sessions.Open(bytes(16), 30.0))
            answer = results(group.ask(id, Submit(1, 0, opening)))
            assert answer.ttl_s == 30.0
            found.add(answer.session)
    assert len(found) == 150
    group.members[1].open(group.now)  # nobody counted its openings here
    for id in (2, 3):
        opened(group.members[id].store)
        group.members[id].open(group.now)
        answer = results(group.ask(id, Submit(1, 0, encode(sessions.Open(bytes(16), 30.0)))))
        assert answer.session not in found


def test_a_process_never_runs_out_of_sessions() -> None:
    group = Group(1)
    opening = Submit(1, 0, encode(sessions.Open(bytes(16), 30.0)))
    found = [results(group.ask(1, opening)).session for _ in range(5000)]
    assert found == sorted(set(found))


def test_a_client_is_told_that_this_member_serves() -> None:
    group = Group()
    member = group.members[3]
    member.engine.client_connected(CLIENT)
    member.engine.know(((1, "host", 1),))
    assert member.told == [Leader(0, 3, ()), Leader(0, 3, ((1, "host", 1),))]


# --- deletion -------------------------------------------------------------------------------------


def test_a_deleted_register_is_erased_everywhere_and_its_retries_stay_away() -> None:
    group = Group()
    session = 2**40
    group.do(1, commands.Put(b"a", b"1"), session=session, number=1)
    group.do(2, commands.Delete(b"a"), session=session, number=2)
    assert all(member.engine.acceptor.registers.get(b"a") for member in group.members.values())
    group.pass_time(3.0)
    assert not any(member.engine.acceptor.registers.get(b"a") for member in group.members.values())
    assert group.get(3, b"a") is None
    late = group.do(3, commands.Put(b"a", b"1"), session=session, number=1)
    assert late == (commands.FORGOTTEN,)
    fresh = results(group.ask(3, Submit(9, 0, encode(sessions.Open(bytes(16), 30.0)))))
    [put] = group.do(3, commands.Put(b"a", b"2"), session=fresh.session)
    assert put.revision > 2  # revisions go on rising


def test_nothing_is_erased_while_a_member_is_away() -> None:
    group = Group()
    group.do(1, commands.Put(b"a", b"1"), number=1)
    group.down = {3}
    group.do(1, commands.Delete(b"a"), number=2)
    group.pass_time(4.0)
    assert group.members[1].engine.acceptor.registers.get(b"a")
    group.down = set()
    group.pass_time(30.0)
    assert not any(member.engine.acceptor.registers.get(b"a") for member in group.members.values())


def test_tombstones_are_collected_after_a_restart_too() -> None:
    group = Group()
    group.do(1, commands.Put(b"a", b"1"), number=1)
    group.do(1, commands.Delete(b"a"), number=2)
    group.members[1].open(group.now)
    group.pass_time(3.0)
    assert not any(member.engine.acceptor.registers.get(b"a") for member in group.members.values())


# --- members --------------------------------------------------------------------------------------


def test_all_members_can_be_replaced_one_by_one_and_keep_every_register() -> None:
    group = Group()
    keys = [b"key-%03d" % number for number in range(700)]
    for key in keys:
        group.do(1, commands.Put(key, b"of " + key), session=2**40 + int(key[4:]))
    for old in (1, 2, 3):
        through = max(group.members)
        group.join(through, replaces=old)
        for member in group.members.values():
            configuration = member.engine.configuration
            if member.id != old:
                assert not configuration.joint
        del group.members[old]
    assert sorted(group.members) == [4, 5, 6]
    for key in keys[::50]:
        assert group.get(5, key) == b"of " + key


def test_a_change_needs_the_present_epoch_and_that_none_is_under_way() -> None:
    group = Group()
    stale = group.ask(1, Manage(1, 0, Reserve()))
    assert stale.code == Code.CONFIGURATION_CHANGED
    assert group.manage(1, Transfer(2)).code == Code.INVALID
    assert group.manage(1, Remove(8)).code == Code.NO_SUCH_MEMBER
    assert group.manage(1, Remove(2)) is None  # under way
    assert group.manage(1, Remove(3)).code == Code.CHANGE_IN_PROGRESS
    lone = Group(1)
    assert lone.manage(1, Remove(1)).code == Code.LAST_VOTER


def test_a_change_goes_on_without_the_member_that_began_it() -> None:
    group = Group()
    reserved = group.manage(1, Reserve())
    id = reserved.value
    group.members[id] = Member(id, Configuration((), 0))
    based_on = group.members[1].engine.electorate.epoch
    group.members[1].engine.client(CLIENT, Manage(9, based_on, Add(id, 104, "host")), group.now)
    for _ in range(200):  # until the joint configuration is chosen, and no further
        group.members[1].engine.end_of_turn(group.now)
        if group.members[2].engine.configuration.joint:
            break
        _one_step(group)
    group.down = {1}
    group.pass_time(12.0)
    for other in (2, 3, id):
        configuration = group.members[other].engine.configuration
        assert (configuration.joint, configuration.voters) == (False, {1, 2, 3, id})


def _one_step(group: Group) -> None:
    for id, member in list(group.members.items()):
        sent, member.sent = member.sent, []
        for to, message in sent:
            if to in group.members:
                group.members[to].engine.receive(id, message, group.now)
                group.members[to].engine.end_of_turn(group.now)
        number, member.asked_sync = member.asked_sync, 0
        if number:
            member.engine.durable(number, group.now)
            member.engine.end_of_turn(group.now)


def test_a_member_that_was_removed_sends_its_clients_away_and_proposes_nothing() -> None:
    group = Group(4)
    assert group.manage(1, Remove(4)) is None  # not before it is out
    group.pass_time(1.0)
    assert isinstance(group.members[1].told[-1], Managed)
    removed = group.members[4]
    assert 4 not in removed.engine.configuration.ids
    refused = group.do(4, commands.Put(b"a", b"1"))
    assert (refused.code, refused.leader) == (Code.NOT_LEADER, 0)
    removed.told.clear()
    removed.engine.client_connected(CLIENT)
    assert removed.told == [Leader(0, 0, ())]


def test_who_was_away_learns_the_configuration_from_whoever_it_talks_to() -> None:
    group = Group()
    group.down = {3}
    group.manage(1, Reserve())
    group.down = set()
    assert group.members[3].engine.electorate.epoch == 1
    assert group.do(3, commands.Put(b"a", b"1"))  # refused by the others, told, and begun anew
    assert group.members[3].engine.electorate.epoch == 2
    assert group.get(1, b"a") == b"1"


def test_an_older_configuration_is_not_taken_for_news() -> None:
    group = Group()
    group.manage(1, Reserve())
    member = group.members[2]
    member.engine.receive(1, Bundle((Inform(1, group.founders, 0),)), 0.0)
    member.engine.end_of_turn(0.0)
    assert member.engine.electorate.epoch == 2
