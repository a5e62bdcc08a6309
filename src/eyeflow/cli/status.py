"""The command `eyeflow status`: the cluster in one look, useful with five nodes and with thousands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.cli import choosing
from eyeflow.cli import node_texts as texts
from eyeflow.cli.cluster import connect
from eyeflow.cli.console import JsonFlag, LivePicture, colored, is_terminal, note, say, say_json, table
from eyeflow.cli.streams import hand_over
from eyeflow.cli.times import ago

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient

Json = dict[str, Any]

PAGE_NODES = 50
DETAILED_MAX = 10
"""Of more nodes than these, only those are told in full that need somebody."""
LOOK_S = 2.0
REST = 5
"""`--watch` rests at least this many times as long as an answer took: a big cluster is asked less often."""
HEADERS = ["NODE", "STATE", "SINCE", "CPU", "MEMORY", "RULES", "EXEC/MIN", "ERRORS/MIN", "WAITING", "PENDING"]


class Filter(Enum):
    """Which nodes are shown."""

    FAILING = "failing"
    OFFLINE = "offline"
    PENDING = "pending"
    DRAINED = "drained"
    FINE = "fine"


class Sort(Enum):
    """Which nodes come first."""

    WORST = "worst"
    NAME = "name"
    HEARD = "heard"
    EXECUTIONS = "executions"
    ERRORS = "errors"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("status")(status)


def status(
    filters: Annotated[list[Filter] | None, typer.Option("--filter", help="Only these nodes; again: or these.")] = None,
    label: choosing.Label = None,
    sort: Annotated[Sort, typer.Option("--sort", help="Which nodes come first.")] = Sort.WORST,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"Nodes on a page: {PAGE_NODES}, and all with --json.")
    ] = None,
    page: Annotated[int, typer.Option("--page", min=1, help="Which page.")] = 1,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show the cluster: its nodes, what they run and how they do. With --watch --json, each look is one line."""
    labels = choosing.labels_of(label or [])
    with connect() as client:

        def look() -> tuple[Json, list[Json]]:
            cluster, nodes = client.status(), client.nodes()
            return cluster | {"summary": summary(nodes)}, shown(nodes, filters or [], labels, sort)

        if watch:
            _watch(client.url, look, (page, limit), json_)
        else:
            cluster, nodes = look()
            _show(client, cluster, nodes, (page, limit), json_)


def summary(nodes: list[Json]) -> Json:
    """Return how many nodes stand how, and what all of them do in a minute."""
    return {
        "active": sum(node["connected"] and not texts.is_unheard(node) for node in nodes),
        "nodes": len(nodes),
        "failing": sum(map(texts.is_failing, nodes)),
        "pending": sum(map(texts.pending, nodes)),
        "drained": sum(bool(node["drainedUs"]) for node in nodes),
        "waiting": sum(map(texts.waiting, nodes)),
        "executionsPerMinute": sum(node["executionsPerMinute"] or 0 for node in nodes),
        "errorsPerMinute": sum(node["errorsPerMinute"] or 0 for node in nodes),
    }


def shown(nodes: list[Json], filters: list[Filter], labels: dict[str, str], sort: Sort) -> list[Json]:
    """Return the nodes that are asked for, in their order."""
    found = [n for n in nodes if choosing.has_labels(n, labels) and (not filters or any(_fits(n, f) for f in filters))]
    return sorted(found, key=lambda node: (_rank(node, sort), node["name"]))


def _fits(node: Json, wanted: Filter) -> bool:
    is_offline = not node["connected"] or texts.is_unheard(node)
    answers = {
        Filter.FAILING: texts.is_failing(node),
        Filter.OFFLINE: is_offline,
        Filter.PENDING: texts.pending(node) > 0,
        Filter.DRAINED: bool(node["drainedUs"]),
        Filter.FINE: not is_offline and not texts.is_failing(node) and not texts.pending(node),
    }
    return answers[wanted]


def _rank(node: Json, sort: Sort) -> float:
    if sort is Sort.WORST:
        order = (Filter.FAILING, Filter.OFFLINE, Filter.PENDING, Filter.DRAINED)
        return next((place for place, one in enumerate(order) if _fits(node, one)), len(order))
    numbers = {
        Sort.NAME: 0,
        Sort.HEARD: node["lastSeenUs"],
        Sort.EXECUTIONS: -(node["executionsPerMinute"] or 0),
        Sort.ERRORS: -(node["errorsPerMinute"] or 0),
    }
    return float(numbers[sort])


