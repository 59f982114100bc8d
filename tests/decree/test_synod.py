"""Single-decree Paxos as Ray actors: duels, kills, lost disks, and the chart of what happened."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray

import raycons
from raycons import aio, errors
from raycons.charts import Chart, Kind
from raycons.decree.blocking import Acceptor, Synod
from raycons.store import directory
from tests.cluster.yard import eventually

Start = Callable[..., Synod[Any]]

RESTART_S = 60.0


def kill(acceptor: Acceptor) -> int:
    """kill -9 of its process, as anybody could; gives the process's id."""
    pid = acceptor.status().pid
    os.kill(pid, signal.SIGKILL)
    return pid


def back(acceptor: Acceptor, state: str, but: int) -> Callable[[], bool]:
    """A condition: another process than `but` is in that state."""

    def condition() -> bool:
        status = acceptor.status(timeout=5)
        return status.state == state and status.pid != but

    return condition


def wait_for(acceptor: Acceptor, state: str, but: int) -> None:
    eventually(back(acceptor, state, but), within_s=RESTART_S, what=f"{acceptor} is {state}")


def check_order(chart: Chart) -> None:
    """No receipt is above its sending, and what was received was sent."""
    sent: set[str] = set()
    for event in chart.events:
        if event.kind is Kind.SENT:
            sent.add(event.message)
        elif event.kind is Kind.RECEIVED:
            assert event.message in sent, event


def test_duelling_proposers_get_one_value_and_the_chart_tells_how(start: Start) -> None:
    synod = start(acceptors=3, proposers=2, learners=1)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(p.propose, p.name.encode()) for p in synod.proposers]
        chosen = {each.result(timeout=60) for each in asked}
    assert len(chosen) == 1
    assert chosen <= {b"p1", b"p2"}
    assert {synod.learners[0].learn()} == chosen
    assert {p.propose(b"too late") for p in synod.proposers} == chosen
    chart = synod.chart()
    check_order(chart)
    told = str(chart)
    for words in ("prepare 1.1", "prepare 1.2", "promise", "accept ", "accepted"):
        assert words in told, words
    marks = {event.actor: event.text for event in chart.events if event.kind is Kind.CHOSEN}
    assert set(marks) == {"p1", "p2", "l1"}
    assert set(marks.values()) == {f"chosen {value!r}" for value in chosen}
    assert told.splitlines()[0].split() == ["ms", "p1", "p2", "a1", "a2", "a3", "l1"]
    assert synod.name in chart._repr_svg_()


@pytest.mark.long
def test_killed_acceptors_remember_and_a_minority_may_be_gone_for_good(start: Start) -> None:
    synod = start(acceptors=3, proposers=2, learners=1)
    first, second = synod.proposers
    assert first.propose(b"one") == b"one"
    before = [acceptor.status() for acceptor in synod.acceptors]
    gone = [kill(acceptor) for acceptor in synod.acceptors]
    for acceptor, pid in zip(synod.acceptors, gone, strict=True):
        wait_for(acceptor, "serving", but=pid)
    for acceptor, was in zip(synod.acceptors, before, strict=True):
        now = acceptor.status()
        assert (now.promised, now.accepted) == (was.promised, was.accepted)
    synod.acceptors[2].end()
    assert second.propose(b"two", timeout=30) == b"one"
    first.end()
    with pytest.raises(errors.Closed, match="was ended"):
        first.propose(b"three")
    with pytest.raises(errors.BadArgument, match="use the synod where it was made"):
        pickle.dumps(second)
    synod.learners[0].crash()
    again = ("l1", Kind.RESTARTED)
    eventually(lambda: again in kinds(synod), within_s=RESTART_S, what="l1 is back")
    eventually(lambda: learnt(synod) == b"one", within_s=RESTART_S, what="it asks and learns")
    check_order(synod.chart())
    assert {("a1", Kind.CRASHED), ("a1", Kind.RESTARTED), ("a3", Kind.CRASHED)} <= kinds(synod)
    assert "p2 to a3: prepare 1.2, lost" in str(synod.chart())
    assert synod.acceptors[2].status(timeout=5).state == "unreachable"


def kinds(synod: Synod[Any]) -> set[tuple[str, Kind]]:
    return {(event.actor, event.kind) for event in synod.chart().events}


def learnt(synod: Synod[Any]) -> Any:
    try:
        return synod.learners[0].learn(timeout=2)
    except errors.Unavailable:
        return None


def test_acceptors_killed_under_a_proposal_come_back_and_remember(start: Start) -> None:
    """Nobody is left when it begins, and what it returns only the acceptors' disks know."""
    synod = start(acceptors=3, proposers=2, learners=0)
    first, second = synod.proposers
    assert first.propose(b"one") == b"one"
    gone = [kill(acceptor) for acceptor in synod.acceptors]
    assert second.propose(b"two", timeout=90) == b"one"
    now = [acceptor.status() for acceptor in synod.acceptors]
    again = [n for n, status in enumerate(now) if status.state == "serving"]
    assert len(again) >= 2
    for n in again:
        assert now[n].pid != gone[n]
        assert (f"a{n + 1}", Kind.RESTARTED) in kinds(synod)
    check_order(synod.chart())


