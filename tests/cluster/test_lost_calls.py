"""Calls of which Ray does not know whether they were carried out: the member is asked itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError

from raycons.cluster import creation, fleet
from raycons.cluster.fleet import Charter, Fleet
from raycons.cluster.settings import ClusterSettings
from raycons.errors import ClusterError, StoreError
from raycons.member.spec import Introduction, MemberState

CHARTER = Charter(name="prod", uuid="u", secret=b"s", settings=ClusterSettings())
BEFORE, AFTER, LATE, SOUND = "before", "after", "late", "sound"


class Remote:
    """A method of an actor."""

    def __init__(self, method: Callable[[], Awaitable[Any]]) -> None:
        self._method = method

    def remote(self) -> Awaitable[Any]:
        return self._method()


class FakeMember:
    """A vacant member whose store is made once; its calls are lost as it is told.

    Before: not sent. After: carried out, the answer lost. Late: lost, and carried out just before
    the next, which is then refused.
    """

    def __init__(self, *makes: str, introductions: int = 0) -> None:
        self.state = MemberState.VACANT
        self.made = 0
        self._makes = list(makes)
        self._lost_introductions = introductions
        self._under_way = False
        self.make = Remote(self._make)
        self.introduce = Remote(self._introduce)

    async def _make(self) -> Introduction:
        told = self._makes.pop(0) if self._makes else SOUND
        if self._under_way:
            self._carry_out()
        if told in (BEFORE, LATE):
            self._under_way = told == LATE
            raise ActorUnavailableError("lost", None)
        if self.state is not MemberState.VACANT:
            cause = StoreError("a store is made once")
            raise RayTaskError("make", "", cause).as_instanceof_cause()
        self._carry_out()
        if told == AFTER:
            raise ActorUnavailableError("lost", None)
        return await self._introduce()

    def _carry_out(self) -> None:
        self.made += 1
        self._under_way = False
        self.state = MemberState.MADE

    async def _introduce(self) -> Introduction:
        self._lost_introductions -= 1
        if self._lost_introductions >= 0:
            raise ActorUnavailableError("lost", None)
        fields = dict.fromkeys(Introduction.__struct_fields__, None)
        return msgspec.structs.replace(Introduction(**fields), state=self.state)  # type: ignore[arg-type]


def made(member: FakeMember, monkeypatch: pytest.MonkeyPatch) -> Introduction:
    monkeypatch.setattr(fleet, "PAUSE_S", 0.0)
    one = Fleet(CHARTER)
    one._handles[1] = member
    return asyncio.run(one.make(1))


@pytest.mark.parametrize(
    "member",
    [
        FakeMember(),
        FakeMember(BEFORE),
        FakeMember(AFTER),
        FakeMember(BEFORE, BEFORE, AFTER),
        FakeMember(LATE),
        FakeMember(AFTER, introductions=3),
    ],
)
def test_a_store_is_made_once_whatever_call_is_lost(
    member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(member, monkeypatch).state is MemberState.MADE
    assert member.made == 1


def test_a_store_that_somebody_else_made_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    member = FakeMember()
    member.state = MemberState.MADE
    with pytest.raises(ClusterError, match="a store is made once"):
        made(member, monkeypatch)


def test_a_member_that_no_call_reaches_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="lost 20 calls"):
        made(FakeMember(*[BEFORE] * 40), monkeypatch)


@pytest.mark.parametrize(
    ("failures", "raised"),
    [
        (("lost", "lost"), creation._Doubtful),  # with the one that began, these may be a majority
        (("lost", "refused"), creation._Doubtful),
        (("refused", "refused"), ClusterError),
    ],
)
def test_a_beginning_that_may_have_happened_is_not_undone(
    failures: tuple[str, ...], raised: type[ClusterError]
) -> None:
    fields = dict.fromkeys(Introduction.__struct_fields__, None)
    began = Introduction(**fields)  # type: ignore[arg-type]

    async def call(outcome: str) -> Introduction:
        if outcome == "began":
            return began
        error = ClusterError(outcome)
        cause = StoreError("no")
        error.__cause__ = (
            RayTaskError("begin", "", cause).as_instanceof_cause()
            if outcome == "refused"
            else TimeoutError()
        )
        raise error

    async def run() -> None:
        await creation._all((call(each) for each in ("began", *failures)), enough=2)

    with pytest.raises(ClusterError) as caught:
        asyncio.run(run())
    assert type(caught.value) is raised
