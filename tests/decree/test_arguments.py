"""What `raycons.synod` refuses, before anything is started."""

from __future__ import annotations

from typing import Any

import pytest

import raycons
from raycons.decree.arguments import settings_of_synod
from raycons.errors import BadArgument


def settings(**arguments: Any) -> Any:
    plain = {
        "acceptors": 3,
        "proposers": 1,
        "learners": 0,
        "quorums": None,
        "path": None,
        "loss": 0.0,
        "delay": (0.0, 0.0),
    }
    return settings_of_synod(**{**plain, **arguments})


class OneIsEnough:
    """Whoever writes this has not read the paper."""

    def __init__(self, acceptors: int) -> None:
        self.acceptors = frozenset(range(1, acceptors + 1))

    def prepares(self, granted: Any) -> bool:
        return len(granted) >= 1

    chooses = prepares


class Hasty(raycons.Majority):
    """Sound by birth, and not any more."""

    def prepares(self, granted: Any) -> bool:
        return True


class Nobody(OneIsEnough):
    def prepares(self, granted: Any) -> bool:
        return False

    chooses = prepares


class Anybody(OneIsEnough):
    def prepares(self, granted: Any) -> bool:
        return len(granted) == len(self.acceptors)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"acceptors": 0}, "acceptors=0: expected a whole number from 1"),
        ({"acceptors": True}, "acceptors=True"),
        ({"acceptors": 65}, "from 1 to 64"),
        ({"proposers": 0}, "proposers=0: expected a whole number from 1"),
        ({"learners": -1}, "learners=-1: expected a whole number from 0"),
        ({"quorums": 3}, "quorums=3: expected Majority, Flexible"),
        ({"quorums": raycons.Majority({1, 2})}, r"acceptors \[1, 2\].*numbered 1 to 3"),
        ({"quorums": raycons.Weighted({1: 1, 2: 1, 3: 0})}, r"is of acceptors \[1, 2\]"),
        ({"quorums": OneIsEnough(3)}, r"\{1\} can prepare and \{2, 3\} can choose"),
        ({"quorums": Hasty({1, 2, 3})}, "Hasty: .* can prepare and"),
        ({"quorums": Nobody(3)}, "not even all acceptors"),
        ({"quorums": OneIsEnough(17), "acceptors": 17}, "at most 16 acceptors"),
        ({"path": 3}, "path=3"),
        ({"loss": 1.0}, "loss=1.0: expected a share"),
        ({"loss": "some"}, "loss='some'"),
        ({"delay": (2, 1)}, r"delay=\(2, 1\): expected \(least, most\)"),
        ({"delay": 0.1}, "delay=0.1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        settings(**arguments)


def test_quorums_that_are_sound() -> None:
    for quorums in (
        raycons.Flexible(range(1, 5), prepare=3, accept=2),
        raycons.Grid([[1, 2], [3, 4]]),
        raycons.Weighted({1: 3, 2: 1, 3: 1, 4: 1}),
        Anybody(4),
    ):
        assert settings(acceptors=4, quorums=quorums).quorums is quorums


def test_a_system_that_was_changed_behind_its_back() -> None:
    quorums = raycons.Majority({1, 2, 3})
    quorums.prepare = 1
    with pytest.raises(BadArgument, match=r"Majority: .* can prepare and .* do not meet"):
        settings(quorums=quorums)


def test_a_system_of_ones_own_is_given_sets() -> None:
    class Own(OneIsEnough):
        def prepares(self, granted: Any) -> bool:
            return len(granted & {1, 2, 3}) >= 2

        chooses = prepares

    assert settings(quorums=Own(3)).quorums.acceptors == {1, 2, 3}


def test_an_even_number_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="acceptors=4: a majority of an even number.* 3 or 5 "):
        settings(acceptors=4)
