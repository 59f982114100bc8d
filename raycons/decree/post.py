"""Letters between the actors of a synod: written down, held up and lost as its settings say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import SystemRandom
from typing import Any

from raycons.charts.events import Kind
from raycons.consensus.paxos.messages import shortened, told
from raycons.decree.recording import Recording
from raycons.decree.spec import Letter, SynodSpec
from raycons.errors import Unavailable
from raycons.member.lookup import actor_named
from raycons.store.directory import default_root


def synod_directory(spec: SynodSpec) -> Path:
    """Where all of a synod lies on this host."""
    root = Path(spec.settings.path) if spec.settings.path else default_root()
    return root / spec.name


class Post:
    """One actor's way to send and to receive.

    Args:
        spec: the synod.
        id: its number among those of its kind.
        name: its name in charts.
    """

    def __init__(self, spec: SynodSpec, id: int, name: str) -> None:
        self.recording = Recording(synod_directory(spec), name)
        self._id = id
        self._spec = spec
        self._settings = spec.settings
        self._actors: dict[str, Any] = {}
        self._random = SystemRandom()

    def write(self, what: Any, to: str) -> Letter:
        """A letter that leaves now."""
        letter = Letter(self.recording.next_message(), self._id, what)
        self.recording.write(Kind.SENT, told(what), letter.id, to)
        return letter

    async def arrives(self) -> bool:
        """Wait for as long as a letter is held up; whether it arrives then."""
        least, most = self._settings.delay_s
        if most:
            await asyncio.sleep(self._random.uniform(least, most))
        return self._random.random() >= self._settings.loss

    def read(self, letter: Letter, sender: str) -> Any:
        """A letter that arrived: what it says."""
        self.recording.write(Kind.RECEIVED, told(letter.what), letter.id, sender)
        return letter.what

    async def actor(self, name: str) -> Any:
        """The actor of that name; None where it has ended."""
        if name not in self._actors:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(None, actor_named, self._spec.actor(name))
            except Unavailable:
                return None
            if found is None:
                return None
            self._actors[name] = found  # it stays the same when Ray starts it again
        return self._actors[name]

    def knows(self, chosen: bytes) -> None:
        """The actor knows now what is chosen."""
        self.recording.write(Kind.CHOSEN, f"chosen {shortened(chosen)}")
