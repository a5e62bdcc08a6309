"""What a board logged, kept for who asks: pages in order, and nothing is forgotten in silence."""

from __future__ import annotations

from eyeflow.board_link.messages import LlmRequest, LogLine
from eyeflow.node.boards.control import told_line
from eyeflow.node.boards.said import LINES_MAX, PAGE_LINES, Line, Said
from eyeflow.protocol import lines as n


def said(count: int, first: int = 1000) -> Said:
    made = Said(first)
    for number in range(count):
        made.add(LogLine(1, f"line {number}"), number)
    return made


def test_pages_follow_each_other_without_a_hole() -> None:
    made, read = said(2 * PAGE_LINES + 5), list[str]()
    since: int | None = 1000
    for _ in range(4):
        page = made.since(since)
        read += [line.text for line in page.lines]
        since = page.next
        assert page.missed == 0
    assert read == [f"line {number}" for number in range(2 * PAGE_LINES + 5)]
    made.add(LlmRequest(1, 0, 0, ("is it hot?",)), 9)
    (asks,) = made.since(since).lines
    assert asks.asks == ("is it hot?",) and not made.since(asks.number + 1).lines


def test_who_begins_gets_the_newest_lines() -> None:
    page = said(PAGE_LINES + 5).since(None)
    assert [page.lines[0].text, page.lines[-1].text] == ["line 5", f"line {PAGE_LINES + 4}"]
    assert page.next == 1000 + PAGE_LINES + 5


def test_what_was_forgotten_is_counted() -> None:
    page = said(LINES_MAX + 7).since(1003)
    assert (page.missed, page.lines[0].text) == (4, "line 7")


def test_a_number_from_before_a_restart_begins_with_what_is_there() -> None:
    before, after = said(10, first=1000), said(3, first=5000)
    page = after.since(before.since(None).next)
    assert [line.text for line in page.lines] == ["line 0", "line 1", "line 2"] and page.missed == 0
    assert [line.text for line in after.since(9000).lines] == ["line 0", "line 1", "line 2"]


def test_what_is_too_long_for_a_message_ends_in_an_ellipsis() -> None:
    whole, long = "é" * n.LINE_CHARS_MAX, "é" * (n.LINE_CHARS_MAX + 1)
    assert told_line(Line(7, 9, 2, whole)) == n.BoardLine(7, 9, 2, whole)
    assert told_line(Line(7, 9, 2, long)).text == whole[:-1] + "…"
    asked = told_line(Line(8, 9, 0, "", (long, True, *range(n.ARGS_MAX)))).asks
    assert (len(asked), asked[0], asked[1:3], asked[-2:]) == (
        n.ARGS_MAX, whole[:-1] + "…", ("True", "0"), (str(n.ARGS_MAX - 4), "…"),
    )  # fmt: skip
    assert told_line(Line(8, 9, 0, "", tuple(range(n.ARGS_MAX)))).asks[-1] == str(n.ARGS_MAX - 1)
