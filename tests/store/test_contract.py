"""What every store must do, proved on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raycons.errors import StoreError
from raycons.store.contract import DELETE, PUT, Batch, Operation, Space, Store, after
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore

LAST = b"\xff" * 16


@pytest.fixture(params=["memory", "rocks"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "db")
    yield made
    made.close()


def write(store: Store, *operations: Operation) -> None:
    batch = Batch()
    batch.operations.extend(operations)
    store.write(batch)


def put_all(store: Store, space: Space, keys: list[bytes], value: bytes = b"v") -> None:
    write(store, *((PUT, space, key, value) for key in keys))


def keys_of(pairs: Iterator[tuple[bytes, bytes]]) -> list[bytes]:
    return [key for key, _ in pairs]


def test_get_gives_what_the_last_batch_put(store: Store) -> None:
    assert store.get(Space.META, b"a") is None
    put_all(store, Space.META, [b"a"], b"1")
    put_all(store, Space.META, [b"a"], b"2")
    assert store.get(Space.META, b"a") == b"2"


def test_spaces_do_not_meet(store: Store) -> None:
    for space in Space:
        put_all(store, space, [b"k"], bytes([space]))
    write(store, (DELETE, Space.LOG, b"k", b""))
    assert [store.get(space, b"k") for space in Space] == [b"\0", None, b"\2", b"\3"]
    assert list(store.scan(Space.HISTORY, b"", LAST)) == [(b"k", b"\3")]


def test_operations_of_a_batch_happen_in_their_order(store: Store) -> None:
    batch = Batch()
    batch.put(Space.LOG, b"a", b"1")
    batch.put(Space.LOG, b"b", b"1")
    batch.delete_range(Space.LOG, b"a", b"b\0")
    batch.put(Space.LOG, b"b", b"2")
    batch.put(Space.LOG, b"c", b"1")
    batch.delete(Space.LOG, b"c")
    store.write(batch)
    assert list(store.scan(Space.LOG, b"", LAST)) == [(b"b", b"2")]


def test_empty_values_and_empty_keys_are_kept(store: Store) -> None:
    put_all(store, Space.CURRENT, [b"", b"\0"], b"")
    assert list(store.scan(Space.CURRENT, b"", LAST)) == [(b"", b""), (b"\0", b"")]


def test_delete_of_an_absent_key_does_nothing(store: Store) -> None:
    write(store, (DELETE, Space.CURRENT, b"nothing", b""))
    assert store.get(Space.CURRENT, b"nothing") is None


def test_delete_range_takes_the_start_and_leaves_the_end(store: Store) -> None:
    put_all(store, Space.LOG, [b"a", b"b", b"b\0", b"c", b"d"])
    batch = Batch()
    batch.delete_range(Space.LOG, b"b", b"d")
    batch.delete_range(Space.LOG, b"z", b"a")  # backwards: nothing
    batch.delete_range(Space.LOG, b"a", b"a")  # empty: nothing
    store.write(batch)
    assert keys_of(store.scan(Space.LOG, b"", LAST)) == [b"a", b"d"]


def test_scan_runs_in_key_order_both_ways(store: Store) -> None:
    keys = [b"%03d" % number for number in range(0, 900, 3)]
    put_all(store, Space.CURRENT, keys[::2])
    put_all(store, Space.CURRENT, keys[1::2])
    inside = [key for key in keys if b"100" <= key < b"801"]
    assert keys_of(store.scan(Space.CURRENT, b"100", b"801")) == inside
    assert keys_of(store.scan(Space.CURRENT, b"100", b"801", reverse=True)) == inside[::-1]
    for start in range(0, 880, 11):  # many short scans: each must stop where it was told to
        short = keys_of(store.scan(Space.CURRENT, b"%03d" % start, b"%03d" % (start + 20)))
        assert short == [key for key in keys if b"%03d" % start <= key < b"%03d" % (start + 20)]
    assert keys_of(store.scan(Space.CURRENT, b"102", b"102")) == []
    assert keys_of(store.scan(Space.CURRENT, b"9", b"1", reverse=True)) == []


@pytest.mark.parametrize("prefix", [b"a", b"a\xff", b"\0", b"\xfe\xff\xff"])
def test_a_prefix_is_the_range_up_to_what_sorts_after_it(store: Store, prefix: bytes) -> None:
    inside = [prefix, prefix + b"\0", prefix + b"\xff\xff"]
    outside = [prefix[:-1], after(prefix), after(prefix) + b"x"]
    put_all(store, Space.CURRENT, inside + outside)
    assert keys_of(store.scan(Space.CURRENT, prefix, after(prefix))) == inside


def test_a_scan_sees_no_later_write_of_what_it_has_passed(store: Store) -> None:
    put_all(store, Space.CURRENT, [b"%03d" % number for number in range(500)])
    pairs = store.scan(Space.CURRENT, b"", LAST)
    seen = [next(pairs)[0] for _ in range(100)]
    put_all(store, Space.CURRENT, [b"000a", b"050a"])
    seen += keys_of(pairs)
    assert seen == [b"%03d" % number for number in range(500)]


def test_a_view_stays_as_it_was_while_batches_are_written(store: Store) -> None:
    keys = [b"%04d" % number for number in range(0, 2000, 2)]
    put_all(store, Space.CURRENT, keys, b"before")
    put_all(store, Space.HISTORY, [b"h"], b"before")
    view = store.view()
    put_all(store, Space.CURRENT, keys[::3], b"after")
    pairs = view.scan(Space.CURRENT, b"", LAST)
    seen = [next(pairs) for _ in range(10)]
    put_all(store, Space.CURRENT, [b"%04d" % number for number in range(1, 2000, 2)], b"new")
    batch = Batch()
    batch.delete_range(Space.CURRENT, b"0100", b"0900")
    batch.delete(Space.CURRENT, b"1998")
    batch.delete(Space.HISTORY, b"h")
    store.write(batch)
    put_all(store, Space.CURRENT, [b"0500", b"1998"], b"again")
    seen += list(pairs)
    assert seen == [(key, b"before") for key in keys]
    assert list(view.scan(Space.HISTORY, b"", LAST)) == [(b"h", b"before")]
    assert list(view.scan(Space.CURRENT, b"0100", b"0103")) == [
        (b"0100", b"before"),
        (b"0102", b"before"),
    ]
    view.close()
    assert store.get(Space.CURRENT, b"0500") == b"again"


def test_scans_of_one_view_take_turns(store: Store) -> None:
    keys = [b"%03d" % number for number in range(20)]
    put_all(store, Space.CURRENT, keys)
    view = store.view()
    one, other = view.scan(Space.CURRENT, b"", LAST), view.scan(Space.CURRENT, b"010", LAST)
    taken = [(a, b) for (a, _), (b, _) in zip(one, other, strict=False)]
    assert taken == list(zip(keys[:10], keys[10:], strict=True))
    view.close()


def test_views_of_different_moments_differ(store: Store) -> None:
    views = []
    for number in range(4):
        put_all(store, Space.META, [b"k"], b"%d" % number)
        views.append(store.view())
    put_all(store, Space.META, [b"k"], b"last")
    assert [list(view.scan(Space.META, b"", LAST)) for view in views] == [
        [(b"k", b"%d" % number)] for number in range(4)
    ]
    for view in views:
        view.close()


def test_a_closed_view_is_refused(store: Store) -> None:
    put_all(store, Space.META, [b"k"])
    view = store.view()
    view.close()
    with pytest.raises(StoreError):
        list(view.scan(Space.META, b"", LAST))


def test_a_closed_store_takes_no_writes(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        put_all(store, Space.META, [b"k"])


def test_size_follows_the_content(store: Store) -> None:
    small = store.size_bytes()
    put_all(store, Space.CURRENT, [b"%06d" % number for number in range(2000)], b"x" * 1000)
    assert 2_000_000 < store.size_bytes() - small < 6_000_000


def test_a_copy_of_a_memory_store_goes_its_own_way() -> None:
    store = MemoryStore()
    put_all(store, Space.META, [b"a"])
    other = store.copy()
    put_all(store, Space.META, [b"b"])
    put_all(other, Space.META, [b"c"])
    assert keys_of(store.scan(Space.META, b"", LAST)) == [b"a", b"b"]
    assert keys_of(other.scan(Space.META, b"", LAST)) == [b"a", b"c"]


# --- against a model ------------------------------------------------------------------------------

KEYS = st.binary(max_size=2).map(lambda raw: bytes(byte % 4 for byte in raw))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("delete_range"), KEYS, KEYS),
        st.tuples(st.just("write"), st.just(b""), st.just(b"")),
        st.tuples(st.just("view"), st.just(b""), st.just(b"")),
        st.tuples(st.just("scan"), KEYS, KEYS),
        st.tuples(st.just("reverse"), KEYS, KEYS),
    ),
    max_size=40,
)


def check_against_a_dict(store: Store, steps: list[tuple[str, bytes, bytes]]) -> None:
    written: dict[bytes, bytes] = {}
    gathered: list[Callable[[], object]] = []
    batch = Batch()
    views = []

    def remove_range(start: bytes, end: bytes) -> None:
        for key in [key for key in written if start <= key < end]:
            del written[key]

    for what, a, b in steps:
        if what == "put":
            batch.put(Space.CURRENT, a, b)
            gathered.append(lambda a=a, b=b: written.__setitem__(a, b))  # type: ignore[misc]
        elif what == "delete":
            batch.delete(Space.CURRENT, a)
            gathered.append(lambda a=a: written.pop(a, None))  # type: ignore[misc]
        elif what == "delete_range":
            batch.delete_range(Space.CURRENT, a, b)
            gathered.append(lambda a=a, b=b: remove_range(a, b))  # type: ignore[misc]
        elif what == "write":
            store.write(batch)
            for change in gathered:
                change()
            batch, gathered = Batch(), []
        elif what == "view":
            views.append((store.view(), sorted(written.items())))
        else:
            inside = sorted((key, value) for key, value in written.items() if a <= key < b)
            if what == "reverse":
                inside.reverse()
            assert list(store.scan(Space.CURRENT, a, b, reverse=what == "reverse")) == inside
    for key in [bytes([first]) for first in range(4)]:
        assert store.get(Space.CURRENT, key) == written.get(key)
    for view, then in views:
        assert list(view.scan(Space.CURRENT, b"", LAST)) == then
        view.close()


@given(STEPS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_memory_behaves_like_a_dict(steps: list[tuple[str, bytes, bytes]]) -> None:
    check_against_a_dict(MemoryStore(), steps)


@given(STEPS)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_rocks_behaves_like_a_dict(
    rocks_for_model: RocksStore, steps: list[tuple[str, bytes, bytes]]
) -> None:
    batch = Batch()
    batch.delete_range(Space.CURRENT, b"", LAST)
    rocks_for_model.write(batch)
    check_against_a_dict(rocks_for_model, steps)


@pytest.fixture
def rocks_for_model(tmp_path: Path) -> Iterator[RocksStore]:
    store = RocksStore(tmp_path / "db")
    yield store
    store.close()
