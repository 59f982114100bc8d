"""Handles that record what a test's clients do, and the verdict on it when the test ends.

    def test_something(yard: Yard, recordings: Recordings) -> None:
        kv = recordings.wrap(yard.start().kv())
        ...                                  # from any threads and tasks

A history that cannot be explained, or not decided upon, fails the test and is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest

from raycons.verify import Recorder, check, read_history
from raycons.verify.story import story

CHECK_S = 60.0  # at most, for the search through one history


class Recordings:
    """The histories of one test.

    Args:
        root: where they are written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._recorders: dict[str, Recorder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.judge()

    def wrap(self, kv: Any, of: str = "cluster") -> Any:
        """A handle that records; `of` names the data, which all handles to it share."""
        return self.recorder(of).wrap(kv)

    def recorder(self, of: str) -> Recorder:
        """Where the operations on this data are recorded."""
        if of not in self._recorders:
            self._recorders[of] = Recorder(self._path(of))
        return self._recorders[of]

    def judge(self) -> None:
        """End the histories; fails the test unless every one is linearizable."""
        for recorder in self._recorders.values():
            recorder.close()
        for of in self._recorders:
            judge([self._path(of)])

    def _path(self, of: str) -> Path:
        return self._root / f"history-{of}.jsonl"


def judge(parts: list[Path]) -> None:
    """Fail the test unless these files, of one clock and the same data, are linearizable."""
    operations = [one for part in parts for one in read_history(part)]
    verdict = check(operations, timeout=CHECK_S)
    where = ", ".join(map(str, parts))
    if not operations:
        pytest.fail(f"nothing was recorded in {where}", pytrace=False)
    if verdict.answer != "linearizable":
        shown = story(verdict.violation) if verdict.violation is not None else []
        pytest.fail("\n".join([f"{verdict.answer}: {where}", "", *shown]), pytrace=False)
