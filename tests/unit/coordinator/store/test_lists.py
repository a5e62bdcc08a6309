"""Pages of the long lists: together they are the whole list, in order, whatever comes and goes meanwhile; and cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from eyeflow.base.machine import Machine
from eyeflow.coordinator.histories import Doubt, Finding, History
from eyeflow.coordinator.store.cluster_store import Reading, Writing
from eyeflow.coordinator.store.coordination import Link
from eyeflow.coordinator.store.facts import ApiToken, LogEntry, NodeRecord, NodeReport, ProgramRecord, Seen
from eyeflow.coordinator.store.lists import (
    DeploymentsAsked,
    KeysAsked,
    LogAsked,
    NodeOrder,
    NodesAsked,
    Page,
    ProgramsAsked,
    ProgressAsked,
    RulesAsked,
    Standing,
    TokensAsked,
    TokenState,
)
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.protocol.messages import RuleResult, RuleState
from eyeflow.protocol.slot import Slot
from eyeflow.rollout.deployment import DeploymentState, NodeProgress, NodeState, Target, Wanted

NODES = 23
SILENT_US = 1_000
RULES = ("pump", "lamp", "limit")


def program_id(number: int) -> str:
    return f"{number:064x}"


def fill(writing: Writing, helpers: Any, rng: Random) -> None:
    """A cluster in which all filters have something to find."""
    for number, rule in enumerate((*RULES, "pump", "lamp", "pump")):
        about = {"signers": []}
        writing.add_program(
            ProgramRecord(program_id(number), rule, f"{number}.0.0", number, "linux", about, number // 2, "me", 1), b"x"
        )
    for number in range(NODES):
        name = f"node-{number:02}"
        writing.register_node(name, bytes(32), 9)
        writing.set_labels(name, {"site": rng.choice(("lyon", "nice")), "line": str(number % 3)}, 9)
        walk(writing, name, rng)
    for number in range(7):
        one = replace(
            helpers.deployment(f"d-{number}"),
            created_us=number * 10,
            strategy=rng.choice(("rolling", "canary")),
            state=rng.choice((DeploymentState.INSTALLING, DeploymentState.SUCCEEDED)),
            targets=((rng.choice(RULES), Target(program_id(0), f"d-{number}", (("limit", 1.5), ("pu_p", "x")))),),
        )
        states = [NodeProgress(f"node-{node:02}", rng.choice([*NodeState])) for node in range(number * 3)]
        writing.add_deployment(one, states)
        expires_us, revoked_us = rng.choice((0, 5, 50)), rng.choice((0, 7))
        role = rng.choice(("read", "admin"))
        token = ApiToken(f"{number:x}", f"CI-{number % 3}", role, b"h", number // 2, revoked_us, expires_us)
        writing.add_api_token(token)
        writing.trust_signer(bytes([number * 37 % 256]) * 32, f"Clé {number}", number // 3)
        writing.add_log_entry(LogEntry(number, rng.choice(("ci", "me")), "deploy", f"d-{number}"))


def walk(writing: Writing, name: str, rng: Random) -> None:
    """Something happens to a node."""
    for rule in RULES:
        happens = rng.randrange(4)
        if happens == 0:
            writing.want(name, Wanted(rule, "active", Target(program_id(rng.randrange(2)), "d-1")))
        elif happens == 1:
            writing.unwant(name, rule, "active")
    version = writing.next_manifest_version(name)
    writing.keep_manifest(name, b"b", b"s", 9)
    if rng.random() < 0.7:
        results = [
            RuleResult(rule, program_id(rng.randrange(2)), rng.choice((RuleState.INSTALLED, RuleState.REFUSED)), "")
            for rule in sorted(RULES)
            if rng.random() < 0.7
        ]
        writing.record_report(NodeReport(name, version, tuple(results)), 9)
    if rng.random() < 0.6:
        writing.take_link(Link(name, rng.choice("xy"), 1, 9))
    else:
        writing.drop_link(name, "x", 9)
    kinds = [one for one in Doubt if rng.random() < 0.1]
    writing.record_histories({name: History(findings=tuple(Finding(one, 1, 2, "") for one in kinds))}, 9)
    writing.set_drained(name, rng.choice((0, 0, 5)), 9)
    seen_us, failed, rates = (
        rng.choice((900, 1_500, 2_000)),
        rng.choice((0, 0, 2)),
        (rng.random(), float(rng.randrange(3))),
    )
    writing.record_seen([Seen(name, 1, 2, seen_us, "", failed, rng.randrange(3), *rates, rng.random() < 0.2)])


@pytest.fixture
def filled(kept: Any, helpers: Any) -> Any:
    kept.do(lambda writing: fill(writing, helpers, Random(1)))
    return kept


Ask = Callable[[Reading, int, Any], Page[Any]]
LISTS: dict[str, Ask] = {
    **{
        f"nodes by {order.value}": lambda reading, limit, after, order=order: reading.node_page(
            NodesAsked(limit, after, order, silent_us=SILENT_US)
        )
        for order in NodeOrder
    },
    "rules": lambda reading, limit, after: reading.rule_page(RulesAsked(limit, after)),
    "programs": lambda reading, limit, after: reading.program_page(ProgramsAsked(limit, after)),
    "deployments": lambda reading, limit, after: reading.deployment_page(DeploymentsAsked(limit, after)),
    "nodes of a deployment": lambda reading, limit, after: reading.progress_page(ProgressAsked("d-6", limit, after)),
    "keys": lambda reading, limit, after: reading.signer_page(KeysAsked(limit, after)),
    "tokens": lambda reading, limit, after: reading.token_page(TokensAsked(limit, 20, after)),
    "log": lambda reading, limit, after: reading.log_page(LogAsked(limit, after)),
    "log, newest first": lambda reading, limit, after: reading.log_page(LogAsked(limit, after, True)),
}
SIZES = {"rules": 3, "programs": 6, "deployments": 7, "nodes of a deployment": 18, "keys": 7, "tokens": 7, "log": 7}


def walked(kept: Any, ask: Ask, limit: int) -> Iterator[Any]:
    after = None
    for _ in range(200):
        page = kept.file.read(lambda reading, after=after: ask(reading, limit, after))
        assert len(page.rows) == limit or page.after is None
        yield from page.rows
        if (after := page.after) is None:
            return
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("name", LISTS)
def test_the_pages_of_a_list_are_the_whole_list(filled: Any, name: str) -> None:
    whole = list(walked(filled, LISTS[name], 1_000))
    full = filled.file.read(lambda reading: LISTS[name](reading, len(whole), None))
    assert (list(full.rows), full.after) == (whole, None), "behind a full last page there is none"
    assert len(whole) == SIZES.get(name, SIZES.get(name.partition(",")[0], NODES))
    for limit in (1, 2, 5, len(whole)):
        assert list(walked(filled, LISTS[name], limit)) == whole


def test_what_comes_and_goes_between_pages_moves_nothing_else(filled: Any) -> None:
    seen = []
    for row in walked(filled, LISTS["nodes by name"], 3):
        seen.append(row.name)
        if len(seen) == 6:
            filled.do(lambda writing: (writing.remove_node("node-01", 9), writing.remove_node("node-08", 9)))
            filled.do(lambda writing: (writing.register_node("a", b"", 9), writing.register_node("node-10a", b"", 9)))
    expected = [f"node-{number:02}" for number in range(NODES) if number != 8]
    expected.insert(expected.index("node-11"), "node-10a")
    assert seen == expected


def names(kept: Any, asked: NodesAsked) -> list[str]:
    found = kept.file.read(lambda reading: reading.node_page(asked)).rows
    assert kept.file.read(lambda reading: reading.count_nodes(asked)) == len(found)
    return [one.name for one in found]


def standings(reading: Reading, node: NodeRecord, failed: frozenset[str]) -> set[Standing]:
    """How a node stands, by all that is known of it."""
    details = reading.node_details([node.name])[node.name]
    wanted = {one.rule: one.target.program_id for one in details.wanted if one.slot == "active"}
    said = {one.rule: one for one in details.said if one.slot is Slot.ACTIVE}
    states = {
        rule: said[rule].state.value if rule in said and said[rule].program_id == wanted.get(rule, "") else "pending"
        for rule in wanted.keys() | said.keys()
    }
    failing = details.history.doubtful or "refused" in states.values() or node.name in failed
    found = {Standing.FAILING} if failing else set()
    found |= {Standing.PENDING} if "pending" in states.values() else set()
    found |= {Standing.DRAINED} if node.drained_us else set()
    found |= {Standing.OFFLINE} if details.link is None or node.last_seen_us < SILENT_US else set()
    return found if found - {Standing.DRAINED} else found | {Standing.FINE}


def all_standings(failed: frozenset[str], reading: Reading) -> dict[str, set[Standing]]:
    rows = reading.node_page(NodesAsked(100)).rows
    return {one.name: standings(reading, one, failed) for one in rows}


def flagged(kept: Any, column: str) -> frozenset[str]:
    def step(writing: Any) -> frozenset[str]:
        return frozenset(name for (name,) in writing._rows(f"SELECT name FROM nodes WHERE {column} > 0"))

    return kept.do(step)


def test_nodes_stand_as_all_that_is_known_of_them_says(filled: Any) -> None:
    rng = Random(2)
    for _ in range(12):

        def step(writing: Writing) -> None:
            for number in rng.sample(range(NODES), 5):
                walk(writing, f"node-{number:02}", rng)

        filled.do(step)

        failed, silent = flagged(filled, "failed"), flagged(filled, "silent")
        stand = filled.file.read(partial(all_standings, failed))
        for name in silent:
            stand[name] = stand[name] - {Standing.FINE} | {Standing.OFFLINE}
        for one in Standing:
            expected = sorted(name for name, found in stand.items() if one in found)
            assert names(filled, NodesAsked(100, standings=frozenset({one}), silent_us=SILENT_US)) == expected, one
        some = frozenset({Standing.DRAINED, Standing.FINE})
        either = sorted(name for name, found in stand.items() if found & some)
        assert names(filled, NodesAsked(100, standings=some, silent_us=SILENT_US)) == either
        ranks = (Standing.FAILING, Standing.OFFLINE, Standing.PENDING, Standing.DRAINED)
        worst = sorted(stand, key=lambda name: (next((n for n, s in enumerate(ranks) if s in stand[name]), 4), name))
        assert names(filled, NodesAsked(100, order=NodeOrder.WORST, silent_us=SILENT_US)) == worst
        sums = filled.file.read(lambda reading: reading.node_sums(SILENT_US, "x"))
        counts = {one: sum(one in found for found in stand.values()) for one in Standing}
        assert (sums.nodes, sums.active) == (NODES, NODES - counts[Standing.OFFLINE])
        assert (sums.failing, sums.drained) == (counts[Standing.FAILING], counts[Standing.DRAINED])
        assert (sums.pending > 0) == (counts[Standing.PENDING] > 0)


def test_nodes_by_label_rule_name_and_time(filled: Any) -> None:
    def look(reading: Reading) -> dict[str, tuple[dict[str, str], set[str], int]]:
        found = reading.node_page(NodesAsked(100)).rows
        return {
            one.name: (
                reading.labels(one.name),
                {wanted.rule for wanted in reading.wanted(one.name)},
                one.last_seen_us,
            )
            for one in found
        }

    known = filled.file.read(look)
    lyon = [name for name, (labels, _, _) in known.items() if labels == {"site": "lyon", "line": "1"}]
    assert lyon and names(filled, NodesAsked(100, labels=(("site", "lyon"), ("line", "1")))) == lyon
    pump = [name for name, (_, rules, _) in known.items() if "pump" in rules]
    assert pump and names(filled, NodesAsked(100, rule="pump")) == pump
    assert names(filled, NodesAsked(100, name="DE-1")) == [f"node-{number}" for number in range(10, 20)]
    assert names(filled, NodesAsked(100, name="_")) == names(filled, NodesAsked(100, name="%")) == []
    late = [name for name, (_, _, seen_us) in known.items() if seen_us >= 1_500]
    assert late and names(filled, NodesAsked(100, since_us=1_500)) == late


def test_several_nodes_by_their_names(filled: Any) -> None:
    assert names(filled, NodesAsked(100, names=("node-11", "node-03", "ghost"))) == ["node-03", "node-11"]


def test_rules_with_their_programs_and_how_many_nodes_run_which(filled: Any) -> None:
    def look(reading: Reading) -> list[Any]:
        return [reading.wanted_of_rule(rule) for rule in sorted(RULES)]

    wanted = filled.file.read(look)
    rows = filled.file.read(lambda reading: reading.rule_page(RulesAsked(9))).rows
    assert [row.rule for row in rows] == sorted(RULES)
    for row, found in zip(rows, wanted, strict=True):
        assert sum(row.nodes.values()) == len(found)
    assert [one.id for one in rows[2].programs] == [program_id(number) for number in (5, 3, 0, 1)], "and what nodes run"
    some = filled.file.read(lambda reading: reading.rule_page(RulesAsked(9, name="LI"))).rows
    assert [row.rule for row in some] == ["limit"]
    exact = [filled.file.read(lambda r, one=one: r.rule_page(RulesAsked(9, rule=one))).rows for one in ("limit", "li")]
    assert [[row.rule for row in found] for found in exact] == [["limit"], []]
    node = wanted[2][0][0]
    assert "pump" in [row.rule for row in filled.file.read(lambda r: r.rule_page(RulesAsked(9, node=node))).rows]
    late = filled.file.read(lambda reading: reading.rule_page(RulesAsked(9, since_us=2))).rows
    assert [row.rule for row in late] == ["lamp", "pump"]
    of_rule = filled.file.read(lambda reading: reading.program_page(ProgramsAsked(9, rule="pump"))).rows
    assert [one.sequence for one in of_rule] == [5, 3, 0]
    late = filled.file.read(lambda reading: reading.program_page(ProgramsAsked(9, since_us=2))).rows
    assert [one.sequence for one in late] == [5, 4]


def test_deployments_by_state_rule_strategy_node_and_time(filled: Any) -> None:
    def ids(**asked: Any) -> list[str]:
        page = filled.file.read(lambda reading: reading.deployment_page(DeploymentsAsked(100, **asked)))
        return [one.id for one in page.rows]

    every = filled.file.read(lambda reading: reading.deployment_page(DeploymentsAsked(100))).rows
    for asked, fits in (
        ({"states": frozenset({DeploymentState.SUCCEEDED})}, lambda one: one.state is DeploymentState.SUCCEEDED),
        ({"is_open": True}, lambda one: not one.over),
        ({"is_open": False}, lambda one: one.over),
        ({"strategy": "canary"}, lambda one: one.strategy == "canary"),
        ({"rule": "pump"}, lambda one: "pump" in one.rules),
        ({"rule": "limit"}, lambda one: "limit" in one.rules),  # each has a parameter of this name
        ({"rule": "pu_p"}, lambda one: False),
        ({"node": "node-07"}, lambda one: int(one.id[2:]) >= 3),
        ({"since_us": 40}, lambda one: one.created_us >= 40),
    ):
        assert ids(**asked) == [one.id for one in every if fits(one)], asked
    removing = replace(every[0], id="d-9", targets=(("valve", None),))
    filled.do(lambda writing: writing.add_deployment(removing, []))
    assert ids(rule="valve") == ["d-9"]
    odd = replace(every[0], id="d-10", targets=(("X!_%", None),))
    filled.do(lambda writing: writing.add_deployment(odd, []))
    assert ids(rule="X!_%") == ["d-10"]


def test_nodes_of_a_deployment_tokens_and_entries_by_their_filters(filled: Any) -> None:
    every = filled.file.read(lambda reading: reading.progress("d-6"))
    states = frozenset({NodeState.SENT, NodeState.REFUSED})
    found = filled.file.read(lambda reading: reading.progress_page(ProgressAsked("d-6", 100, None, states))).rows
    assert list(found) == [one for one in every if one.state in states]
    some = ("node-03", "node-11")
    found = filled.file.read(lambda reading: reading.progress_page(ProgressAsked("d-6", 100, names=some))).rows
    assert tuple(one.node for one in found) == some
    found = filled.file.read(lambda reading: reading.progress_page(ProgressAsked("d-6", 100, name="-1"))).rows
    assert [one.node for one in found] == [f"node-{number}" for number in range(10, 18)]

    tokens = filled.file.read(lambda reading: reading.api_tokens())
    for state in TokenState:
        asked = TokensAsked(100, 20, states=frozenset({state}))
        fitting = [one for one in tokens if token_state(one, 20) is state]
        assert list(filled.file.read(lambda reading, asked=asked: reading.token_page(asked)).rows) == fitting
    ended = frozenset({TokenState.REVOKED, TokenState.EXPIRED})
    for asked, fits in (
        (TokensAsked(9, 20, states=ended), lambda one: token_state(one, 20) in ended),
        (TokensAsked(9, 20, role="admin"), lambda one: one.role == "admin"),
        (TokensAsked(9, 20, name="ci-1"), lambda one: one.name == "CI-1"),
        (TokensAsked(9, 20, since_us=2), lambda one: one.created_us >= 2),
    ):
        found = filled.file.read(lambda reading, asked=asked: reading.token_page(asked)).rows
        assert list(found) == [one for one in tokens if fits(one)]

    entries = filled.file.read(lambda reading: reading.log_after(0, 100))
    for asked, fits in (
        (LogAsked(9, actor="ci"), lambda one: one.actor == "ci"),
        (LogAsked(9, action="deplo"), lambda one: False),
        (LogAsked(9, subject="d-3"), lambda one: one.subject == "d-3"),
        (LogAsked(9, since_us=4), lambda one: one.time_us >= 4),
        (LogAsked(9, after=(3,)), lambda one: one.number > 3),
    ):
        assert list(filled.file.read(lambda reading, asked=asked: reading.log_page(asked)).rows) == [
            one for one in entries if fits(one)
        ]


def token_state(token: ApiToken, now_us: int) -> TokenState:
    if token.revoked_us:
        return TokenState.REVOKED
    return TokenState.WORKS if token.works(now_us) else TokenState.EXPIRED


MANY = 5_000


def test_a_late_page_of_many_nodes_costs_as_much_as_the_first(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine: a page that skips rows costs as many steps as it skips."""
    file = SqliteFile(tmp_path / "store.sqlite", Machine())

    def step(writing: Writing) -> None:
        for number in range(MANY):
            writing.register_node(f"node-{number:04}", bytes(32), 9)
            writing.want(f"node-{number:04}", Wanted("pump", "active", Target(program_id(0), "d-1")))

    assert file.commit([step])[0].error is None
    steps = [0]

    def count(event: Any) -> None:
        steps[0] += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    file._db.trace_v2(apsw.SQLITE_TRACE_PROFILE, count, id="test")

    def cost(look: Callable[[Reading], Any]) -> int:
        steps[0] = 0
        file.read(look)
        return steps[0]

    def page(reading: Reading, after: Any) -> None:
        names = [one.name for one in reading.node_page(NodesAsked(50, after)).rows]
        assert len(names) == 50
        reading.node_details(names)

    first, late = cost(lambda reading: page(reading, None)), cost(lambda reading: page(reading, ("node-4900",)))
    assert late <= first * 1.2
    by_time = NodesAsked(50, (9, "node-4900"), NodeOrder.HEARD)
    assert cost(lambda reading: reading.node_page(by_time)) > 5 * late, "the control: this order has no index"
    assert cost(lambda reading: reading.node_sums(0, "x")) < 60 * MANY, "one pass over narrow rows"
    file.close()


