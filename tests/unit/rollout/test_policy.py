from __future__ import annotations

import pytest

from eyeflow.rollout.policy import (
    DEMANDS_MAX,
    NAME_CHARS_MAX,
    PATTERNS_MAX,
    SIGNERS_MAX,
    TEXT_CHARS_MAX,
    Demand,
    Fault,
    PolicyError,
    Request,
    Subject,
    approval_for,
    breaches,
    parse_policy,
)

TEXT = """
# what must not stop
[[demand]]
name = "production"
nodes = ["node-prod-*"]
strategies = ["canary", "blue_green"]
observe = "10min"
signers = 2

[[demand]]  # people
name = "pumps"
nodes = ["*-pump"]
approval = true
"""


def named(*names: str) -> list[Subject]:
    return [Subject(name, {}) for name in names]


GOOD = Request("canary", 600, {"lamp": 2, "pump": 3})


def test_a_policy_is_read_with_its_lines() -> None:
    one, two = parse_policy(TEXT)
    assert (one.name, one.line, one.nodes) == ("production", 3, ("node-prod-*",))
    assert (one.strategies, one.observe_s, one.signers, one.approval) == (("canary", "blue_green"), 600, 2, False)
    assert (two.name, two.line, two.approval) == ("pumps", 10, True)
    assert one.at("signers") == "line 8 of the policy (`production`)"
    assert parse_policy("") == ()


def test_each_breach_is_told_with_its_line() -> None:
    demands = parse_policy(TEXT)
    nodes = named("a-pump", "node-prod-01", "node-edge")
    assert breaches(demands, nodes, GOOD) == []
    bad = Request("immediate", 0, {"lamp": 1, "pump": 2})
    assert breaches(demands, named("node-edge", "node-Prod-01"), bad) == [], "it is about other nodes"
    strategy, observe, signers = breaches(demands, nodes, bad)
    assert strategy == (
        "line 6 of the policy (`production`) demands canary or blue_green for node-prod-01, not immediate"
    )
    assert (
        observe == "line 7 of the policy (`production`) demands to watch node-prod-01 for 10min after each step, not 0s"
    )
    assert signers == "line 8 of the policy (`production`) demands 2 trusted signers for node-prod-01; `lamp` has 1"


def test_bounds_are_inside() -> None:
    demands = parse_policy(TEXT)
    one = named("node-prod-01")
    assert len(breaches(demands, one, Request("canary", 599, {"lamp": 2}))) == 1
    assert len(breaches(demands, one, Request("canary", 600, {"lamp": 1}))) == 1
    assert breaches(demands, one, Request("blue_green", 601, {})) == [], "a removal has no signers"


def test_many_nodes_are_counted() -> None:
    nodes = named(*(f"node-prod-{number}" for number in range(5)))
    (told,) = breaches(parse_policy(TEXT), nodes, Request("canary", 600, {"lamp": 0}))
    assert "for node-prod-0, node-prod-1, node-prod-2 and 2 more; `lamp` has 0" in told


