"""No amnesia, no twins: who may serve as whom, and what it takes to be believed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from raycons.client.kv import AsyncKv
from raycons.consensus.configuration import Configuration
from raycons.errors import StoreCorrupt, StoreError
from raycons.member.hosting import Hosting
from raycons.member.peers import PeerBook
from raycons.member.spec import MemberState
from raycons.simulation.mutants.patch import Patch
from raycons.store import directory, openings
from raycons.store.contract import Batch, OpenSync, Space
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore
from raycons.transport.contract import SPOKEN, Greeting
from raycons.transport.greeting import MAX_GREETING_BYTES, encode_greeting

from .town import CLUSTER, Town, eventually, member_spec, play, town


async def opened(member: Hosting) -> Hosting:
    """Wait until it is known whether the member can serve."""
    await eventually(lambda: member.state is not MemberState.OPENING)
    return member


async def founded_and_written(members: Town) -> None:
    await members.found()
    await AsyncKv(members.client()).put("key", b"value")


# --- the disk is gone or damaged ------------------------------------------------------------------


def test_a_constructor_run_again_on_a_lost_disk_makes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            lost = next(id for id in members.members if id != members.leader())
            await members.stop(lost)
            shutil.rmtree(members.store_path(lost))
            again = await opened(members.open(lost))
            assert again.state is MemberState.VACANT
            assert not members.store_path(lost).exists()
            with pytest.raises(StoreError, match="vacant, not newly made"):
                await again.begin(Configuration((), 0), {})

    play(story)


def plant_making_constructor(patch: Patch) -> None:
    """A constructor that finds no store makes one."""
    patch.edit(
        Hosting._open_once,
        'self._become(MemberState.VACANT, f"there is no store at {path}")\n        return',
        "self._make_directory()",
    )


def test_a_constructor_that_makes_a_lost_store_anew_is_seen_and_let_in_by_nobody(
    tmp_path: Path,
) -> None:
    """The bug that the test above looks for, planted: it makes a store; nobody lets that in."""

    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            leader = members.leader()
            lost = next(id for id in members.members if id != leader)
            await members.stop(lost)
            shutil.rmtree(members.store_path(lost))
            with Patch() as patch:
                plant_making_constructor(patch)
                again = await opened(members.open(lost))
            assert again.state is MemberState.MADE
            assert members.configuration is not None
            await again.begin(members.configuration, {})
            members.introduce_all()
            await members.counted(leader, "rejected_admission")
            assert members.status(lost)["connections"] == []

    play(story)


def test_a_store_made_anew_under_an_old_id_is_a_stranger(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            leader = members.leader()
            lost = next(id for id in members.members if id != leader)
            await members.stop(lost)
            shutil.rmtree(members.store_path(lost))
            again = await opened(members.open(lost))
            await again.make()
            assert members.configuration is not None
            await again.begin(members.configuration, {})
            members.introduce_all()
            await members.counted(leader, "rejected_admission")
            await asyncio.sleep(0.5)  # more than two election timeouts: it campaigns in vain
            assert members.status(lost)["connections"] == []
            assert members.status(lost)["commit"] == 0
            assert members.leader() not in (0, lost)

    play(story)


def flip_a_bit(store: Path) -> None:
    """Damage the log, in a record that was synced before others were written."""
    log = store / "db" / "wal" / "1"
    raw = bytearray(log.read_bytes())
    raw[5000] ^= 1
    log.write_bytes(raw)


def leave_a_log(path: Path) -> None:
    """Write to a store, and end without closing it: what a kill leaves."""
    store = RocksStore(path / "db", create_if_missing=False)
    for number in range(100):
        batch = Batch()
        batch.put(Space.META, b"\xff\xff\xff\xfftest", b"%d" % number * 50)
        store.write(batch)
        store.sync()
    copy = path.with_name("copy")
    shutil.copytree(path / "db", copy)
    store.close()
    shutil.rmtree(path / "db")
    copy.rename(path / "db")


def test_a_damaged_log_retires_the_identity_for_good(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            hurt = next(id for id in members.members if id != members.leader())
            await members.stop(hurt)
            leave_a_log(members.store_path(hurt))
            whole = tmp_path / "whole"
            shutil.copytree(members.store_path(hurt) / "db", whole)
            flip_a_bit(members.store_path(hurt))
            damaged = await opened(members.open(hurt))
            assert damaged.state is MemberState.RETIRED
            assert str(members.store_path(hurt)) in damaged.reason
            assert "replace it by a new one" in damaged.reason
            # Not even with its bytes mended: it may have been heard of as damaged, and replaced.
            shutil.rmtree(members.store_path(hurt) / "db")
            whole.rename(members.store_path(hurt) / "db")
            mended = await opened(members.open(hurt))
            assert mended.state is MemberState.RETIRED
            await AsyncKv(members.client()).put("the rest", b"serves")

    play(story)


def test_a_damage_found_while_serving_retires_the_identity(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            hurt = members.leader()
            member = members.members[hurt]
            assert member._shell is not None
            # What a read of a table with a wrong checksum ends in.
            error = StoreCorrupt("Corruption: block checksum mismatch")

            def damaged(client: int, message: object, now: float) -> None:
                raise error

            member._shell.engine.client = damaged  # type: ignore[method-assign]
            await AsyncKv(members.client()).put("key", b"later")  # another leader took over
            assert member.state is MemberState.RETIRED
            assert members.leader() not in (0, hurt)
            await members.stop(hurt)
            identity = directory.read_identity(members.store_path(hurt))
            assert identity.retired is not None
            assert "checksum" in identity.retired

    play(story)


# --- copies of a store ----------------------------------------------------------------------------


def test_a_disk_image_from_yesterday_does_not_serve(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            leader = members.leader()
            copied = next(id for id in members.members if id != leader)
            image = tmp_path / "image"
            await members.stop(copied)
            shutil.copytree(members.root(copied), image)
            await members.reopen(copied)
            await members.connected(leader, copied)
            await members.stop(copied)

            for _ in range(3):  # opening it again and again makes it no younger
                rejected = members.counters(leader)["rejected_admission"]
                old = await members.reopen(copied, image)
                await members.counted(leader, "rejected_admission", rejected + 1)
                assert copied not in members.status(leader)["connections"]
                assert old.status()["connections"] == []
                await members.stop(copied)
            # The store itself is welcome.
            await members.reopen(copied)
            await members.connected(leader, copied)

    play(story)


def test_a_store_is_known_by_the_openings_on_the_way() -> None:
    book = PeerBook(MemoryStore())

    def greeting(incarnation: int, opening: int, *earlier: int) -> Greeting:
        return Greeting(SPOKEN, "c", 2, 7, incarnation, opening, None, earlier)

    assert book.meet(greeting(5, 500, 400, 300))
    assert not book.meet(greeting(5, 500, 400, 300))  # no news
    assert book.refusal(greeting(6, 600, 500, 400)) is None
    assert book.refusal(greeting(8, 800, 700, 600, 500)) is None
    assert "copy" in (book.refusal(greeting(6, 666, 555, 400)) or "")
    assert "copy" in (book.refusal(greeting(8, 888, 777, 666, 555)) or "")
    # Known limit: more openings lie between than the greeting tells of.
    assert book.refusal(greeting(9, 999, 888, 777, 666)) is None


def test_the_openings_told_are_bounded() -> None:
    store = MemoryStore()
    told = [openings.opened(store) for _ in range(openings.REMEMBERED_OPENINGS + 10)]
    before = tuple(each.opening for each in reversed(told[:-1]))
    assert told[-1].incarnation == len(told)
    assert told[-1].earlier == before[: openings.REMEMBERED_OPENINGS]
    whole = Greeting(SPOKEN, "c" * 36, 2, 2**63, 2**32, 2**63, ("h" * 255, 65535))
    whole = msgspec.structs.replace(whole, earlier=(2**63,) * openings.REMEMBERED_OPENINGS)
    assert len(encode_greeting(whole)) <= MAX_GREETING_BYTES


def test_of_two_holders_of_one_image_the_second_gets_no_place(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            leader = members.leader()
            copied = next(id for id in members.members if id != leader)
            await members.stop(copied)
            shutil.copytree(members.root(copied), tmp_path / "twin")
            await members.reopen(copied)
            await members.connected(leader, copied)
            before = members.counters(leader)
            twin = await opened(Hosting(member_spec(tmp_path / "twin", copied)))
            twin.locate(members.addresses())
            await eventually(
                lambda: (
                    members.counters(leader)["rejected_identity"]
                    + members.counters(leader)["rejected_admission"]
                    > before["rejected_identity"] + before["rejected_admission"]
                )
            )
            assert twin.status()["connections"] == []
            assert copied in members.status(leader)["connections"]
            await twin.close()

    play(story)


def test_the_age_of_a_peer_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            copied = next(id for id in members.members if id != members.leader())
            await members.stop(copied)
            shutil.copytree(members.root(copied), tmp_path / "image")
            await members.reopen(copied)
            others = [id for id in members.members if id != copied]
            for other in others:
                await members.connected(other, copied)
            await members.stop(copied)
            for other in others:
                await members.stop(other)
            for other in others:
                await members.reopen(other)
            await members.reopen(copied, tmp_path / "image")
            for other in others:
                await members.counted(other, "rejected_admission")
            assert members.status(copied)["connections"] == []

    play(story)


def test_the_age_of_a_peer_is_on_disk_though_nothing_else_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await founded_and_written(members)
            one = members.members[1]
            assert one._shell is not None
            assert one._store is not None
            synced: list[bytes | None] = []
            store, key = one._store, b"\xfe\xff\xff\xffpeer/" + (9).to_bytes(8, "big")
            assert isinstance(store, OpenSync)
            begin_sync = store.begin_sync

            def beginning() -> list[int] | None:
                held = store.get(Space.META, key)
                files = begin_sync()
                synced.append(held if files else None)
                return files

            store.begin_sync = beginning  # type: ignore[method-assign]
            stranger = Greeting(SPOKEN, "x", 9, 5, 3, 77, None)
            one._shell.connected(9, stranger)
            await eventually(lambda: any(synced), "a sync that covers the record", 5.0)
            record = msgspec.msgpack.decode(synced[-1] or b"")
            assert record[:3] == [5, 3, 77]

    play(story)


def test_one_process_at_a_time_holds_a_store(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found([1])
            twin = await opened(Hosting(member_spec(members.root(1), 1)))
            assert twin.state is MemberState.FAILED
            assert "held by process" in twin.reason
            for task in twin._tasks:
                task.cancel()

    play(story)


def test_a_store_of_another_cluster_of_that_name_is_not_opened(tmp_path: Path) -> None:
    async def story() -> None:
        directory.create(tmp_path, cluster_name=CLUSTER, cluster_id="another", replica=1)
        before = directory.read_identity(directory.replica_path(tmp_path, CLUSTER, 1))
        member = await opened(Hosting(member_spec(tmp_path, 1)))
        assert member.state is MemberState.VACANT
        assert "another cluster" in member.reason
        with pytest.raises(StoreError, match="exists already"):
            await member.make()
        path = directory.replica_path(tmp_path, CLUSTER, 1)
        assert directory.read_identity(path) == before

    play(story)
