"""One key as a value that knows by itself what was done to it: a register without a log.

There is no session table where there is no log. So each register remembers, with its value, what
clients it answered and how: a request that comes again, by whatever way, is answered as before.

    value       what the client put, or nothing: then the record is a tombstone
    revision    of the last change; it rises with every change of the key, even beyond its erasure
    sessions    of each client that changed it lately: the mark below which it asks nothing again,
                and the answers from there up
    forgotten   the highest session that had to go for want of room

Session numbers rise: a session that is opened has a higher one than all that its member heard of
being forgotten. So a request of a session that the register does not know, and that is not above
`forgotten`, may be one that was carried out, and is refused: nothing is done, and nothing is
certain about the past (`Failure.FORGOTTEN`). Its client goes on under a new session. A register
that nobody knows stands for one that was erased with the highest session of all that ever were.

Pure, and independent of the protocol: `Registry` is a transition of `consensus.paxos.caspaxos`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from raycons.config import RegisterSettings
from raycons.machines.kv.commands import (
    FORGOTTEN,
    Delete,
    DeleteDone,
    Failed,
    Failure,
    KeyValue,
    Operation,
    Put,
    PutDone,
    Range,
    RangeDone,
    Result,
    Swap,
    SwapDone,
)
from raycons.machines.kv.settings import KeyValueSettings, refused_pair, refused_span

REMEDY = (
    'protocol="caspaxos" keeps each key by itself, without a log; start the cluster with '
    'protocol="raft" or protocol="multipaxos" for this'
)


class Remembered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An answer that may be asked for again."""

    number: int  # of the client's frame
    place: int  # of the operation in it
    answer: msgspec.Raw


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What a register remembers of one client."""

    id: int
    mark: int  # the client asks no more about numbers below
    answers: tuple[Remembered, ...]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A register's bytes."""

    value: bytes | None = None  # None: the key is absent
    revision: int = 0
    created: int = 0  # the revision that made the key what it is not absent since
    version: int = 0  # changes since then
    sessions: tuple[Session, ...] = ()  # by id
    forgotten: int = 0


class Request(NamedTuple):
    """One operation on a key, and what tells it from all others."""

    operation: Operation
    session: int  # 0: a read, which can be repeated
    number: int
    place: int
    acknowledged: int
    token: Any = None  # whose it is; nothing to the register


class Settle(NamedTuple):
    """Put the register where it must be before it is erased, or its members change.

    Changes nothing. `token` says whose request it is, which is nothing to the register.
    """

    token: str


class Settled(NamedTuple):
    """What there was to settle; see `consensus.paxos.caspaxos.collection`."""

    deleted: bool
    stamp: int
    round: int


class Changed(NamedTuple):
    """A register's new bytes, and what is to be told once they are chosen."""

    value: bytes
    deleted: bool
    outcomes: Sequence[Result | Settled]


_decode = msgspec.msgpack.Decoder(Record).decode
_decode_result: Callable[[bytes], Result] = msgspec.msgpack.Decoder(Result).decode
_encode = msgspec.msgpack.Encoder().encode


class Registry:
    """What operations do to a register's bytes. `highest` is the highest stamp that was seen."""

    def __init__(self, settings: KeyValueSettings, bounds: RegisterSettings) -> None:
        self._settings = settings
        self._bounds = bounds
        self.highest = 0

    def change(
        self, value: bytes, erased: int, round: int, requests: Sequence[Request | Settle]
    ) -> Changed:
        """Carry out `requests`, in order, on the register `value` (empty: nobody knows it).

        `erased` is the highest stamp of registers that were erased; `round` is that of the ballot,
        above all that changed this key before.
        """
        draft = _Draft(_decode(value) if value else Record(forgotten=erased), round)
        outcomes: list[Result | Settled] = []
        for request in requests:
            if isinstance(request, Settle):
                outcomes.append(draft.settle())
            elif request.session == 0:
                outcomes.append(draft.read(request.operation))
            else:
                outcomes.append(self._once(draft, request))
        draft.forget(self._bounds)
        self.highest = max(self.highest, draft.forgotten)
        return Changed(draft.encode(), draft.value is None, outcomes)

    def look(self, value: bytes, requests: Sequence[Request]) -> Sequence[Result]:
        """What reads find in the register `value`."""
        draft = _Draft(_decode(value) if value else Record(), 0)
        return [draft.read(request.operation) for request in requests]

    def refusal(self, operation: Operation) -> Failed | None:
        """Why an operation is none for a register, or breaks a rule; None: it does not."""
        match operation:
            case Range(_, end, _, revision):
                if end is not None:
                    return _unsupported("a range of keys")
                if revision:
                    return _unsupported("a read at an older revision")
                return refused_span(operation.key, None)
            case Put(key, value):
                return refused_pair(self._settings, key, value)
            case Swap(key, _, value):
                return refused_pair(self._settings, key, value)
            case Delete(key, end):
                if end is not None:
                    return _unsupported("the deletion of a range of keys")
                return refused_span(key, None)
            case _:
                return _unsupported(_NAMES.get(type(operation).__name__, "this operation"))

    def _once(self, draft: _Draft, request: Request) -> Result:
        """Carry out the request unless that was done, or may have been."""
        mark, answers = draft.sessions.get(request.session, (0, {}))
        known = answers.get((request.number, request.place))
        if known is not None:
            return _decode_result(known)
        if request.number < mark or (not mark and request.session <= draft.forgotten):
            return FORGOTTEN
        result = draft.carry_out(request.operation)
        draft.remember(request, _encode(result))
        return result