def test_since_when_something_fails_is_kept_while_it_does(kept: Any) -> None:
    def seen(failed: int, at_us: int) -> None:
        kept.do(lambda writing: writing.record_seen([Seen("a", 1, 2, at_us, failed=failed)]))

    def reported(state: RuleState, at_us: int) -> None:
        def step(writing: Writing) -> None:
            writing.want("a", Wanted("pump", "active", Target(program_id(0), "d-1")))
            version = writing.next_manifest_version("a")
            writing.keep_manifest("a", b"b", b"s", at_us)
            writing.record_report(NodeReport("a", version, (RuleResult("pump", program_id(0), state, ""),)), at_us)

        kept.do(step)

    def since_us() -> int:
        found: int = kept.file.read(lambda reading: reading.node("a")).failing_since_us
        return found

    kept.do(lambda writing: writing.register_node("a", bytes(32), 1))
    seen(0, 5)
    assert since_us() == 0
    for failed, at_us in ((2, 10), (1, 20)):
        seen(failed, at_us)
    assert since_us() == 10, "it goes on"
    reported(RuleState.REFUSED, 30)
    seen(0, 40)
    assert since_us() == 10, "now something else fails"
    reported(RuleState.INSTALLED, 50)
    assert since_us() == 0
    reported(RuleState.REFUSED, 60)
    seen(0, 70)
    assert since_us() == 60
