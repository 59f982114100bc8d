"""Linearizable reads without a slot of their own: by a quorum, and by leases on request.

Quorum reads: the leader notes what is chosen, and a quorum of phase 2 confirms that it has promised
nobody above. Such a quorum meets every quorum of phase 1, so nobody led when the question was sent
who could have chosen more. All reads that wait share one round. A follower asks its leader for the
slot and serves the read itself. None before all that earlier leaders may have got chosen is known.

Leases: each acceptor promises with its answer to promise nobody for a while, on its own clock; the
leader counts from when it *sent* the question, less a margin for drift, and answers at once while a
quorum's promises hold. A leader that ever told somebody to campaign reads by no lease any more.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import NamedTuple

from raycons.config import RaftSettings
from raycons.consensus.contract import ReadContext, ReadFailed, ReadReady
from raycons.consensus.messages import ReadIndex, ReadIndexReply
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.learning import Learning
from raycons.consensus.paxos.multipaxos.messages import HeartbeatReply
from raycons.consensus.paxos.multipaxos.progress import Progress
from raycons.consensus.quorum import Index, ReplicaId


class Remote(NamedTuple):
    """A read that a follower asked us an index for."""

    follower: ReplicaId
    context: int


class Round(NamedTuple):
    """Reads that wait for a quorum to confirm a heartbeat round."""

    number: int
    read_at: Index
    reads: list[ReadContext | Remote]


class Asked(NamedTuple):
    """Reads that wait for the leader's answer."""

    reads: list[ReadContext]
    deadline: float


class Reads(Learning):
    """The duty of reading what nobody can have replaced."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.waiting_reads: list[ReadContext | Remote] = []  # for the next round
        self.rounds: deque[Round] = deque()
        self.rounds_sent: deque[tuple[int, float]] = deque(maxlen=64)
        self.asking: list[ReadContext] = []  # to be asked of the leader with the next drain
        self.asked: dict[int, Asked] = {}
        # Never the same after a restart, so that no late answer is taken for a new one.
        self.next_question = random.getrandbits(48)

    # --- beginning --------------------------------------------------------------------------------

    def read(self, context: ReadContext, now: float) -> None:
        """Ask for a linearizable read; see the contract."""
        if self.role == "leader":
            self._read_as_leader(context, now)
        elif self.leader and self.role == "follower":
            self.asking.append(context)
        else:
            self.emit(ReadFailed(context, "no leader is known"))

    def receive_read_index(self, sender: ReplicaId, message: ReadIndex, now: float) -> None:
        """A follower wants to serve a read."""
        if self.role == "leader":
            self._read_as_leader(Remote(sender, message.context), now)
        else:
            self.reply(sender, ReadIndexReply(self.term, message.context, 0))

    def _read_as_leader(self, read: ReadContext | Remote, now: float) -> None:
        if self.lease_holds(now):
            self._ready([read], self.commit)
        else:
            self.waiting_reads.append(read)

    def lease_holds(self, now: float) -> bool:
        """Whether a quorum's promises hold now, and we know what earlier leaders got chosen."""
        if not self.lease_s or self.released or self.commit < self.term_start:
            return False
        bound = {id for id, progress in self.progress.items() if now < progress.promised_until}
        return self.chosen_by(bound | {self.id})  # we promise nobody else while we lead

    def begin_read_round(self, now: float) -> None:
        """Called with each drain: one round for all reads that wait, one round at a time."""
        if not self.waiting_reads or self.rounds or self.commit < self.term_start:
            return
        reads, self.waiting_reads = self.waiting_reads, []
        self.rounds.append(Round(self.round + 1, self.commit, reads))
        self.send_heartbeats(now)
        self._finish_rounds()  # a lone acceptor needs nobody

    def ask_leader(self, now: float) -> None:
        """Called with each drain: one question for all reads that came since the last."""
        if not self.asking:
            return
        self.next_question += 1
        deadline = now + self.settings.election_timeout_s
        self.asked[self.next_question] = Asked(self.asking, deadline)
        self.reply(self.leader, ReadIndex(self.term, self.next_question))
        self.asking = []

    # --- ending -----------------------------------------------------------------------------------

    def round_sent(self, now: float) -> None:
        """A round begins: leases are counted from here."""
        if self.lease_s:
            self.rounds_sent.append((self.round, now))

    def round_confirmed(self, progress: Progress, message: HeartbeatReply, now: float) -> None:
        """A peer echoed a round; its promise, if any, runs from when we sent that round."""
        progress.acked_round = max(progress.acked_round, message.round)
        if message.promise_s:
            for number, sent_at in reversed(self.rounds_sent):
                if number == message.round:
                    until = sent_at + message.promise_s * (1 - self.settings.lease_margin)
                    progress.promised_until = max(progress.promised_until, until)
                    break
        if self.rounds:
            self._finish_rounds()

    def _finish_rounds(self) -> None:
        while self.rounds:
            number = self.rounds[0].number
            confirmed = {
                id for id, progress in self.progress.items() if progress.acked_round >= number
            }
            if not self.chosen_by(confirmed | {self.id}):
                return
            done = self.rounds.popleft()
            self._ready(done.reads, done.read_at)

    def _ready(self, reads: list[ReadContext | Remote], index: Index) -> None:
        for read in reads:
            if isinstance(read, Remote):
                self.reply(read.follower, ReadIndexReply(self.term, read.context, index))
            else:
                self.emit(ReadReady(read, index))

    def receive_read_index_reply(
        self, sender: ReplicaId, message: ReadIndexReply, now: float
    ) -> None:
        """The leader named the index to read at, or 0: it leads no more."""
        asked = self.asked.pop(message.context, None)
        if asked is not None:
            for read in asked.reads:
                if message.index:
                    self.emit(ReadReady(read, message.index))
                else:
                    self.emit(ReadFailed(read, f"replica {sender} does not lead"))

    def give_up_old_questions(self, now: float) -> None:
        """The question or its answer got lost: let the client choose what to do."""
        for context in [c for c, asked in self.asked.items() if asked.deadline <= now]:
            for read in self.asked.pop(context).reads:
                self.emit(ReadFailed(read, "the leader did not answer"))

    def leader_changed(self) -> None:
        """Nothing that waits will be confirmed by the leader it was asked of."""
        super().leader_changed()
        if self.role == "leader":
            pending: list[ReadContext | Remote] = []
        else:
            pending = [read for round in self.rounds for read in round.reads]
            pending += self.waiting_reads
            self.rounds.clear()
            self.waiting_reads = []
        for read in pending:
            if isinstance(read, Remote):
                self.reply(read.follower, ReadIndexReply(self.term, read.context, 0))
            else:
                self.emit(ReadFailed(read, "leadership was lost"))
        for asked in self.asked.values():
            self.asking += asked.reads
        self.asked.clear()
        for read in self.asking:
            self.emit(ReadFailed(read, "the leader changed"))
        self.asking = []
