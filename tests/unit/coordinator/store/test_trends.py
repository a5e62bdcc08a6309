"""Blocks of trends, in both databases: those of a node, those of all coordinators, and what is forgotten."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.store.trends import CLUSTER, Block, Span


def told(kept: Any, node: str, span: Span = Span.MINUTE, since_us: int = 0) -> list[tuple[str, int, bytes]]:
    found = kept.file.read(lambda reading: reading.trend(node, span, since_us))
    return [(one.node, one.start_us, one.points) for one in found]


def keep(kept: Any, *blocks: Block) -> None:
    kept.do(lambda writing: [writing.keep_trend(one) for one in blocks])


def test_blocks_come_in_their_order_and_the_newer_takes_the_place(kept: Any) -> None:
    keep(kept, Block("a", Span.MINUTE, 7, b"one"), Block("a", Span.MINUTE, 3, b"two"), Block("b", Span.MINUTE, 3, b"b"))
    keep(kept, Block("a", Span.MINUTE, 7, b"\x00new"), Block("a", Span.HOUR, 3, b"hour"))
    assert told(kept, "a") == [("a", 3, b"two"), ("a", 7, b"\x00new")]
    assert told(kept, "a", since_us=4) == [("a", 7, b"\x00new")]
    assert told(kept, "a", Span.HOUR) == [("a", 3, b"hour")]


def test_the_cluster_is_all_coordinators_and_no_node(kept: Any) -> None:
    nodes = [Block(name, Span.MINUTE, 1, name.encode()) for name in ("0", "A", "a", "Z")]
    keep(kept, *nodes, Block(f"{CLUSTER}1f", Span.MINUTE, 2, b"x"), Block(CLUSTER, Span.MINUTE, 1, b"y"))
    assert [points for _, _, points in told(kept, CLUSTER)] == [b"y", b"x"]


def test_old_blocks_are_forgotten_of_their_span_only(kept: Any) -> None:
    keep(kept, *(Block("a", span, at_us, b"x") for span in Span for at_us in (1, 5, 9)))
    kept.do(lambda writing: writing.forget_trends(Span.MINUTE, 5))
    assert [at_us for _, at_us, _ in told(kept, "a")] == [5, 9]
    assert [at_us for _, at_us, _ in told(kept, "a", Span.HOUR)] == [1, 5, 9]
