"""What a recorder writes: of threads, tasks, errors, and whatever is cut short."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from raycons.errors import BadArgument, Closed, NoSuchMember, OutcomeUnknown, Unavailable
from raycons.verify import Operation, Recorder, check, read_history


class Shelf:
    """A store with the methods of a raycons handle; raises what it is told to."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}
        self.error: BaseException | None = None

    def _stumble(self) -> None:
        if self.error is not None:
            raise self.error

    def put(self, key: Any, value: Any, *, timeout: float | None = None) -> int:
        self._stumble()
        self.values[key] = value
        return 7

    def get(self, key: Any, *, revision: int = 0, timeout: float | None = None) -> Any:
        self._stumble()
        return self.values.get(key)

    def delete(self, key: Any) -> int:
        self._stumble()
        return int(self.values.pop(key, None) is not None)

    def compare_and_swap(self, key: Any, *, expect: Any, value: Any) -> bool:
        self._stumble()
        if self.values.get(key) != expect:
            return False
        self.values[key] = value
        return True


class AsyncShelf:
    """The same, awaited; `gate` holds every operation back after it took effect."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.gate = asyncio.Event()
        self.gate.set()

    async def put(self, key: Any, value: Any) -> int:
        answer = self.shelf.put(key, value)
        await self.gate.wait()
        return answer

    async def get(self, key: Any) -> Any:
        answer = self.shelf.get(key)
        await self.gate.wait()
        return answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def told(path: Path) -> list[tuple[Any, ...]]:
    return [(one.op, one.key, one.value, one.old, one.out) for one in read_history(path)]


def test_every_operation_is_written_with_its_answer(path: Path) -> None:
    with Recorder(path, clock=itertools.count(10).__next__) as recorder:
        kv = recorder.wrap(Shelf())
        assert kv.get("x") is None
        assert kv.get("x", default=b"none") == b"none"
        assert kv.put("x", b"1", timeout=5.0) == 7
        assert kv.compare_and_swap("x", expect=b"1", value=b"2")
        assert not kv.compare_and_swap("x", expect=None, value=b"3")
        assert kv.delete("x") == 1
        assert kv.get(b"x", revision=3) is None
    assert told(path) == [
        ("get", "x", None, None, None),
        ("get", "x", None, None, None),
        ("put", "x", "1", None, None),
        ("cas", "x", "2", "1", True),
        ("cas", "x", "3", None, False),
        ("delete", "x", None, None, True),
    ]
    ops = read_history(path)
    assert [(one.call, one.returned) for one in ops] == [(n, n + 1) for n in range(10, 22, 2)]
    assert {one.client for one in ops} == {0}


def test_methods_of_ones_own(path: Path) -> None:
    class Mine:
        def append(self, key: str, value: str) -> str:
            return "done"

        def cas(self, key: str, old: str, value: str) -> int:
            return 1

    with Recorder(path) as recorder:
        kv = recorder.wrap(Mine())
        assert kv.append("x", "a") == "done"
        assert kv.cas("x", "a", "b") == 1
    assert told(path) == [("append", "x", "a", None, None), ("cas", "x", "b", "a", True)]


def test_values_that_are_no_text(path: Path) -> None:
    with Recorder(path) as recorder:
        kv = recorder.wrap(Shelf())
        changing = [1, {"a": None}]
        kv.put("list", changing)
        changing.append(2)
        kv.put("bytes", b"\xff")
        for value in (None, object(), float("nan")):
            with pytest.raises(BadArgument):
                kv.put("x", value)
    assert [value for _, _, value, _, _ in told(path)] == [[1, {"a": None}], {"$base64": "/w=="}]


@pytest.mark.parametrize(
    ("error", "is_written"),
    [
        (Unavailable("no leader"), False),
        (NoSuchMember("no"), False),
        (BadArgument("too long"), False),
        (OutcomeUnknown("timeout"), True),
        (ConnectionError("gone"), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_an_error_says_whether_it_may_have_happened(
    path: Path, error: BaseException, is_written: bool
) -> None:
    shelf = Shelf()
    with Recorder(path) as recorder:
        kv = recorder.wrap(shelf)
        shelf.error = error
        with pytest.raises(type(error)):
            kv.put("x", b"1")
        with pytest.raises(type(error)):
            kv.get("x")
        shelf.error = None
        kv.get("x")
    ops = read_history(path)
    assert [(one.op, one.unknown) for one in ops] == [("put", True)] * is_written + [("get", False)]
    assert len({one.client for one in ops}) == len(ops)  # an unknown one ends its client's line


def test_an_error_of_ones_own_can_be_harmless(path: Path) -> None:
    shelf = Shelf()
    shelf.error = LookupError("no route")
    with Recorder(path, without_effect=(LookupError,)) as recorder, pytest.raises(LookupError):
        recorder.wrap(shelf).put("x", b"1")
    assert read_history(path) == []


def test_what_is_yet_to_be_awaited_is_not_written_down_as_done(path: Path) -> None:
    class Forwarding:
        def __init__(self) -> None:
            self.shelf = AsyncShelf()

        def put(self, key: Any, value: Any) -> Any:
            return self.shelf.put(key, value)

    async def run() -> None:
        with Recorder(path) as recorder, pytest.raises(TypeError, match=r"put .* `async def`"):
            await recorder.wrap(Forwarding()).put("a", "1")

    asyncio.run(run())
    [only] = read_history(path)
    assert (only.op, only.unknown) == ("put", True)


def test_threads_are_clients(path: Path) -> None:
    shelf = Shelf()
    barrier = threading.Barrier(4)

    def work(kv: Any) -> None:
        barrier.wait()
        for number in range(50):
            kv.put("x", b"%d" % number)
            kv.get("x")
        barrier.wait()

    with Recorder(path) as recorder:
        kv = recorder.wrap(shelf)
        threads = [threading.Thread(target=work, args=(kv,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ops = read_history(path)  # which refuses a client that overlaps itself
    assert Counter(one.client for one in ops) == dict.fromkeys(range(4), 100)
    assert check(ops).answer == "linearizable"


def test_tasks_are_clients_and_their_numbers_are_used_again(path: Path) -> None:
    async def rounds(kv: Any) -> None:
        for number in range(5):
            await asyncio.gather(*(kv.put(f"k{n}", b"%d" % number) for n in range(3)))
            gc.collect()

    with Recorder(path) as recorder:
        asyncio.run(rounds(recorder.wrap(AsyncShelf())))
    assert Counter(one.client for one in read_history(path)) == dict.fromkeys(range(3), 5)


def test_a_cancelled_write_is_unknown_and_a_cancelled_read_is_left_out(path: Path) -> None:
    async def cancel(recorder: Recorder) -> None:
        shelf = AsyncShelf()
        kv = recorder.wrap(shelf)
        shelf.gate.clear()
        tasks = [asyncio.ensure_future(kv.put("x", b"1")), asyncio.ensure_future(kv.get("x"))]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        shelf.gate.set()
        assert await kv.get("x") == b"1"

    with Recorder(path) as recorder:
        asyncio.run(cancel(recorder))
    ops = read_history(path)
    assert [(one.op, one.unknown) for one in ops] == [("put", True), ("get", False)]
    assert check(ops).answer == "linearizable"


def test_what_is_under_way_at_the_end_is_unknown(path: Path) -> None:
    async def leave(recorder: Recorder) -> None:
        shelf = AsyncShelf()
        shelf.gate.clear()
        kv = recorder.wrap(shelf)
        task = asyncio.ensure_future(kv.put("x", b"1"))
        await asyncio.sleep(0)
        recorder.close()
        shelf.gate.set()
        await task
        with pytest.raises(Closed):
            await kv.put("x", b"2")

    asyncio.run(leave(Recorder(path)))
    assert read_history(path) == [
        Operation(0, "put", "x", read_history(path)[0].call, None, "1", None, None)
    ]


def test_a_recorded_error_of_the_store_is_found(path: Path) -> None:
    class Forgetful(Shelf):
        def put(self, key: Any, value: Any, *, timeout: float | None = None) -> int:
            return 7

    with Recorder(path) as recorder:
        kv = recorder.wrap(Forgetful())
        kv.put("x", b"1")
        kv.get("x")
    assert check(read_history(path)).answer == "not linearizable"
