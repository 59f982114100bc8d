"""Bugs planted into the shipped code, which the simulator must find, and find again.

Each one is a mistake that implementations have really shipped with, or that the texts warn of. The
patches change the engine, the replica or the machines themselves, never a stand-in.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from raycons.consensus.contract import Entry, EntryId
from raycons.consensus.raft.log import Log
from raycons.errors import BadArgument
from raycons.simulation.mutants import Mutant, all_mutants, find
from raycons.simulation.mutants.hunt import CAMPAIGN_STRIDE, Detection, campaign, live, summarize
from raycons.simulation.mutants.patch import Patch, StaleEdit

SHIPPED = tuple(
    f"raycons.{part}" for part in ("consensus", "member", "machines", "store", "client")
)
SEEDS = 200  # at most so many are tried for one bug

# Found within a second or two: one or two of each duty.
QUICK = [
    "vote-not-persisted",
    "votes-counted-without-the-name",
    "pre-vote-raises-the-term",
    "pre-candidate-keeps-its-leader",
    "timer-reset-by-a-refused-vote",
    "acknowledged-before-fsync",
    "match-kept-across-elections",
    "older-terms-committed-by-counting",
    "entry-skipped-at-a-batch-limit",
    "read-without-asking-anybody",
    "promises-broken",
    "lease-kept-during-transfer",
    "promise-forgotten-in-a-restart",
    "voters-changed-in-one-step",
    "change-before-the-no-op",
    "sessions-left-out-of-the-snapshot",
    "pieces-of-two-snapshots-mixed",
    "snapshot-installed-in-two-batches",
    "retries-done-again",
    "unknown-outcome-called-certain",
    "log-end-dropped-at-recovery",
    "removed-replica-re-added-under-its-old-id",
    "promise-forgotten",
    "accepted-below-the-promise",
    "quorums-that-do-not-meet",
    "slot-acknowledged-before-fsync",
    "reconfiguration-at-once",
    "own-state-though-one-was-accepted",
    "lead-kept-after-a-refusal",
    "read-of-one-acceptor",
    "change-applied-twice-on-a-retry",
    "register-erased-that-was-written-again",
    "ballots-below-the-tombstone",
    "voters-changed-at-once",
]

# Holes: `docs/verification.md` says of each what is missing. None at present.
OPEN: set[str] = set()


def find_and_replay(mutant: Mutant) -> None:
    found = campaign(mutant, 0, SEEDS)
    assert found is not None, f"none of {SEEDS} seeds found it"
    with mutant.planted():
        first, again = live(mutant, found.seed), live(mutant, found.seed)
    assert first.violation is not None
    assert first.violation.invariant == found.invariant
    assert again == first


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found_and_replays_to_the_same_step(name: str) -> None:
    find_and_replay(find(name))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mutant",
    [one for one in all_mutants() if one.name not in OPEN.union(QUICK)],
    ids=lambda one: one.name,
)
def test_every_other_planted_bug_is_found_too(mutant: Mutant) -> None:
    find_and_replay(mutant)


WORLDS = {(mutant.world, mutant.protocol): mutant for mutant in all_mutants()}


@pytest.mark.parametrize(
    "mutant", WORLDS.values(), ids=lambda one: f"{one.world.__name__} {one.protocol}"
)
def test_the_world_of_a_mutant_breaks_nothing_without_it(mutant: Mutant) -> None:
    assert live(mutant, 0, 6.0).violation is None


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda one: one.name)
def test_every_mutant_can_be_planted_and_leaves_no_trace(mutant: Mutant) -> None:
    before = code_of_shipped_functions()
    with mutant.planted():
        assert code_of_shipped_functions() != before
    assert code_of_shipped_functions() == before


def code_of_shipped_functions() -> dict[str, object]:
    """What every function of the packages that mutants touch runs, by its name."""
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(SHIPPED):
            for key, value in vars(module).items():
                owners = vars(value) if isinstance(value, type) else {"": value}
                for part, item in owners.items():
                    found[f"{name}.{key}.{part}"] = getattr(item, "__code__", None)
    return found


def test_what_is_open_is_a_mutant_and_is_owned_up_to() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
    confessed = page.partition("## Open")[2]
    assert {mutant.name for mutant in all_mutants()} >= OPEN
    assert {name for name in OPEN if f"`{name}`" not in confessed} == set()


def test_an_edit_whose_text_is_gone_is_refused() -> None:
    with Patch() as patch, pytest.raises(StaleEdit, match=r"Log\.up_to_date no longer contains"):
        patch.edit(Log.up_to_date, "no such text", "")


def test_edits_of_one_function_add_up_and_end_together() -> None:
    log = Log(NoEntries(), EntryId(7, 3))
    with Patch() as patch:
        patch.edit(Log.term, "return self.base.term", "return 40")
        patch.edit(Log.term, "return None", "return 50")
        assert (log.term(7), log.term(9)) == (40, 50)
    assert (log.term(7), log.term(9)) == (3, None)


class NoEntries:
    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        raise AssertionError("nothing is to be read")


def test_a_name_that_is_no_mutant_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadArgument, match=r"'nonsense'.*vote-not-persisted"):
        find("nonsense")


def test_a_campaign_that_finds_nothing_counts_as_longer_than_any_other() -> None:
    mutant = find("vote-not-persisted")
    hits = [Detection(2, 3, "vote-once"), Detection(CAMPAIGN_STRIDE, 1, "election-safety"), None]
    found = summarize(mutant, hits, 20.0)
    assert (found.found, found.median_seeds, found.min_seeds, found.max_seeds) == (2, 3, 1, None)
    assert found.replay == "raycons mutants vote-not-persisted --seed 2"
    assert summarize(mutant, [None, None, hits[0]], 20.0).median_seeds is None
