"""Follows a deployment: a live picture on a terminal, each fact once elsewhere, JSON lines for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from eyeflow.base.errors import ExitCode
from eyeflow.cli import deployment_texts as texts
from eyeflow.cli.console import LivePicture, colored, is_terminal, note, say, say_json
from eyeflow.cli.rollout_options import patience
from eyeflow.cli.streams import hand_over

if TYPE_CHECKING:
    from eyeflow.client.rest import CoordinatorClient

Json = dict[str, Any]
Fact = tuple[tuple[object, ...], str, Json]
"""A key by which the fact is said once, what people read, and what scripts do."""

EACH_NODE_MAX = 50
"""Of a deployment to more nodes, people are not told of each one that does as it should."""


class Teller(Protocol):
    """Tells of a deployment as it changes."""

    def __call__(self, deployment: Json) -> None:
        """The deployment is like this now."""
        ...

    def lost(self, why: str) -> None:
        """The coordinator does not answer; the deployment is safe in its store."""
        ...


def follow(client: CoordinatorClient, begun: Json, timeout_s: float | None, as_json: bool) -> Json:
    """Tell of a deployment until it has ended, only waits for offline nodes, or the time is over; return it then."""

    def wait(teller: Teller) -> Json:
        patience_s = patience(timeout_s, begun)
        return client.wait_deployment(begun["id"], teller, on_lost=teller.lost, timeout_s=patience_s)

    if as_json:
        return wait(JsonLines())
    if not is_terminal():
        return wait(PlainLines())
    with LivePicture() as picture:
        return wait(LiveTable(picture))


def tell_end(deployment: Json, *, waited: bool, as_json: bool) -> ExitCode:
    """Tell how a deployment stands at the end of the command, and return the exit code that says so."""
    code = outcome(deployment, waited)
    if as_json and waited:
        say_json({"event": "end", "exitCode": int(code), **deployment}, indent=None)
    elif as_json:
        say_json(deployment)
    else:
        _say_end(deployment)
    return code


def outcome(deployment: Json, waited: bool) -> ExitCode:
    """Return 0 when a deployment succeeded, or nothing but offline nodes is left where nothing is watched; else 1."""
    if deployment["over"]:
        return ExitCode.OK if deployment["state"] == "succeeded" else ExitCode.PROBLEMS
    if not waited:
        return ExitCode.OK
    is_left = deployment["options"]["observeS"] or deployment["paused"] or deployment["state"] == "rollingBack"
    return ExitCode.PROBLEMS if is_left or _nodes(deployment, connected=True) else ExitCode.OK


def _nodes(deployment: Json, connected: bool) -> list[str]:
    """Return the nodes of a deployment that have yet to answer, and have a link or have none."""
    from eyeflow.client.rest import open_nodes

    return [node["node"] for node in open_nodes(deployment) if node["connected"] == connected]


def _say_end(deployment: Json) -> None:
    reason = f"  {deployment['reason']}" if deployment["reason"] else ""
    say(f"{texts.headline(deployment)}: {colored(texts.state(deployment))}{reason}")
    if deployment["over"]:
        return
    if unanswered := _nodes(deployment, connected=True):
        say(f"  no answer yet from {texts.named(unanswered)}")
    if away := _nodes(deployment, connected=False):
        say(f"  waits for {texts.named(away)}: they get it as soon as they connect")
    for one in deployment["paused"]:
        say(f"  paused: {one['text']}")
    identity = deployment["id"]
    say(f"  see what becomes of it: eyeflow deployments show {identity}; end it: eyeflow deployments cancel {identity}")


def facts(deployment: Json) -> Iterator[Fact]:
    """Yield what can be told of a deployment now. Keys change with what is news, not with each number."""
    state, phase = deployment["state"], deployment["phase"]
    if not deployment["over"] and state != "pending":
        text = f"{state}, {texts.step(deployment)}"
        yield (
            ("state", state, phase),
            text,
            {"event": "state", "state": state, "phase": phase, "reason": deployment["reason"]},
        )
    for node in deployment["nodes"]:
        if node["state"] in ("held", "sent") or (node["state"] == "waiting" and node["connected"]):
            continue
        offline = texts.is_offline(node)
        away = node["state"] in ("waiting", "away") and offline
        text = "offline, gets it as soon as it connects" if away else texts.node_state(node)
        reason = f"  {node['reason']}" if node["reason"] else ""
        key = ("node", node["node"], "away" if away else node["state"], node["place"])
        yield (
            key,
            f"{node['node']}: {text}{reason}",
            {"event": "node", **{k: v for k, v in node.items() if k != "previous"}},
        )
    if (found := deployment["verdict"]) is not None:
        yield ("verdict", phase, found["kind"]), f"verdict {texts.verdict(deployment)}", {"event": "verdict", **found}
    for one in deployment["paused"]:
        yield ("paused", phase, one["code"]), f"paused: {one['text']}", {"event": "paused", **one}


class Lines:
    """Says each fact once."""

    def __init__(self) -> None:
        self._said: set[tuple[object, ...]] = set()
        self._paused: set[str] = set()

    def __call__(self, deployment: Json) -> None:
        """Say what is new."""
        paused = {one["code"] for one in deployment["paused"]}
        for code in sorted(self._paused - paused):
            self._said -= {key for key in self._said if key[0] == "paused" and key[2] == code}
            if not deployment["over"]:
                self.say(f"goes on, no longer paused ({code})", {"event": "resumed", "code": code})
        self._paused = paused
        for key, text, fact in self.facts(deployment):
            if key not in self._said:
                self._said.add(key)
                self.say(text, fact)

    def facts(self, deployment: Json) -> Iterator[Fact]:
        """Yield what is told of a deployment now."""
        return facts(deployment)

    def lost(self, why: str) -> None:
        """The coordinator does not answer."""
        self.say(f"{why}; waits for the coordinator to come back", {"event": "lost", "reason": why})

    def say(self, text: str, fact: Json) -> None:
        """Say one fact."""
        raise NotImplementedError


class PlainLines(Lines):
    """For people, without a terminal. Of many nodes, those with a reason are told, and the others as numbers."""

    def facts(self, deployment: Json) -> Iterator[Fact]:
        """Yield what is told of a deployment now."""
        if sum(deployment["counts"].values()) <= EACH_NODE_MAX:
            yield from facts(deployment)
            return
        for key, text, fact in facts(deployment):
            if fact["event"] != "node" or fact["reason"]:
                yield key, text, fact
        text = f"nodes: {texts.counts(deployment)}"
        yield ("counts", text), text, {"event": "counts"}

    def say(self, text: str, fact: Json) -> None:
        """Say one fact."""
        note(f"  {text}")


class JsonLines(Lines):
    """For scripts."""

    def say(self, text: str, fact: Json) -> None:
        """Say one fact."""
        say_json(fact, indent=None)
        hand_over()


class LiveTable:
    """The whole deployment, drawn again in place."""

    def __init__(self, picture: LivePicture) -> None:
        self._picture = picture
        self._shown: Json | None = None

    def __call__(self, deployment: Json) -> None:
        """Draw it."""
        self._shown = deployment
        self._draw("")

    def lost(self, why: str) -> None:
        """Say so below the picture."""
        self._draw(f"{why}; waits for the coordinator to come back")

    def _draw(self, trouble: str) -> None:
        if self._shown is None:
            return
        one = self._shown
        above = [f"{texts.headline(one)}: {texts.state(one)}  {one['strategy']}, {texts.step(one)}"]
        above += [f"paused: {pause['text']}" for pause in one["paused"]]
        above += [f"verdict {text}"] if (text := texts.verdict(one)) else []
        above.append(f"nodes: {texts.counts(one)}")
        below = [f"waits for {text}"] if (text := texts.waits_for(one)) else []
        below += [trouble] if trouble else []
        self._picture.draw(above, ["NODE", "PLACE", "STATE", "REASON"], texts.node_rows(one), below)
