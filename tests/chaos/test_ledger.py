"""The audit sees each thing that can go wrong with a write, and nothing in a sound run."""

import pytest

from raycons.chaos.ledger import REFUSED, UNKNOWN, LedgerEntry, Tally, audit, token
from raycons.chaos.proofs import Proof

LOST, TWICE, FOREIGN, DISORDERED = range(4)


def entry(
    client: int, number: int, revision: int, version: int = 1, value: bytes | None = None
) -> LedgerEntry:
    stored = token(client, number) if value is None else value
    return LedgerEntry(client, number, stored, version, revision)


def failing(proofs: list[Proof]) -> list[int]:
    return [number for number, proof in enumerate(proofs) if not proof.holds]


OUTCOMES = [[5, 7, UNKNOWN, 12], [6, REFUSED]]
FOUND = [entry(0, 0, 5), entry(0, 1, 7), entry(0, 3, 12), entry(1, 0, 6)]
TALLIED = {0: Tally(3, 3), 1: Tally(0, 1)}


def test_a_sound_run_passes_with_the_unknown_write_absent() -> None:
    assert failing(audit(OUTCOMES, FOUND, TALLIED)) == []


def test_a_sound_run_passes_with_the_unknown_write_present() -> None:
    found = [*FOUND, entry(0, 2, 9)]
    assert failing(audit(OUTCOMES, found, {**TALLIED, 0: Tally(3, 4)})) == []


def test_a_missing_acknowledged_write_is_lost() -> None:
    proofs = audit(OUTCOMES, FOUND[1:], {**TALLIED, 0: Tally(3, 2)})
    assert failing(proofs) == [LOST]
    assert "write 0 of client 0, acknowledged at revision 5, is missing" in proofs[LOST].detail


def test_a_write_at_another_revision_than_acknowledged_is_lost() -> None:
    found = [entry(0, 0, 4), *FOUND[1:]]
    assert failing(audit(OUTCOMES, found, TALLIED)) == [LOST]


def test_another_value_is_a_lost_write() -> None:
    found = [entry(0, 0, 5, value=b"x"), *FOUND[1:]]
    assert failing(audit(OUTCOMES, found, TALLIED)) == [LOST]


def test_a_key_put_twice_was_applied_twice() -> None:
    found = [entry(0, 0, 5, version=2), *FOUND[1:]]
    assert failing(audit(OUTCOMES, found, TALLIED)) == [TWICE]


def test_a_tally_put_too_often_was_applied_twice() -> None:
    proofs = audit(OUTCOMES, FOUND, {**TALLIED, 0: Tally(3, 4)})
    assert failing(proofs) == [TWICE]
    assert "3 writes, and its tally was put 4 times" in proofs[TWICE].detail


def test_half_a_transaction_is_a_lost_write() -> None:
    assert failing(audit(OUTCOMES, FOUND, {**TALLIED, 0: Tally(3, 2)})) == [LOST]


def test_a_tally_of_an_older_write_is_a_lost_write() -> None:
    assert failing(audit(OUTCOMES, FOUND, {**TALLIED, 0: Tally(1, 3)})) == [LOST]


def test_a_refused_write_must_not_be_there() -> None:
    found = [*FOUND, entry(1, 1, 13)]
    assert failing(audit(OUTCOMES, found, {**TALLIED, 1: Tally(1, 2)})) == [FOREIGN]


def test_a_write_that_nobody_made_is_foreign() -> None:
    assert failing(audit(OUTCOMES, [*FOUND, entry(7, 0, 13)], TALLIED)) == [FOREIGN]


def test_a_later_write_with_a_lower_revision_is_out_of_order() -> None:
    found = [entry(0, 0, 5), entry(0, 1, 7), entry(0, 2, 6), entry(0, 3, 12), entry(1, 0, 6)]
    assert failing(audit(OUTCOMES, found, {**TALLIED, 0: Tally(3, 4)})) == [DISORDERED]


@pytest.mark.parametrize("missing", [10])
def test_many_findings_are_quoted_shortly(missing: int) -> None:
    proofs = audit([list(range(1, missing + 1))], [], {})
    assert "and 7 more" in proofs[LOST].detail
