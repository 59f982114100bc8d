"""The key-value machine against a naive model that keeps every revision whole."""

from __future__ import annotations

from unittest.mock import patch

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raycons.machines.contract import Command, Table
from raycons.machines.kv import KeyValueMachine, KeyValueSettings, keys, records, undo, versions
from raycons.machines.kv.commands import (
    Compact,
    Compare,
    Delete,
    Failed,
    Operation,
    Put,
    Queries,
    Range,
    Relation,
    Result,
    Results,
    Swap,
    Sweep,
    SweepDone,
    Target,
    Txn,
)

from .dict_state import DictState, live_rows, rows
from .reference import Reference

# Few keys, so that they meet often; with the bytes that a wrong order or escape would confuse.
user_keys = st.sampled_from(
    [b"a", b"a\0", b"a\0\0", b"a\0\1", b"a\0\xff", b"a\1", b"ab", b"b", b"\0", b"\xff", b"\xff\xff"]
)
ends = st.none() | st.just(b"") | user_keys
values = st.sampled_from([b"", b"x", b"y", b"long" * 20])
revisions = st.integers(0, 40)

puts = st.builds(Put, user_keys, values)
deletes = st.builds(Delete, user_keys | st.just(b""), ends).filter(
    lambda d: d.key or d.end is not None
)
ranges = st.builds(
    Range,
    user_keys | st.just(b""),
    ends,
    limit=st.integers(0, 3),
    revision=st.just(0) | revisions,
    keys_only=st.booleans(),
    count_only=st.booleans(),
    descending=st.booleans(),
    uncounted=st.booleans(),
).filter(lambda r: r.key or r.end is not None)
compares = st.builds(
    Compare,
    user_keys,
    st.just(Target.VALUE),
    st.sampled_from(Relation),
    st.none() | values,
) | st.builds(
    Compare,
    user_keys,
    st.sampled_from([Target.VERSION, Target.CREATE_REVISION, Target.MOD_REVISION]),
    st.sampled_from(Relation),
    st.integers(0, 4),
)
branches = st.lists(puts | deletes | ranges, max_size=4).map(tuple)
txns = st.builds(Txn, st.lists(compares, max_size=2).map(tuple), branches, branches)
swaps = st.builds(Swap, user_keys, st.none() | values, values)
operations: st.SearchStrategy[Operation] = (
    puts
    | puts
    | deletes
    | ranges
    | swaps
    | txns
    | st.builds(Compact, revisions)
    | st.builds(Sweep, st.integers(1, 3))
)


def without_message(result: Result) -> Result:
    if isinstance(result, Failed):
        return msgspec.structs.replace(result, message="")
    return result


class AgainstReference(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = DictState()
        self.machine = KeyValueMachine(self.state)
        self.machine.load()
        self.reference = Reference()
        self.index = 0

    @rule(batch=st.lists(operations, min_size=1, max_size=6))
    def apply(self, batch: list[Operation]) -> None:
        self.index += 1
        data = msgspec.msgpack.encode(batch)
        answer = self.machine.apply(Command(self.index, 1, 0, 1, data))
        results = msgspec.msgpack.decode(answer, type=Results)
        for operation, result in zip(batch, results, strict=True):
            expected = self.reference.do(operation)
            if expected is None:
                assert isinstance(result, SweepDone)
            else:
                assert without_message(result) == expected

    @rule(batch=st.lists(ranges, min_size=1, max_size=4))
    def query(self, batch: list[Range]) -> None:
        before = rows(self.state)
        answer = self.machine.query(msgspec.msgpack.encode(batch))
        results = msgspec.msgpack.decode(answer, type=Results)
        assert [without_message(r) for r in results] == [self.reference.do(r) for r in batch]
        assert rows(self.state) == before

    @rule()
    def restart(self) -> None:
        self.machine = KeyValueMachine(self.state)
        self.machine.load()

    @rule()
    def sweep_it_all(self) -> None:
        for _ in range(1000):
            body = self.machine.due(0)
            if body is None:
                break
            self.index += 1
            self.machine.apply(Command(self.index, 1, 0, 1, body))
        assert self.machine.due(0) is None
        # A page that is half dead is left, with the dead landmarks that its items set.
        live = self.machine.liveness()
        named = {
            undo.landmark_of(item)
            for table, stored_key, page in rows(self.state)
            if table is Table.HISTORY and stored_key.startswith(keys.PAGE)
            for item in undo.items_of(page)
        }
        dead = {key for table, key, value in rows(self.state) if not live(table, key, value)}
        assert dead - named <= {keys.SWEEP}

    @invariant()
    def every_readable_revision_is_as_it_was(self) -> None:
        readable = range(max(self.reference.compacted, 1), self.reference.revision + 1)
        queries: Queries = tuple(Range(b"", b"", revision=r) for r in readable)
        answer = self.machine.query(msgspec.msgpack.encode(queries))
        results = msgspec.msgpack.decode(answer, type=Results)
        assert list(results) == [self.reference.do(query) for query in queries]


AgainstReference.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, derandomize=True
)


class TestAgainstReference(AgainstReference.TestCase):  # type: ignore[misc,valid-type]
    """With pages as they are."""


class TestWithSmallPages(AgainstReference.TestCase):  # type: ignore[misc,valid-type]
    """With pages of two items, so that a command, and a revision, has several; more landmarks."""

    def setUp(self) -> None:
        small = (
            (undo, "PAGE_ITEMS", 2),
            (undo, "_NEAR_PAGES", 1),
            (records, "MILESTONE", 2),
            (versions, "MILESTONE", 2),
        )
        for module, name, value in small:
            patched = patch.object(module, name, value)
            patched.start()
            self.addCleanup(patched.stop)
        super().setUp()


@given(
    st.lists(operations.filter(lambda op: not isinstance(op, Sweep)), max_size=30),
    st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_live_state_is_the_same_whatever_the_sweeps(
    batch: list[Operation], sweeps: list[int]
) -> None:
    swept, unswept = DictState(), DictState()
    one = KeyValueMachine(swept, KeyValueSettings(sweep_records=2))
    other = KeyValueMachine(unswept)
    for index, operation in enumerate(batch):
        command = Command(index, 1, 0, 1, msgspec.msgpack.encode((operation,)))
        assert one.apply(command) == other.apply(command)
        for _ in range(sweeps[index]):
            one.apply(command._replace(data=msgspec.msgpack.encode((Sweep(2),))))
        assert live_rows(swept, one) == live_rows(unswept, other)
