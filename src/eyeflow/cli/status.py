"""The command `eyeflow status`: the cluster in one look, useful with five nodes and with thousands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
Look = Callable[[], tuple[Json, list[Json]]]

PAGE_NODES = 50
NODES_MAX = 1000
"""The coordinator gives no longer pages."""
DETAILED_MAX = 10
"""Of more nodes than these, only those are told in full that need somebody."""
LOOK_S = 2.0
"""How often `--watch` looks where the coordinator tells no news."""
LIVE_S = 10.0
"""Where it does, how often it looks all the same: rates change without news."""
REST = 5
"""`--watch` rests at least this many times as long as an answer took: a big cluster is asked less often."""
SHOWN = ("node", "link", "manifest", "deployment", "progress", "alarm")
"""The kinds of changes that the overview shows."""
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
        int | None,
        typer.Option("--limit", min=1, max=NODES_MAX, help=f"Nodes on a page: {PAGE_NODES}, and all with --json."),
    ] = None,
    page: Annotated[int, typer.Option("--page", min=1, help="Which page.")] = 1,
    watch: Annotated[bool, typer.Option("--watch", help="Show it as it changes, until Ctrl-C.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Show the cluster: its nodes, what they run and how they do. With --watch --json, each look is one line."""
    asked: Json = {"sort": sort.value, "state": [one.value for one in filters or []]}
    asked["label"] = [f"{name}={value}" for name, value in choosing.labels_of(label or []).items()]
    with connect() as client:
        view = _View(client, asked, page, limit, everything=json_)
        if watch:
            _watch(view, json_)
        else:
            _show(view, json_)


