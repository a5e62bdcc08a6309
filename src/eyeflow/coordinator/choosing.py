"""Which nodes a deployment goes to: by name, by label, or all, without those that are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eyeflow.base.names import near
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.store.cluster_store import Reading
from eyeflow.coordinator.store.facts import NodeRecord
from eyeflow.protocol.wire import RULES_MAX
from eyeflow.rollout.deployment import NODES_MAX

NAMES_SHOWN_MAX = 20
"""Nodes that a refusal names; how many more there are is said as a number."""
LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""The name of a label. A minus at its end would be read as its removal."""


@dataclass(frozen=True, slots=True)
class Where:
    """Nodes as a user asks for them: `nodes` by name; else those with all `labels`, without any all of the cluster.

    `exclude` are left out. Nodes that are drained are only meant by their name. No other nodes are there for who asks
    than those with all labels of `scope`.
    """

    nodes: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    scope: Mapping[str, str] = field(default_factory=dict)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise Problem 422 for names that no label may have."""
    wrong = [name for name in labels if LABEL.fullmatch(name) is None or name.endswith("-")]
    if wrong:
        errors = [
            FieldError(f"/labels/{name[:64]}", f"must match ^{LABEL.pattern}$, without - at the end") for name in wrong
        ]
        detail = f"No label may have the name `{wrong[0][:64]}`: it has small letters, digits, `.`, `_` and `-`."
        raise Problem("invalid_body", detail, errors=errors)


def found_node(reading: Reading, name: str) -> NodeRecord:
    """Return one node; raises Problem 404."""
    node = reading.node(name)
    if node is None:
        guess = near(name, reading.node_names())
        hint = f" Did you mean `{guess}`?" if guess else ""
        detail = f"No node is named `{name[:64]}`.{hint}"
        raise Problem("node_not_found", detail, "list the nodes with GET /api/nodes")
    return node


def chip_of(node: NodeRecord | None) -> str:
    """Return the chip of a board, by what it told of itself; empty for a node that is none, or told nothing yet."""
    return node.facts.chip if node is not None and node.facts is not None else ""


def chosen_nodes(reading: Reading, rules: tuple[str, ...], where: Where) -> tuple[str, ...]:
    """Return the nodes of a deployment of `rules`; raises Problem 422 for unknown, too many and full ones, and none."""
    nodes = nodes_of(reading, where)
    if len(nodes) > NODES_MAX:
        raise Problem("limit_reached", f"A deployment goes to {NODES_MAX} nodes at most, and these are {len(nodes)}.")
    full = [node for node in nodes if not _has_room(reading, node, rules)]
    if full:
        raise Problem("limit_reached", f"These nodes run as many rules as they can: {_some(full)}.")
    return nodes


def nodes_of(reading: Reading, where: Where) -> tuple[str, ...]:
    """Return the nodes that `where` means, ascending unless named; raises Problem 422 for unknown ones and for none."""
    known = reading.labelled(where.scope) if where.scope else reading.node_names()
    _check_known("nodeIds", where.nodes or (), known, where.scope)
    _check_known("exclude", where.exclude, known, where.scope)
    if not known and where.scope:
        raise Problem("unknown_nodes", "No node has the labels that this token is for.", "ask an admin to label nodes")
    if not known:
        raise Problem("unknown_nodes", "The cluster has no nodes yet.", "list the nodes with `eyeflow status`")
    left_out = frozenset(where.exclude)
    if where.nodes is None:
        there = frozenset(known)
        meant = tuple(name for name in reading.labelled(where.labels) if name in there)
        left_out |= reading.drained()
        if not meant:
            raise _no_label(reading, where)
    else:
        meant = where.nodes
    chosen = tuple(node for node in meant if node not in left_out)
    if not chosen:
        detail = f"All {len(meant)} nodes that were asked for are left out: they are excluded or drained."
        raise Problem("unknown_nodes", detail, "list the nodes with `eyeflow nodes list`")
    return chosen


def _some(nodes: Sequence[str]) -> str:
    more = len(nodes) - NAMES_SHOWN_MAX
    return ", ".join(nodes[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _check_known(member: str, asked: tuple[str, ...], known: list[str], scope: Mapping[str, str]) -> None:
    unknown = set(asked) - set(known)
    if unknown:
        places = [(number, node) for number, node in enumerate(asked) if node in unknown]
        # To look for a near name costs a look at all nodes: thousands of wrong names would hold up everybody else.
        shown = places[:NAMES_SHOWN_MAX]
        errors = [FieldError(f"/{member}/{number}", _unknown_node(node, known)) for number, node in shown]
        names = _some([node for _, node in places])
        detail = f"Not in the cluster: {names}." if known else "The cluster has no nodes yet."
        if scope:
            of = " ".join(f"{name}={value}" for name, value in sorted(scope.items()))
            detail = f"Not among the nodes with {of}, which this token is for: {names}."
        raise Problem("unknown_nodes", detail, "list the nodes with `eyeflow status`", errors)


def _unknown_node(node: str, known: list[str]) -> str:
    guess = near(node, known)
    return "is not in the cluster" + (f"; did you mean `{guess}`?" if guess else "")


def _no_label(reading: Reading, where: Where) -> Problem:
    labels, pairs = where.labels, reading.label_values()
    if where.scope:  # nothing is told of the labels of other nodes
        pairs = sorted({pair for node in reading.labelled(where.scope) for pair in reading.labels(node).items()})
    known = [f"{name}={value}" for name, value in pairs]
    asked = [f"{name}={value}" for name, value in labels.items()]
    errors = [
        FieldError(f"/labels/{name}", f"no node has `{name}={value}`" + (f"; did you mean `{guess}`?" if guess else ""))
        for name, value in labels.items()
        if f"{name}={value}" not in known
        for guess in (near(f"{name}={value}", known),)
    ]
    detail = f"No node has {'all of the labels' if len(asked) > 1 else 'the label'} {', '.join(asked)}."
    return Problem("unknown_nodes", detail, "see the labels with `eyeflow nodes list`", errors)


def _has_room(reading: Reading, node: str, rules: tuple[str, ...]) -> bool:
    return len({one.rule for one in reading.wanted(node)}.union(rules)) <= RULES_MAX
