"""What a gate lets through, without any wire."""

from __future__ import annotations

from random import Random

import pytest

from raycons.transport.gate import CLIENTS, Direction, Gate

PEER = 2
FRAMES = 10_000


def dropped(gate: Gate, peer: int = PEER) -> tuple[float, float]:
    """The shares of frames that vanish on the way out, and on the way in."""
    out = sum(gate.drops_to(peer) for _ in range(FRAMES))
    into = sum(gate.drops_from(peer) for _ in range(FRAMES))
    return round(out / FRAMES, 2), round(into / FRAMES, 2)


@pytest.mark.parametrize("who", [PEER, CLIENTS])
def test_a_share_of_the_frames_is_lost_each_way(who: int) -> None:
    gate = Gate(Random(1))
    gate.lose(outward=0.25, inward=0.5)
    assert gate.closed
    assert dropped(gate, who) == pytest.approx((0.25, 0.5), abs=0.02)
    assert not gate.separates(who)


def test_what_loses_everything_one_way_lets_no_handshake_through() -> None:
    gate = Gate(Random(1))
    gate.lose(outward=1.0)
    assert dropped(gate) == (1.0, 0.0)
    assert gate.separates(PEER)


def test_loss_adds_to_a_cut_and_ends_without_it() -> None:
    gate = Gate(Random(1))
    gate.stop_talking({PEER}, direction=Direction.IN)
    gate.lose(outward=1.0)
    gate.stop_talking(set())  # cuts off nobody, and must not end the loss
    assert gate.closed
    assert dropped(gate) == (1.0, 1.0)
    gate.lose()
    assert gate.closed
    assert dropped(gate) == (0.0, 1.0)


def test_talking_again_ends_the_loss() -> None:
    gate = Gate(Random(1))
    gate.lose(outward=1.0, inward=1.0)
    gate.talk()
    assert not gate.closed
    assert dropped(gate) == (0.0, 0.0)
