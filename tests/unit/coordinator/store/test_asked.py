"""A question for another coordinator comes back as it was, is answered once, and goes."""

from __future__ import annotations

from typing import Any

from eyeflow.coordinator.store.asked import Answer, Asked

FIRST, SECOND = Asked("b", "node-a", "two", b"\0q", 5), Asked("a", "node-b", "two", b"r", 6)


def test_questions_and_answers(kept: Any) -> None:
    def asked(coordinator: str = "two") -> list[Asked]:
        found: list[Asked] = kept.file.read(lambda reading: reading.asked(coordinator))
        return found

    def answer(asked_id: str) -> Answer | None:
        found: Answer | None = kept.file.read(lambda reading: reading.answer(asked_id))
        return found

    kept.do(lambda writing: [writing.ask(one, 0) for one in (SECOND, FIRST, Asked("c", "node-c", "one", b"s", 7))])
    assert asked() == [FIRST, SECOND] and answer("b") is None and [one.id for one in asked("one")] == ["c"]
    kept.do(lambda writing: writing.keep_answer("b", Answer(b"\0yes", "why")))
    assert asked() == [SECOND] and answer("b") == Answer(b"\0yes", "why") and answer("a") is None
    kept.do(lambda writing: [writing.forget_asked("b"), writing.keep_answer("b", Answer(b"late", ""))])
    assert answer("b") is None
    kept.do(lambda writing: writing.ask(Asked("d", "node-d", "two", b"t", 90), 7))
    assert [one.id for one in asked()] == ["d"] and [one.id for one in asked("one")] == ["c"], "what is old goes"
