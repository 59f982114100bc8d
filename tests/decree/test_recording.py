"""What is recorded, what becomes of it after a crash, and how letters get lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from raycons.charts import Event, Kind
from raycons.consensus.paxos.messages import Ballot, Prepare
from raycons.decree import recording
from raycons.decree.arguments import settings_of_synod
from raycons.decree.post import Post
from raycons.decree.recording import DIRECTORY, Recording, histories, read_recordings
from raycons.decree.spec import SynodSpec


def kinds(history: list[Event]) -> list[Kind]:
    return [event.kind for event in history]


def test_processes_of_an_actor_are_one_history_with_a_crash_between(tmp_path: Path) -> None:
    for _ in range(2):
        Recording(tmp_path, "a1").write(Kind.SENT, "hello", "1", "p1")
    Recording(tmp_path, "a2").write(Kind.NOTE)
    told = histories(read_recordings(tmp_path), [])
    assert sorted(map(kinds, told)) == [
        [Kind.NOTE],
        [Kind.SENT, Kind.CRASHED, Kind.RESTARTED, Kind.SENT],
    ]


def test_a_kill_that_is_known_has_its_time(tmp_path: Path) -> None:
    Recording(tmp_path, "a1")
    killed = time.time()
    Recording(tmp_path, "a1")
    ended = time.time()
    kills = [("a1", killed), ("a1", ended), ("a2", ended)]
    [history] = histories(read_recordings(tmp_path), kills)
    assert [(event.kind, event.at_s) for event in history if event.kind is Kind.CRASHED] == [
        (Kind.CRASHED, killed),
        (Kind.CRASHED, ended),
    ]
    assert history[-1].kind is Kind.CRASHED


def test_half_a_line_of_a_process_that_was_killed_is_left_out(tmp_path: Path) -> None:
    """Or of one whose disk was full, which went on behind it."""
    broken = Recording(tmp_path, "a1")
    broken.write(Kind.NOTE, "whole")
    [file] = (tmp_path / DIRECTORY).iterdir()
    for _ in range(2):
        with file.open("ab") as out:
            out.write(b'[1.0,"a1","no')
        broken.write(Kind.NOTE, "lost with the half before it")
        broken.write(Kind.NOTE, "whole")
    [history] = histories(read_recordings(tmp_path), [])
    assert [event.text for event in history] == ["whole"] * 3


def test_a_recording_is_bounded_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_BYTES", 2000)
    long = Recording(tmp_path, "a1")
    for number in range(100):
        long.write(Kind.NOTE, f"{number} of many")
    [content] = read_recordings(tmp_path).values()
    assert len(content) < 2200
    [history] = histories(read_recordings(tmp_path), [])
    assert [event.text for event in history[:-1]] == [
        f"{n} of many" for n in range(len(history) - 1)
    ]
    assert history[-1].text == "recorded 2,000 bytes, and nothing more"


def test_a_disk_that_refuses_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    silent = Recording(tmp_path / "file", "a1")
    silent.write(Kind.NOTE)
    assert silent.next_message() != silent.next_message()
    assert read_recordings(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("loss", [0.0, 0.5])
def test_letters_are_lost_as_often_as_asked(tmp_path: Path, loss: float) -> None:
    settings = settings_of_synod(
        acceptors=1,
        proposers=1,
        learners=1,
        quorums=None,
        path=tmp_path,
        loss=loss,
        delay=(0.0, 0.0),
    )
    post = Post(SynodSpec("synod-x", "u", settings), 1, "p1")

    async def arrived() -> int:
        return sum([await post.arrives() for _ in range(2000)])

    assert abs(asyncio.run(arrived()) - 2000 * (1 - loss)) <= (400 if loss else 0)
    letter = post.write(Prepare(Ballot(1, 1, 7)), "a1")
    assert post.read(letter, "p1") == Prepare(Ballot(1, 1, 7))
    [history] = histories(read_recordings(tmp_path / "synod-x"), [])
    assert [(event.kind, event.text, event.peer) for event in history] == [
        (Kind.SENT, "prepare 1.1", "a1"),
        (Kind.RECEIVED, "prepare 1.1", "p1"),
    ]
