"""A client of the coordinator's REST API: one method for each call, each failure an EyeflowError."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from eyeflow.base.errors import EyeflowError
from eyeflow.client.answers import Json, foreign, object_of, refusal
from eyeflow.client.transport import PAGE_ROWS, Connection, part

if TYPE_CHECKING:
    from eyeflow.client.news import News

POLL_FIRST_S = 0.1
POLL_LAST_S = 1.0
"""`wait_deployment` looks this often where no news are told, first quickly, then less so."""
LIVE_S = 2.0
"""Where news are told, it looks at them, and this often all the same: less than `BACK_S`."""
REST = 2
"""It rests this many times as long as a look took, also when there are news: what is big is looked at less often."""

UPLOADS_AT_ONCE = 8
"""More would wait for each other: the coordinator proves one program at a time."""


REPLAY_TIMEOUT_S = 60
"""How long nodes may take for a replay, until told otherwise."""
WHY_S = 30.0
"""How much longer than usual the answer to `why` may take: others may be explained before."""
LATE_S = 30
"""How much longer the coordinator waits for them."""


class CoordinatorClient(Connection):
    """Talks to the coordinator at `url` with an API token; `ca_file` signs its certificate. Both may be empty.

    Answers are the JSON objects of `docs/reference/rest-api.md`. Raises EyeflowError: exit code PROBLEMS when the
    coordinator refuses what was asked (its `code` is the problem's code), ENVIRONMENT when it cannot be reached.
    """

    def look_for(self) -> None:
        """Raise EyeflowError unless a coordinator answers at the URL, well or not. It needs no token."""
        reply = self._send("GET", "/healthz")
        if not isinstance(object_of(reply).get("status"), str):
            raise foreign(reply)

    def status(self) -> Json:
        """Return the cluster in one look."""
        return self._json("GET", "/api/status")

    def node_page(self, cursor: str = "", limit: int = PAGE_ROWS, **filters: Any) -> Json:
        """Return a page of the nodes that fit the filters of the API: `Nodes` of the REST API."""
        return self._page("/api/nodes", "nodes", cursor, limit, filters)

    def nodes(self, **filters: Any) -> list[Json]:
        """Return all nodes that fit the filters of the API: `label=["site=lyon"]`, `rule="pump"`."""
        return self._all("/api/nodes", "nodes", filters)

    def node(self, name: str) -> Json:
        """Return one node."""
        return self._json("GET", f"/api/nodes/{part(name)}")

    def board_file(self, name: str) -> str:
        """Return the board file of a board, empty when it is not known."""
        return str(self._json("GET", f"/api/nodes/{part(name)}/board-file")["text"])

    def board_lines(self, name: str, since: int | None) -> Json:
        """Return what a board logged from a number on, None: the newest lines. `BoardLines` of the REST API."""
        asked = "" if since is None else f"?since={since}"
        return self._json("GET", f"/api/nodes/{part(name)}/lines{asked}")

    def remove_node(self, name: str) -> None:
        """Remove a node from the cluster."""
        self._ask("DELETE", f"/api/nodes/{part(name)}")

    def label_node(self, name: str, labels: Mapping[str, str]) -> Json:
        """Make these the labels of a node, in place of those before, and return the node."""
        return self._json("PUT", f"/api/nodes/{part(name)}/labels", {"labels": dict(labels)})

    def drain_node(self, name: str) -> Json:
        """Take all rules off a node, keep deployments away that do not name it, and return the node."""
        return object_of(self._ask("POST", f"/api/nodes/{part(name)}/drain"))

    def undrain_node(self, name: str) -> Json:
        """Let deployments go to a node again and return it."""
        return object_of(self._ask("POST", f"/api/nodes/{part(name)}/undrain"))

    def accept_node(self, name: str) -> Json:
        """Take the history that a node has now for the right one and return the node."""
        return object_of(self._ask("POST", f"/api/nodes/{part(name)}/accept"))

    def quarantine_node(self, name: str, reason: str) -> Json:
        """Let nothing be deployed to a node, and nothing of it be copied, until it is accepted; return the node."""
        return self._json("POST", f"/api/nodes/{part(name)}/quarantine", {"reason": reason} if reason else {})

    def states(self, name: str) -> list[Json]:
        """Return how the rules of a node stood when it told last: `KeptState` of the REST API."""
        found: list[Json] = self._json("GET", f"/api/nodes/{part(name)}/states")["states"]
        return found

    def copies(self, name: str) -> list[Json]:
        """Return which chains of a node the coordinator keeps, the newest first: `KeptChain` of the REST API."""
        found: list[Json] = self._json("GET", f"/api/nodes/{part(name)}/copies")["copies"]
        return found

    def retire_rule(self, node: str, rule: str) -> None:
        """Take a rule off a node."""
        self._ask("DELETE", f"/api/nodes/{part(node)}/rules/{part(rule)}")

    def create_join_token(self, valid_s: int | None = None) -> Json:
        """Return a single-use join token (`token`, `expiresUs`)."""
        return self._json("POST", "/api/nodes/join-tokens", {} if valid_s is None else {"validS": valid_s})

    def create_token(
        self,
        name: str,
        role: str,
        valid_s: int | None = None,
        labels: Mapping[str, str] | None = None,
        person: str = "",
    ) -> Json:
        """Return a new API token of a role: admin, deploy or read. `valid_s` 0: it never expires.

        `labels`: it is only for the nodes that have all of them. `person`: whose it is.
        """
        body: Json = {"name": name, "role": role}
        if valid_s is not None:
            body["validS"] = valid_s
        if labels:
            body["labels"] = dict(labels)
        if person:
            body["person"] = person
        return self._json("POST", "/api/tokens", body)

    def create_sign_in_link(self) -> Json:
        """Return a link that signs a browser in once (`code`, `path`, `expiresUs`)."""
        return self._json("POST", "/api/session/links")

    def end_sessions(self) -> None:
        """End all sessions of browsers, and all sign-in links, of this token."""
        self._ask("DELETE", "/api/sessions")

    def tokens(self) -> list[Json]:
        """Return the API tokens, without their secrets: `TokenInfo` of the REST API."""
        return self._all("/api/tokens", "tokens", {})

    def revoke_token(self, token_id: str) -> None:
        """Let an API token open nothing any more."""
        self._ask("DELETE", f"/api/tokens/{part(token_id)}")

    def policy(self) -> Json:
        """Return the policy that holds now: `Policy` of the REST API."""
        return self._json("GET", "/api/policy")

    def set_policy(self, text: str, *, only_checks: bool = False) -> Json:
        """Make this text the policy and return it; or tell what it would demand, and change nothing."""
        return self._json("POST", "/api/policy/check" if only_checks else "/api/policy", {"text": text})

    def alarms(self, limit: int = PAGE_ROWS, **filters: Any) -> list[Json]:
        """Return the newest alarms that fit the filters of the API, newest first, `limit` at most."""
        return self._all("/api/alarms", "alarms", filters, limit)

    def alarm(self, alarm_id: str) -> Json:
        """Return one alarm."""
        return self._json("GET", f"/api/alarms/{part(alarm_id)}")

    def acknowledge_alarm(self, alarm_id: str, note: str = "") -> Json:
        """Take note of an alarm, with a note for others, and return it."""
        return self._json("POST", f"/api/alarms/{part(alarm_id)}/acknowledge", {"note": note} if note else {})

    def executions(self, limit: int = PAGE_ROWS, **filters: Any) -> list[Json]:
        """Return the newest executions that fit the filters of the API, newest first, `limit` at most."""
        return self._all("/api/executions", "executions", filters, limit)

    def executions_after(self, cursor: str, **filters: Any) -> Json:
        """Return executions that came to the coordinator behind a cursor, with the next one; without: only that."""
        return self._page("/api/executions", "executions", cursor, PAGE_ROWS, {**filters, "order": "came"})

    def why(self, execution: str) -> Json:
        """Return why an execution decided as it did: `Why` of the REST API."""
        return self._json("GET", f"/api/executions/{part(execution)}/why", works_s=WHY_S)

    def records(self, node: str, after: int, limit: int, **asked: Any) -> list[Json]:
        """Return records of a chain of a node behind a number: `KeptRecord` of the REST API."""
        found = self._page(f"/api/nodes/{part(node)}/records", "records", "", limit, {**asked, "after": after})
        return list(found["records"])

    def signer_keys(self) -> list[Json]:
        """Return the signer keys the cluster trusts or trusted."""
        return self._all("/api/keys", "keys", {})

    def trust_key(self, public_key: bytes, name: str) -> Json:
        """Let the cluster trust the programs that this key (32 bytes) signs."""
        return self._json("POST", "/api/keys", {"publicKey": public_key.hex(), "name": name})

    def signer_list(self) -> Json:
        """Return the root's list of signers: `SignerList` of the REST API."""
        return self._json("GET", "/api/keys/root")

    def publish_signer_list(self, signer_list: Json) -> Json:
        """Hand a list of signers that a root has signed on to the nodes."""
        return self._json("POST", "/api/keys/root", signer_list)

    def revoke_key(self, public_key: bytes) -> None:
        """Let the cluster trust a key no more."""
        self._ask("DELETE", f"/api/keys/{public_key.hex()}")

    def log(self) -> Json:
        """Return where the coordinator's log begins and ends: `Log` of the REST API."""
        return self._json("GET", "/api/log")

    def log_entries(self, after: int) -> list[Json]:
        """Return entries of the log after a number, oldest first; an empty list ends it."""
        found = self._page("/api/log/entries", "entries", "", PAGE_ROWS, {"after": after})
        return list(found["entries"])

    def newest_log_entries(self, limit: int, actor: str = "") -> list[Json]:
        """Return the newest entries of the log, newest first: all, or those of one actor."""
        asked = {"order": "newest", **({"actor": actor} if actor else {})}
        return self._all("/api/log/entries", "entries", asked, limit)

    def upload_program(self, program: bytes) -> Json:
        """Give the coordinator a signed program; the same one again is fine."""
        headers = {"Content-Type": "application/octet-stream"}
        return object_of(self._ask("POST", "/api/programs", content=program, headers=headers))

    def upload_programs(self, programs: Sequence[bytes]) -> None:
        """Give the coordinator several signed programs, some at a time. Raises EyeflowError of the first refusal."""
        self._run(self._upload_all(programs))

    async def _upload_all(self, programs: Sequence[bytes]) -> None:
        free = asyncio.Semaphore(UPLOADS_AT_ONCE)
        request: Json = {"headers": {"Content-Type": "application/octet-stream"}}

        async def upload(program: bytes) -> None:
            async with free:
                reply = await self._exchange("POST", "/api/programs", request | {"content": program})
            if not reply.answer.is_success:
                raise refusal(reply)

        try:
            async with asyncio.TaskGroup() as tasks:
                for program in programs:
                    tasks.create_task(upload(program))
        except* (EyeflowError, httpx.HTTPError) as group:
            raise group.exceptions[0] from None

    def source(self, program_id: str) -> str:
        """Return the text of a program's rule; empty when it was not uploaded."""
        return str(self._json("GET", f"/api/programs/{part(program_id)}/source")["source"])

    def upload_source(self, program_id: str, source: str) -> None:
        """Give the coordinator the text of a program's rule, for who looks at lines. Raises EyeflowError."""
        self._ask("PUT", f"/api/programs/{part(program_id)}/source", json={"source": source})

    def upload_tests(self, program_id: str, tests: Sequence[Json]) -> None:
        """Tell the coordinator how the tests of a program's rule went. Raises EyeflowError."""
        self._ask("PUT", f"/api/programs/{part(program_id)}/tests", json={"tests": list(tests)})

    def program(self, program_id: str) -> Json:
        """Return one program's facts."""
        return self._json("GET", f"/api/programs/{part(program_id)}")

    def rules(self) -> list[Json]:
        """Return all rules with their programs and nodes."""
        return self._all("/api/rules", "rules", {})

    def deploy(
        self,
        rule: str,
        where: Mapping[str, Any],
        *,
        program_id: str | None = None,
        strategy: str = "immediate",
        options: Mapping[str, Any] | None = None,
        rollback_on_error: bool = True,
        params: Mapping[str, bool | int | float | str] | None = None,
        deadline_s: int | None = None,
    ) -> Json:
        """Start a deployment and return it. `where` and `options` are those of the API: `{"nodeIds": ["a"]}`."""
        body: Json = {**where, "strategy": strategy, "rollbackOnError": rollback_on_error, "params": dict(params or {})}
        if options:
            body["options"] = dict(options)
        if program_id is not None:
            body["programId"] = program_id
        if deadline_s is not None:
            body["deadlineS"] = deadline_s
        return self._with_nodes(self._once("POST", f"/api/rules/{part(rule)}/deploy", json=body))

    def plan(
        self,
        changes: Sequence[Mapping[str, Any]],
        where: Mapping[str, Any],
        *,
        strategy: str = "immediate",
        options: Mapping[str, Any] | None = None,
        replay_s: int = 0,
        replay_timeout_s: int = REPLAY_TIMEOUT_S,
    ) -> Json:
        """Return what a deployment would do: `Plan` of the REST API.

        `where` and `changes` are those of the API; bytes under `program` go along, so it need not be uploaded. With
        `replay_s` nodes also try the programs on their records of so much time.
        """
        body: Json = {**where, "changes": [_with_base64(one) for one in changes], "strategy": strategy}
        if options:
            body["options"] = dict(options)
        if replay_s:
            body["replay"] = {"spanS": replay_s, "timeoutS": replay_timeout_s}
        works_s = replay_timeout_s + LATE_S if replay_s else 0
        return self._json("POST", "/api/deployments/plan", body, works_s)

    def deploy_set(
        self,
        changes: Sequence[Json],
        where: Mapping[str, Any],
        *,
        strategy: str = "immediate",
        options: Mapping[str, Any] | None = None,
        rollback_on_error: bool = True,
        skip_unchanged: bool = False,
    ) -> Json:
        """Start a deployment of several rules as one and return it, or `unchanged` when nothing is left to change."""
        body: Json = {**where, "changes": list(changes), "strategy": strategy, "rollbackOnError": rollback_on_error}
        body |= {"options": dict(options)} if options else {}
        return self._with_nodes(self._once("POST", "/api/deployments", json=body | {"skipUnchanged": skip_unchanged}))

    def deployments(self, limit: int = PAGE_ROWS, **filters: Any) -> list[Json]:
        """Return the newest deployments that fit the filters of the API, newest first, `limit` at most."""
        return self._all("/api/deployments", "deployments", filters, limit)

    def deployment(self, deployment_id: str) -> Json:
        """Return one deployment with all its nodes."""
        return self._with_nodes(self._json("GET", f"/api/deployments/{part(deployment_id)}"))

    def _with_nodes(self, deployment: Json) -> Json:
        """Fetch the nodes of a deployment that did not come with it."""
        if cursor := deployment.get("nextCursor"):
            path = f"/api/deployments/{part(str(deployment['id']))}/nodes"
            nodes = [*deployment["nodes"], *self._all(path, "nodes", {}, cursor=cursor)]
            deployment = deployment | {"nodes": nodes, "nextCursor": ""}
        return deployment

    def steer_deployment(self, deployment_id: str, verb: str) -> Json:
        """Pause, resume, promote, approve, cancel, roll back (`rollback`) or retry a deployment, by a verb of the API.

        Returns the deployment; after `retry` it is the new one.
        """
        path = f"/api/deployments/{part(deployment_id)}/{verb}"
        done = self._once("POST", path) if verb == "retry" else object_of(self._ask("POST", path))
        return self._with_nodes(done)

    def wait_deployment(
        self,
        deployment_id: str,
        on_progress: Callable[[Json], None] | None = None,
        *,
        on_lost: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Json:
        """Return the deployment once it has ended, only waits for offline nodes, or `timeout_s` passed.

        One that watches its nodes is waited for until it has ended: it has more to do than to reach them.
        `on_progress` sees it at each change; `on_lost` hears of a coordinator that is gone, which is waited for.
        A node whose link breaks during the wait counts as offline after `BACK_S`: it may just start again.
        """
        with self.news(subject=[deployment_id]) as news:
            return self._wait_for(deployment_id, on_progress, on_lost, timeout_s, sleep, clock, news)

    @contextmanager
    def news(self, **asked: Sequence[str]) -> Iterator[News | None]:
        """Give what tells of changes, by the parameters of `/api/changes`; None where there is no network, in tests."""
        if not self.has_network:
            yield None
            return
        from eyeflow.client.news import News  # only here: it loads a library that most commands do not need

        news = News(self.url, self.headers, self.verify, asked, self._loop.run)
        self._ends.callback(news.close)
        try:
            yield news
        finally:
            news.close()

    def _wait_for(
        self,
        deployment_id: str,
        on_progress: Callable[[Json], None] | None,
        on_lost: Callable[[str], None] | None,
        timeout_s: float | None,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        news: News | None,
    ) -> Json:
        ends = None if timeout_s is None else clock() + timeout_s
        seen: Json = {}
        linked_s: dict[str, float] = {}
        wait_s = POLL_FIRST_S
        while True:
            began_s = clock()
            current = self._patiently(deployment_id, sleep, on_lost)
            now_s = clock()
            linked_s |= {node["node"]: now_s for node in current["nodes"] if node["connected"]}
            if on_progress is not None and current != seen:
                on_progress(current)
            settled = current["over"] or _waits_for_offline(current, linked_s, now_s)
            if settled or (ends is not None and now_s >= ends):
                return current
            is_news = _without_verdict(current) != _without_verdict(seen)
            wait_s = POLL_FIRST_S if is_news else min(wait_s * 1.5, POLL_LAST_S)
            seen = current
            left_s = LIVE_S if ends is None else max(0.0, min(LIVE_S, ends - now_s))
            if news is None or not news.wait(left_s):
                sleep(wait_s)
            elif (rest_s := REST * (now_s - began_s) - (clock() - now_s)) > 0:
                sleep(rest_s)

    def _patiently(
        self, deployment_id: str, sleep: Callable[[float], None], on_lost: Callable[[str], None] | None
    ) -> Json:
        for attempt in range(RESTART_POLLS_MAX):
            try:
                return self.deployment(deployment_id)
            except EyeflowError as error:
                if error.code != "unreachable":
                    raise
                if attempt == 0 and on_lost is not None:
                    on_lost(error.brief)
                sleep(POLL_LAST_S)
        return self.deployment(deployment_id)


UNSETTLED = frozenset({"held", "away", "waiting", "sent", "returning"})
BACK_S = 5.0
"""How long a node that was connected may be away before it counts as offline."""
RESTART_POLLS_MAX = 30
"""How often `wait_deployment` tries again to reach a coordinator that is gone."""


def _with_base64(change: Mapping[str, Any]) -> Json:
    """Also in the programs for boards, which stand in a list of the same."""

    def written(name: str, value: Any) -> Any:
        if name == "boardPrograms":
            return [_with_base64(one) for one in value]
        return base64.b64encode(value).decode() if name == "program" else value

    return {name: written(name, one) for name, one in change.items()}


def open_nodes(deployment: Json) -> list[Json]:
    """Return the nodes of a deployment that have yet to answer."""
    return [node for node in deployment["nodes"] if node["state"] in UNSETTLED]


def _without_verdict(deployment: Json) -> Json:
    """Its numbers change with each look."""
    return deployment | {"verdict": None}


def _waits_for_offline(deployment: Json, linked_s: Mapping[str, float], now_s: float) -> bool:
    """Say whether every node that has yet to answer is away: nothing more will come until one of them connects."""
    if deployment["options"]["observeS"]:
        return False
    still = open_nodes(deployment)
    return bool(still) and all(now_s - linked_s.get(node["node"], -math.inf) >= BACK_S for node in still)