@pytest.mark.long
def test_an_acceptor_without_its_disk_never_answers_again(start: Start, tmp_path: Path) -> None:
    synod = start(acceptors=3, proposers=2, learners=0)
    first, second = synod.proposers
    assert first.propose(b"one") == b"one"
    lost = synod.acceptors[0]
    root = tmp_path / "root"
    identity = directory.read_identity(root / synod.name / "replica-1")
    shutil.rmtree(root / synod.name / "replica-1")
    pid = kill(lost)
    wait_for(lost, "vacant", but=pid)
    assert "there is no store" in lost.status().reason
    synod.acceptors[1].end()
    with pytest.raises(errors.Unavailable, match=r"1 of 3 acceptors answered.*not proposed"):
        second.propose(b"two", timeout=3)
    # Nor does a store that somebody makes anew under the old number.
    directory.create(root, cluster_name=synod.name, cluster_id=identity.cluster_id, replica=1)
    assert lost.status().state == "vacant"
    assert "not the one that was made" in lost.status().reason
    with pytest.raises(errors.NotApplied, match="1 of 3 acceptors answered"):
        second.propose(b"two", timeout=3)
    assert first.propose(b"three") == b"one"  # it knows


@pytest.mark.long
@pytest.mark.parametrize(("loss", "delay"), [(0.2, (0.0, 0.02)), (0.0, (0.35, 0.4))])
def test_lost_and_late_messages_are_made_good(
    start: Start, loss: float, delay: tuple[float, float]
) -> None:
    """Also where a ballot takes longer than a proposer's patience."""
    synod = start(acceptors=3, proposers=1, learners=1, loss=loss, delay=delay)
    assert synod.proposers[0].propose(b"one", timeout=60) == b"one"
    assert synod.learners[0].learn(timeout=60) == b"one"
    check_order(synod.chart())


def test_an_unknown_outcome_is_called_so(start: Start) -> None:
    """Phase 1 passes with one acceptor, phase 2 would need two, and there is no second."""
    quorums = raycons.Flexible({1, 2}, prepare=1, accept=2)
    synod = start(acceptors=2, proposers=1, learners=1, quorums=quorums)
    synod.acceptors[1].end()
    with pytest.raises(errors.OutcomeUnknown, match="propose again"):
        synod.proposers[0].propose(b"one", timeout=1)
    with pytest.raises(errors.Unavailable, match="nothing is known to be chosen"):
        synod.learners[0].learn(timeout=0.5)


def test_what_was_started_is_gone_after_the_with_block(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raycons.synod(1, 1, 0, path=tmp_path, codec="msgpack") as synod:
        assert synod.proposers[0].propose({"a": 1}) == {"a": 1}
        assert (tmp_path / synod.name / "replica-1").is_dir()
        with pytest.raises(errors.BadValueType, match="msgpack"):
            synod.proposers[0].propose(object())
        with pytest.raises(errors.BadArgument, match="timeout"):
            synod.proposers[0].propose(1, timeout=0)
        with pytest.raises(errors.BadArgument, match="at most 1048576"):
            synod.proposers[0].propose("x" * 2**20)
        with monkeypatch.context() as away:  # asked then, Ray would start another
            away.setattr(ray, "is_initialized", lambda: False)
            for use in (synod.acceptors[0].status, synod.acceptors[0].crash, synod.chart):
                with pytest.raises(errors.Closed, match="left its Ray"):
                    use()
    assert not (tmp_path / synod.name).exists()
    left = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)]
    assert not [name for name in left if name.startswith(synod.name)]
    with pytest.raises(errors.Closed, match=r"raycons\.synod"):
        synod.proposers[0].propose(1)
    synod.stop()


def test_the_same_for_asyncio(ray_session: None, tmp_path: Path) -> None:
    async def story() -> None:
        async with await aio.synod(1, 1, 0, path=tmp_path) as synod:
            [proposer] = synod.proposers
            asked = (proposer.propose(value) for value in (b"one", b"two"))
            assert await asyncio.gather(*asked) == [b"one", b"one"]
            chart = await synod.chart()
            assert "chosen" in str(chart)

    asyncio.run(story())


def test_a_start_that_takes_too_long_leaves_nothing(ray_session: None, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(errors.ClusterError, match=r"not all there within 0\.01 s"):
        raycons.synod(3, path=tmp_path, timeout=0.01)
    assert time.monotonic() - begin < 60
    assert not list(tmp_path.glob("synod-*"))
