"""A machine's state over sorted dictionaries, strict about the rules of the seam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sortedcontainers import SortedDict

from raycons.machines.contract import Machine, Table


class DictState:
    def __init__(self) -> None:
        self.tables: dict[Table, SortedDict[bytes, bytes]] = {
            table: SortedDict() for table in Table
        }
        self.puts = 0
        self.reads = 0  # pairs that scans gave
        self._writes = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        value = self.tables[table].get(key)
        assert value is None or isinstance(value, bytes)
        return value

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        assert type(key) is bytes
        assert type(value) is bytes
        self._writes += 1
        self.puts += 1
        self.tables[table][key] = value

    def get_all(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(table, key) for key in keys]

    def put_all(self, table: Table, pairs: Mapping[bytes, bytes]) -> None:
        for key, value in pairs.items():
            self.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> None:
        self._writes += 1
        self.tables[table].pop(key, None)

    def scan(
        self, table: Table, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        opened_at = self._writes
        rows = self.tables[table]
        for key in rows.irange(start, end, inclusive=(True, False), reverse=reverse):
            assert self._writes == opened_at, "a scan was used after a write"
            self.reads += 1
            yield key, rows[key]


def rows(state: DictState) -> list[tuple[Table, bytes, bytes]]:
    """All that is stored."""
    return [(table, key, value) for table in Table for key, value in state.tables[table].items()]


def live_rows(state: DictState, machine: Machine) -> list[tuple[Table, bytes, bytes]]:
    """What a digest of the logical state would cover."""
    live = machine.liveness()
    return [row for row in rows(state) if live(*row)]
