"""2,000 nodes and 500 rules: a page asks for what it shows only, and an update costs little.

The bounds are of seconds that the browser's main thread had the processor, so a busy machine changes nothing. How long
the reader waits is printed beside them (`pytest -s`): docs/performance.md has the figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from components.waiting import wait_until
from eyeflow.coordinator.store.alarms import AlarmKind
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.facts import ProgramRecord, Seen
from eyeflow.coordinator.store.sqlite_store import InlineStore
from eyeflow.coordinator.store.trends import CLUSTER, Span
from eyeflow.coordinator.trends import DAY_US, HOUR_US, Point, pack
from eyeflow.rollout.deployment import (
    Deployment,
    DeploymentState,
    NodeProgress,
    NodeState,
    Rollback,
    Target,
    Wanted,
)

from .conftest import Open, Plant

NODES, RULES, RULES_EACH, CHANGED, ALARMS = 2_000, 500, 5, 400, 1_000
BOARD, OPEN = "zone-board", "d-2000"
NAMES = [f"node-{number:04}" for number in range(NODES)]
FIRST_CONTENT_S, UPDATE_S = 1.0, 0.05
FIRST_ROW = """
new MutationObserver((_, one) => {
  if (!document.querySelector("tbody tr")) return;
  one.disconnect();
  window.firstRowMs = performance.now();
}).observe(document, {childList: true, subtree: true});
"""


def fill(writing: Writing) -> None:
    """Nodes that are away, with what they told last."""
    rng = Random(1)
    for number, name in enumerate(NAMES):
        writing.register_node(name, number.to_bytes(32, "big"), 1)
        writing.set_labels(name, {"site": f"site-{number % 20}"}, 1)
        rules = [f"rule_{rng.randrange(RULES)}" for _ in range(RULES_EACH)]
        for rule in rules:
            writing.want(name, Wanted(rule, "active", Target("1" * 64, "d-0")))
        ports = [part("port", "machine", {"memory_bytes": 100, "memory_used_bytes": 40, "processor_hundredths": 900})]
        health = [*ports, *(part("rule", rule, {"executions": number}) for rule in rules)]
        writing.record_seen([Seen(name, 1, 2, 1_790_000_000_000_000 + number, json.dumps(health))])
    for name in NAMES[:ALARMS]:
        writing.raise_alarm(AlarmKind.RECORDS_LOST, name, "its buffer was full", 1_790_000_000_000_000)
    writing.register_node(BOARD, bytes(31) + b"b", 1)
    writing.record_board(BOARD, NAMES[0], "0001020304050607")


def fill_rules(writing: Writing) -> None:
    """A program of each rule, and a deployment that waits for all nodes."""
    limits = {"fuelMax": 1, "stackMax": 1, "actionsMax": 1, "stateBytes": 1}
    lists: dict[str, Any] = {"signers": [], "capabilities": [], "sources": [], "params": []}
    about = lists | {"description": "", "chip": "", "priority": "normal", "limits": limits}
    for number in range(RULES):
        made = ProgramRecord(f"{number:064x}", f"rule_{number}", "1.0.0", 1, "linux", about, 7, "ci", 3)
        writing.add_program(made, b"svm")
    now_us = time.time_ns() // 1000
    target = Target(f"{7:064x}", OPEN)
    for_all = Deployment(
        OPEN, (("rule_7", target),), "immediate", Rollback.ON_ERROR, now_us, now_us + 30 * DAY_US, "ci"
    )
    waiting = [NodeProgress(name, NodeState.WAITING, phase=0) for name in NAMES]
    writing.add_deployment(replace(for_all, state=DeploymentState.INSTALLING), waiting)


def fill_curves(writing: Writing) -> None:
    """What the cluster did in the last three weeks: a pair of hours with much to do in each day."""
    today_us = time.time_ns() // 1000 // DAY_US * DAY_US
    for days in range(1, 22):
        start_us = today_us - days * DAY_US
        hours = {start_us + hour * HOUR_US: Point(100.0 if hour < 22 else 4321.0, 0.0, 9, 60) for hour in range(24)}
        writing.keep_trend(pack(f"{CLUSTER}before", Span.HOUR, start_us, hours))


def part(kind: str, name: str, counters: dict[str, int]) -> dict[str, Any]:
    slot = "active" if kind == "rule" else ""
    state = {"state": "running", "detail": "", "programId": "", "counters": counters}
    return {"kind": kind, "name": name, "slot": slot, **state}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp("many"))
    try:
        made.begin()
        made.stop("coordinator")
        store = InlineStore(next(made.folder.glob("home/**/coordinator.sqlite")))
        outcome = store.file.commit([fill, fill_rules, fill_curves])
        assert not [one.error for one in outcome if one.error]
        store.close()
        made.begin()
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


class Watched:
    """What a page costs: seconds of its main thread, what it asked for, and the messages that it was told."""

    def __init__(self, page: Page) -> None:
        self.asked: list[str] = []
        self.messages = 0
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, frame: object) -> None:
        self.messages += 1

    def seconds(self, name: str) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == name))


def relabel(plant: Plant, names: list[str], value: str) -> None:
    headers = {"Authorization": f"Bearer {plant.token}"}
    with httpx.Client(base_url=plant.url, headers=headers, trust_env=False, timeout=60) as client:

        def one(name: str) -> None:
            assert client.put(f"/api/nodes/{name}/labels", json={"labels": {"site": value}}).is_success

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(one, names))


def test_2000_nodes_stay_fluid(open_page: Open, plant: Plant) -> None:
    page = open_page("/no/such/page", script=FIRST_ROW)
    watched = Watched(page)
    before_s = watched.seconds("TaskDuration")
    page.goto("/nodes")
    expect(page.get_by_text("2,001 nodes")).to_be_visible()
    table = page.get_by_role("table", name="Nodes")
    expect(table.get_by_role("rowheader")).to_have_count(50)
    first_s = watched.seconds("TaskDuration") - before_s
    assert first_s < FIRST_CONTENT_S

    watched.messages, watched.asked = 0, []
    script_s = watched.seconds("ScriptDuration")
    relabel(plant, NAMES[:CHANGED], "moved")
    expect(table.get_by_text("site=moved")).to_have_count(50)
    update_s = (watched.seconds("ScriptDuration") - script_s) / max(watched.messages, 1)
    assert watched.messages > 0 and update_s < UPDATE_S
    assert not [one for one in watched.asked if "/api/node-rows" in one], "rows came with the feed"
    waited_s = page.evaluate("window.firstRowMs") / 1000
    print(
        f"first row after {waited_s:.2f} s, {first_s:.2f} s of them work; an update {update_s * 1000:.1f} ms of script"
    )

    page.get_by_role("button", name="Next page").click()
    expect(table.get_by_role("rowheader").first).to_have_text(NAMES[50])
    page.get_by_label("State").select_option("offline")
    expect(table.get_by_role("rowheader").first).to_have_text(NAMES[0])
    page.get_by_label("Name").fill(NAMES[-1])
    expect(table.get_by_role("rowheader")).to_have_text([NAMES[-1]])


def test_a_gateway_shows_its_boards_and_a_board_its_gateway(open_page: Open) -> None:
    page = open_page(f"/nodes/{NAMES[0]}")
    boards = page.get_by_role("table", name="Boards behind this node")
    expect(boards.get_by_role("row").filter(has_text=BOARD)).to_contain_text("offline")
    boards.get_by_role("link", name=BOARD).click()
    expect(page.get_by_role("definition").filter(has_text="state unknown, flash")).to_be_visible()
    page.get_by_role("link", name=NAMES[0]).click()
    expect(page.get_by_role("heading", level=1, name=NAMES[0])).to_be_visible()


def test_the_overview_of_2000_nodes_shows_the_worst(open_page: Open, plant: Plant) -> None:
    page = open_page()
    expect(page.locator(".sums div").first).to_contain_text("0/2,001")
    worst = page.locator(".troubles li").first
    expect(worst).to_contain_text("lost audit records since")
    expect(worst).to_contain_text("To do: make room on the node\N{RIGHT SINGLE QUOTATION MARK}s disk")
    expect(page.get_by_role("table", name="Nodes, the worst first").get_by_role("rowheader")).to_have_count(20)
    page.get_by_role("link", name="Show all 2,001 nodes").click()
    expect(page.get_by_text("2,001 nodes", exact=True)).to_be_visible()


def overview_changes(plant: Plant, page: Page, number: int) -> None:
    plant.ask("PUT", f"/api/nodes/{NAMES[0]}/labels", json={"labels": {"site": f"s{number}"}})
    plant.ask("POST", "/api/alarms/1/acknowledge", json={"note": f"look {number}"})


def rules_change(plant: Plant, page: Page, number: int) -> None:
    plant.ask("PUT", f"/api/programs/{number:064x}/tests", json={"tests": []})


def deployment_changes(plant: Plant, page: Page, number: int) -> None:
    plant.ask("POST", f"/api/deployments/{OPEN}/{'resume' if number % 2 else 'pause'}")
    expect(page.get_by_role("button", name="Pause" if number % 2 else "Resume", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("path", "rows", "change"),
    [
        ("/", 20, overview_changes),
        ("/rules", 50, rules_change),
        (f"/deployments/{OPEN}", 50, deployment_changes),
    ],
    ids=["overview", "rules", "deployment"],
)
def test_each_page_comes_at_once_and_stays_fluid(
    open_page: Open, plant: Plant, path: str, rows: int, change: Callable[[Plant, Page, int], None]
) -> None:
    page = open_page("/no/such/page", script=FIRST_ROW)
    watched = Watched(page)
    before_s = watched.seconds("TaskDuration")
    page.goto(path)
    expect(page.locator("main table:has(caption) tbody tr")).to_have_count(rows)
    first_s = watched.seconds("TaskDuration") - before_s
    waited_s = page.evaluate("window.firstRowMs") / 1000
    watched.messages = 0
    script_s = watched.seconds("ScriptDuration")
    for number in range(10):
        seen = watched.messages
        change(plant, page, number)
        wait_until(lambda seen=seen: page.evaluate("1") and watched.messages > seen, "the page is told")  # type: ignore[misc]
    update_s = (watched.seconds("ScriptDuration") - script_s) / watched.messages
    print(f"{path}: first row after {waited_s:.2f} s, {first_s:.2f} s of work; an update {update_s * 1000:.1f} ms")
    assert first_s < FIRST_CONTENT_S and update_s < UPDATE_S


def test_curves_of_a_day_or_of_a_month(open_page: Open) -> None:
    page = open_page("/no/such/page")
    first = {"timeUs": 1, "active": 0, "executionsPerMinute": 0, "errorsPerMinute": 0, "processorPercent": None}
    answer = {"node": "", "span": "minute", "points": [first | {"memoryPercent": None}]}
    page.route("**/api/trend?span=minute", lambda route: route.fulfill(json=answer))
    page.goto("/")
    curves = page.get_by_role("region", name="The last day")
    expect(curves).to_contain_text("There is no curve yet")
    assert "newest 0" not in curves.inner_text()
    curves.get_by_role("button", name="A month by hours").click()
    curves = page.get_by_role("region", name="The last month")
    expect(curves).to_contain_text("Executions: newest 4,321 a minute, highest 4,321 a minute")
    expect(curves.locator("canvas")).to_be_visible()
    assert "span=hour" in page.url
    page.reload()
    expect(curves.get_by_role("button", name="A month by hours")).to_have_attribute("aria-pressed", "true")
    curves.get_by_text("Values: Executions and errors").click()
    rows = curves.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("4,321")
    expect(rows.nth(3)).to_contain_text("100")
    curves.get_by_role("button", name="A day by minutes").click()
    expect(page.get_by_role("region", name="The last day")).to_be_visible()
    assert "span" not in page.url


def test_1000_open_alarms_stay_fluid(open_page: Open, plant: Plant) -> None:
    page = open_page("/no/such/page")
    watched = Watched(page)
    before_s = watched.seconds("TaskDuration")
    page.goto("/alarms")
    expect(page.get_by_text("1,000 open alarms", exact=True)).to_be_visible()
    first_s = watched.seconds("TaskDuration") - before_s
    watched.messages = 0
    script_s = watched.seconds("ScriptDuration")
    alarms = page.locator(".troubles > li")
    for number in range(ALARMS, ALARMS - 10, -1):
        expect(alarms.first).to_contain_text(NAMES[number - 1])
        plant.ask("POST", f"/api/alarms/{number}/acknowledge", json={"note": f"note {number}"})
    expect(alarms.first).to_contain_text(NAMES[ALARMS - 11])
    update_s = (watched.seconds("ScriptDuration") - script_s) / max(watched.messages, 1)
    print(f"1,000 alarms: {first_s:.2f} s of work, an update {update_s * 1000:.1f} ms of script")
    assert first_s < FIRST_CONTENT_S
    assert watched.messages > 0 and update_s < UPDATE_S
    for shown in range(200, ALARMS + 1, 100):
        page.get_by_role("button", name="Show 100 more").click()
        expect(alarms).to_have_count(shown)
    expect(alarms.last).to_contain_text("acknowledged by first-admin")