def headline(cluster: Json) -> str:
    """Return the cluster in one line."""
    found = cluster["summary"]
    parts = [f"nodes {found['active']}/{found['nodes']} active", f"{found['failing']} failing"]
    parts += [f"{found['drained']} drained"] * bool(found["drained"])
    parts += [f"{found['pending']} programs pending"] * bool(found["pending"])
    parts.append(f"executions {texts.rate(found['executionsPerMinute'])}/min")
    parts.append(f"errors {texts.rate(found['errorsPerMinute'])}/min")
    parts += [f"{cluster['openDeployments']} deployments under way"] * bool(cluster["openDeployments"])
    return ", ".join(parts)


def _row(node: Json) -> list[str]:
    rates = [texts.rate(node["executionsPerMinute"]), texts.rate(node["errorsPerMinute"])]
    numbers = [str(texts.waiting(node) or "-"), str(texts.pending(node) or "-")]
    use = [texts.processor(node), texts.memory(node)]
    return [node["name"], texts.state(node), texts.since(node), *use, texts.rules(node), *rates, *numbers]


def _cut(nodes: list[Json], page: int, limit: int | None) -> list[Json]:
    size = limit or PAGE_NODES
    return nodes[(page - 1) * size : page * size]


def _more(nodes: list[Json], page: int, limit: int | None) -> list[str]:
    pages = -(-len(nodes) // (limit or PAGE_NODES))
    return [f"page {page} of {pages}, {len(nodes)} nodes; --page {page + 1} shows the next"] if page < pages else []


def _show(
    client: CoordinatorClient, cluster: Json, nodes: list[Json], paging: tuple[int, int | None], json_: bool
) -> None:
    page, limit = paging
    if json_:
        say_json({**cluster, "nodes": _cut(nodes, page, limit) if limit else nodes})
        return
    say(f"coordinator {cluster['coordinatorId'][:16]} at {client.url}, up since {ago(cluster['startedUs'])}")
    if cluster["trouble"]:
        say(f"store: {colored('failed')}  {cluster['trouble']}")
    if not cluster["summary"]["nodes"]:
        note("no nodes yet: eyeflow coordinator join-token tells how one joins")
        return
    say(headline(cluster))
    if not (on_page := _cut(nodes, page, limit)):
        note("no node fits")
        return
    table(HEADERS, [_row(node) for node in on_page])
    for line in _more(nodes, page, limit):
        say(line)
    for node in on_page:
        if len(on_page) <= DETAILED_MAX or texts.is_failing(node) or node["problem"]:
            texts.say_node(node)


def _watch(url: str, look: Any, paging: tuple[int, int | None], json_: bool) -> None:
    page, limit = paging
    if json_:
        for cluster, nodes in _looks(look):
            say_json({**cluster, "nodes": _cut(nodes, page, limit) if limit else nodes}, indent=None)
            hand_over()
    elif is_terminal():
        with LivePicture() as picture:
            for cluster, nodes in _looks(look):
                above = [f"coordinator {url}", headline(cluster), *([cluster["trouble"]] if cluster["trouble"] else [])]
                rows = [_row(node) for node in _cut(nodes, page, limit)]
                picture.draw(above, HEADERS, rows, [*_more(nodes, page, limit), *_reasons(nodes)])
    else:
        _tell_changes(look)


def _reasons(nodes: list[Json]) -> list[str]:
    """Return why the first failing nodes fail."""
    found = []
    for node in nodes:
        told = [f"{rule['rule']}: {rule['reason']}" for rule in node["rules"] if rule["state"] == "refused"]
        told += [f"{part['name']}: {part['detail']}" for part in node["health"] if part["state"] == "failed"]
        told += [one["evidence"] for one in node["findings"]] + [node["problem"]] * bool(node["problem"])
        found += [f"{node['name']}: {text}" for text in told]
    return found[:5]


def _tell_changes(look: Any) -> None:
    """Without a terminal: each change of a node once."""
    before: dict[str, str] = {}
    for cluster, nodes in _looks(look):
        now = {node["name"]: ", ".join([texts.state(node), *["failing"] * texts.is_failing(node)]) for node in nodes}
        if now != before:
            say(headline(cluster))
        for name, text in now.items():
            if before.get(name) != text:
                say(f"  {name}: {text}")
        for name in before.keys() - now.keys():
            say(f"  {name}: gone")
        before = now
        hand_over()


def _looks(look: Any) -> Iterator[tuple[Json, list[Json]]]:
    while True:
        began_s = time.monotonic()
        yield look()
        time.sleep(max(LOOK_S, REST * (time.monotonic() - began_s)))
