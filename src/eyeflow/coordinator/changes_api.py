"""`/api/changes`: what changes in the cluster, as a page (GET) or as it happens (WebSocket)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator import live
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.credentials import actor_of, check_origin
from eyeflow.coordinator.feed import READ_MAX
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import MEDIA_TYPE, Problem
from eyeflow.coordinator.queries import INTEGER_MAX, Param, Query, parse_query
from eyeflow.coordinator.scopes import OPEN, guarded
from eyeflow.coordinator.shape_words import NODE_NAME, names
from eyeflow.coordinator.store.cluster_store import CursorTooOldError, Reading
from eyeflow.coordinator.store.facts import Change, ChangeKind
from eyeflow.coordinator.tokens import Actor, Role

_log = logging.getLogger("eyeflow.coordinator")

PATH = "/api/changes"
ALIVE_S = 15.0
"""A watcher that hears nothing for longer has lost its connection; its token is looked at as often."""
CHECK_S = 1.0
"""A token that was revoked hears no more after this time."""
GATHER_S, GATHER_ROWS_S = 0.1, 1.0
"""What follows a message so soon comes with the next one: a storm of changes is told in few. Rows cost more."""
GATHERED_MAX = 5_000
"""Changes of which one message with rows tells the newest of each thing."""
FIGURES_S = 5.0
"""How often who asks for rows hears figures, when they are others."""
SEND_S = 20.0
"""Longest wait for a watcher to take a message."""
GOODBYE_S = 5.0
CLOSE_APPLICATION = 4000
"""WebSocket close code of every close that carries one of our reasons (RFC 6455 7.4.2: private use)."""
REASON_BYTES_MAX = 120

LISTED = {
    ChangeKind.NODE: "/api/nodes",
    ChangeKind.LINK: "/api/nodes",
    ChangeKind.MANIFEST: "/api/nodes",
    ChangeKind.DEPLOYMENT: "/api/deployments",
    ChangeKind.PROGRESS: "/api/deployments/{id}/nodes",
    ChangeKind.PROGRAM: "/api/programs",
    ChangeKind.RULE: "/api/rules",
    ChangeKind.KEY: "/api/keys",
    ChangeKind.POLICY: "/api/policy",
    ChangeKind.TOKEN: "/api/tokens",
    ChangeKind.ALARM: "/api/alarms",
    ChangeKind.LOG: "/api/log/entries",
    ChangeKind.RECORD: "/api/executions",
}
"""Where the API shows what changed: who may not read it there does not hear of it here either."""
OF_NODES = live.OF_NODES | {ChangeKind.RECORD}
"""What is about a node: its subject is the node."""
ADMINS = frozenset({"/api/tokens"})
"""The paths of LISTED for which the role read does not do."""

CHANGES_QUERY = (
    Param(
        "cursor",
        {"type": "integer", "minimum": 0, "maximum": INTEGER_MAX, "examples": [42]},
        "what came after it; without it, what comes from now on",
    ),
    Param(
        "kind",
        names(ChangeKind),
        "what changed; again: or this. `record` is told to those only who ask for it",
        is_list=True,
    ),
    Param(
        "subject",
        {"type": "string", "pattern": "^[ -~]{1,128}$", "examples": ["node-prod-01"]},
        "the thing by its name or id; again: or this one",
        is_list=True,
    ),
    Param(
        "rows",
        {"type": "boolean", "examples": [True]},
        "true: with what the lists show of it now; over a WebSocket, with figures, too",
    ),
    Param(
        "node",
        NODE_NAME,
        "of what is about nodes, only this one; again: or this one",
        is_list=True,
        count_max=live.ROWS_MAX,
    ),
)


async def list_changes(hub: Hub, call: Call) -> Reply:
    """Return what changed after a cursor; over a WebSocket, what changes from then on."""
    cursor = call.query.get("cursor")
    if cursor is None:
        return Reply(200, {"cursor": await hub.feed.newest(), "changes": []})
    try:
        found = await hub.feed.after(cursor)
    except CursorTooOldError as error:
        detail = f"The feed does not hold all that follows {cursor} any more."
        raise Problem("cursor_too_old", detail, f"read the state again, then ask from {error.newest}") from error
    told = _asked(await _there(hub, call.actor, found), call.query)
    message = _message(found, told, cursor)
    return Reply(200, {**message, **await _with_rows(hub, call.actor, told, call.query)})


async def watch_changes(websocket: WebSocket) -> None:
    """Serve the WebSocket: authenticate in the handshake, then tell what changes until either side closes."""
    hub: Hub = websocket.app.state.hub
    try:
        check_origin(websocket)
        actor = await actor_of(hub.tokens, hub.sessions, websocket, Role.READ)
        query = parse_query(CHANGES_QUERY, websocket.query_params.multi_items())
        with hub.feed.watching(actor.token_id):
            await hub.feed.pump()
            cursor = query.get("cursor", await hub.feed.newest())
            await websocket.accept()
            await _Watcher(hub, websocket, cursor, query, actor).run()
    except (Problem, EyeflowError) as error:
        if websocket.application_state is WebSocketState.CONNECTING:
            refusal = error if isinstance(error, Problem) else Problem("storage", error.brief, error.next_step)
            if refusal.status == 401:
                await hub.refusals.pause(websocket.client.host if websocket.client else "")
            body = JSONResponse(refusal.body(), refusal.status, media_type=MEDIA_TYPE)
            await websocket.send_denial_response(body)


class _End(Exception):  # noqa: N818
    """The connection ends, with a code and a reason for the other side."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Gone(Exception):  # noqa: N818
    """The other side is not there any more."""


