"""The long lists of the REST API: pages of them, by the filters that each takes."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, TypeVar

from eyeflow.coordinator import views
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.deployments import found_deployment
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.queries import CURSOR_CHARS_MAX, INTEGER_MAX, Param, Query, bad_cursor, cursor_of, key_of
from eyeflow.coordinator.shape_words import NODE_NAME, RULE, Shape, names
from eyeflow.coordinator.standings import SILENT_S
from eyeflow.coordinator.store.cluster_store import Reading
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
from eyeflow.coordinator.tokens import Role
from eyeflow.rollout.deployment import DeploymentState, NodeState
from eyeflow.rollout.strategies import STRATEGIES

LIMIT, LIMIT_MAX = 100, 1_000
E = TypeVar("E", bound=Enum)
_KEY = re.compile("[0-9a-f]{64}")

_WORDS: Shape = {"type": "string", "pattern": "^[ -~]{1,128}$", "examples": ["ci"]}
PAGING = (
    Param(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT, "examples": [LIMIT]},
        "rows on a page",
    ),
    Param(
        "cursor",
        {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{1,{CURSOR_CHARS_MAX}}}$"},
        "`nextCursor` of the page before; the other parameters stay the same",
    ),
)


def _part(of: str) -> Param:
    shape: Shape = {"type": "string", "pattern": "^[ -~]{1,64}$", "examples": ["prod"]}
    return Param("name", shape, f"a part of the name of the {of}, in capitals or not")


def since(what: str) -> Param:
    """Return the parameter `sinceUs`: what happened then or later."""
    shape: Shape = {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX, "examples": [1790000000000000]}
    return Param("sinceUs", shape, f"{what} at this time or later, in microseconds since 1970 UTC")


def _rule(what: str) -> Param:
    return Param("rule", RULE, what)


def _states(members: type[Enum], what: str) -> Param:
    return Param("state", names(members), f"{what}; again: or this one", is_list=True)


_NODES = Param("node", NODE_NAME, "this node; again: or this one", is_list=True)
NODES_QUERY = (
    *PAGING,
    _states(Standing, "how the node stands"),
    Param(
        "label",
        {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}=[ -~]{1,128}$", "examples": ["site=lyon"]},
        "a label of the node; again: and this one",
        is_list=True,
    ),
    _rule("the node shall run this rule"),
    _part("node"),
    _NODES,
    Param("gateway", NODE_NAME, "boards that this node speaks for"),
    Param("board", {"type": "boolean", "examples": [True]}, "true: it is a board behind a node; false: it is none"),
    since("the node was heard"),
    Param("sort", {**names(NodeOrder), "default": "name"}, "which nodes come first; `heard`: the longest ago"),
)
RULES_QUERY = (
    *PAGING,
    _rule("this rule"),
    _part("rule"),
    Param("node", NODE_NAME, "a node that shall run it"),
    since("uploaded"),
)
PROGRAMS_QUERY = (*PAGING, _rule("of this rule"), since("uploaded"))
DEPLOYMENTS_QUERY = (
    *PAGING,
    _states(DeploymentState, "where the deployment stands"),
    Param("open", {"type": "boolean", "examples": [True]}, "true: it has not ended; false: it has"),
    Param("strategy", {"type": "string", "enum": sorted(STRATEGIES), "examples": ["rolling"]}, "its strategy"),
    _rule("it changes this rule"),
    Param("node", NODE_NAME, "it goes to this node"),
    since("begun"),
)
PROGRESS_QUERY = (*PAGING, _states(NodeState, "where the node stands"), _part("node"), _NODES)
TOKENS_QUERY = (
    *PAGING,
    _states(TokenState, "whether it opens anything"),
    Param("role", names(Role), "its role"),
    _part("token"),
    since("made"),
)
KEYS_QUERY = (*PAGING, _part("key"), since("trusted first"))
LOG_QUERY = (
    *PAGING,
    Param(
        "after",
        {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX, "examples": [0]},
        "entries with a higher number only; not with `order=newest`",
    ),
    Param(
        "order",
        {"type": "string", "enum": ["oldest", "newest"], "default": "oldest", "examples": ["newest"]},
        "which entries come first",
    ),
    Param("actor", _WORDS, "who did it: the name of the token"),
    Param("action", _WORDS, "what was done"),
    Param("subject", _WORDS, "with what it was done"),
    since("done"),
)


def limit_of(query: Query) -> int:
    """Return how many rows a page may have."""
    return int(query.get("limit", LIMIT))


def _members(query: Query, of: type[E]) -> frozenset[E]:
    return frozenset(of(value) for value in query.get("state", ()))


def answer(name: str, shown: list[dict[str, Any]], page: Page[Any]) -> dict[str, Any]:
    """Return a page as the API shows it."""
    return {name: shown, "nextCursor": cursor_of(page.after)}


def silent_us(hub: Hub) -> int:
    """Return the time at which a node that is heard was surely seen."""
    return hub.clock() - SILENT_S * 1_000_000


def asked_nodes(hub: Hub, query: Query) -> NodesAsked:
    """Return which nodes a query asks for."""
    order = NodeOrder(query.get("sort", NodeOrder.NAME.value))
    return NodesAsked(
        limit_of(query),
        key_of(query, *((str,) if order is NodeOrder.NAME else ((int, float), str))),
        order,
        _members(query, Standing),
        tuple(_label(text) for text in query.get("label", ())),
        query.get("rule", ""),
        query.get("name", ""),
        query.get("sinceUs", 0),
        silent_us(hub),
        tuple(query.get("node", ())),
        query.get("gateway", ""),
        query.get("board"),
    )


async def list_nodes(hub: Hub, call: Call) -> Reply:
    """Return nodes, a page at a time."""
    asked = asked_nodes(hub, call.query)

    def look(reading: Reading) -> tuple[Page[Any], list[views.NodeFacts], int]:
        page = reading.node_page(asked)
        return page, views.facts_of(reading, page.rows), reading.count_nodes(asked)

    page, found, total = await hub.store.read(look)
    shown = [views.node_view(hub, facts) for facts in found]
    return Reply(200, {**answer("nodes", shown, page), "total": total})


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


async def list_rules(hub: Hub, call: Call) -> Reply:
    """Return rules, a page at a time."""
    query = call.query
    name, node, since_us = query.get("name", ""), query.get("node", ""), query.get("sinceUs", 0)
    asked = RulesAsked(limit_of(query), key_of(query, str), name, node, since_us, query.get("rule", ""))
    page = await hub.store.read(lambda reading: reading.rule_page(asked))
    return Reply(200, answer("rules", [views.rule_view(row) for row in page.rows], page))


async def list_programs(hub: Hub, call: Call) -> Reply:
    """Return programs, the last uploaded first, a page at a time."""
    query = call.query
    asked = ProgramsAsked(limit_of(query), key_of(query, int, str), query.get("rule", ""), query.get("sinceUs", 0))
    page = await hub.store.read(lambda reading: reading.program_page(asked))
    return Reply(200, answer("programs", [views.program_view(row) for row in page.rows], page))


async def list_deployments(hub: Hub, call: Call) -> Reply:
    """Return deployments, the newest first, with the number of nodes in each state, a page at a time."""
    query = call.query
    asked = DeploymentsAsked(
        limit_of(query),
        key_of(query, int),
        _members(query, DeploymentState),
        query.get("open"),
        query.get("strategy", ""),
        query.get("rule", ""),
        query.get("node", ""),
        query.get("sinceUs", 0),
    )

    def look(reading: Reading) -> dict[str, Any]:
        page = reading.deployment_page(asked)
        return answer("deployments", [views.deployment_summary(reading, row) for row in page.rows], page)

    return Reply(200, await hub.store.read(look))


async def list_deployment_nodes(hub: Hub, call: Call) -> Reply:
    """Return the nodes of one deployment, a page at a time."""
    query, identity = call.query, call.path["id"]
    asked = ProgressAsked(
        identity,
        limit_of(query),
        key_of(query, str),
        _members(query, NodeState),
        query.get("name", ""),
        tuple(query.get("node", ())),
    )

    def look(reading: Reading) -> dict[str, Any]:
        found_deployment(reading, identity)
        page = reading.progress_page(asked)
        linked = hub.linked_of(reading, [row.node for row in page.rows])
        return answer("nodes", views.progress_views(reading, identity, page.rows, linked), page)

    return Reply(200, await hub.store.read(look))


async def list_tokens(hub: Hub, call: Call) -> Reply:
    """Return API tokens, without their secrets, a page at a time."""
    query, now_us = call.query, hub.clock()
    asked = TokensAsked(
        limit_of(query),
        now_us,
        key_of(query, int, str),
        _members(query, TokenState),
        query.get("role", ""),
        query.get("name", ""),
        query.get("sinceUs", 0),
    )
    page = await hub.tokens.page(asked)
    return Reply(200, answer("tokens", [views.token_view(token, now_us) for token in page.rows], page))


async def list_keys(hub: Hub, call: Call) -> Reply:
    """Return signer keys, revoked ones too, a page at a time."""
    query = call.query
    after = key_of(query, int, str)
    if after is not None and _KEY.fullmatch(str(after[1])) is None:
        raise bad_cursor()
    asked = KeysAsked(limit_of(query), after, query.get("name", ""), query.get("sinceUs", 0))
    page = await hub.store.read(lambda reading: reading.signer_page(asked))
    return Reply(200, answer("keys", [views.key_view(key) for key in page.rows], page))


async def list_log_entries(hub: Hub, call: Call) -> Reply:
    """Return entries of the log, oldest first or newest first, a page at a time."""
    query = call.query
    key, is_newest_first = key_of(query, int), query.get("order") == "newest"
    if "after" in query:
        if key is not None or is_newest_first:
            errors = [FieldError("after", "goes with neither `cursor` nor `order=newest`")]
            raise Problem("invalid_query", "Give `after` alone, or `cursor` or `order`.", errors=errors)
        key = (query["after"],)
    words = (query.get("actor", ""), query.get("action", ""), query.get("subject", ""))
    asked = LogAsked(limit_of(query), key, is_newest_first, *words, query.get("sinceUs", 0))
    page = await hub.store.read(lambda reading: reading.log_page(asked))
    return Reply(200, answer("entries", [views.log_entry_view(entry) for entry in page.rows], page))