class _View:
    """What is looked at: the nodes on one page, or all of them for scripts that name no limit."""

    def __init__(self, client: CoordinatorClient, asked: Json, page: int, limit: int | None, *, everything: bool):
        self.client, self.page, self.size = client, page, limit or PAGE_NODES
        self._asked = asked
        self._shows_all = everything and limit is None
        self.total = 0
        self.lacks_news = ""

    def looks(self, look: Look) -> Iterator[tuple[Json, list[Json]]]:
        """Look again whenever the coordinator tells of a change; where it does not, from time to time."""
        with self.client.news(kind=SHOWN) as news:
            while True:
                began_s = time.monotonic()
                yield look()
                rest_s = REST * (time.monotonic() - began_s)
                is_told = news is not None and news.wait(LIVE_S)
                self.lacks_news = "" if is_told or news is None else news.trouble
                time.sleep(rest_s if is_told else max(LOOK_S, rest_s))

    @property
    def how(self) -> list[str]:
        """Return how changes are noticed, when the coordinator does not tell of them."""
        return [f"{self.lacks_news}: it is asked every {LOOK_S:g} s"] if self.lacks_news else []

    def look(self) -> tuple[Json, list[Json]]:
        """Return the cluster, and the nodes as they are now."""
        return self.client.status(), self.client.nodes(**self._asked) if self._shows_all else self._on_page()

    def look_at_all(self) -> tuple[Json, list[Json]]:
        """Return the cluster, and all nodes that fit."""
        return self.client.status(), self.client.nodes(**self._asked)

    def _on_page(self) -> list[Json]:
        cursor = ""
        for number in range(1, self.page + 1):
            found = self.client.node_page(cursor, self.size, **self._asked)
            self.total, cursor = found["total"], found["nextCursor"]
            if number == self.page:
                return list(found["nodes"])
            if not cursor:
                break
        return []

    @property
    def more(self) -> list[str]:
        """Return how one sees the nodes behind this page."""
        pages, page = -(-self.total // self.size), self.page
        told = f"page {page} of {pages}, {self.total} nodes; --page {page + 1} shows the next"
        return [told] if page < pages else []


def headline(cluster: Json) -> str:
    """Return the cluster in one line."""
    found = cluster["summary"]
    parts = [f"nodes {found['active']}/{found['nodes']} active", f"{found['failing']} failing"]
    parts += [f"{found['drained']} drained"] * bool(found["drained"])
    parts += [f"{found['pending']} programs pending"] * bool(found["pending"])
    parts.append(f"executions {texts.rate(found['executionsPerMinute'])}/min")
    parts.append(f"errors {texts.rate(found['errorsPerMinute'])}/min")
    parts += [f"{cluster['openDeployments']} deployments under way"] * bool(cluster["openDeployments"])
    parts += [_alarms(cluster["alarms"])] * bool(cluster.get("alarms", {}).get("open"))
    return ", ".join(parts)


def _alarms(counts: Json) -> str:
    new = f" ({counts['new']} new)" if counts["new"] else ""
    return f"{counts['open']} alarm{'s' if counts['open'] > 1 else ''}{new}: eyeflow alarms"


def _row(node: Json) -> list[str]:
    rates = [texts.rate(node["executionsPerMinute"]), texts.rate(node["errorsPerMinute"])]
    numbers = [str(texts.waiting(node) or "-"), str(texts.pending(node) or "-")]
    use = [texts.processor(node), texts.memory(node)]
    return [node["name"], texts.state(node), texts.since(node), *use, texts.rules(node), *rates, *numbers]


def _show(view: _View, json_: bool) -> None:
    cluster, nodes = view.look()
    if json_:
        say_json({**cluster, "nodes": nodes})
        return
    say(f"coordinator {cluster['coordinatorId'][:16]} at {view.client.url}, up since {ago(cluster['startedUs'])}")
    if cluster["trouble"]:
        say(f"store: {colored('failed')}  {cluster['trouble']}")
    if not cluster["summary"]["nodes"]:
        note("no nodes yet: eyeflow coordinator join-token tells how one joins")
        return
    say(headline(cluster))
    if not nodes:
        note("no node fits")
        return
    table(HEADERS, [_row(node) for node in nodes])
    for line in view.more:
        say(line)
    for node in nodes:
        if len(nodes) <= DETAILED_MAX or texts.is_failing(node) or node["problem"]:
            texts.say_node(node)


def _watch(view: _View, json_: bool) -> None:
    if json_:
        for cluster, nodes in _noted(view, view.look):
            say_json({**cluster, "nodes": nodes}, indent=None)
            hand_over()
    elif is_terminal():
        with LivePicture() as picture:
            for cluster, nodes in view.looks(view.look):
                trouble = [cluster["trouble"]] if cluster["trouble"] else []
                above = [f"coordinator {view.client.url}", headline(cluster), *trouble]
                below = [*view.more, *view.how, *_reasons(nodes)]
                picture.draw(above, HEADERS, [_row(node) for node in nodes], below)
    else:
        _tell_changes(_noted(view, view.look_at_all))


def _noted(view: _View, look: Look) -> Iterator[tuple[Json, list[Json]]]:
    """Look as `_View.looks`, and note once how changes are noticed, when that changes."""
    before: list[str] = []
    for found in view.looks(look):
        for line in view.how if view.how != before else []:
            note(line)
        before = view.how
        yield found


def _reasons(nodes: list[Json]) -> list[str]:
    """Return why the first failing nodes fail."""
    found = []
    for node in nodes:
        told = [f"{rule['rule']}: {rule['reason']}" for rule in node["rules"] if rule["state"] == "refused"]
        told += [f"{part['name']}: {part['detail']}" for part in node["health"] if part["state"] == "failed"]
        told += [one["evidence"] for one in node["findings"]] + [node["problem"]] * bool(node["problem"])
        found += [f"{node['name']}: {text}" for text in told]
    return found[:5]


def _tell_changes(looks: Iterator[tuple[Json, list[Json]]]) -> None:
    """Without a terminal: each change of a node once."""
    before: dict[str, str] = {}
    for cluster, nodes in looks:
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
