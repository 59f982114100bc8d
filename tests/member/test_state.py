"""The write-behind state: a dict to its machines, whole entries in the store, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycons.machines.contract import Table
from raycons.member.state import Digest, Staging, WriteBehindState, state_prefix, sweep
from raycons.member.state_view import SLICE_BYTES, SLICE_RECORDS
from raycons.store.contract import Batch, Space, Store
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore

GROUP, GENERATION = 7, 1
HEADER_KEY = b"header"
LAST = b"\xff" * 4
CURRENT, HISTORY = Table.CURRENT, Table.HISTORY


def header(index: int, term: int, time_us: int) -> bytes:
    return msgspec.msgpack.encode((index, term))


def stored_header(store: Store) -> tuple[int, int]:
    raw = store.get(Space.META, HEADER_KEY)
    return (0, 0) if raw is None else msgspec.msgpack.decode(raw, type=tuple[int, int])


def state_over(
    store: Store, *, chunk_operations: int = 4, cache_bytes: int = 1000
) -> WriteBehindState:
    return WriteBehindState(
        store,
        GROUP,
        GENERATION,
        header_key=HEADER_KEY,
        applied=stored_header(store),
        chunk_operations=chunk_operations,
        cache_bytes=cache_bytes,
    )


def write_all(state: WriteBehindState) -> None:
    while state.write_out(header) is not None:
        pass


@pytest.fixture(params=["memory", "rocks"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "db")
    yield made
    made.close()


def test_what_is_put_is_read_before_and_after_it_is_written(store: Store) -> None:
    state = state_over(store)
    state.put(CURRENT, b"a", b"1")
    state.put(HISTORY, b"a", b"old")
    assert (state.get(CURRENT, b"a"), state.get(HISTORY, b"a")) == (b"1", b"old")
    state.end_entry(1, 1)
    write_all(state)
    for reader in (state, state_over(store)):
        assert (reader.get(CURRENT, b"a"), reader.get(HISTORY, b"a")) == (b"1", b"old")
    assert store.get(Space.CURRENT, state_prefix(GROUP, GENERATION) + b"a") == b"1"


def test_a_scan_merges_what_waits_over_what_is_stored(store: Store) -> None:
    state = state_over(store, chunk_operations=3)
    for index, key in enumerate([b"a", b"c", b"e", b"g", b"i"], 1):
        state.put(CURRENT, key, b"stored")
        state.end_entry(index, 1)
    write_all(state)
    state.put(CURRENT, b"b", b"sealed")
    state.put(CURRENT, b"c", b"sealed")
    state.delete(CURRENT, b"e")
    state.end_entry(6, 1)
    state.put(CURRENT, b"c", b"open")
    state.put(CURRENT, b"h", b"open")
    state.delete(CURRENT, b"b")
    expected = [(b"c", b"open"), (b"g", b"stored"), (b"h", b"open")]
    assert list(state.scan(CURRENT, b"b", b"i")) == expected
    assert list(state.scan(CURRENT, b"b", b"i", reverse=True)) == expected[::-1]
    assert list(state.scan(CURRENT, b"z", b"a")) == []
    assert list(state.scan(HISTORY, b"a", b"z")) == []


def test_a_chunk_ends_where_an_entry_ends(store: Store) -> None:
    state = state_over(store, chunk_operations=4)
    for number in range(3):
        state.put(CURRENT, b"a%d" % number, b"")
    state.end_entry(1, 1)
    assert state.pending_chunks() == 1
    for number in range(30):
        state.put(CURRENT, b"b%d" % number, b"")
    state.end_entry(2, 1)  # far beyond the size of a chunk, and yet in the chunk whole
    state.put(CURRENT, b"c", b"")
    state.end_entry(3, 2)
    assert (state.pending_chunks(), state.pending_operations) == (2, 34)
    assert state.write_out(header) == (2, 1)
    assert (state.applied_in_store, stored_header(store)) == ((2, 1), (2, 1))
    assert state.applied == (3, 2)
    assert state.write_out(header) == (3, 2)
    assert state.write_out(header) is None
    assert (state.pending_chunks(), state.pending_operations, state.pending_bytes) == (0, 0, 0)


def test_large_values_fill_a_chunk_by_their_bytes() -> None:
    state = state_over(MemoryStore(), chunk_operations=1000)
    for index in range(1, 65):
        state.put(CURRENT, b"k%d" % index, bytes(64 * 1024))
        state.end_entry(index, 1)
    assert state.pending_chunks() == 2
    assert state.pending_bytes == sum(64 * 1024 + len(b"k%d" % index) for index in range(1, 65))


def test_entries_that_change_nothing_move_the_header(store: Store) -> None:
    state = state_over(store)
    state.end_entry(5, 2)
    assert state.pending_chunks() == 1
    assert state.write_out(header) == (5, 2)
    assert stored_header(store) == (5, 2)


def test_the_last_put_of_a_key_in_a_chunk_is_the_one_written() -> None:
    written: list[int] = []

    class Counting(MemoryStore):
        def write(self, batch: Batch) -> None:
            written.append(len(batch))
            super().write(batch)

    store = Counting()
    state = state_over(store, chunk_operations=100)
    for number in range(10):
        state.put(CURRENT, b"k", b"%d" % number)
    state.end_entry(1, 1)
    write_all(state)
    assert written == [2]  # the key and the header
    assert state_over(store).get(CURRENT, b"k") == b"9"


def test_cached_state_stays_within_its_bounds() -> None:
    state = state_over(MemoryStore(), chunk_operations=10, cache_bytes=100_000)
    for index in range(1, 2001):
        state.put(CURRENT, b"%06d" % index, bytes(1000))
        state.end_entry(index, 1)
        write_all(state)
    for index in range(1, 2001):
        assert state.get(CURRENT, b"%06d" % index) == bytes(1000)
    held = sum(
        len(key) + len(value or b"")
        for half in (state._young, state._old)
        for key, value in half.items()
    )
    assert 50_000 < held < 100_000


def test_pending_state_outlives_the_cache() -> None:
    state = state_over(MemoryStore(), chunk_operations=2, cache_bytes=500)
    for index in range(1, 101):
        state.put(CURRENT, b"%03d" % index, b"%d" % index)
        state.put(CURRENT, b"%03d" % (index // 2), b"half of %d" % index)
        state.end_entry(index, 1)
    for number in range(1000):
        state.get(CURRENT, b"absent%d" % number)
    assert state.pending_operations == 200
    assert state.get(CURRENT, b"020") == b"half of 41"
    assert state.get(CURRENT, b"100") == b"100"
    assert len(list(state.scan(CURRENT, b"000", b"101"))) == 101


# --- against a model ------------------------------------------------------------------------------

KEYS = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(byte % 5 for byte in raw))
TABLES = st.sampled_from(Table)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), TABLES, KEYS, st.binary(max_size=3)),
        st.tuples(st.just("put"), TABLES, KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), TABLES, KEYS, st.just(b"")),
        st.tuples(st.just("end"), TABLES, KEYS, st.just(b"")),
        st.tuples(st.just("end"), TABLES, KEYS, st.just(b"")),
        st.tuples(st.just("get"), TABLES, KEYS, st.just(b"")),
        st.tuples(st.just("scan"), TABLES, KEYS, KEYS),
        st.tuples(st.just("reverse"), TABLES, KEYS, KEYS),
        st.tuples(st.just("write"), TABLES, KEYS, st.just(b"")),
        st.tuples(st.just("crash"), TABLES, KEYS, st.just(b"")),
    ),
    max_size=80,
)
Content = tuple[dict[bytes, bytes], dict[bytes, bytes]]


@given(STEPS, st.integers(1, 6), st.sampled_from([0, 400, 100_000]))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_it_behaves_like_a_dict_and_a_crash_goes_back_to_a_whole_entry(
    steps: list[tuple[str, Table, bytes, bytes]], chunk_operations: int, cache_bytes: int
) -> None:
    store = MemoryStore()
    state = state_over(store, chunk_operations=chunk_operations, cache_bytes=cache_bytes)
    model: Content = ({}, {})
    index = 0
    after_entry: dict[int, Content] = {0: ({}, {})}
    for what, table, a, b in steps:
        if what == "put":
            state.put(table, a, b)
            model[table][a] = b
        elif what == "delete":
            state.delete(table, a)
            model[table].pop(a, None)
        elif what == "end" or what == "write":
            index += 1
            state.end_entry(index, 1)
            after_entry[index] = (dict(model[0]), dict(model[1]))
            if what == "write":
                wrote = state.write_out(header)
                assert wrote == state.applied_in_store == stored_header(store)
        elif what == "get":
            assert state.get(table, a) == model[table].get(a)
        elif what == "crash":
            index, _ = stored_header(store)
            model = (dict(after_entry[index][0]), dict(after_entry[index][1]))
            state = state_over(store, chunk_operations=chunk_operations, cache_bytes=cache_bytes)
        else:
            inside = sorted((key, value) for key, value in model[table].items() if a <= key < b)
            if what == "reverse":
                inside.reverse()
            assert list(state.scan(table, a, b, reverse=what == "reverse")) == inside
    for table in Table:
        assert dict(state.scan(table, b"", LAST)) == model[table]


# --- views, pieces, staging, digests --------------------------------------------------------------


def filled(store: Store, entries: int = 300) -> WriteBehindState:
    state = state_over(store, chunk_operations=50)
    for index in range(1, entries + 1):
        state.put(CURRENT, b"key%05d" % index, b"v" * (index % 40))
        state.put(HISTORY, b"%05d" % (index % 90), b"h%d" % index)
        state.end_entry(index, 1)
    write_all(state)
    return state


def digest_of(state: WriteBehindState) -> str:
    view = state.view()
    digest = Digest(view, lambda table, key, value: not key.startswith(b"dead"))
    while digest.step(17):
        pass
    view.close()
    return digest.hexdigest()


def test_a_view_is_refused_while_something_waits() -> None:
    state = state_over(MemoryStore())
    state.put(CURRENT, b"a", b"1")
    state.end_entry(1, 1)
    with pytest.raises(AssertionError):
        state.view()


def test_a_state_travels_in_pieces_while_it_changes(store: Store) -> None:
    state = filled(store)
    before = digest_of(state)
    view = state.view()
    pieces = view.pieces(2000)
    received = [next(pieces)]
    for number in range(1, 300, 2):
        state.put(CURRENT, b"key%05d" % number, b"changed")
        state.delete(HISTORY, b"%05d" % number)
    state.end_entry(301, 1)
    write_all(state)
    received += pieces
    view.close()
    assert len(received) > 5
    assert max(map(len, received)) <= 2000

    other = MemoryStore()
    staging = Staging(other, GROUP, GENERATION + 4)
    assert sum(staging.add(piece) for piece in received) == 300 + 90
    installed = WriteBehindState(other, GROUP, GENERATION + 4, header_key=HEADER_KEY)
    assert digest_of(installed) == before
    assert digest_of(state) != before


def test_a_record_larger_than_a_piece_travels_alone() -> None:
    state = state_over(MemoryStore())
    for key, size_bytes in ((b"a", 10), (b"b", 5000), (b"c", 10)):
        state.put(CURRENT, key, bytes(size_bytes))
    state.end_entry(1, 1)
    write_all(state)
    records = [msgspec.msgpack.decode(piece) for piece in state.view().pieces(1000)]
    assert [[key for _, key, _ in piece] for piece in records] == [[b"a"], [b"b"], [b"c"]]


def test_staging_begins_empty_and_is_seen_only_after_the_switch(store: Store) -> None:
    state = filled(store, 20)
    content = dict(state.scan(CURRENT, b"", LAST))
    torn = Staging(store, GROUP, GENERATION + 1)
    torn.add(msgspec.msgpack.encode([(0, b"torn", b"")]))
    whole = Staging(store, GROUP, GENERATION + 1)
    whole.add(msgspec.msgpack.encode([(0, b"new", b"1"), (1, b"new", b"2")]))
    assert dict(state.scan(CURRENT, b"", LAST)) == content
    state.put(CURRENT, b"pending", b"")
    state.switch_to(GENERATION + 1, (900, 3))
    assert list(state.scan(CURRENT, b"", LAST)) == [(b"new", b"1")]
    assert list(state.scan(HISTORY, b"", LAST)) == [(b"new", b"2")]
    assert state.get(CURRENT, b"key00001") is None
    assert state.get(CURRENT, b"pending") is None
    assert (state.applied, state.applied_in_store) == ((900, 3), (900, 3))
    assert state.write_out(header) is None


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode([(2, b"k", b"v")])])
def test_a_malformed_piece_writes_nothing(data: bytes) -> None:
    store = MemoryStore()
    staging = Staging(store, GROUP, 2)
    with pytest.raises(msgspec.MsgspecError):
        staging.add(data)
    assert store.size_bytes() == 0


def test_sweep_keeps_one_generation_and_the_other_groups(store: Store) -> None:
    kept = []
    for group in (GROUP - 1, GROUP, GROUP + 1):
        for generation in (0, 1, 2, 3, 0xFFFFFFFF):
            staging = Staging(store, group, generation)
            staging.add(msgspec.msgpack.encode([(0, b"", b""), (1, b"\xff\xff", b"")]))
            if group != GROUP or generation == 2:
                kept.append(state_prefix(group, generation))
    assert sweep(store, GROUP, 2)
    assert not sweep(store, GROUP, 2)
    for space, key in ((Space.CURRENT, b""), (Space.HISTORY, b"\xff\xff")):
        found = [found for found, _ in store.scan(space, b"", LAST * 4)]
        assert found == [prefix + key for prefix in kept]


def test_equal_content_has_an_equal_digest_however_it_came_to_be() -> None:
    first = filled(MemoryStore())
    second = filled(MemoryStore(), 10)
    for index in range(11, 301):
        second.put(CURRENT, b"dead%d" % index, b"waits to be swept")
        second.put(HISTORY, b"%05d" % (index % 90), b"passing")
        second.put(CURRENT, b"key%05d" % index, b"v" * (index % 40))
        second.put(HISTORY, b"%05d" % (index % 90), b"h%d" % index)
        second.end_entry(index, 9)
        write_all(second)
    assert digest_of(first) == digest_of(second)
    second.put(CURRENT, b"key00001", b"w")
    second.end_entry(301, 9)
    write_all(second)
    assert digest_of(first) != digest_of(second)


def test_a_slice_of_a_digest_is_small_in_records_and_in_bytes() -> None:
    state = state_over(MemoryStore())
    for number in range(100):
        state.put(HISTORY, b"%05d" % number, bytes(64 * 1024))
    for number in range(3000):
        state.put(CURRENT, b"%05d" % number, b"v")
    state.end_entry(1, 1)
    write_all(state)
    dead: list[bytes] = []  # is read all the same
    read: list[tuple[Table, bytes]] = []

    def live(table: Table, key: bytes, value: bytes) -> bool:
        read.append((table, value))
        return table == CURRENT or key not in dead

    for _ in range(2):
        view = state.view()
        digest = Digest(view, live)
        slices, more = [], True
        while more:
            read.clear()
            more = digest.step()
            slices.append((len(read), sum(len(value) for _, value in read)))
        view.close()
        assert max(records for records, _ in slices) <= SLICE_RECORDS
        assert max(size for _, size in slices) < SLICE_BYTES + 64 * 1024
        assert len(slices) < 35  # and not much smaller than it may be
        assert digest.counted == 3100 - len(dead)
        dead += [b"%05d" % number for number in range(50)]


def test_a_digest_tells_where_a_key_ends_and_a_value_begins() -> None:
    digests = set()
    for table, key, value in (
        (CURRENT, b"ab", b"c"),
        (CURRENT, b"a", b"bc"),
        (HISTORY, b"ab", b"c"),
    ):
        state = state_over(MemoryStore())
        state.put(table, key, value)
        state.end_entry(1, 1)
        write_all(state)
        digests.add(digest_of(state))
    assert len(digests) == 3
