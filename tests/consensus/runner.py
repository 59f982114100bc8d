"""Runs a scenario: a text file that a person can read aloud, one order or expectation a line.

cluster 3 [lease 1000ms]        voters 1 to 3, all begun anew; `set name=value` before it
software 2 handles 3            formats up to 3, from 2's next start on; else only 1
joiner 4                        a fresh store, not yet in any configuration
given 2 term 4 log a@1 b@4      replica 2 begins with this on its disk instead
elect 1                         let 1 time out until it leads, delivering everything
timeout 1 / heartbeat 1         move the clock to 1's next deadline and wake only 1
propose 1 a b c*100             commands, gathered in one drain; `c*100` is c a hundred times
read 1 r / change 1 remove 3 / transfer 1 to 2
settle                          deliver and sync until nothing moves
deliver 1->2 [n | kind]         the first n (all) messages, or the first of that kind
drop, duplicate, keep NAME      the same choice; `replay NAME 1->2` delivers a kept message
hold 1->2 / release 1->2        `settle` leaves a held link alone; `*` stands for anyone
partition 1 | 2 3 / heal        what is in flight between the sides, or sent there, is lost
disconnected 2 from 1           2 sees its connection to 1 end
disk 2 held / sync 2 [n] / disk 2 free
crash 2 / restart 2 / pause 2 / resume 2
remember 2 / forget 2           the disk as it is now; later, while down, back to it
compact 1 through 5             the state is on disk: the log begins after 5
wait 100ms / sleep 100ms        time passes with all timers / with none
together 2 ... end              2's events in between are gathered into one drain
expect WHAT WHO...: VALUE       see `expectations.py`
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raycons.config import RaftSettings
from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import Entry, EntryId, EntryKind, HardState, Refusal
from raycons.consensus.quorum import ReplicaId

from .disk import Image
from .expectations import Expectations
from .shown import kind, show_message
from .world import Link, World


def milliseconds(text: str) -> float:
    assert text.endswith("ms"), f"{text}: write times as 100ms"
    return float(text[:-2]) / 1000


def parse_entries(words: list[str]) -> tuple[Entry, ...]:
    """`a@1 -@2`: entries from index 1 on."""
    found = []
    for index, word in enumerate(words, 1):
        data, term = word.split("@")
        entry_kind = EntryKind.NOOP if data == "-" else EntryKind.COMMAND
        payload = b"" if data == "-" else data.encode()
        found.append(Entry(index, int(term), entry_kind, 0, 1, index, payload))
    return tuple(found)


class Run:
    """One scenario under way."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.software: dict[ReplicaId, int] = {}
        self.reads: dict[str, tuple[ReplicaId, int]] = {}
        self.kept: dict[str, Any] = {}
        self.images: dict[ReplicaId, Image] = {}
        self.answer = "none"
        self._world: World | None = None
        self.expectations = Expectations(self)

    @property
    def world(self) -> World:
        assert self._world is not None, "begin with `cluster`"
        return self._world

    def line(self, text: str) -> None:
        """Carry out one line."""
        name, *words = text.split()
        if name == "expect":
            self.expect(text.removeprefix("expect").strip())
            return
        order: Callable[[list[str]], None] | None = getattr(self, f"do_{name}", None)
        assert order is not None, f"no such order: {name}"
        order(words)

    def expect(self, text: str) -> None:
        head, _, wanted = text.partition(": ")
        what, *who = head.split()
        look: Callable[[str], str] | None = getattr(self.expectations, what, None)
        assert look is not None, f"nothing called {what} can be expected"
        for each in who or [""]:
            found = look(each)
            assert found == " ".join(wanted.split()), f"{what} {each} is: {found}"

    # --- the group --------------------------------------------------------------------------------

    def do_set(self, words: list[str]) -> None:
        for word in words:
            name, value = word.split("=")
            self.settings[name] = type(getattr(RaftSettings(), name))(value)

    def do_cluster(self, words: list[str]) -> None:
        size = int(words[0])
        lease_s = milliseconds(words[2]) if words[1:2] == ["lease"] else 0.0
        peers = tuple(Peer(id, 100 + id, Role.VOTER) for id in range(1, size + 1))
        configuration = Configuration(peers, next_id=size + 1, lease_s=lease_s)
        self._world = World(configuration, RaftSettings(**self.settings), self.software)
        for peer in peers:
            self.world.add(peer.id, Image(EntryId(0, 0), 0, (), configuration, 0))

    def do_software(self, words: list[str]) -> None:
        *who, _, version = words
        self.software.update((int(word), int(version)) for word in who)

    def do_joiner(self, words: list[str]) -> None:
        nobody = Configuration((), next_id=0)
        self.world.add(int(words[0]), Image(EntryId(0, 0), 0, (), nobody, 0))

    def do_given(self, words: list[str]) -> None:
        id, at = int(words[0]), words.index("log")
        fields = dict(zip(words[1:at:2], map(int, words[2:at:2]), strict=True))
        image = Image(
            EntryId(0, 0),
            0,
            (),
            self.world.configuration,
            0,
            HardState(fields.get("term", 0), fields.get("vote", 0)),
            parse_entries(words[at + 1 :]),
        )
        del self.world.nodes[id]
        self.world.add(id, image)

    def do_crash(self, words: list[str]) -> None:
        for word in words:
            self.world.crash(int(word))

    def do_restart(self, words: list[str]) -> None:
        for word in words:
            self.world.start(int(word))

    def do_pause(self, words: list[str]) -> None:
        self.world.paused.update(map(int, words))

    def do_resume(self, words: list[str]) -> None:
        self.world.paused.difference_update(map(int, words))

    # --- disks ------------------------------------------------------------------------------------

    def do_disk(self, words: list[str]) -> None:
        *who, how = words
        for word in who:
            self.world.nodes[int(word)].disk.held = {"held": True, "free": False}[how]
            if how == "free":
                self.world.drain(int(word))

    def do_sync(self, words: list[str]) -> None:
        id = int(words[0])
        self.world.sync(id, int(words[1]) if words[1:] else 1000)
        self.world.drain(id)

    def do_remember(self, words: list[str]) -> None:
        self.images[int(words[0])] = self.world.nodes[int(words[0])].disk.durable

    def do_forget(self, words: list[str]) -> None:
        node = self.world.nodes[int(words[0])]
        assert node.replica is None, "a disk is replaced while its replica is down"
        node.disk.durable = self.images[node.id]

    def do_compact(self, words: list[str]) -> None:
        self.world.compact(int(words[0]), int(words[2]))

    # --- time -------------------------------------------------------------------------------------

    def do_timeout(self, words: list[str]) -> None:
        for word in words:
            self.world.fire(int(word))

    do_heartbeat = do_timeout

    def do_wait(self, words: list[str]) -> None:
        self.world.wait(milliseconds(words[0]))

    def do_sleep(self, words: list[str]) -> None:
        self.world.now += milliseconds(words[0])

    def do_tick(self, words: list[str]) -> None:
        self.world.tick(int(words[0]))

    def do_elect(self, words: list[str]) -> None:
        id = int(words[0])
        for _ in range(4):
            if self.world.replica(id).role == "leader":
                break
            self.world.fire(id)
            self.world.settle()
        assert self.world.replica(id).role == "leader", f"{id} is {self.world.replica(id).role}"

    # --- what is asked of replicas ----------------------------------------------------------------

    def do_propose(self, words: list[str]) -> None:
        id = int(words[0])
        for word in words[1:]:
            data, _, times = word.partition("*")
            payload = data.encode() * int(times or 1)
            self._answered(self.world.replica(id).propose(payload, 0, 1, self.world.now))
        self.world.drain(id)

    def do_read(self, words: list[str]) -> None:
        id, context = int(words[0]), len(self.reads) + 1
        for name in words[1:]:
            self.reads[name] = (id, context)
            self.world.replica(id).read(context, self.world.now)
            context += 1
        self.world.drain(id)

    def do_change(self, words: list[str]) -> None:
        """`change 1 reserve`, `add 4`, `join 4 [replaces 3]`, `remove 3`, `[based on 7]`."""
        replica = self.world.replica(int(words[0]))
        based_on = replica.configuration_index
        if "based" in words:
            based_on = int(words[-1])
            words = words[: words.index("based")]

        def change(configuration: Configuration) -> Configuration:
            match words[1:]:
                case ["reserve"]:
                    return membership.reserve(configuration)
                case ["add", id]:
                    return membership.add(configuration, Peer(int(id), 100, Role.LEARNER))
                case ["join", id]:
                    return membership.add(configuration, Peer(int(id), 100, Role.JOINING))
                case ["join", id, "replaces", other]:
                    joiner = Peer(int(id), 100, Role.JOINING, replaces=int(other))
                    return membership.add(configuration, joiner)
                case ["remove", id]:
                    return membership.remove(configuration, int(id))
            raise AssertionError(f"no such change: {words}")

        try:
            self._answered(replica.propose_change(change, based_on, self.world.now))
        except membership.BadChange as error:
            self.answer = error.code
        self.world.drain(replica.id)

    def do_transfer(self, words: list[str]) -> None:
        id, to = int(words[0]), int(words[2])
        self._answered(self.world.replica(id).transfer(to, self.world.now))
        self.world.drain(id)

    def _answered(self, outcome: EntryId | Refusal | None) -> None:
        match outcome:
            case Refusal():
                self.answer = outcome.reason
            case EntryId():
                self.answer = f"{outcome.index}@{outcome.term}"
            case None:
                self.answer = "under way"

    def do_together(self, words: list[str]) -> None:
        self.world.together = int(words[0])

    def do_end(self, words: list[str]) -> None:
        id, self.world.together = self.world.together, 0
        self.world.drain(id)

    # --- the network ------------------------------------------------------------------------------

    def links(self, text: str) -> list[Link]:
        """`1->2`; `*` stands for everyone else."""
        left, right = text.split("->")
        ids = sorted(self.world.nodes)
        senders = ids if left == "*" else [int(left)]
        receivers = ids if right == "*" else [int(right)]
        return [(a, b) for a in senders for b in receivers if a != b]

    def _take(self, words: list[str]) -> tuple[Link, list[Any]]:
        """Remove from a link what the words choose."""
        (link,) = self.links(words[0])
        queue = self.world.queue(link)
        if words[1:] and not words[1].isdigit():
            wanted = next((each for each in queue if kind(each) == words[1]), None)
            assert wanted is not None, f"no {words[1]} among: {list(map(show_message, queue))}"
            queue.remove(wanted)
            return link, [wanted]
        count = int(words[1]) if words[1:] else len(queue)
        assert count <= len(queue), f"only {len(queue)} messages are in flight"
        return link, [queue.popleft() for _ in range(count)]

    def do_settle(self, words: list[str]) -> None:
        self.world.settle()

    def do_deliver(self, words: list[str]) -> None:
        for pair in self.links(words[0]):
            text = f"{pair[0]}->{pair[1]}"
            link, messages = self._take([text, *words[1:]])
            for message in messages:
                self.world.deliver(link, message)

    def do_drop(self, words: list[str]) -> None:
        for pair in self.links(words[0]):
            self._take([f"{pair[0]}->{pair[1]}", *words[1:]])

    def do_duplicate(self, words: list[str]) -> None:
        link, messages = self._take(words)
        self.world.queue(link).extendleft(reversed(messages + messages))

    def do_keep(self, words: list[str]) -> None:
        """`keep old 1->2 append`: take a message from its link, to be replayed later."""
        _, messages = self._take(words[1:])
        (self.kept[words[0]],) = messages

    def do_replay(self, words: list[str]) -> None:
        (link,) = self.links(words[1])
        self.world.deliver(link, self.kept[words[0]])

    def do_hold(self, words: list[str]) -> None:
        self.world.held.update(link for word in words for link in self.links(word))

    def do_release(self, words: list[str]) -> None:
        self.world.held.difference_update(link for word in words for link in self.links(word))

    def do_partition(self, words: list[str]) -> None:
        sides = [list(map(int, side.split())) for side in " ".join(words).split("|")]
        self.world.cut.clear()
        for side in sides:
            for other in sides:
                if side is not other:
                    self.world.cut.update((a, b) for a in side for b in other)
        for link in self.world.cut:
            self.world.queue(link).clear()

    def do_cut(self, words: list[str]) -> None:
        """`cut 1->2`: one way only."""
        for link in [link for word in words for link in self.links(word)]:
            self.world.cut.add(link)
            self.world.queue(link).clear()

    def do_heal(self, words: list[str]) -> None:
        self.world.cut.clear()

    def do_disconnected(self, words: list[str]) -> None:
        id = int(words[0])
        self.world.replica(id).connection_lost(int(words[2]), self.world.now)
        self.world.drain(id)

    def do_reset(self, words: list[str]) -> None:
        self.world.delivered.clear()


def run_scenario(path: Path) -> None:
    """Run one file; a failure names the line."""
    run = Run()
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text = raw.partition("#")[0].strip()
        if not text:
            continue
        try:
            run.line(text)
        except Exception as error:
            raise AssertionError(f"{path.name}:{number}: {text}\n    {error}") from error
