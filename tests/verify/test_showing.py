"""A violation as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from raycons.errors import BadArgument
from raycons.verify import Operation, Violation, check
from raycons.verify.models import Counter
from raycons.verify.picture import draw, svg
from raycons.verify.story import story
from tests.verify.histories import op

SVG = "{http://www.w3.org/2000/svg}"
MS = 1_000_000


def found(ops: list[Operation]) -> Violation:
    shown = check(ops).violation
    assert shown is not None
    return shown


@pytest.fixture
def lost_write() -> Violation:
    """An unknown write that was seen, and then not."""
    return found(
        [
            op(0, "put", 0, None, "<1>"),
            op(1, "get", 2 * MS, 3 * MS, out="<1>"),
            op(2, "get", 5 * MS, 9 * MS, out=None),
            op(3, "get", 4 * MS, 9 * MS, out="<1>"),
        ]
    )


def test_the_story(lost_write: Violation) -> None:
    lines = story(lost_write)
    assert lines[0] == "x: nothing explains these 3 of 4 operations"
    rows = [line.split("  ")[1:] for line in lines[3:6]]
    assert ['put "<1>": unknown' in line for line in lines[3:6]] == [True, False, False]
    assert lines[3].endswith(">")
    assert lines[5].endswith("<- impossible"), rows
    assert '  2: get: absent    not possible where the state is "<1>"' in lines


def test_the_picture(lost_write: Violation) -> None:
    root = ElementTree.fromstring(svg(lost_write))
    bars = root.findall(f".//{SVG}rect")
    assert [bar.get("class") for bar in bars] == ["open", "bar", "impossible"]
    spans = [(float(bar.get("x") or 0), float(bar.get("width") or 0)) for bar in bars]
    width = float(root.get("width") or 0)
    assert spans[0][0] + spans[0][1] == width  # open to the right
    assert spans[1][0] + spans[1][1] < spans[2][0]
    assert len({bar.get("y") for bar in bars}) == 3  # one row a client
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"client 0", "client 1", "client 2", 'put "<1>": unknown'} <= set(texts)


def test_the_picture_needs_nothing_from_elsewhere(lost_write: Violation, tmp_path: Path) -> None:
    for name in ("a.svg", "a.html"):
        draw(lost_write, tmp_path / name)
        text = (tmp_path / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text
        assert "url(" not in text
        assert "<script" not in text
    assert "nothing explains" in (tmp_path / "a.html").read_text()
    with pytest.raises(BadArgument, match=r"\.svg or \.html"):
        draw(lost_write, tmp_path / "a.png")


def test_strange_names_and_long_values_are_shown_in_short() -> None:
    shown = found(
        [op(0, "put", 0, 1, "y" * 5000, key="a\x00\n<&"), op(0, "get", 2, 3, key="a\x00\n<&")]
    )
    assert shown.key == "a\\x00\\n<&"
    assert max(map(len, story(shown))) < 200
    ElementTree.fromstring(svg(shown))


def test_a_row_goes_on_below_after_an_unknown_outcome() -> None:
    shown = found(
        [
            op(0, "put", 0, None, "1"),
            op(0, "get", 2, 3, out="1"),
            op(0, "get", 4, 5, out=None),
        ]
    )
    rows = [bar.get("y") for bar in ElementTree.fromstring(svg(shown)).findall(f".//{SVG}rect")]
    assert rows[0] != rows[1] == rows[2]


def test_several_keys_are_told_apart() -> None:
    class Shared(Counter):
        def partition(self, op: Operation) -> object:
            return None

    ops = [op(0, "add", 0, 1, 1, key="a"), op(0, "get", 2, 3, out=0, key="b")]
    shown = check(ops, Shared()).violation
    assert shown is not None
    assert shown.key == "a, b"
    assert any("b get: 0" in line for line in story(shown))


def test_a_cut_history_says_so() -> None:
    ops = [op(0, "put", 10 * n, 10 * n + 1, f"v{n}") for n in range(200)]
    shown = found([*ops, op(1, "get", 5000, 5001, out="v7")])
    assert shown.is_cut
    assert len(shown.operations) == 2
    assert any("or anything else" in line for line in story(shown))
