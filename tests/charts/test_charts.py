"""Charts: the order of events, their text, and an SVG that any value leaves whole."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from raycons.charts import Chart, Event, Kind
from raycons.charts.events import ordered
from raycons.charts.rows import Arrow, rows
from raycons.errors import BadArgument

SVG = "{http://www.w3.org/2000/svg}"


def sent(at_s: float, actor: str, peer: str, message: str, text: str = "hello") -> Event:
    return Event(at_s, actor, Kind.SENT, text, message, peer)


def received(at_s: float, actor: str, peer: str, message: str, text: str = "hello") -> Event:
    return Event(at_s, actor, Kind.RECEIVED, text, message, peer)


RUN = [
    sent(0.000, "p1", "a1", "1", "prepare 1.1"),
    sent(0.000, "p1", "a2", "2", "prepare 1.1"),
    received(0.001, "a1", "p1", "1", "prepare 1.1"),
    Event(0.002, "a1", Kind.CRASHED),
    Event(0.003, "p1", Kind.CHOSEN, "chosen b'x'"),
    Event(0.004, "a1", Kind.RESTARTED),
]


# --- order ----------------------------------------------------------------------------------------


def test_a_receipt_is_never_above_its_sending_whatever_the_clocks_say() -> None:
    late, early = (
        [sent(5.0, "a", "b", "1")],
        [received(1.0, "b", "a", "1"), sent(2.0, "b", "c", "2")],
    )
    third = [received(0.0, "c", "b", "2"), Event(0.1, "c", Kind.NOTE)]
    for histories in itertools.permutations([late, early, third]):
        order = ordered(histories)
        assert [event.message for event in order] == ["1", "1", "2", "2", ""]


def test_each_actor_keeps_its_own_order() -> None:
    history = [Event(at_s, "a", Kind.NOTE, str(at_s)) for at_s in (3.0, 1.0, 2.0)]
    assert ordered([history, [Event(1.5, "b", Kind.NOTE)]])[-3:] == history


def test_a_sending_that_nobody_tells_of_is_made_up_for() -> None:
    order = ordered([[received(1.0, "b", "a", "1")]])
    assert [(event.actor, event.kind, event.peer) for event in order] == [
        ("a", Kind.SENT, "b"),
        ("b", Kind.RECEIVED, "a"),
    ]


# --- layout ---------------------------------------------------------------------------------------


def test_a_message_without_a_receipt_is_lost_and_a_second_receipt_a_second_arrow() -> None:
    events = [*RUN[:3], received(0.002, "a1", "p1", "1", "prepare 1.1")]
    arrows = rows(events).arrows
    assert [(arrow.target, arrow.lost) for arrow in arrows] == [
        ("a2", True),
        ("a1", False),
        ("a1", False),
    ]
    assert all(arrow.begins < arrow.ends for arrow in arrows)


def test_no_two_texts_share_a_row() -> None:
    laid = rows(RUN)
    ends = [arrow.ends for arrow in laid.arrows] + [mark.row for mark in laid.marks]
    assert len(ends) == len(set(ends))
    assert isinstance(laid.arrows[0], Arrow)


# --- drawings -------------------------------------------------------------------------------------


def test_the_text_of_a_run() -> None:
    assert str(Chart(RUN, ["p1", "a1", "a2"])) == (
        "    ms   p1     a1     a2\n"
        "  0.00   ├──────┼───✗  │      p1 to a2: prepare 1.1, lost\n"
        "  1.00   ├─────▶│      │      p1 to a1: prepare 1.1\n"
        "  2.00   │      ✗      │      a1: crashed\n"
        "  3.00   ◆      ┊      │      p1: chosen b'x'\n"
        "  4.00   │      ○      │      a1: restarted\n"
    )


def test_the_picture_of_a_run_has_all_of_it() -> None:
    picture = ElementTree.fromstring(Chart(RUN, title="a run")._repr_svg_())
    classes = [each.get("class") for each in picture.iter() if each.get("class")]
    for kind, count in {"arrow": 1, "lost": 1, "chosen": 1, "again": 1, "down": 1}.items():
        assert classes.count(kind) == count, kind
    texts = [each.text for each in picture.iter(f"{SVG}text")]
    assert {"a run", "p1", "a2", "prepare 1.1", "prepare 1.1 (lost)", "chosen b'x'"} <= set(texts)


def test_a_text_may_look_like_markup() -> None:
    nasty = "</text><script>alert(1)</script> & \"'"
    events = [
        sent(0.0, nasty, "b<", "1", nasty),
        received(0.1, "b<", nasty, "1", nasty),
        Event(0.2, "b<", Kind.CHOSEN, nasty),
        Event(0.3, "b<", Kind.CRASHED, nasty),
    ]
    picture = ElementTree.fromstring(Chart(events, title=nasty).svg())
    assert not list(picture.iter(f"{SVG}script"))
    assert [each.text for each in picture.iter(f"{SVG}text")].count(nasty) == 5


def test_a_text_may_hold_what_no_xml_can() -> None:
    nasty = "\x00\x1b[2J\n\ud800\uffff"
    chart = Chart([sent(0.0, "p1", "a1", "1", nasty)], title=nasty)
    texts = [each.text for each in ElementTree.fromstring(chart.svg()).iter(f"{SVG}text")]
    assert r"\x00\x1b[2J\n\ud800\uffff (lost)" in texts
    assert str(chart).count("\n") == 2
    assert "\x1b" not in str(chart)


def test_a_picture_leaves_the_rest_of_a_page_alone() -> None:
    """A notebook makes it part of the page, which has titles and texts of its own."""
    picture = ElementTree.fromstring(Chart(RUN).svg())
    [style] = [each.text or "" for each in picture.iter(f"{SVG}style")]
    rules = style.strip().splitlines()
    assert len(rules) > 10
    assert all(rule.startswith(f".{picture.get('class')} ") for rule in rules)


def test_a_receipt_above_its_sending_is_refused() -> None:
    with pytest.raises(BadArgument, match="a1 receives message '1' before it is sent"):
        Chart([received(0.0, "a1", "p1", "1"), sent(0.1, "p1", "a1", "1")])


def test_all_of_a_picture_lies_within_it() -> None:
    long = "promise 12.1, having accepted 11.2 " + "x" * 60
    events = [
        sent(0.0, "p1", "a1", "1", long),
        received(0.1, "a1", "p1", "1", long),
        sent(0.2, "a1", "p1", "2", long),
        received(0.3, "p1", "a1", "2", long),
    ]
    picture = ElementTree.fromstring(Chart(events).svg())
    width, height = float(picture.get("width", 0)), float(picture.get("height", 0))
    for each in picture.iter(f"{SVG}text"):
        length = len(each.text or "") * 6.3 if (each.get("class") or "").startswith("words") else 0
        left = float(each.get("x", 0)) - (length if each.get("text-anchor") == "end" else 0)
        assert left >= 0
        assert left + length <= width
        assert 0 <= float(each.get("y", 0)) <= height


def test_nothing_happened() -> None:
    assert str(Chart([])).strip() == "ms"
    ElementTree.fromstring(Chart([], ["a", "b"]).svg())


def test_a_chart_is_saved_by_the_name_of_its_file(tmp_path: Path) -> None:
    chart = Chart(RUN)
    chart.save(tmp_path / "run.svg")
    chart.save(str(tmp_path / "run.txt"))
    assert (tmp_path / "run.svg").read_text().startswith("<svg")
    assert (tmp_path / "run.txt").read_text(encoding="utf-8") == str(chart)
    with pytest.raises(BadArgument, match=r"run\.png: .*\.svg or \.txt"):
        chart.save(tmp_path / "run.png")