class _Draft:
    """A record under change."""

    def __init__(self, record: Record, round: int) -> None:
        self.value = record.value
        self.revision = record.revision
        self.created = record.created
        self.version = record.version
        self.forgotten = record.forgotten
        self.sessions: dict[int, tuple[int, dict[tuple[int, int], bytes]]] = {
            session.id: (
                session.mark,
                {(one.number, one.place): bytes(one.answer) for one in session.answers},
            )
            for session in record.sessions
        }
        self._round = round

    def carry_out(self, operation: Operation) -> Result:
        match operation:
            case Put(_, value):
                self._set(value)
                return PutDone(self.revision)
            case Swap(_, expect, value):
                if self.value != expect:
                    return SwapDone(self.revision, False, self.value)
                self._set(value)
                return SwapDone(self.revision, True, None)
            case Delete():
                if self.value is None:
                    return DeleteDone(self.revision, 0)
                self._set(None)
                return DeleteDone(self.revision, 1)
            case _:
                return self.read(operation)

    def _set(self, value: bytes | None) -> None:
        # Rounds go on rising where a register was erased, and with them revisions.
        self.revision = max(self.revision + 1, self._round)
        if self.value is None:
            self.created, self.version = self.revision, 0
        self.version += 1
        self.value = value
        if value is None:
            self.created = self.version = 0

    def read(self, operation: Operation) -> Result:
        assert isinstance(operation, Range)
        if self.value is None:
            return RangeDone(self.revision, (), 0, False)
        if operation.count_only:
            return RangeDone(self.revision, (), 1, False)
        value = None if operation.keys_only else self.value
        pair = KeyValue(operation.key, value, self.created, self.revision, self.version)
        return RangeDone(self.revision, (pair,), 1, False)

    def remember(self, request: Request, answer: bytes) -> None:
        mark, answers = self.sessions.get(request.session, (0, {}))
        mark = max(mark, request.acknowledged, 1)
        answers = {place: known for place, known in answers.items() if place[0] >= mark}
        answers[request.number, request.place] = answer
        self.sessions[request.session] = mark, answers

    def forget(self, bounds: RegisterSettings) -> None:
        """Make room, by the oldest sessions."""
        sizes = {id: sum(map(len, answers.values())) for id, (_, answers) in self.sessions.items()}
        size = sum(sizes.values())
        for id in sorted(sizes):
            if len(self.sessions) <= bounds.max_sessions and size <= bounds.max_answer_bytes:
                return
            del self.sessions[id]
            size -= sizes[id]
            self.forgotten = max(self.forgotten, id)

    def settle(self) -> Settled:
        stamp = max(self.forgotten, *self.sessions) if self.sessions else self.forgotten
        return Settled(self.value is None, stamp, self.revision)

    def encode(self) -> bytes:
        sessions = tuple(
            Session(
                id,
                mark,
                tuple(
                    Remembered(number, place, msgspec.Raw(answer))
                    for (number, place), answer in answers.items()
                ),
            )
            for id, (mark, answers) in sorted(self.sessions.items())
        )
        record = Record(
            self.value, self.revision, self.created, self.version, sessions, self.forgotten
        )
        return _encode(record)


_NAMES = {"Txn": "a transaction", "Compact": "a compaction", "Sweep": "a compaction"}


def _unsupported(what: str) -> Failed:
    return Failed(Failure.UNSUPPORTED, 0, f"{what} is not possible in this cluster: {REMEDY}")
