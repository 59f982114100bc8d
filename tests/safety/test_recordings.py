"""What tests record is judged: a read that was old fails the test, and its story is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from raycons.client.kv import AsyncKv
from tests.recording import Recordings

from .town import Town, play, town


class Careless:
    """A handle that takes for linearizable what one member holds."""

    def __init__(self, kv: AsyncKv[bytes]) -> None:
        self._kv = kv

    async def get(self, key: str) -> bytes | None:
        return await self._kv.get(key, level="stale")


async def only_one_without_the_news(members: Town, recordings: Recordings) -> list[int]:
    """Two of three members go on without the third; then it is the only one. Gives the others."""
    await members.found()
    kv = recordings.wrap(AsyncKv(members.client()))
    await kv.put("x", b"old")
    apart = next(id for id in members.members if id != members.leader())
    await members.stop(apart)
    await kv.put("x", b"new")
    others = list(members.members)
    for other in others:
        await members.stop(other)
    await members.reopen(apart)
    return others


def test_a_stale_read_of_a_member_that_was_cut_off_fails_the_test(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)

    async def story() -> None:
        async with town(tmp_path) as members:
            await only_one_without_the_news(members, recordings)
            await recordings.wrap(Careless(AsyncKv(members.client()))).get("x")

    play(story)
    with pytest.raises(pytest.fail.Exception) as failed:
        recordings.judge()
    told = str(failed.value)
    assert told.startswith(f"not linearizable: {tmp_path / 'history-cluster.jsonl'}")
    assert '0: put "new"    then "new"' in told
    assert "<- impossible" in told


def test_a_linearizable_read_waits_for_the_others(tmp_path: Path, recordings: Recordings) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            others = await only_one_without_the_news(members, recordings)
            read = asyncio.create_task(recordings.wrap(AsyncKv(members.client())).get("x"))
            await asyncio.sleep(0.1)
            assert not read.done()
            for other in others:
                await members.reopen(other)
            assert await read == b"new"

    play(story)


def test_a_history_without_operations_fails_the_test(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.wrap({})
    with pytest.raises(pytest.fail.Exception, match="nothing was recorded"):
        recordings.judge()


def test_what_cannot_be_decided_fails_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.recording.CHECK_S", 0.0)
    recordings = Recordings(tmp_path)
    call = recordings.recorder("cluster").begin("put", "x", b"1")
    recordings.recorder("cluster").done(call, None)
    with pytest.raises(pytest.fail.Exception, match="undecided"):
        recordings.judge()
