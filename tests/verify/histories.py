"""Histories to check: random ones, and ones that a correct store made."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st

from raycons.verify import IMPOSSIBLE, Operation
from raycons.verify.models import KeyValue

VALUES = ("a", "b", "ab")


def op(
    client: int,
    name: str,
    call: int,
    returned: int | None,
    value: object = None,
    *,
    old: object = None,
    out: object = None,
    key: str = "x",
) -> Operation:
    return Operation(client, name, key, call, returned, value, old, out)


@st.composite
def intervals(draw: st.DrawFn, size: int) -> list[tuple[int, int, int | None]]:
    """Clients with a call and a return for each operation; many at the same instant."""
    times: list[tuple[int, int, int | None]] = []
    free_at: dict[int, int] = {}
    for _ in range(size):
        client = draw(st.integers(0, 3))
        call = free_at.get(client, 0) + draw(st.integers(0, 3))
        end = call + draw(st.integers(0, 4))
        unknown = draw(st.integers(0, 3)) == 0
        times.append((client, call, None if unknown else end))
        free_at[client] = max(end, call + 1)
    return times


@st.composite
def random_histories(draw: st.DrawFn, most: int = 6) -> list[Operation]:
    """Operations with any answers on one key; few are linearizable."""
    ops: list[Operation] = []
    values = st.sampled_from(VALUES)
    maybe = st.sampled_from((None, *VALUES))
    for client, call, returned in draw(intervals(draw(st.integers(1, most)))):
        name = draw(st.sampled_from(("get", "get", "put", "cas", "append", "delete")))
        value = draw(values) if name in ("put", "cas", "append") else None
        old = draw(maybe) if name == "cas" else None
        out: object = None
        if returned is not None:
            answers = {
                "get": maybe,
                "cas": st.booleans(),
                "delete": st.sampled_from((None, True, False)),
            }
            out = draw(answers[name]) if name in answers else None
        ops.append(op(client, name, call, returned, value, old=old, out=out))
    return ops


@st.composite
def linearizable_histories(draw: st.DrawFn, most: int = 6) -> list[Operation]:
    """The same, answered by a store that takes each operation at an instant of its interval."""
    asked = draw(random_histories(most))
    effects = sorted(
        (draw(st.integers(one.call, one.call + 9 if one.returned is None else one.returned)), place)
        for place, one in enumerate(asked)
    )
    state: object = None
    # At one instant a client's earlier operation comes first.
    for _, place in sorted(
        effects, key=lambda effect: (effect[0], asked[effect[1]].call, effect[1])
    ):
        one = asked[place]
        if one.returned is None:
            after = KeyValue().step(state, one)
            state = state if after is IMPOSSIBLE or draw(st.booleans()) else after
            continue
        asked[place], state = answered(one, state)
    return asked


def answered(one: Operation, state: object) -> tuple[Operation, object]:
    """The operation with the answer that it gets in `state`, and the state after it."""
    outs: Sequence[object] = {"get": (state,), "cas": (True, False), "delete": (True, False)}.get(
        one.op, (None,)
    )
    for out in outs:
        told = msgspec.structs.replace(one, out=out)
        after = KeyValue().step(state, told)
        if after is not IMPOSSIBLE:
            return told, after
    return msgspec.structs.replace(one, op="get", value=None, out=state), state


def busy(
    seed: int, size: int, clients: int, keys: int, *, unknown: float = 0.0, names: str = "pgc"
) -> list[Operation]:
    """A long history of clients that are always under way, as a correct store would answer."""
    rng = random.Random(seed)
    ready = [(rng.randrange(100), client) for client in range(clients)]
    heapq.heapify(ready)
    planned: list[tuple[int, int, int, int]] = []
    for _ in range(size):
        call, client = heapq.heappop(ready)
        effect = call + rng.randrange(1, 200)
        end = effect + rng.randrange(1, 200)
        planned.append((effect, call, end, client))
        heapq.heappush(ready, (end + rng.randrange(1, 30), client))
    states: dict[str, object] = {}
    ops: list[Operation] = []
    kinds = {"p": "put", "g": "get", "c": "cas", "d": "delete"}
    for number, (_, call, end, client) in enumerate(sorted(planned)):
        key, name = f"k{rng.randrange(keys)}", kinds[rng.choice(names)]
        state = states.get(key)
        old = state if rng.random() < 0.5 else f"v{rng.randrange(number + 1)}"
        value = f"v{number}" if name in ("put", "cas") else None
        asked = op(client, name, call, end, value, old=old if name == "cas" else None, key=key)
        told, after = answered(asked, state)
        if rng.random() < unknown:
            told = msgspec.structs.replace(told, client=clients + number, returned=None, out=None)
            after = after if rng.random() < 0.5 else state
        states[key] = after
        ops.append(told)
    return ops
