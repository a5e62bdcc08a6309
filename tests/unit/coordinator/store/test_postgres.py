"""What holds for PostgreSQL only: its schema, who else may write, what a server that goes away does, and what nobody sees."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from components.postgres import Server
from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.deployments import Deployments
from eyeflow.coordinator.store import postgres_database
from eyeflow.coordinator.store.cluster_store import ConflictError, Writing
from eyeflow.coordinator.store.database import Outcome
from eyeflow.coordinator.store.facts import ChangeKind
from eyeflow.coordinator.store.postgres_connection import Address, PostgresSql
from eyeflow.coordinator.store.postgres_database import PostgresDatabase
from eyeflow.coordinator.store.sql_schema import SCHEMA_VERSION
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import ManifestResult, RuleResult, RuleState
from eyeflow.rollout.deployment import NodeProgress, NodeState

IDENTITY = Identity(bytes(range(32)))
THREADS, STEPS = 4, 25


def database(url: str) -> PostgresDatabase:
    return PostgresDatabase(Address(url), lambda public_key: IDENTITY)


def append(subject: str) -> Any:
    def step(writing: Writing) -> str:
        writing.add_change(1, ChangeKind.NODE, subject)
        return subject

    return step


def subjects(one: PostgresDatabase) -> list[str]:
    return [change.subject for change in one.read(lambda reading: reading.changes(0, 10_000))]


@pytest.fixture
def url(server: Server) -> str:
    return server.url()


@pytest.fixture
def opened(url: str) -> Any:
    made = database(url)
    yield made
    made.close()


class Unlocked(PostgresDatabase):
    """The control: it takes no lock."""

    def _begin(self, connection: Any) -> str:
        connection.execute("BEGIN")
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        return str(row[0])


def missed(url: str, kind: type[PostgresDatabase]) -> tuple[list[Exception], int]:
    """Write from several connections while a reader follows by cursor. Returns errors, and how many it never saw."""
    writers = [kind(Address(url), lambda public_key: IDENTITY) for _ in range(THREADS)]
    errors: list[Exception] = []

    def write(number: int) -> None:
        for step in range(STEPS):
            try:
                outcome = writers[number].commit([append(f"{number}-{step}")])[0]
            except psycopg.Error as error:
                outcome = Outcome(error=error)
            if outcome.error is not None:
                errors.append(outcome.error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    reader, seen, cursor = database(url), [], 0
    while True:
        is_over = not any(thread.is_alive() for thread in threads)
        for change in reader.read(lambda reading, cursor=cursor: reading.changes(cursor, 1000)):
            assert change.number == cursor + 1, "without a gap"
            seen.append(change.subject)
            cursor = change.number
        if is_over:
            break
    for one in [*writers, reader]:
        one.close()
    return errors, THREADS * STEPS - len(set(seen))


def test_a_reader_of_the_feed_misses_nothing_that_several_coordinators_write(url: str) -> None:
    assert missed(url, PostgresDatabase) == ([], 0)


def test_control_without_the_lock_writers_spoil_each_others_feed(url: str) -> None:
    database(url).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_database, "ENVIRONMENT", ())  # its errors are bugs: they reach whoever asked
        assert any_trouble(url)


def any_trouble(url: str) -> bool:
    try:
        errors, lost = missed(url, Unlocked)
    except (AssertionError, psycopg.Error):
        return True
    return bool(errors or lost)


def test_the_schema_is_brought_up_once_and_a_newer_one_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = database(url)
    second = database(url)
    assert second.coordinator_id == first.coordinator_id
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(EyeflowError) as refused:
        database(url)
    assert refused.value.code == "store_version" and "newer eyeflow" in refused.value.cause
    (outcome,) = first.commit([append("by an older program")])
    assert isinstance(outcome.error, EyeflowError) and outcome.error.code == "store_version"
    assert f"knows {SCHEMA_VERSION}" in outcome.error.message
    first.close()
    second.close()


def test_a_database_with_other_tables_is_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE orders(id int)")
    with pytest.raises(EyeflowError) as refused:
        database(url)
    assert refused.value.code == "store_version" and "another program" in refused.value.cause


def test_an_error_that_comes_later_is_that_of_its_step_and_of_no_other(opened: PostgresDatabase) -> None:
    """Steps that run together hear of an error of the database too late to know whose it is."""

    def spoils(writing: Any) -> None:
        writing._run("INSERT INTO meta(key, value) VALUES('schema', NULL)")
        writing.add_change(1, ChangeKind.NODE, "never")

    def refuses(writing: Any) -> None:
        writing.add_change(1, ChangeKind.NODE, "not this either")
        raise ZeroDivisionError

    def refuses_at_once(_: Any) -> None:
        raise ZeroDivisionError

    for bad, error in ((spoils, psycopg.Error), (refuses, ZeroDivisionError), (refuses_at_once, ZeroDivisionError)):
        before = len(subjects(opened))
        outcomes = opened.commit([append("a"), bad, append("b")])
        assert [type(one.error) for one in outcomes[::2]] == [type(None)] * 2 and opened.trouble == ""
        assert isinstance(outcomes[1].error, error), outcomes[1].error
        assert subjects(opened)[before:] == ["a", "b"]


def test_a_conflict_is_that_of_its_step_and_of_no_other(opened: PostgresDatabase, helpers: Any) -> None:
    made = helpers.deployment()
    assert opened.commit([lambda writing: writing.add_deployment(made, [])])[0].error is None
    stale = replace(made, revision=7)
    outcomes = opened.commit([append("a"), lambda writing: writing.save_deployment(stale), append("b")])
    assert [type(one.error) for one in outcomes] == [type(None), ConflictError, type(None)]
    assert [one for one in subjects(opened) if one in "ab"] == ["a", "b"]


def test_a_report_is_one_question_to_the_database(
    opened: PostgresDatabase, helpers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a round trip, and reports come from all nodes at once."""
    names = helpers.names(20)

    def set_up(writing: Any) -> None:
        for name in names:
            writing.register_node(name, bytes(32), 1)
        sent = [NodeProgress(name, NodeState.SENT, manifest_version=1, due_us=10**18) for name in names]
        writing.add_deployment(helpers.deployment(), sent)

    steps: list[Any] = []
    deployments = Deployments(SimpleNamespace(write=steps.append), lambda: "", lambda writing: None)  # type: ignore[arg-type]
    result = ManifestResult(1, (RuleResult("pump", "1" * 64, RuleState.INSTALLED),))
    for name in names:
        deployments.reported(name, result, 5)
    assert opened.commit([set_up])[0].error is None
    asked: list[str] = []
    rows = PostgresSql.rows
    monkeypatch.setattr(PostgresSql, "rows", lambda self, sql, values: asked.append(sql) or rows(self, sql, values))  # type: ignore[func-returns-value]
    assert [one.error for one in opened.commit(steps)] == [None] * 20
    assert len(asked) == 20 + 1, "and where the feed ends"
    counts = opened.read(lambda reading: reading.counts("d-1"))
    assert counts == {NodeState.INSTALLED: 20}


