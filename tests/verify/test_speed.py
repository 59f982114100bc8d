"""The checker decides a long history in time: a processor's, for the machine may be busy."""

from __future__ import annotations

import time

import pytest

from raycons.verify import check

from .histories import busy

PROMISED_S = 30.0  # for 100,000 operations of 10 clients
SIZE, CLIENTS = 100_000, 10


@pytest.mark.long
@pytest.mark.parametrize(("keys", "unknown"), [(10, 0.0), (10, 0.01), (1, 0.0), (1, 0.01)])
def test_a_hundred_thousand_operations_are_decided_in_time(keys: int, unknown: float) -> None:
    history = busy(1, SIZE, CLIENTS, keys, unknown=unknown)
    verdict = check(history, timeout=PROMISED_S, clock=time.process_time)
    assert (verdict.answer, verdict.operations) == ("linearizable", SIZE)


def test_ten_thousand_operations_are_decided_in_their_share_of_the_time() -> None:
    history = busy(1, SIZE // 10, CLIENTS, 1, unknown=0.01)
    verdict = check(history, timeout=PROMISED_S / 10, clock=time.process_time)
    assert verdict.answer == "linearizable"