class _Watcher:
    """One open WebSocket."""

    def __init__(self, hub: Hub, websocket: WebSocket, cursor: int, query: Query, actor: Actor) -> None:
        self._hub, self._websocket, self._cursor, self._query = hub, websocket, cursor, query
        self._actor = actor
        self._copies = hub.feed.copies if ChangeKind.RECORD.value in query.get("kind", ()) else None
        """The newest hint about copied records that it has heard; None: it asked for none."""
        self._checked_s = self._sent_s = self._figures_s = asyncio.get_running_loop().time()
        self._has_rows = query.get("rows", False)
        self._figures: dict[str, Any] = {}

    async def run(self) -> None:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._tell()), asyncio.create_task(self._listen())]
        tasks.append(asyncio.create_task(self._hub.closing.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[2].done():
                await self._say_goodbye("stopping", "the coordinator stops")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        """Return when the other side goes. It has nothing to say."""
        message = await self._websocket.receive()
        if message["type"] != "websocket.disconnect":
            await self._say_goodbye("protocol", "nothing is to be sent here")

    async def _tell(self) -> None:
        try:
            await self._send({"type": "begin", "cursor": self._cursor})
            while True:
                await self._hub.feed.wait(self._cursor, FIGURES_S if self._has_rows else ALIVE_S, self._copies)
                await self._check()
                await self._send_news()
                await self._send_figures()
                await asyncio.sleep(GATHER_ROWS_S if self._has_rows else GATHER_S)
        except _End as end:
            await self._say_goodbye(end.code, str(end))
        except Problem as problem:
            await self._say_goodbye(problem.code, problem.detail)
        except EyeflowError as error:
            await self._say_goodbye("storage", error.brief)
        except _Gone:
            return
        except Exception:
            _log.exception("a watcher of the changes meets a bug of the coordinator")
            await self._say_goodbye("internal", "the coordinator has a bug here; its log says more")

    async def _check(self) -> None:
        """The token may have been revoked or have expired since."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._checked_s < CHECK_S:
            return
        self._checked_s = now_s
        try:
            self._actor = await actor_of(self._hub.tokens, self._hub.sessions, self._websocket, Role.READ)
        except Problem as problem:
            raise _End(problem.code, problem.detail) from problem

    async def _send_news(self) -> None:
        try:
            found = await self._gathered()
        except CursorTooOldError as error:
            self._cursor = error.newest
            await self._send({"type": "reset", "cursor": self._cursor})
            return
        there = await _there(self._hub, self._actor, [*found, *self._copied(found)])
        told = _asked(there, self._query)
        message = _message(found, told, self._cursor)
        self._cursor = message["cursor"]
        if told:
            rows = await _with_rows(self._hub, self._actor, told, self._query)
            await self._send({"type": "changes", **message, **rows})
        elif asyncio.get_running_loop().time() - self._sent_s >= ALIVE_S:
            await self._send({"type": "alive", "cursor": self._cursor})

    def _copied(self, found: Sequence[Change]) -> list[Change]:
        """Return the hints about copied records since the last message, at the number where the feed is."""
        if self._copies is None:
            return []
        feed, number = self._hub.feed, found[-1].number if found else self._cursor
        heard, self._copies = self._copies, feed.copies
        return [Change(number, self._hub.clock(), ChangeKind.RECORD, node) for node in feed.copied_since(heard)]

    async def _gathered(self) -> list[Change]:
        found = await self._hub.feed.after(self._cursor)
        is_more = self._has_rows and len(found) == READ_MAX
        while is_more and len(found) < GATHERED_MAX:
            more = await self._hub.feed.after(found[-1].number)
            found, is_more = [*found, *more], len(more) == READ_MAX
        return found

    async def _send_figures(self) -> None:
        """The sums of the cluster, and the rows of the nodes that are asked for: what they do is in no change."""
        now_s = asyncio.get_running_loop().time()
        if not self._has_rows or (self._figures and now_s - self._figures_s < FIGURES_S):
            return
        seen = await guarded(self._hub, self._actor, "GET", PATH, {})
        found, self._figures_s = await live.figures(seen, self._query.get("node", ())), now_s
        if found != self._figures:
            self._figures = found
            await self._send({"type": "figures", "cursor": self._cursor, **found})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
        except TimeoutError as error:
            raise _End("too_slow", "messages are taken too slowly") from error
        except (WebSocketDisconnect, RuntimeError) as error:
            raise _Gone from error
        self._sent_s = asyncio.get_running_loop().time()

    async def _say_goodbye(self, code: str, reason: str) -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        text = f"{code}: {reason}".encode()[:REASON_BYTES_MAX].decode("utf-8", "ignore")
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._websocket.close(CLOSE_APPLICATION, text)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            return


def _may_hear(actor: Actor, kind: ChangeKind) -> bool:
    path = LISTED[kind]
    return actor.may(Role.ADMIN if path in ADMINS else Role.READ) and (not actor.labels or ("GET", path) in OPEN)


async def _there(hub: Hub, actor: Actor, found: Sequence[Change]) -> Sequence[Change]:
    """Return the changes of what is there for an actor. Asked each time: nodes get other labels."""
    told = [one for one in found if _may_hear(actor, one.kind)]
    if not actor.labels or not told:
        return told
    seen = await guarded(hub, actor, "GET", PATH, {})

    def is_there(reading: Reading, one: Change) -> bool:
        if one.kind in (ChangeKind.DEPLOYMENT, ChangeKind.PROGRESS):
            return reading.deployment(one.subject) is not None
        if one.kind in OF_NODES:
            return reading.node(one.subject) is not None or actor.labels.items() <= dict(one.labels).items()
        return one.kind is not ChangeKind.ALARM or reading.alarm(int(one.subject)) is not None

    return await seen.store.read(lambda reading: [one for one in told if is_there(reading, one)])


def _asked(there: Sequence[Change], query: Query) -> list[Change]:
    """Return the newest change of each thing that a query asks for."""
    newest = {(one.kind, one.subject, one.node): one for one in there if _is_asked(one, query)}
    return sorted(newest.values(), key=lambda one: one.number)


def _is_asked(one: Change, query: Query) -> bool:
    about = {"kind": one.kind.value, "subject": one.subject}
    if one.kind is ChangeKind.PROGRESS or one.kind in OF_NODES:
        about["node"] = one.node if one.kind is ChangeKind.PROGRESS else one.subject
    return all(not query.get(name) or value in query[name] for name, value in about.items())


def _message(found: Sequence[Change], told: Sequence[Change], cursor: int) -> dict[str, Any]:
    """Return what is told of the changes `found` after `cursor`, and the cursor behind them."""
    return {"cursor": found[-1].number if found else cursor, "changes": [_change_view(one) for one in told]}


async def _with_rows(hub: Hub, actor: Actor, told: Sequence[Change], query: Query) -> dict[str, Any]:
    if not query.get("rows", False):
        return {}
    seen = await guarded(hub, actor, "GET", PATH, {})
    return {"rows": await live.changed_rows(seen, told, query.get("node", ()))}


def _change_view(one: Change) -> dict[str, Any]:
    node = one.node if one.kind is ChangeKind.PROGRESS else ""
    return {"number": one.number, "timeUs": one.time_us, "kind": one.kind.value, "subject": one.subject, "node": node}
