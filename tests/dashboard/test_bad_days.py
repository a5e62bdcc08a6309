"""What happens under an open page: a session that runs out, another version, a connection that hangs or has a gap."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, WebSocketRoute, expect

from .conftest import Open, Plant

SOURCES = Path(__file__).parents[2] / "dashboard" / "src"
LASTS_S = 10
SILENCE_MS = 40_000
"""Longer than a page waits for a word of the coordinator."""


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1, name=text)).to_be_visible()


def test_a_session_that_runs_out_under_the_page_is_told(open_page: Open, plant: Plant) -> None:
    token = plant.ask("POST", "/api/tokens", json={"name": "brief", "role": "read", "validS": LASTS_S})["token"]
    page = open_page("/nodes/node-b", token=token)
    heading(page, "node-b")
    expect(page.get_by_role("alert").filter(has_text="has expired")).to_be_visible()
    heading(page, "Sign in")
    page.get_by_label("API token").fill(f"\n {plant.token}\t")
    page.get_by_role("button", name="Sign in").click()
    heading(page, "node-b")


def test_another_version_of_the_coordinator_under_the_page(open_page: Open) -> None:
    """The files of a page have other names then."""
    page = open_page(bears="status of 404")
    heading(page, "Overview")
    page.route(re.compile(r"/alarms-\w+\.js"), lambda route: route.fulfill(status=404))
    page.get_by_role("link", name="Alarms").first.click()
    heading(page, "Load the page again")
    page.unroute_all()
    page.get_by_role("button", name="Load again").click()
    heading(page, "Alarms")


def test_two_tabs_see_what_one_of_them_does(open_page: Open, plant: Plant) -> None:
    one, two = open_page("/nodes/node-b"), open_page("/nodes")
    row = two.get_by_role("row").filter(has=two.get_by_role("rowheader", name="node-b"))
    expect(row).to_contain_text("fine")
    one.get_by_role("button", name="Drain").click()
    one.get_by_role("group").get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("drained")
    one.get_by_role("button", name="Undrain").click()
    expect(row).to_contain_text("fine")


def test_a_coordinator_that_hangs_is_taken_for_lost(open_page: Open, plant: Plant) -> None:
    """Its socket stays open, and nothing comes: only the clock of the page tells."""
    page = open_page("/no/such/page")
    page.clock.install()
    page.goto("/nodes")
    expect(page.get_by_role("table", name="Nodes")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Connected")).to_be_attached()
    plant.running["coordinator"].send_signal(signal.SIGSTOP)
    try:
        page.clock.fast_forward(SILENCE_MS)
        expect(page.get_by_role("status").filter(has_text="Connection lost. What you see is from")).to_be_visible()
        expect(page.locator("main.stale")).to_be_visible()
    finally:
        plant.running["coordinator"].send_signal(signal.SIGCONT)
    page.clock.fast_forward(SILENCE_MS)
    expect(page.locator("main.stale")).to_have_count(0)


def test_a_gap_in_the_feed_lets_the_page_read_all_again(open_page: Open) -> None:
    page = open_page("/no/such/page")
    routes: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        routes.append(route)
        route.connect_to_server()

    page.route_web_socket(re.compile("/api/changes"), between)
    page.goto("/alarms")
    heading(page, "Alarms")
    expect(page.get_by_text("No alarm is open.").first).to_be_visible()
    with page.expect_request(re.compile("/api/alarms.*open=true")):
        routes[-1].send(json.dumps({"type": "reset", "cursor": 1}))


def test_an_answer_that_breaks_off_does_not_end_the_page(open_page: Open) -> None:
    """The answer that breaks off is that to the question who is signed in: the page asks it before it connects again."""
    page = open_page("/no/such/page")
    routes: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        routes.append(route)
        route.connect_to_server()

    page.route_web_socket(re.compile("/api/changes"), between)
    page.goto("/nodes")
    expect(page.get_by_role("status").filter(has_text="Connected")).to_be_attached()
    page.evaluate(
        "() => { const whole = Response.prototype.json; Response.prototype.json = function () {"
        " Response.prototype.json = whole; return Promise.reject(new DOMException('broken off', 'TimeoutError')); } }"
    )
    with page.expect_websocket():
        routes[-1].close()
    expect(page.locator("main.stale")).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="Connected")).to_be_attached()


def test_what_is_done_without_a_connection_is_told(open_page: Open, plant: Plant) -> None:
    page = open_page("/nodes/node-b")
    expect(page.get_by_role("button", name="Drain")).to_be_visible()
    page.route("**/drain", lambda route: route.abort())
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("group").get_by_role("button", name="Drain").click()
    expect(page.get_by_role("alert").filter(has_text="The coordinator does not answer.")).to_be_visible()
    assert plant.ask("GET", "/api/nodes/node-b")["drainedUs"] == 0


def test_no_text_is_missing_on_any_page(open_page: Open) -> None:
    paths = re.findall(r'path: "([^":]+)", title', (SOURCES / "pages.ts").read_text())
    assert {"/", "/nodes", "/executions", "/alarms"} <= set(paths)
    for locale in ("en-GB", "fr-FR"):
        page = open_page(locale=locale)
        for path in paths:
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.get_by_text(re.compile("Loading|Chargement"))).to_have_count(0)
            empty: Any = page.evaluate(
                "[...document.querySelectorAll('h1,h2,button,a,summary,label,th[scope=col],option,dt')]"
                ".filter((one) => !one.textContent.trim() && !one.closest('datalist')).map((one) => one.outerHTML)"
            )
            assert empty == [], path
