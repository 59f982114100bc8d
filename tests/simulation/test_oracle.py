"""The model of the store, and the judge of what clients were told."""

from __future__ import annotations

import msgspec
import pytest

from raycons import errors
from raycons.machines.contract import Command
from raycons.machines.kv.commands import (
    Delete,
    DeleteDone,
    KeyValue,
    Operation,
    Put,
    PutDone,
    Range,
    RangeDone,
    Result,
    Swap,
    SwapDone,
    Txn,
    TxnDone,
)
from raycons.simulation.history import KEY_VALUE, History
from raycons.simulation.invariants import Invariants
from raycons.simulation.world import Violation

encode = msgspec.msgpack.Encoder().encode
PAIR = KeyValue(b"k", b"one", 1, 1, 1)


def command(index: int, *operations: Operation) -> Command:
    return Command(index, 1, 0, 1, encode(operations))


def told(history: History, index: int, operation: Operation, result: Result) -> None:
    """A machine carries out `operation` in entry `index`, and says `result`."""
    history.witnessed(KEY_VALUE, command(index, operation), encode((result,)))


@pytest.fixture
def history() -> History:
    """One key, put at revision 1."""
    history = History(Invariants())
    told(history, 1, Put(b"k", b"one"), PutDone(1))
    return history


def test_right_answers_pass(history: History) -> None:
    told(history, 2, Swap(b"k", b"one", b"two"), SwapDone(2, True, None))
    told(history, 3, Swap(b"k", b"one", b"three"), SwapDone(2, False, b"two"))
    done = TxnDone(3, True, (PutDone(3), DeleteDone(3, 1)))
    told(history, 4, Txn((), (Put(b"m", b"four"), Delete(b"k")), ()), done)
    history.succeeded(Range(b"k"), RangeDone(3, (), 0, False), floor=0)
    history.succeeded(Range(b"k"), RangeDone(1, (PAIR,), 1, False), floor=1)
    assert history.floor == 3


@pytest.mark.parametrize("answer", [PutDone(3), PutDone(1), SwapDone(2, True, None)], ids=repr)
def test_a_wrong_answer_is_seen(history: History, answer: Result) -> None:
    with pytest.raises(Violation, match="machine-answers"):
        told(history, 2, Put(b"k", b"two"), answer)


def test_an_effect_in_two_entries_is_seen(history: History) -> None:
    with pytest.raises(Violation, match="exactly-once"):
        told(history, 2, Put(b"k", b"one"), PutDone(2))


def test_replicas_that_answer_differently_are_seen(history: History) -> None:
    told(history, 1, Put(b"k", b"one"), PutDone(1))
    with pytest.raises(Violation, match="state-machine-safety"):
        told(history, 1, Put(b"k", b"one"), PutDone(2))
    with pytest.raises(Violation, match="state-machine-safety"):
        told(history, 1, Put(b"k", b"other"), PutDone(1))


def test_a_read_of_the_past_is_seen(history: History) -> None:
    told(history, 2, Put(b"k", b"two"), PutDone(2))
    history.succeeded(Put(b"k", b"two"), PutDone(2), floor=0)
    with pytest.raises(Violation, match="linearizability"):
        history.succeeded(Range(b"k"), RangeDone(1, (PAIR,), 1, False), floor=history.floor)


def test_a_read_of_the_future_or_of_what_never_was_is_seen(history: History) -> None:
    with pytest.raises(Violation, match="only 1 is committed"):
        history.succeeded(Range(b"k"), RangeDone(2, (PAIR,), 1, False), floor=0)
    with pytest.raises(Violation, match="linearizability"):
        history.succeeded(Range(b"k"), RangeDone(1, (), 0, False), floor=0)


def test_an_acknowledged_write_that_is_not_committed_is_seen(history: History) -> None:
    with pytest.raises(Violation, match="durability"):
        history.succeeded(Put(b"k", b"never"), PutDone(2), floor=0)


def test_an_error_that_denies_an_effect_is_seen_before_and_after(history: History) -> None:
    denial = errors.Unavailable("nothing was done")
    with pytest.raises(Violation, match="errors-are-true"):
        history.failed(Put(b"k", b"one"), denial)
    history.failed(Put(b"k", b"two"), denial)
    with pytest.raises(Violation, match="errors-are-true"):
        told(history, 2, Put(b"k", b"two"), PutDone(2))


def test_an_unknown_outcome_may_go_either_way(history: History) -> None:
    doubt = errors.OutcomeUnknown("no answer")
    history.failed(Put(b"k", b"one"), doubt)
    history.failed(Put(b"k", b"two"), doubt)
    told(history, 2, Put(b"k", b"two"), PutDone(2))
    assert history.outcomes["OutcomeUnknown"] == 2


def test_an_error_that_no_client_should_get_is_seen(history: History) -> None:
    with pytest.raises(Violation, match="client-answers"):
        history.failed(Put(b"k", b"two"), errors.BadArgument("what"))
