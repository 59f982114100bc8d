"""Mistakes in single-decree Paxos, for the explorer: each with the smallest scope that shows it.

Most need two ballots; where one proposer has to begin twice, two acceptors are nearly always
enough. Refusals are lost: none of them needs any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from raycons.consensus.paxos.synod import Acceptor, Proposer
from raycons.consensus.quorum import Flexible
from raycons.errors import BadArgument
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.synod_scope import SynodScope

PAPER = "Paxos Made Simple, section 2.2"


class Mistake(NamedTuple):
    """A mistake that can be planted into the shipped roles."""

    name: str
    description: str  # one line
    source: str  # which text warns of it
    acceptors: int  # of a scope that shows it
    rounds: tuple[int, int]  # of its two proposers
    plant: Callable[[Patch], None]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the mistake in the shipped code of this process for a while."""
        with Patch() as patch:
            self.plant(patch)
            yield

    def scope(self) -> SynodScope:
        """The scope that shows it; make it, and explore it, while the mistake is planted."""
        return SynodScope(2, self.acceptors, self.rounds, refusals=False)


_mistakes: dict[str, Mistake] = {}


def mistake(
    source: str = PAPER, acceptors: int = 3, rounds: tuple[int, int] = (1, 1)
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register the decorated function, whose docstring describes the mistake, under its name."""

    def register(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        name = plant.__name__.replace("_", "-")
        description = (plant.__doc__ or "").partition("\n")[0]
        _mistakes[name] = Mistake(name, description, source, acceptors, rounds, plant)
        return plant

    return register


def all_mistakes() -> list[Mistake]:
    """Every mistake, in the order of this file."""
    return list(_mistakes.values())


def mistake_named(name: str) -> Mistake:
    """The mistake of that name. Raises BadArgument where there is none."""
    if name not in _mistakes:
        raise BadArgument(f"there is no mistake {name!r}; choose from: {', '.join(_mistakes)}")
    return _mistakes[name]


# --- acceptors ------------------------------------------------------------------------------------


@mistake()
def promise_forgotten(patch: Patch) -> None:
    """An acceptor answers a prepare and does not remember that it did."""
    patch.edit(
        Acceptor._prepare,
        "AcceptorState(ballot, state.accepted)",
        "AcceptorState(state.promised, state.accepted)",
    )


@mistake()
def accepted_below_the_promise(patch: Patch) -> None:
    """An acceptor accepts whatever it is asked to."""
    patch.edit(Acceptor._accept, "proposal.ballot < state.promised", "False")


@mistake(acceptors=2)
def promise_without_what_was_accepted(patch: Patch) -> None:
    """An acceptor promises, and keeps to itself what it has accepted."""
    patch.edit(Acceptor._prepare, "Promise(ballot, state.accepted)", "Promise(ballot, None)")


@mistake(acceptors=2)
def accepted_forgotten_with_a_promise(patch: Patch) -> None:
    """An acceptor gives up what it has accepted when it promises anew."""
    patch.edit(
        Acceptor._prepare, "AcceptorState(ballot, state.accepted)", "AcceptorState(ballot, None)"
    )


@mistake(source="Paxos Made Simple, section 2.5: stable storage before the response")
def promise_sent_before_it_is_on_disk(patch: Patch) -> None:
    """An acceptor promises at once; a crash then forgets the promise, and not its answer."""
    patch.edit(Acceptor._prepare, ", after=keep.number", "")


@mistake(source="Paxos Made Simple, section 2.5: stable storage before the response", acceptors=2)
def accepted_sent_before_it_is_on_disk(patch: Patch) -> None:
    """An acceptor says that it has accepted before its disk knows."""
    patch.edit(Acceptor._accept, ", after=keep.number", "")


# --- proposers ------------------------------------------------------------------------------------


@mistake(acceptors=2)
def own_value_though_one_was_accepted(patch: Patch) -> None:
    """A proposer proposes its own value, whatever the promises tell."""
    patch.edit(
        Proposer._promised, "max(accepted).value if accepted else state.value", "state.value"
    )


@mistake(rounds=(2, 1))
def value_of_the_lowest_ballot(patch: Patch) -> None:
    """Of several accepted values a proposer takes that of the lowest ballot."""
    patch.edit(Proposer._promised, "max(accepted)", "min(accepted)")


@mistake()
def one_promise_is_enough(patch: Patch) -> None:
    """A proposer asks to accept before a quorum has promised."""
    patch.edit(
        Proposer._promised,
        "self._quorums.prepares({acceptor for acceptor, _ in promises})",
        "len(promises) >= 1",
    )


@mistake()
def one_acceptance_is_enough(patch: Patch) -> None:
    """A proposer takes for chosen what one acceptor accepted."""
    patch.edit(Proposer._accepted, "self._quorums.chooses(accepted)", "len(accepted) >= 1")


@mistake(acceptors=2, rounds=(2, 1))
def promises_of_another_ballot_counted(patch: Patch) -> None:
    """A proposer counts late promises, given for a ballot that it has left."""
    patch.edit(Proposer._promised, "message.ballot != state.ballot or ", "")


@mistake(acceptors=2, rounds=(2, 1))
def acceptances_of_another_proposal_counted(patch: Patch) -> None:
    """A proposer counts what was accepted under a ballot that it has left."""
    patch.edit(Proposer._accepted, "proposal != state.proposal", "state.proposal is None")


@mistake(source="Paxos Made Simple, section 2.5: no two proposals with the same number")
def one_ballot_for_two_proposers(patch: Patch) -> None:
    """Two proposers use the same number, for the number of a proposer is not part of it."""
    patch.edit(Proposer._prepare, "self.id, self._nonce", "1, 1")


@mistake(source="Flexible Paxos, section 3: quorums of the two phases meet")
def quorums_that_do_not_meet(patch: Patch) -> None:
    """Any acceptor is a quorum of phase 1, though a majority chooses."""
    patch.attribute(Flexible, "prepares", lambda self, granted: len(granted) >= 1)