def test_a_connection_that_was_cut_between_two_writes_is_opened_anew(url: str, opened: PostgresDatabase) -> None:
    assert opened.commit([append("a")])[0].error is None
    cut_all(url)
    assert opened.commit([append("b")])[0].error is None and opened.trouble == ""
    cut_all(url)
    assert subjects(opened) == ["a", "b"]


def test_a_step_whose_connection_breaks_in_the_middle_is_run_again_and_kept_once(url: str, opened: Any) -> None:
    runs = []

    def step(writing: Writing) -> None:
        writing.add_change(1, ChangeKind.NODE, "a")
        runs.append(1)
        if len(runs) == 1:
            cut_all(url)

    assert opened.commit([step])[0].error is None
    assert len(runs) == 2 and subjects(opened) == ["a"]


class Silent:
    """A connection that does what COMMIT says, or not, and breaks before the answer."""

    def __init__(self, connection: Any, does: bool) -> None:
        self._connection, self._does = connection, does

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *rest: Any) -> Any:
        if query != "COMMIT":
            return self._connection.execute(query, *rest)
        if self._does:
            self._connection.execute(query)
        self._connection.close()
        raise psycopg.OperationalError("the test cut the line")


@pytest.mark.parametrize("does", [True, False])
def test_a_commit_whose_answer_was_lost_is_asked_after(opened: Any, does: bool) -> None:
    """Else a deployment that was kept would be called refused, and its user would start it once more."""
    whole = opened._opened.connection
    opened._opened._connection = Silent(whole, does)
    (outcome,) = opened.commit([append("a")])
    assert (outcome.error is None) == does
    assert subjects(opened) == (["a"] if does else [])


def test_a_coordinator_that_stands_still_in_a_transaction_holds_nobody_up(
    url: str, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = database(url)
    other._opened.connection.execute("SET idle_in_transaction_session_timeout = '200ms'")

    def stands_still(writing: Writing) -> None:
        writing.add_change(1, ChangeKind.NODE, "never")
        assert opened.commit([append("meanwhile")])[0].error is None, "the server ended the other transaction"

    monkeypatch.setattr(postgres_database, "ATTEMPTS", 1)
    (late,) = other.commit([stands_still])
    assert isinstance(late.error, EyeflowError), "the paused one is told that nothing was kept"
    assert subjects(opened) == ["meanwhile"]
    other.close()


def test_what_postgres_text_cannot_hold_is_replaced(opened: Any) -> None:
    assert opened.commit([append("a\0b")])[0].error is None
    assert subjects(opened) == ["a\N{REPLACEMENT CHARACTER}b"]


SECRET = "s3cret"
ADDRESSES = [
    f"postgresql://eye:{SECRET}@127.0.0.1:1/nowhere",
    f"postgresql://eye:{SECRET}@127.0.0.1:port/nowhere",
    f"postgresql://eye:{SECRET}@[::1/nowhere",
    f"postgresql://127.0.0.1:1/nowhere?user=eye&password={SECRET}",
    f"postgresql://127.0.0.1:1/nowhere?{SECRET}=1",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_error_shows_the_password(address: str) -> None:
    with pytest.raises(EyeflowError) as error:
        database(address)
    told = f"{error.value.message} {error.value.cause} {error.value.next_step} {error.value.brief}"
    assert SECRET not in told and error.value.code in {"store", "store_address"}
    assert error.value.__cause__ is None or SECRET not in str(error.value.__cause__)


def cut_all(url: str) -> None:
    """As a server does that restarts, or a firewall that forgets."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'eyeflow %'")
