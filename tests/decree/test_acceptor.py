"""An acceptor's process and its disk, without Ray around it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from raycons.consensus.paxos.messages import Accept, Accepted, Ballot, Prepare, Promise, Proposal
from raycons.decree import acceptor
from raycons.decree.acceptor import AcceptorProcess
from raycons.decree.arguments import settings_of_synod
from raycons.decree.spec import Letter, SynodSpec
from raycons.errors import StoreError, StoreFull
from raycons.store import directory

LOW, HIGH = Ballot(1, 1, 7), Ballot(2, 1, 7)
PROPOSAL = Proposal(LOW, b"one")
Story = Callable[[AcceptorProcess], Coroutine[Any, Any, Any]]


class Host:
    """Processes of one acceptor, one after the other."""

    def __init__(self, root: Path) -> None:
        settings = settings_of_synod(
            acceptors=1,
            proposers=1,
            learners=0,
            quorums=None,
            path=root,
            loss=0.0,
            delay=(0.0, 0.0),
        )
        self.root = root
        self.spec = SynodSpec("synod-x", "of this test", settings)
        self.store = root / "synod-x" / "replica-1"

    def run(self, story: Story) -> Any:
        """A process that does this, and is killed."""

        async def whole() -> Any:
            process = AcceptorProcess(self.spec, 1)
            try:
                return await story(process)
            finally:
                if process._store is not None:
                    await process._syncer.close()  # it ends the process where its store is closed
                    process._store.close()
                    process._held.close()

        return asyncio.run(whole())

    def make(self) -> int:
        nonce: int = self.run(lambda process: process.make())
        return nonce

    def ask(self, nonce: int, *messages: Any) -> list[Any]:
        """What a new process answers."""

        async def story(process: AcceptorProcess) -> list[Any]:
            letters = [Letter(str(n), 1, each) for n, each in enumerate(messages)]
            answers = [await process.receive(nonce, letter) for letter in letters]
            return [None if answer is None else answer.what for answer in answers]

        answers: list[Any] = self.run(story)
        return answers


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_was_answered_is_known_to_the_next_process(host: Host) -> None:
    nonce = host.make()
    assert host.ask(nonce, Prepare(LOW), Accept(PROPOSAL)) == [
        Promise(LOW, None),
        Accepted(PROPOSAL),
    ]
    assert host.ask(nonce, Prepare(HIGH)) == [Promise(HIGH, PROPOSAL)]


def test_nobody_is_answered_without_the_store_or_from_another(host: Host) -> None:
    assert host.ask(1, Prepare(LOW)) == [None]
    nonce = host.make()
    shutil.rmtree(host.store)
    assert host.ask(nonce, Prepare(LOW)) == [None]
    directory.create(host.root, cluster_name="synod-x", cluster_id="of this test", replica=1)
    assert host.ask(nonce, Prepare(LOW)) == [None]
    with pytest.raises(StoreError, match="exists already"):
        host.make()


def test_a_damaged_store_is_never_served_again(host: Host) -> None:
    nonce = host.make()
    kept = host.store / "aside"
    shutil.move(host.store / "db", kept)
    assert host.ask(nonce, Prepare(LOW)) == [None]
    shutil.move(kept, host.store / "db")
    assert host.ask(nonce, Prepare(LOW)) == [None]
    assert "db" in (directory.read_identity(host.store).retired or "")


def test_a_disk_that_refuses_ends_the_process_before_it_answers(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same process all that follows would fail as well, though the disk had room again."""
    nonce = host.make()

    class Ended(Exception):
        pass

    def end(error: BaseException) -> None:
        raise Ended from error

    def refuse(batch: Any) -> None:
        raise StoreFull("no space left")

    async def story(process: AcceptorProcess) -> None:
        assert await process._opened()
        monkeypatch.setattr(process._store, "write", refuse)
        await process.receive(nonce, Letter("1", 1, Prepare(HIGH)))

    monkeypatch.setattr(acceptor, "end_process", end)
    with pytest.raises(Ended):
        host.run(story)
    assert host.ask(nonce, Prepare(LOW)) == [Promise(LOW, None)]
