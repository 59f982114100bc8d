"""Bounds that real clients meet: each refusal says what to do about it, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from raycons import aio, errors
from raycons.client.settings import ClientSettings
from raycons.config import MemberSettings, RaftSettings
from tests.cluster.yard import Yard
from tests.recording import Recordings

VALUE = bytes(1000)
PATIENT = RaftSettings(election_timeout_s=1.5, max_uncommitted_bytes=40_000)


async def isolate(cluster: aio.AsyncCluster, members: list[int], *, isolated: bool) -> None:
    """Cut members off, or heal them."""
    await asyncio.gather(*(cluster.fault(each, isolate=isolated) for each in members))


async def refusal(ask: Callable[[], Awaitable[object]]) -> BaseException:
    """What comes of asking; once more, where time was up while an attempt was under way."""
    for _ in range(3):
        [outcome] = await asyncio.gather(ask(), return_exceptions=True)
        assert isinstance(outcome, BaseException), repr(outcome)
        if isinstance(outcome, errors.Overloaded):
            break
    return outcome


async def the_members_bounds(name: str, recordings: Recordings) -> None:
    """A leader whose followers are cut off holds one write and one read, and refuses more."""
    async with await aio.connect(name) as cluster:
        kv = recordings.wrap(cluster.kv())
        await kv.put("first", b"1")
        status = await cluster.status()
        followers = [each for each in status.voters if each != status.leader]
        await isolate(cluster, followers, isolated=True)
        held = asyncio.gather(kv.put("held", 30 * VALUE), kv.get("first"))
        await asyncio.sleep(0.05)
        write, read = await asyncio.gather(
            refusal(lambda: kv.put("refused", 30 * VALUE, timeout=0.3)),
            refusal(lambda: kv.get("first", timeout=0.3)),
        )
        await isolate(cluster, followers, isolated=False)
        assert isinstance(write, errors.Overloaded), repr(write)
        assert "its bound is 40000 bytes that wait to be committed" in str(write)
        assert isinstance(read, errors.Overloaded), repr(read)
        assert "its bound is 1 reads that wait to be confirmed" in str(read)
        for error in (write, read):
            assert "nothing was done; try again later, or with fewer operations" in str(error)
        assert (await held)[1] == b"1"
        assert await kv.get("held") == 30 * VALUE
        assert await kv.get("refused") is None
        # With time to wait for its turn, all that is refused at first is done in the end; also a
        # write that is alone above the bound.
        await asyncio.gather(*(kv.put(f"crowd/{number}", 30 * VALUE) for number in range(20)))
        await kv.put("large", 100 * VALUE)
        assert len(await cluster.kv().range(prefix="crowd/", keys_only=True)) == 20


async def a_bound_of_its_own(
    name: str, recordings: Recordings, prefix: str, client: ClientSettings, message: str
) -> None:
    """A client with room for ten puts is asked for thirty at once."""
    async with await aio.connect(name, client=client) as cluster:
        kv = recordings.wrap(cluster.kv())
        keys = [f"{prefix}/{number:02}" for number in range(30)]
        results = await asyncio.gather(
            *(kv.put(key, VALUE) for key in keys), return_exceptions=True
        )
        refused = [each for each in results if isinstance(each, BaseException)]
        assert len(refused) == 20
        for error in refused:
            assert isinstance(error, errors.Overloaded), repr(error)
            assert message in str(error)
        done = [key for key, each in zip(keys, results, strict=True) if isinstance(each, int)]
        found = await cluster.kv().range(prefix=f"{prefix}/")
        assert [each.key.decode() for each in found] == done
        await kv.put(keys[-1], VALUE)  # there is room again


def test_overload_is_refused_with_a_remedy_and_loses_nothing(
    yard: Yard, recordings: Recordings
) -> None:
    yard.start(raft=PATIENT, member=MemberSettings(max_pending_reads=1), fault_injection=True)

    async def story() -> None:
        await the_members_bounds(yard.name, recordings)
        await a_bound_of_its_own(
            yard.name,
            recordings,
            "operations",
            ClientSettings(max_in_flight_operations=10),
            "10 operations are in flight, which is this client's bound; await some before",
        )
        await a_bound_of_its_own(
            yard.name,
            recordings,
            "bytes",
            ClientSettings(max_in_flight_bytes=11_000),
            "this client's bound of 11000; await some operations before you start more",
        )

    asyncio.run(story())
