"""The blocking face: many threads, one loop, forks and interrupts."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from raycons import errors
from raycons.client.background import background
from raycons.client.blocking import BlockingClient, Kv
from raycons.client.kv import AsyncKv
from raycons.client.shell import AsyncClient

from .cluster import ADDRESSES, Cluster


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[BlockingClient]:
    async def connect() -> AsyncClient:
        return AsyncClient(cluster.transport, ADDRESSES)

    made = BlockingClient(connect)
    yield made
    made.close()


def test_every_method(client: BlockingClient) -> None:
    kv = Kv(client)
    assert kv.put("a", b"1") == 1
    assert kv.get("a") == b"1"
    assert kv.get("none", default=5) == 5
    assert kv.compare_and_swap("a", expect=b"1", value=b"2")
    entry = kv.get_entry("a")
    assert entry is not None
    assert entry.version == 2
    assert [entry.value for entry in kv.range(prefix="a")] == [b"2"]
    done = kv.txn().when(kv.key("b").version == 0).then(kv.op.put("b", b"3")).commit()
    assert done.succeeded
    assert [entry.name for entry in kv.scan(page=1)] == ["a", "b"]
    assert kv.compact(2) == 2
    assert kv.delete("a") == 1
    assert kv.delete_range(prefix="") == 1
    typed = Kv(client, "json")
    typed.put("j", {"x": [1]})
    assert typed.get("j") == {"x": [1]}


def test_handles_stay_in_their_process(client: BlockingClient) -> None:
    kv = Kv(client)
    handles = [client, kv, kv.txn(), client.run(_itself), AsyncKv(client.run(_itself))]
    for handle in handles:
        with pytest.raises(errors.BadArgument, match=r"raycons\.connect\(name\)") as refused:
            pickle.dumps(handle)
        # Ray replaces a TypeError by pages of its own.
        assert not isinstance(refused.value, TypeError)
        assert type(handle).__name__ in str(refused.value)


async def _itself(client: AsyncClient) -> AsyncClient:
    return client


def test_many_threads_share_frames_and_lose_nothing(
    client: BlockingClient, cluster: Cluster
) -> None:
    kv = Kv(client)
    with ThreadPoolExecutor(16) as pool:
        revisions = list(pool.map(lambda n: kv.put(f"k{n}", b"v"), range(800)))
    assert sorted(revisions) == [*range(1, 801)]
    assert kv.range(keys_only=True).count == 800
    assert len(cluster.machine) == 1  # one session for all threads


def test_threads_may_race_for_the_first_use(client: BlockingClient, cluster: Cluster) -> None:
    barrier = threading.Barrier(8)

    def first(n: int) -> int:
        barrier.wait()
        return Kv(client).put(f"k{n}", b"v")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(first, range(8))) == [*range(1, 9)]
    assert len(cluster.transports) == 1


def test_errors_come_through(client: BlockingClient, cluster: Cluster) -> None:
    kv = Kv(client)
    kv.put("a", b"1")
    with pytest.raises(errors.FutureRevision):
        kv.get("a", revision=7)
    with pytest.raises(errors.BadArgument):
        kv.put("", b"")
    cluster.drop_answers = 1
    with pytest.raises(errors.OutcomeUnknown):
        kv.put("a", b"2", timeout=0.03)


def test_a_failed_connect_is_tried_again() -> None:
    tries = 0
    cluster = Cluster()

    async def connect() -> AsyncClient:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise errors.ClusterNotFound("no such cluster")
        return AsyncClient(cluster.transport, ADDRESSES)

    client = BlockingClient(connect)
    with pytest.raises(errors.ClusterNotFound):
        Kv(client).put("a", b"1")
    assert Kv(client).put("a", b"1") == 1
    client.close()


def test_closed_is_closed(client: BlockingClient) -> None:
    kv = Kv(client)
    kv.put("a", b"1")
    client.close()
    client.close()
    with pytest.raises(errors.Closed):
        kv.put("a", b"2")


def test_inside_a_running_loop_it_blocks_and_works(client: BlockingClient) -> None:
    async def main() -> int:
        return Kv(client).put("a", b"1")

    assert asyncio.run(main()) == 1


def test_on_its_own_loop_it_refuses_to_wait_for_itself(client: BlockingClient) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="never return"):
            Kv(client).put("a", b"1")

    Kv(client).put("a", b"1")
    background().run(main())


def test_an_interrupt_gives_the_operation_up(client: BlockingClient, cluster: Cluster) -> None:
    kv = Kv(client)
    kv.put("a", b"1")
    cluster.drop_answers = 1
    main = threading.get_ident()

    async def interrupt() -> None:
        await cluster.answers_dropped()
        signal.pthread_kill(main, signal.SIGINT)

    task = asyncio.run_coroutine_threadsafe(interrupt(), background().loop)
    with pytest.raises(KeyboardInterrupt):
        kv.put("a", b"2")
    task.result(5)

    async def in_flight(client: AsyncClient) -> int:
        return client._core.in_flight

    assert client.run(in_flight) == 0
    assert kv.put("a", b"3") == 3


def test_a_forked_child_connects_anew(client: BlockingClient, cluster: Cluster) -> None:
    kv = Kv(client)
    kv.put("a", b"1")
    sessions = len(cluster.machine)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # in the child, everything ends in _exit
        try:
            # The fake cluster was copied too: revision 2, by a second session.
            revision = kv.put("a", b"2")
            told = f"{revision} {len(cluster.machine) - sessions}"
        except BaseException as error:  # noqa: BLE001 - the parent tells
            told = repr(error)
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert answer.read() == "2 1"
    os.waitpid(child, 0)
    assert kv.put("a", b"3") == 2  # the parent goes on as if nothing had happened
