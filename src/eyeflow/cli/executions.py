"""The command `eyeflow executions`: what rules decided, by filters, and live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.cli.console import JsonFlag, iso_time, note, paint, say, say_json
from eyeflow.cli.files import usage_error
from eyeflow.cli.node_options import SETTING_FLAGS, ConfigOption
from eyeflow.cli.recorded import DataDirOption, open_store, programs_of, unreadable_record, wants_store
from eyeflow.cli.streams import hand_over

if TYPE_CHECKING:
    from eyeflow.audit.filters import ExecutionFilter
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.node.store.reader import AuditReader

Json = dict[str, Any]
LISTED = 20
LOOK_S = 0.5
"""How often the store of a node is looked at for what is new."""
NEWS_S = 2.0
"""How often the coordinator is asked, news or not: they are a hint only."""


class OutcomeName(Enum):
    """How an execution ended."""

    OK = "ok"
    SKIPPED = "skipped"
    TRAPPED = "trapped"


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.command("executions", context_settings=SETTING_FLAGS)(executions)


def executions(
    context: typer.Context,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="NODE", help="Of this node; again: or of this one.")
    ] = None,
    rule: Annotated[str, typer.Option("--rule", help="Of this rule.")] = "",
    key: Annotated[str, typer.Option("--key", help="Of events with this key.")] = "",
    outcome: Annotated[OutcomeName | None, typer.Option("--outcome", help="That ended like this.")] = None,
    action: Annotated[
        str, typer.Option("--action", metavar="NAME", help="That asked for this action, or emitted this event.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="From 2h ago, or 2026-11-30T08:15:00Z on.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Before this time.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest.")] = LISTED,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_: JsonFlag = False,
) -> None:
    """List the newest executions, the last one at the end: of all nodes, or in the store of one.

    The coordinator is asked for its copies. With --config or --data-dir, the records of that node are read where they
    are, while it runs or not. Where no coordinator is known, those of the configuration in this folder are.
    `eyeflow why ID` explains one.
    """
    asked = _asked(rule, key, outcome, action, since, until)
    if node and (config is not None or data_dir is not None):
        raise usage_error("--node asks the coordinator", "leave out --config and --data-dir, or --node")
    if not node and wants_store(config, data_dir):
        with open_store(config, data_dir, context.args) as reader:
            _show(_of_store(reader, _filter(asked), limit, follow), json_)
        return
    if context.args:
        raise usage_error(f"there is no option {context.args[0]}", "see eyeflow executions --help")
    from eyeflow.cli.cluster import connect

    asked |= {"node": node} if node else {}
    with connect() as client:
        _show(_of_coordinator(client, asked, limit, follow), json_)


def _asked(rule: str, key: str, outcome: OutcomeName | None, action: str, since: str, until: str) -> Json:
    """Return the filters as the API has them."""
    from eyeflow.cli.times import point_us

    asked: Json = {"rule": rule, "key": key, "outcome": outcome.value if outcome else "", "action": action}
    asked = {name: value for name, value in asked.items() if value}
    asked |= {"sinceUs": point_us("--since", since)} if since else {}
    return asked | ({"untilUs": point_us("--until", until)} if until else {})


def _show(found: Iterator[Json], json_: bool) -> None:
    is_empty = True
    for one in found:
        is_empty = False
        if json_:
            say_json(one, indent=None)
        else:
            style = "31" if one["outcome"] == OutcomeName.TRAPPED.value else "0"
            key = f" (key {one['key']})" if one["key"] else ""
            beside = f" [{one['slot']}]" if one["slot"] != "active" else ""
            say(f"{one['id']}  {iso_time(one['timeUs'])}  {paint(one['text'], style, sys.stdout)}{key}{beside}")
        hand_over()
    if is_empty:
        note("no execution fits")


def _of_coordinator(client: CoordinatorClient, asked: Json, limit: int, follow: bool) -> Iterator[Json]:
    cursor = client.executions_after("")["nextCursor"] if follow else ""
    newest = client.executions(limit, **asked)
    yield from reversed(newest)
    shown = {one["id"] for one in newest}
    if not follow:
        return
    with client.news(kind=["record"]) as news:
        while True:
            page = _next_page(client, cursor, asked)
            cursor = page["nextCursor"]
            yield from (one for one in page["executions"] if one["id"] not in shown)
            if not page["more"] and (news is None or not news.wait(NEWS_S)):
                time.sleep(NEWS_S)


def _next_page(client: CoordinatorClient, cursor: str, asked: Json) -> Json:
    """Return what came behind a cursor; a coordinator that is gone is waited for."""
    from eyeflow.base.errors import EyeflowError

    is_told = False
    while True:
        try:
            return client.executions_after(cursor, **asked)
        except EyeflowError as error:
            if error.code not in ("unreachable", "storage"):
                raise
            if not is_told:
                note(f"{error.message}; waits for it to come back")
            is_told = True
            time.sleep(NEWS_S)


def _filter(asked: Json) -> ExecutionFilter:
    from eyeflow.audit.filters import ExecutionFilter
    from eyeflow.svm.execution import Outcome

    outcome = int(Outcome[asked["outcome"].upper()]) if "outcome" in asked else None
    words = (asked.get("rule", ""), asked.get("key", ""), outcome, asked.get("action", ""))
    return ExecutionFilter(*words, asked.get("sinceUs"), asked.get("untilUs"))


def _of_store(reader: AuditReader, wanted: ExecutionFilter, limit: int, follow: bool) -> Iterator[Json]:
    from eyeflow.protocol.audit_bodies import AuditError

    try:
        yield from _in_store(reader, wanted, limit, follow)
    except AuditError as error:
        raise unreadable_record(error) from error


def _in_store(reader: AuditReader, wanted: ExecutionFilter, limit: int, follow: bool) -> Iterator[Json]:
    """Read from the end: a node's store has no index for this, and is bounded."""
    from eyeflow.audit.board_view import is_execution
    from eyeflow.audit.execution_id import ExecutionId
    from eyeflow.audit.view import execution_entry
    from eyeflow.protocol.audit import Record

    find, last_seq = programs_of(reader), reader.range[1]

    def entry(record: Record) -> Json:
        assert is_execution(record.body)
        identity = ExecutionId(record.node, record.epoch, record.seq)
        return execution_entry(identity, record.time_us, record.body, find(record.body.program or b""))

    newest: list[Record] = []
    at = last_seq + 1
    while len(newest) < limit and (page := reader.before(at)):
        at -= len(page)
        newest += filter(None, (wanted.fitting(data, find) for data in page))
    yield from (entry(record) for record in reversed(newest[:limit]))
    while follow:
        for data in reader.records(last_seq + 1):
            last_seq += 1
            if (record := wanted.fitting(data, find)) is not None:
                yield entry(record)
        time.sleep(LOOK_S)
