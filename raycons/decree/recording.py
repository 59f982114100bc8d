"""What each process of a synod saw: a file of its own, a line an event, written at once.

The page cache outlives the process, so what a killed one saw is not lost with it. Times are those
of the day, for hosts agree on no other; a clock that is set misplaces only what no message orders.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import msgspec

from raycons.charts.events import Event, Kind

DIRECTORY = "recordings"
MAX_BYTES = 16 * 2**20  # of a process, some 100,000 events; it goes on unrecorded
_Files = Mapping[str, bytes]


def time_of_day() -> float:
    """Seconds since 1970: when a recorded event was. Nothing else may rest on it."""
    return time.time()


class Recording:
    """Writes down what one process of `actor` does; says nothing where the disk refuses.

    Args:
        directory: of the synod, on this host.
        actor: the name of the lifeline.
    """

    def __init__(self, directory: Path, actor: str) -> None:
        self.actor = actor
        self._process = secrets.token_hex(4)
        self._count = 0
        self._file = -1
        self._left_bytes = MAX_BYTES
        with contextlib.suppress(OSError):
            (directory / DIRECTORY).mkdir(parents=True, exist_ok=True)
            path = directory / DIRECTORY / f"{actor}-{self._process}"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.write(Kind.RESTARTED)

    def next_message(self) -> str:
        """A name for a message that no other has."""
        self._count += 1
        return f"{self.actor}-{self._process}-{self._count}"

    def write(self, kind: Kind, text: str = "", message: str = "", peer: str = "") -> None:
        """Add an event that happens now."""
        if self._file < 0 or self._left_bytes <= 0:
            return
        line = self._line(kind, text, message, peer)
        self._left_bytes -= len(line)
        if self._left_bytes <= 0:
            line = self._line(Kind.NOTE, f"recorded {MAX_BYTES:,} bytes, and nothing more")
        with contextlib.suppress(OSError):
            os.write(self._file, line)

    def _line(self, kind: Kind, *words: str) -> bytes:
        return msgspec.json.encode(Event(time_of_day(), self.actor, kind, *words)) + b"\n"


def read_recordings(directory: Path) -> dict[str, bytes]:
    """The recordings of all processes on this host, by the files' names."""
    files = {}
    for path in sorted((directory / DIRECTORY).glob("*")):
        with contextlib.suppress(OSError):
            files[path.name] = path.read_bytes()
    return files


def histories(files: _Files, kills: Iterable[tuple[str, float]]) -> list[list[Event]]:
    """One history for each actor, with a crash between its processes.

    Args:
        files: by name, as `read_recordings` gives them.
        kills: which actor was killed when, as far as that is known. Of another crash no more is
            known than that it came after all that the process wrote.
    """
    processes: dict[str, list[list[Event]]] = {}
    for content in files.values():
        events = _events(content)
        if events:
            processes.setdefault(events[0].actor, []).append(events)
    known = sorted(kills, key=lambda kill: kill[1])
    told = []
    for actor, lives in processes.items():
        lives.sort(key=lambda life: life[0].at_s)
        killed = [at_s for who, at_s in known if who == actor]
        history = lives[0][1:]  # it began with the synod
        for last, life in pairwise(lives):
            within = [at_s for at_s in killed if last[0].at_s < at_s < life[0].at_s]
            history.append(_crash(actor, max(within, default=last[-1].at_s)))
            history += life
        later = [at_s for at_s in killed if at_s > lives[-1][0].at_s]
        if later:
            history.append(_crash(actor, max(later)))
        told.append(history)
    return told


def _events(content: bytes) -> list[Event]:
    decoder = msgspec.json.Decoder(Event)
    events = []
    for line in content.split(b"\n"):
        # Half a line is left by a process that was killed, or by a disk that was full for a while.
        with contextlib.suppress(msgspec.DecodeError):
            events.append(decoder.decode(line))
    return events


def _crash(actor: str, at_s: float) -> Event:
    return Event(at_s, actor, Kind.CRASHED)
