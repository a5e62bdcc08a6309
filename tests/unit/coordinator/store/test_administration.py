"""What people set for nodes and cluster comes back as it was set: labels, drained nodes, policy, tokens, signers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from eyeflow.coordinator.store import sql_administration
from eyeflow.coordinator.store.cluster_store import Reading, trusted_signers
from eyeflow.coordinator.store.facts import (
    ApiToken,
    AppliedPolicy,
    Change,
    ChangeKind,
    JoinToken,
    ProgramRecord,
    SignerKey,
    TestRun,
)

A, B = bytes(range(32)), bytes(range(1, 33))


def look(kept: Any, question: Callable[[Reading], Any]) -> Any:
    return kept.file.read(question)


def joined(kept: Any, *names: str) -> int:
    """Register nodes; return the number of the last change."""
    kept.do(lambda writing: [writing.register_node(name, bytes(32), 1) for name in names])
    return look(kept, lambda reading: reading.newest_change())


def test_labels_of_a_node_take_the_place_of_those_before(kept: Any) -> None:
    before = joined(kept, "a", "b")
    kept.do(lambda writing: writing.set_labels("a", {"site": "lyon", "line": "1"}, 7))
    kept.do(lambda writing: writing.set_labels("b", {"site": "lyon"}, 8))
    assert look(kept, lambda reading: list(reading.labels("a").items())) == [("line", "1"), ("site", "lyon")]
    kept.do(lambda writing: writing.set_labels("a", {"site": "nice"}, 9))
    assert look(kept, lambda reading: (reading.labels("a"), reading.labels("b"))) == (
        {"site": "nice"},
        {"site": "lyon"},
    )
    assert look(kept, lambda reading: reading.labels("nobody")) == {}
    had = {"line": "1", "site": "lyon"}
    assert look(kept, lambda reading: reading.changes(before, 9)) == [
        Change(before + place, time_us, ChangeKind.NODE, node, labels=tuple(labels.items()))
        for place, (time_us, node, labels) in enumerate([(7, "a", {}), (8, "b", {}), (9, "a", had)], start=1)
    ]


def test_a_node_is_found_by_all_of_the_labels_that_are_asked_for(kept: Any) -> None:
    joined(kept, "c", "b", "a", "plain")
    labels = {
        "a": {"site": "lyon", "line": "1"},
        "b": {"site": "lyon", "line": "2"},
        "c": {"site": "nice", "line": "1"},
    }
    kept.do(lambda writing: [writing.set_labels(node, one, 1) for node, one in labels.items()])

    def labelled(**wanted: str) -> list[str]:
        return look(kept, lambda reading: reading.labelled(wanted))

    assert labelled(site="lyon") == ["a", "b"] and labelled(line="1") == ["a", "c"]
    assert labelled(site="lyon", line="1") == ["a"] and labelled(line="1", site="lyon") == ["a"]
    assert labelled(site="nice", line="2") == [] and labelled(site="1") == [] and labelled(room="1") == []
    assert labelled() == ["a", "b", "c", "plain"], "who asks for no label asks for all"
    assert look(kept, lambda reading: reading.label_values()) == [
        ("line", "1"),
        ("line", "2"),
        ("site", "lyon"),
        ("site", "nice"),
    ], "each once"


def test_a_drained_node_is_drained_until_it_is_told_otherwise(kept: Any) -> None:
    before = joined(kept, "a", "b")
    assert look(kept, lambda reading: reading.drained()) == frozenset()
    kept.do(lambda writing: (writing.set_drained("a", 5, 6), writing.set_drained("b", 1, 7)))
    assert look(kept, lambda reading: reading.drained()) == {"a", "b"}
    assert look(kept, lambda reading: (reading.node("a").drained_us, reading.node("b").drained_us)) == (5, 1)
    kept.do(lambda writing: writing.set_drained("a", 0, 8))
    assert look(kept, lambda reading: reading.drained()) == {"b"}
    assert look(kept, lambda reading: reading.changes(before, 9)) == [
        Change(before + place, time_us, ChangeKind.NODE, node)
        for place, (time_us, node) in enumerate([(6, "a"), (7, "b"), (8, "a")], start=1)
    ]


def test_the_last_policy_holds_and_as_many_as_the_bound_are_kept(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_administration, "POLICIES_MAX", 3)
    assert look(kept, lambda reading: reading.policy()) is None
    for number in range(1, 6):
        one = AppliedPolicy(f"text {number}", number * 10, f"actor {number}")
        kept.do(lambda writing, one=one: writing.keep_policy(one))
        assert look(kept, lambda reading: reading.policy()) == one
    texts = look(kept, lambda reading: cast(Any, reading)._rows("SELECT text FROM policies ORDER BY number"))
    assert texts == [("text 3",), ("text 4",), ("text 5",)]


def test_the_list_of_signers_that_was_published_last_is_kept(kept: Any) -> None:
    assert look(kept, lambda reading: reading.signer_list()) is None
    for text in (b"first", b"second", b"third"):
        kept.do(lambda writing, text=text: writing.keep_signer_list(text, 1))
        assert look(kept, lambda reading: reading.signer_list()) == text


def test_api_tokens(kept: Any) -> None:
    one = ApiToken("z", "ci", "operator", A, created_us=1, expires_us=50)
    labels = (("line", "1"), ("site", "lyon"))
    other = ApiToken("a", "me", "admin", B, 2, revoked_us=3, used_us=4, created_by="ci", labels=labels, person="Ada")
    kept.do(lambda writing: (writing.add_api_token(other), writing.add_api_token(one)))
    assert look(kept, lambda reading: reading.api_tokens()) == [one, other], "in the order they were made"
    assert look(kept, lambda reading: (reading.api_token("a"), reading.api_token("b"))) == (other, None)
    kept.do(lambda writing: (writing.revoke_api_token("z", 7), writing.revoke_api_token("z", 8)))
    kept.do(lambda writing: writing.revoke_api_token("a", 8))
    assert [one.revoked_us for one in look(kept, lambda reading: reading.api_tokens())] == [7, 3], (
        "the first time stays"
    )
    kept.do(lambda writing: writing.record_token_uses({"z": 5, "a": 3, "b": 9}))
    assert [one.used_us for one in look(kept, lambda reading: reading.api_tokens())] == [5, 4], "a use never goes back"


def test_join_tokens(kept: Any) -> None:
    tokens = [JoinToken(name, A, created_us=1, expires_us=number) for number, name in enumerate("abc", start=10)]
    kept.do(lambda writing: [writing.add_join_token(one) for one in tokens])
    assert [look(kept, lambda reading, one=one: reading.join_token(one.id)) for one in tokens] == tokens
    assert look(kept, lambda reading: reading.join_token("d")) is None
    kept.do(lambda writing: writing.use_join_token("c", "node-a", 5))
    used = look(kept, lambda reading: (reading.join_token("c"), reading.join_token("b")))
    assert used == (replace(tokens[2], used_us=5, used_by="node-a"), tokens[1])
    kept.do(lambda writing: writing.forget_spent_join_tokens(10))
    left = [look(kept, lambda reading, name=name: reading.join_token(name)) for name in "abc"]
    assert left == [None, tokens[1], None], "one has expired, one was used"


def test_signers(kept: Any) -> None:
    kept.do(lambda writing: (writing.trust_signer(B, "b", 1), writing.trust_signer(A, "a", 2)))
    assert look(kept, trusted_signers) == {A, B}
    kept.do(lambda writing: writing.revoke_signer(A, 3))
    signers = look(kept, lambda reading: reading.signers())
    assert signers == [SignerKey(B, "b", 1, 0), SignerKey(A, "a", 2, 3)], "in the order they came"
    assert look(kept, trusted_signers) == {B}
    kept.do(lambda writing: writing.trust_signer(A, "again", 4))
    assert look(kept, lambda reading: reading.signers())[1] == SignerKey(A, "again", 2, 0)


@pytest.mark.parametrize(
    ("revoked_us", "expires_us", "works"),
    [(0, 0, True), (0, 10, False), (0, 11, True), (0, 9, False), (5, 0, False), (5, 99, False)],
)
def test_a_token_works_until_it_expires_or_is_revoked(revoked_us: int, expires_us: int, works: bool) -> None:
    token = ApiToken("a", "n", "admin", A, 1, revoked_us=revoked_us, expires_us=expires_us)
    assert token.works(10) is works


def test_the_text_of_a_program_is_kept_in_place_of_one_before(kept: Any) -> None:
    made = ProgramRecord("1" * 64, "lamp", "1.0.0", 1, "linux", {}, 7, "ci", 3)
    kept.do(lambda writing: writing.add_program(made, b"svm"))
    assert look(kept, lambda reading: reading.program_source(made.id)) == ""
    for text in ("rule a {}", "rule b { \u00e9 }"):
        kept.do(lambda writing, one=text: writing.keep_program_source(made.id, one, 8))
        assert look(kept, lambda reading: reading.program_source(made.id)) == text


def test_the_results_of_tests_are_kept_in_place_of_those_before(kept: Any) -> None:
    made = ProgramRecord("1" * 64, "lamp", "1.0.0", 1, "linux", {}, 7, "ci", 3)
    kept.do(lambda writing: writing.add_program(made, b"svm"))
    assert look(kept, lambda reading: reading.program_tests(made.id)) is None
    for run in (TestRun(8, "ci", ()), TestRun(9, "anna", ({"name": "\u00e9", "passed": False},))):
        kept.do(lambda writing, one=run: writing.keep_program_tests(made.id, one))
        assert look(kept, lambda reading: reading.program_tests(made.id)) == run
    assert look(kept, lambda reading: reading.program_tests("2" * 64)) is None
