"""The one place where the arguments of `raycons.synod` are checked."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import msgspec

from raycons.cluster.arguments import root_of
from raycons.cluster.settings import check_seconds
from raycons.consensus.quorum import (
    Flexible,
    Grid,
    Majority,
    QuorumSystem,
    Weighted,
    disjoint,
)
from raycons.errors import BadArgument

MAX_ROLES = 64  # of each kind
MAX_SEARCHED = 16  # acceptors for which a quorum system is searched for a gap
SOUND = (Flexible, Grid, Majority, Weighted)  # these are not made wrong, so need no search


class SynodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a synod is made of."""

    acceptors: int
    proposers: int
    learners: int
    quorums: Any  # a QuorumSystem
    path: str | None  # the data root; None: the default one of each host
    loss: float  # the share of all messages that is lost
    delay_s: tuple[float, float]  # between which two each message is held up


def settings_of_synod(
    *,
    acceptors: int,
    proposers: int,
    learners: int,
    quorums: QuorumSystem | None,
    path: str | os.PathLike[str] | None,
    loss: float,
    delay: tuple[float, float],
) -> SynodSettings:
    """The settings that the arguments mean. Raises BadArgument, naming the argument."""
    _check_count("acceptors", acceptors, 1)
    _check_count("proposers", proposers, 1)
    _check_count("learners", learners, 0)
    if quorums is None:
        if acceptors % 2 == 0:
            warnings.warn(
                f"acceptors={acceptors}: a majority of an even number survives no more losses "
                f"than one of {acceptors - 1} would, and asks one more for each phase; "
                f"{acceptors - 1} or {acceptors + 1} is better, or quorums=Flexible(...)",
                stacklevel=3,
            )
        quorums = Majority(range(1, acceptors + 1))
    check_quorums(quorums, acceptors)
    return SynodSettings(
        acceptors=acceptors,
        proposers=proposers,
        learners=learners,
        quorums=quorums,
        path=root_of(path),
        loss=_share(loss),
        delay_s=_delay(delay),
    )


def check_quorums(quorums: Any, acceptors: int) -> None:
    """Raise BadArgument unless the quorums are of acceptors 1 to `acceptors`, and sound."""
    for name in ("acceptors", "prepares", "chooses"):
        if not hasattr(quorums, name):
            raise BadArgument(
                f"quorums={quorums!r}: expected Majority, Flexible, Grid or Weighted, or a "
                f"QuorumSystem of your own; it has no {name!r}"
            )
    wanted, known = set(range(1, acceptors + 1)), set(quorums.acceptors)
    if wanted != known:
        raise BadArgument(
            f"quorums={type(quorums).__name__} is of acceptors {sorted(known)}, and acceptors="
            f"{acceptors} are numbered 1 to {acceptors}: let both agree"
        )
    if not (quorums.prepares(wanted) and quorums.chooses(wanted)):
        raise BadArgument(
            f"quorums={type(quorums).__name__}: not even all acceptors together are a quorum of "
            "each phase, so that nothing would ever be chosen"
        )
    if acceptors > MAX_SEARCHED:
        if type(quorums) in SOUND:
            return
        raise BadArgument(
            f"quorums={type(quorums).__name__}: a quorum system of your own can be checked for at "
            f"most {MAX_SEARCHED} acceptors; use Flexible, Grid or Weighted for {acceptors}"
        )
    gap = disjoint(quorums)
    if gap is not None:
        raise BadArgument(
            f"quorums={type(quorums).__name__}: {gap[0]} can prepare and {gap[1]} can choose, and "
            "they do not meet, so that two values could be chosen"
        )


def check_timeout(timeout: float) -> float:
    """Give back a timeout in seconds. Raises BadArgument."""
    return check_seconds("timeout", timeout)


def _check_count(name: str, value: object, least: int) -> None:
    fits = isinstance(value, int) and not isinstance(value, bool)
    if not fits or not least <= value <= MAX_ROLES:  # type: ignore[operator]
        raise BadArgument(f"{name}={value!r}: expected a whole number from {least} to {MAX_ROLES}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share(loss: Any) -> float:
    if not _is_number(loss) or not 0 <= loss < 1:
        raise BadArgument(f"loss={loss!r}: expected a share of all messages, from 0 to below 1")
    return float(loss)


def _delay(delay: Any) -> tuple[float, float]:
    fits = isinstance(delay, tuple | list) and len(delay) == 2 and all(map(_is_number, delay))
    if not fits or not 0 <= delay[0] <= delay[1] < math.inf:
        raise BadArgument(f"delay={delay!r}: expected (least, most), both in seconds from 0 on")
    return float(delay[0]), float(delay[1])
