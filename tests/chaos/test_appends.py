"""An append of swaps: it says what its last swap said, and adds once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from raycons.chaos.appends import Appending
from raycons.errors import NotApplied, OutcomeUnknown, Unavailable
from raycons.verify import Recorder, read_history


class Key:
    """A store of one key; each of its reads and swaps fails as it is told, swaps after effect."""

    def __init__(self, *swaps: str, read: type[Exception] | None = None) -> None:
        self.value: bytes | None = None
        self.told = list(swaps)
        self.read = read

    async def get(self, key: str) -> bytes | None:
        if self.read is not None:
            raise self.read
        return self.value

    async def compare_and_swap(self, key: str, *, expect: bytes | None, value: bytes) -> bool:
        told = self.told.pop(0) if self.told else "sound"
        if told == "refused":
            raise Unavailable
        if told == "overtaken":
            self.value = (self.value or b"") + b"x"
        swaps = self.value == expect
        if swaps:
            self.value = value
        if told == "unanswered":
            raise OutcomeUnknown
        return swaps


def appended(path: Path, kv: Key) -> list[str]:
    """What the history says of one append of "a" to the key."""

    async def append() -> None:
        with Recorder(path) as recorder, contextlib.suppress(NotApplied, OutcomeUnknown):
            await recorder.wrap(Appending(kv)).append("key", b"a")

    asyncio.run(append())
    return [f"{one.op} {'unknown' if one.unknown else 'done'}" for one in read_history(path)]


@pytest.mark.parametrize(
    ("kv", "recorded", "value"),
    [
        (Key(), ["append done"], b"a"),
        (Key("overtaken", "overtaken"), ["append done"], b"xxa"),
        (Key("unanswered"), ["append unknown"], b"a"),
        (Key("overtaken", "unanswered"), ["append unknown"], b"xa"),
        (Key("overtaken", "refused"), [], b"x"),
        (Key(read=OutcomeUnknown), [], None),
        (Key(read=Unavailable), [], None),
    ],
)
def test_an_append_is_known_as_far_as_its_swap_is(
    tmp_path: Path, kv: Key, recorded: list[str], value: bytes | None
) -> None:
    assert appended(tmp_path / "history.jsonl", kv) == recorded
    assert kv.value == value
