"""The reader of histories is strict, and names the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raycons.errors import BadHistory
from raycons.verify import encoded, read_history

GOOD: dict[str, Any] = {
    "client": 0, "op": "cas", "key": "x", "value": "1", "old": None, "out": True,
    "call": 10, "return": 20,
}  # fmt: skip


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n")
    return path


def without(field: str, **changes: object) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **changes}.items() if name != field}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"client": 1, "op": "pu', "not a JSON object"),
        ("[]", "not a JSON object"),
        ("", "not a JSON object"),
        ({**GOOD, "op": "increment"}, "op 'increment' is none of append, cas"),
        ({**GOOD, "call": 30}, "returns at 20, before its call at 30"),
        ({**GOOD, "call": "10"}, "Expected `int`"),
        ({**GOOD, "call": 1.5}, "Expected `int`"),
        ({**GOOD, "client": -1}, "client -1"),
        ({**GOOD, "client": True}, "Expected `int`"),
        ({**GOOD, "key": 5}, "Expected `str`"),
        ({**GOOD, "op": ["cas"]}, "op"),
        ({**GOOD, "out": 1}, "true or false"),
        ({**GOOD, "return": None}, "an answer"),
        ({**GOOD, "retrun": 5}, "no field is called 'retrun'"),
        ({**GOOD, "op": "put"}, "a put gives nothing"),
        ({**GOOD, "op": "delete", "out": "yes"}, "a delete gives"),
        (without("return"), "no 'return'"),
        (without("client"), "no 'client'"),
        (without("old"), "a cas without 'old'"),
        (without("value"), "a cas without 'value'"),
        (without("out", op="get"), "a get without 'out'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: dict[str, Any] | str, complaint: str) -> None:
    first = {**GOOD, "call": 0, "return": 1, "client": 7}
    last = {**GOOD, "call": 100, "return": 101}
    with pytest.raises(BadHistory, match=r"^line 2: ") as caught:
        read_history(write(tmp_path / "bad", first, line, last))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("second", "is_bad"),
    [
        ({}, True),  # the same again
        ({"call": 15, "return": 30}, True),
        ({"call": 0, "return": 11}, True),
        ({"call": 20, "return": 30}, False),
        ({"call": 15, "return": 30, "client": 1}, False),
    ],
)
def test_a_client_does_one_thing_at_a_time(
    tmp_path: Path, second: dict[str, Any], is_bad: bool
) -> None:
    path = write(tmp_path / "two", GOOD, {**GOOD, **second})
    if not is_bad:
        assert len(read_history(path)) == 2
        return
    with pytest.raises(BadHistory, match=r"^line \d: client 0 calls at \d+, while"):
        read_history(path)


def test_a_client_may_go_on_after_an_unknown_outcome(tmp_path: Path) -> None:
    unknown = {**GOOD, "out": None, "return": None}
    assert len(read_history(write(tmp_path / "a", unknown, {**GOOD, "call": 15}))) == 2
    with pytest.raises(BadHistory, match=r"^line 2: "):
        read_history(write(tmp_path / "b", unknown, {**GOOD, "call": 10}))


def test_a_truncated_last_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "cut", GOOD, {**GOOD, "call": 30, "return": 40})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadHistory, match=r"^line 2: not a JSON object"):
        read_history(path)


def test_a_line_nested_too_deeply_is_named(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    line = f'{{"client": 1, "op": "put", "key": "x", "value": {deep}, "call": 1, "return": null}}'
    with pytest.raises(BadHistory, match=r"^line 2: nested deeper"):
        read_history(write(tmp_path / "deep", GOOD, line))


def test_what_is_not_needed_may_be_missing(tmp_path: Path) -> None:
    line = '{"client": 1, "op": "put", "key": "x", "value": [1], "call": 1, "return": null}'
    assert read_history(write(tmp_path / "short", line))[0].value == [1]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadHistory, match="the file cannot be read: No such file"):
        read_history(tmp_path / "none")


def test_an_empty_file_is_an_empty_history(tmp_path: Path) -> None:
    assert read_history(write(tmp_path / "empty")) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ops = read_history(write(tmp_path / "a", GOOD, {**GOOD, "call": 30, "return": 31, "value": {}}))
    (tmp_path / "b").write_bytes(b"".join(map(encoded, ops)))
    assert read_history(tmp_path / "b") == ops
    assert json.loads(encoded(ops[0])) == GOOD
