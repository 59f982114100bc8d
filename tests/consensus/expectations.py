"""What a scenario can expect: `expect WHAT WHO...: VALUE`, one method for each WHAT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raycons.consensus.contract import Entry

from .shown import show_configuration, show_entries, show_message
from .world import FAILED

if TYPE_CHECKING:
    from .runner import Run


class Expectations:
    """What can be expected: each gives a text for what it is asked about."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def log(self, who: str) -> str:
        """All entries after the base: `-@1 a@1 {1 2 3 | 1 2}@2`."""
        log = self.run.world.replica(int(who)).log
        if log.last_index == log.base.index:
            return "empty"
        found: list[Entry] = []
        while log.base.index + len(found) < log.last_index:
            found += log.slice(log.base.index + len(found) + 1, log.last_index, 1 << 20)
        return show_entries(found)

    def disk(self, who: str) -> str:
        """The entries that a crash would leave."""
        return show_entries(self.run.world.nodes[int(who)].disk.durable.entries) or "empty"

    def base(self, who: str) -> str:
        base = self.run.world.replica(int(who)).log.base
        return f"{base.index}@{base.term}"

    def term(self, who: str) -> str:
        return str(self.run.world.replica(int(who)).term)

    def vote(self, who: str) -> str:
        return str(self.run.world.replica(int(who)).vote or "nobody")

    def role(self, who: str) -> str:
        return self.run.world.replica(int(who)).role

    def pace(self, who: str) -> str:
        """How many intervals lie between heartbeats, as the leader does it and followers know."""
        return str(self.run.world.replica(int(who)).pace)

    def leader(self, who: str) -> str:
        """Whom a replica believes to lead."""
        return str(self.run.world.replica(int(who)).leader or "unknown")

    def commit(self, who: str) -> str:
        return str(self.run.world.replica(int(who)).commit)

    def applied(self, who: str) -> str:
        """The commands that the machine of a replica holds."""
        return " ".join(data for _, data in self.run.world.nodes[int(who)].applied) or "nothing"

    def configuration(self, who: str) -> str:
        return show_configuration(self.run.world.replica(int(who)).configuration)

    def retired(self, who: str) -> str:
        return "yes" if self.run.world.replica(int(who)).retired else "no"

    def version(self, who: str) -> str:
        """The group's version, as a replica's log has it."""
        return str(self.run.world.replica(int(who)).configuration.version)

    def outdated(self, who: str) -> str:
        """`no`, or `2 above 1`: the group's version and the newest that the replica handles."""
        return self.run.world.nodes[int(who)].outdated or "no"

    def lease(self, who: str) -> str:
        replica = self.run.world.replica(int(who))
        holds = replica.role == "leader" and replica.lease_holds(self.run.world.now)
        return "holds" if holds else "none"

    def progress(self, link: str) -> str:
        """`replicate match 3 next 4`: what the leader knows of a follower."""
        leader, follower = self.run.links(link)[0]
        progress = self.run.world.replica(leader).progress[follower]
        return f"{progress.mode.value} match {progress.match} next {progress.next}"

    def messages(self, link: str) -> str:
        """What is in flight, oldest first: `appended 3; heartbeatreply last 3`."""
        queue = self.run.world.queue(self.run.links(link)[0])
        return "; ".join(map(show_message, queue)) or "none"

    def count(self, what: str) -> str:
        """How many messages of a kind were delivered since `reset counts`: `append/1->2`."""
        name, link = what.split("/")
        delivered = self.run.world.delivered
        return str(sum(delivered[each, name] for each in self.run.links(link)))

    def read(self, name: str) -> str:
        """`waiting`, `failed` or `ready 5`."""
        who, context = self.run.reads[name]
        node = self.run.world.nodes[who]
        index = node.reads.get(context)
        if index is None or index > node.applied_last.index:
            return "waiting"
        return "failed" if index == FAILED else f"ready {index}"

    def answer(self, _: str) -> str:
        """What became of the last proposal, change or transfer: `5@2` or why it was refused."""
        return self.run.answer
