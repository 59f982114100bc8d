"""What a command costs. Timed by `pytest --benchmark-enable tests/machines/test_bench.py`.

In the ordinary run each is called once, and proves only that it still works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from raycons.machines.contract import Command
from raycons.machines.kv import KeyValueMachine
from raycons.machines.kv.commands import Put, Range, Results
from raycons.machines.sessions import Do, Done, Open, SessionAnswer, Sessions

from .dict_state import DictState

BATCH = 256
encode = msgspec.msgpack.encode


class PlainState(DictState):
    """Dictionaries and nothing else, so that the machine is what is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.plain: dict[tuple[int, bytes], bytes] = {}
        current: dict[bytes, bytes] = {}
        history: dict[bytes, bytes] = {}
        tables = (current, history)

        def get(table: int, key: bytes) -> bytes | None:
            return tables[table].get(key)

        def put(table: int, key: bytes, value: bytes) -> None:
            tables[table][key] = value

        self.get = get  # type: ignore[method-assign]
        self.put = put  # type: ignore[method-assign]


@pytest.mark.parametrize("keys", ["fresh", "overwritten"])
def test_puts(benchmark: Callable[..., Any], keys: str) -> None:
    machine = KeyValueMachine(PlainState())
    commands = []
    for index in range(400):
        first = index * BATCH if keys == "fresh" else 0
        puts = tuple(Put(b"key-%08d" % (first + n), b"v" * 64) for n in range(BATCH))
        commands.append(Command(index, 1, 0, 1, encode(puts)))
    source = iter(commands * 100)
    answer = benchmark.pedantic(  # type: ignore[attr-defined]
        machine.apply, setup=lambda: ((next(source),), {}), rounds=300
    )
    assert len(msgspec.msgpack.decode(answer, type=Results)) == BATCH


def test_single_key_ranges(benchmark: Callable[..., Any]) -> None:
    machine = KeyValueMachine(PlainState())
    puts = tuple(Put(b"key-%08d" % n, b"v" * 64) for n in range(BATCH))
    machine.apply(Command(1, 1, 0, 1, encode(puts)))
    query = encode(tuple(Range(put.key) for put in puts))
    answer = benchmark(machine.query, query)
    assert len(msgspec.msgpack.decode(answer, type=Results)) == BATCH


def test_a_do_of_one_put(benchmark: Callable[..., Any]) -> None:
    state = PlainState()
    table = Sessions(KeyValueMachine(state), state)
    table.apply(Command(1, 1, 0, 1, encode(Open(b"n" * 16, 60.0))))
    state.delete = lambda table, key: None  # type: ignore[method-assign]
    body = msgspec.Raw(encode((Put(b"key", b"v" * 64),)))
    # Eight frames are in flight: each one acknowledges the one eight before it.
    commands = [
        Command(1 + n, 1, n, 1, encode(Do(1, n, max(n - 8, 0), body))) for n in range(1, 5000)
    ]
    source = iter(commands)
    answer = benchmark.pedantic(  # type: ignore[attr-defined]
        table.apply, setup=lambda: ((next(source),), {}), rounds=4000
    )
    assert isinstance(msgspec.msgpack.decode(answer, type=SessionAnswer), Done)
