"""The verbs of `asked` as SQL."""

from __future__ import annotations

from eyeflow.coordinator.store.asked import Answer, Asked
from eyeflow.coordinator.store.sql import Sql


class SqlAskedReading:
    """Satisfies `AskedReading`."""

    _db: Sql

    def asked(self, coordinator: str) -> list[Asked]:
        """Return what a coordinator has to answer, the oldest first."""
        sql = "SELECT id, node, coordinator, question, asked_us FROM asked WHERE coordinator = ? AND answered = 0 "
        found = self._db.rows(sql + "ORDER BY asked_us, id", (coordinator,))
        return [Asked(one, node, holder, bytes(question), asked_us) for one, node, holder, question, asked_us in found]

    def answer(self, asked_id: str) -> Answer | None:
        """Return the answer to a question, None while there is none."""
        found = self._db.rows("SELECT answer, problem FROM asked WHERE id = ? AND answered = 1", (asked_id,))
        return Answer(bytes(found[0][0]), found[0][1]) if found else None


class SqlAskedWriting(SqlAskedReading):
    """Satisfies `AskedWriting`."""

    def ask(self, asked: Asked, forget_before_us: int) -> None:
        """Keep a question, and forget those that were asked before a time."""
        self._db.run("DELETE FROM asked WHERE asked_us < ?", (forget_before_us,))
        sql = "INSERT INTO asked(id, node, coordinator, question, asked_us) VALUES(?, ?, ?, ?, ?)"
        self._db.run(sql, (asked.id, asked.node, asked.coordinator, asked.question, asked.asked_us))

    def keep_answer(self, asked_id: str, answer: Answer) -> None:
        """Keep the answer to a question that is still there."""
        sql = "UPDATE asked SET answered = 1, answer = ?, problem = ? WHERE id = ?"
        self._db.run(sql, (answer.answer, answer.problem, asked_id))

    def forget_asked(self, asked_id: str) -> None:
        """Forget a question with its answer."""
        self._db.run("DELETE FROM asked WHERE id = ?", (asked_id,))