def test_an_approval_is_demanded_for_its_nodes() -> None:
    demands = parse_policy(TEXT)
    assert approval_for(demands, named("node-prod-01")) == ""
    assert approval_for(demands, named("a-pump")) == "another person must approve it: line 13 of the policy (`pumps`)"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[[demand]\n", 0, "not TOML"),
        ("x = 1\n", 0, "`x` is not known here"),
        ("[[demnd]]\nname = 'a'\n", 0, "did you mean `demand`?"),
        ("demand = [{name = 'a', nodes = ['*'], approval = true}]\n", 0, "each demand begins with a line"),
        ("[demand]\nname = 'a'\n", 0, "each demand begins with a line"),
        (
            "[[demand]]\nname = 'a'\nnodes = ['*']\n",
            1,
            "demands nothing: give one of strategies, observe, signers, approval",
        ),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\napproval = false\n", 1, "demands nothing"),
        ("[[demand]]\nnodes = ['*']\napproval = true\n", 1, "`name` must be"),
        ("[[demand]]\nname = 'a'\nnodes = '*'\napproval = true\n", 3, "`nodes` must be a list"),
        ("[[demand]]\nname = 'a'\nnodes = []\napproval = true\n", 3, "`nodes` must be a list"),
        ("[[demand]]\nname = 'a'\napproval = true\n", 1, "names no nodes"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nstrategies = ['canry']\n", 4, "did you mean `canary`?"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nobserve = '10'\n", 4, "`observe` must be a duration"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nstrategies = 'canary'\n", 4, "`strategies` must be a list"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nobserve = 600\n", 4, "`observe` must be a duration"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nobserve = '0s'\n", 4, "`observe` must be a duration"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nobserve = '604801s'\n", 4, "`observe` must be a duration"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nobserve = '8d'\n", 4, "`observe` must be a duration"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nsigners = true\n", 4, "`signers` must be a number"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\nsigners = -1\n", 4, "`signers` must be a number"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\napproval = 'no'\n", 4, "`approval` must be true or false"),
        ("[[demand]]\nname = 'a'\nnodes = ['*']\naproval = true\n", 4, "did you mean `approval`?"),
        ("[[demand]]\nname = 'a'\nlabels = 'lyon'\napproval = true\n", 3, "`labels` must name labels"),
        ("[[demand]]\nname = 'a'\nlabels = {}\napproval = true\n", 3, "`labels` must name labels"),
        ("[[demand]]\nname = 'a'\nlabels = { site = 1 }\napproval = true\n", 3, "`labels` must name labels"),
        ("#" * 70_000, 0, "longer than"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(text)
    assert any(fault.line == line and says in fault.text for fault in raised.value.faults), raised.value


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy("[[demand]]\nname = ''\nnodes = ['*']\n[[demand]]\nname = 'b'\nnodes = 7\n")
    assert [fault.line for fault in raised.value.faults] == [2, 6]


def test_a_demand_is_for_the_nodes_of_its_patterns() -> None:
    demand = Demand("a", 1, ("node-?", "pump"))
    assert [demand.is_for(one) for one in named("node-a", "node-ab", "pump", "Pump")] == [True, False, True, False]


def test_a_demand_is_for_the_nodes_that_have_all_its_labels() -> None:
    text = "[[demand]]\nname = 'a'\nlabels = { site = 'lyon', line = '2' }\napproval = true\n"
    (demand,) = parse_policy(text)
    both, one, other = ({"site": "lyon", "line": "2", "x": "y"}, {"site": "lyon"}, {"site": "lyon", "line": "3"})
    assert [demand.is_for(Subject("n", labels)) for labels in (both, one, other, {})] == [True, False, False, False]
    (narrow,) = parse_policy(text.replace("labels", "nodes = ['n-*']\nlabels"))
    assert [narrow.is_for(Subject(name, both)) for name in ("n-1", "m-1")] == [True, False]


def demand(name: str = "a", rest: str = "nodes = ['*']\napproval = true") -> str:
    return f"[[demand]]\nname = '{name}'\n{rest}\n"


@pytest.mark.parametrize(
    "text",
    [
        demand().ljust(TEXT_CHARS_MAX, "#"),
        demand() * DEMANDS_MAX,
        demand("n" * NAME_CHARS_MAX),
        demand(rest=f"nodes = {['*'] * PATTERNS_MAX}\napproval = true"),
        demand(rest=f"nodes = ['*']\nsigners = {SIGNERS_MAX}"),
        demand(rest="nodes = ['*']\nobserve = '1s'"),
        demand(rest="nodes = ['*']\nobserve = '7d'"),
        demand(rest="nodes = ['*']\nstrategies = ['canary']"),
    ],
    ids=["text", "demands", "name", "patterns", "signers", "shortest", "longest", "only strategies"],
)
def test_what_is_just_within_its_bound_is_taken(text: str) -> None:
    assert parse_policy(text)


@pytest.mark.parametrize(
    "text",
    [
        demand() * (DEMANDS_MAX + 1),
        demand("n" * (NAME_CHARS_MAX + 1)),
        demand(rest=f"nodes = {['*'] * (PATTERNS_MAX + 1)}\napproval = true"),
        demand(rest=f"nodes = ['*']\nsigners = {SIGNERS_MAX + 1}"),
    ],
    ids=["demands", "name", "patterns", "signers"],
)
def test_what_is_just_beyond_its_bound_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text)


def test_a_fault_is_told_with_its_line_and_a_guess_only_where_there_is_one() -> None:
    faults = [Fault(3, "is wrong"), Fault(0, "is longer")]
    assert [str(one) for one in faults] == ["line 3: is wrong", "is longer"]
    assert str(PolicyError(faults)) == "line 3: is wrong; is longer"
    with pytest.raises(PolicyError) as raised:
        parse_policy("x = 1\n")
    assert raised.value.faults == (Fault(0, "`x` is not known here"),)


def test_what_has_no_line_of_its_own_stands_at_its_demand() -> None:
    assert Demand("a", 7, ("*",), lines=(("nodes", 9),)).at("signers") == "line 7 of the policy (`a`)"


def test_a_demand_for_other_nodes_hides_none_that_follows() -> None:
    other, mine = Demand("other", 1, ("x",), signers=9), Demand("mine", 5, ("node",), signers=2)
    (told,) = breaches((other, mine), named("node"), Request("immediate", 0, {"pump": 1}))
    assert "(`mine`) demands 2 trusted signers" in told


@pytest.mark.parametrize(("count", "told"), [(3, "for n0, n1, n2;"), (4, "for n0, n1, n2 and 1 more;")])
def test_the_first_three_nodes_are_named(count: int, told: str) -> None:
    nodes = named(*(f"n{number}" for number in range(count)))
    (found,) = breaches((Demand("a", 1, ("*",), signers=1),), nodes, Request("immediate", 0, {"pump": 0}))
    assert told in found
