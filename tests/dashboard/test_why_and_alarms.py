"""Executions and why, and alarms, in a real browser: of a rule that webhooks start, on a real node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from components.ports import free_port
from components.waiting import wait_until

from .conftest import Open, Plant
from .test_many_nodes import UPDATE_S, Watched

RELAY = """\
rule relay {
    version "1.0.0"

    pin RELAY: output
    param limit: float = 80.0
    state trips: int = 0

    record Reading {
        celsius: float
        note: text(200)
    }

    on http "/hot" as reading: Reading

    if reading.celsius > limit {
        trips = trips + 1
        gpio.set_pin(RELAY, HIGH)
    } else {
        gpio.set_pin(RELAY, LOW)
    }
}
"""
MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


class Relay:
    """Where the rule gets its events, and what came of them."""

    def __init__(self, plant: Plant, port: int) -> None:
        self.plant, self._url = plant, f"http://127.0.0.1:{port}/hot"

    def send(self, celsius: float, note: str = "x") -> dict[str, Any]:
        """Return the execution of an event, once the coordinator has its copy."""
        before = self._ids()
        wait_until(lambda: self._is_taken({"celsius": celsius, "note": note}), "the node takes webhooks")
        wait_until(lambda: self._ids() != before, "the record was copied")
        return self.executions()[0]

    def executions(self) -> list[dict[str, Any]]:
        found = self.plant.ask("GET", "/api/executions", params={"rule": "relay"})["executions"]
        assert isinstance(found, list)
        return found

    def _is_taken(self, body: dict[str, Any]) -> bool:
        try:
            return httpx.post(self._url, json=body, trust_env=False).status_code == 202
        except httpx.ConnectError:
            return False  # it begins to listen soon after the rule is there

    def _ids(self) -> list[str]:
        return [one["id"] for one in self.executions()]


@pytest.fixture(scope="module")
def relay(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Relay:
    port = free_port()
    plant.stop("node-a")
    config = plant.config("node-a")
    config.write_text(f"{config.read_text()}\n[http]\nport = {port}\n")
    plant.start_node("node-a")
    rule: Path = tmp_path_factory.mktemp("rule") / "relay.eye"
    rule.write_text(RELAY)
    ran = plant.eyeflow("deploy", rule, "--nodes", "node-a", "--json")
    assert ran.code == 0, ran.err
    made = Relay(plant, port)
    made.send(20.0)
    made.send(90.0)
    made.send(95.0)
    return made


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1, name=text)).to_be_visible()


@pytest.fixture
def troubled(plant: Plant) -> Iterator[None]:
    """One alarm has ended, and another one is open."""
    for _ in range(2):
        plant.ask("POST", "/api/nodes/node-b/accept")
        plant.ask("POST", "/api/nodes/node-b/quarantine", json={"reason": "a copy runs in the laboratory"})
    yield
    plant.ask("POST", "/api/nodes/node-b/accept")


def rows_of(page: Page) -> Any:
    return page.get_by_role("table", name="Executions").get_by_role("row")


def test_why_the_relay_switched_at_a_time_is_found_by_filters(open_page: Open, relay: Relay) -> None:
    """The second HIGH changed nothing; the first one is the answer."""
    again, switched, _ = relay.executions()[:3]
    assert again["actions"][0]["disposition"] == "repeated"
    page = open_page("/executions")
    heading(page, "Executions and why")
    expect(rows_of(page).filter(has_text="ticker").first).to_be_visible()
    field = page.get_by_label("Rule")
    field.fill("relay")
    field.press("Enter")
    expect(rows_of(page)).to_have_count(4)
    page.get_by_label("Only what changed something").check()
    expect(rows_of(page)).to_have_count(3)
    expect(page.get_by_text("Chosen from 3 executions.")).to_be_visible()
    action = page.get_by_label("Action")
    action.fill("gpio.set_pin")
    action.press("Enter")
    until = datetime.fromtimestamp(again["timeUs"] / 1e6 + 1, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    page.get_by_label("Before").fill(until)
    assert "changed=yes" in page.url and "rule=relay" in page.url and "until=" in page.url
    first = rows_of(page).nth(1)
    expect(first).to_contain_text("celsius = 90")
    expect(first).to_contain_text("gpio.set_pin(RELAY, HIGH)")
    page.reload()
    expect(first).to_contain_text("celsius = 90")
    first.get_by_role("link", name=f"Why? {switched['id']}").click()
    heading(page, f"Why: {switched['id']}")
    page.go_back()
    expect(first).to_contain_text("celsius = 90")


def test_an_execution_is_explained(open_page: Open, relay: Relay) -> None:
    (switched,) = [one for one in relay.executions() if one["inputs"]["celsius"] == 90.0]
    page = open_page(f"/executions/{switched['id']}")
    text = page.get_by_role("region", name="Text of the rule")
    branch = text.locator("li.marked").first
    expect(branch).to_contain_text("if reading.celsius > limit {")
    expect(branch).to_contain_text("the condition was true 90.0 > 80.0 is true")
    expect(text.locator("li.marked").nth(1)).to_contain_text("gpio.set_pin(RELAY, HIGH)")
    decided = page.get_by_role("table", name="What it decided").get_by_role("row").nth(1)
    expect(decided).to_contain_text("gpio.set_pin(RELAY, HIGH)")
    expect(decided).to_contain_text("done")
    state = page.get_by_role("table", name="State").get_by_role("row").nth(1)
    expect(state).to_have_text(re.compile("trips.*0.*1"))
    expect(page.get_by_text("yes, the same")).to_be_visible()
    chain = page.get_by_role("region", name="Its place in the audit chain")
    expect(chain).to_contain_text(f"record {switched['seq']} of epoch {switched['epoch']}")
    why = relay.plant.ask("GET", f"/api/executions/{switched['id']}/why")
    expect(chain).to_contain_text(why["chain"]["hash"])
    expect(chain).to_contain_text(f"{why['chain']['prev']} ✓ fits")
    expect(page.get_by_text("the signature holds")).to_be_visible()
    page.goto("/rules/relay")
    expect(page.get_by_role("region", name="Text of version 1.0.0")).to_contain_text("gpio.set_pin(RELAY, HIGH)")


def test_without_its_text_a_rule_is_explained_by_lines(open_page: Open, relay: Relay, tmp_path: Path) -> None:
    (switched,) = [one for one in relay.executions() if one["inputs"]["celsius"] == 90.0]
    page = open_page("/no/such/page")
    page.route("**/source", lambda route: route.fulfill(json={"source": ""}))
    page.goto(f"/executions/{switched['id']}")
    expect(page.get_by_text("line 15 ✓ the condition was true 90.0 > 80.0 is true")).to_be_visible()
    expect(page.get_by_text("The text of the rule was not uploaded")).to_be_visible()
    source = tmp_path / "relay.eye"
    source.write_text(RELAY)
    page.get_by_label("Show the way in a file of yours").set_input_files(source)
    expect(page.locator(".source li.marked").first).to_contain_text("if reading.celsius > limit {")
    source.write_text(RELAY.replace("rule relay", "rule other"))
    page.get_by_label("Show the way in a file of yours").set_input_files(source)
    expect(page.get_by_text("names another rule or version")).to_be_visible()


def test_new_executions_are_told_and_move_nothing(open_page: Open, relay: Relay) -> None:
    page = open_page("/executions?rule=relay")
    expect(rows_of(page)).to_have_count(len(relay.executions()) + 1)
    shown = rows_of(page).all_inner_texts()
    for _ in range(2):
        made = relay.send(20.0)
    news = page.get_by_role("button", name="2 new: show them")
    expect(news).to_be_visible()
    assert rows_of(page).all_inner_texts() == shown, "nothing moves under the reader"
    news.click()
    expect(rows_of(page).nth(1)).to_contain_text(made["id"])
    expect(news).to_have_count(0)
    page.get_by_label("Show new ones at once").check()
    made = relay.send(20.0)
    expect(rows_of(page).nth(1)).to_contain_text(made["id"])


def test_a_busy_list_costs_little(open_page: Open, relay: Relay) -> None:
    """Ten executions come each second, and the page shows each of them at once."""
    page = open_page("/executions?live=yes")
    first = rows_of(page).nth(1)
    expect(first).to_contain_text("ticker")
    watched = Watched(page)
    script_s = watched.seconds("ScriptDuration")
    reads = 0
    for _ in range(5):
        link = first.get_by_role("link", name="Why?")
        expect(link).not_to_have_attribute("title", link.get_attribute("title") or "")
        reads += 1
    update_s = (watched.seconds("ScriptDuration") - script_s) / reads
    print(f"an update of 50 executions: {update_s * 1000:.1f} ms of script")
    assert update_s < UPDATE_S


def test_a_refused_explanation_says_when_the_page_asks_again(open_page: Open, relay: Relay) -> None:
    page = open_page("/executions?rule=relay", bears="status of 4")
    problem = {"detail": "8 executions are explained or wait for it.", "nextStep": "ask again in 1 s"}
    asked: list[str] = []

    def refuse_once(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=problem)

    page.route("**/why", refuse_once)
    page.expose_function("seen", lambda text: asked.append(text))
    page.evaluate(
        "new MutationObserver(() => { const one = document.querySelector('[role=alert]');"
        " if (one?.textContent) window.seen(one.textContent); })"
        ".observe(document.body, {subtree: true, childList: true, characterData: true})"
    )
    rows_of(page).nth(1).get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="The way through the rule")).to_be_visible()
    assert any("8 executions are explained" in one for one in asked), asked
    page.goto("/executions/node-a:1:999999")
    expect(page.get_by_role("alert").filter(has_text="is not here")).to_be_visible()
    page.goto("/executions/nonsense")
    expect(page.get_by_role("alert").filter(has_text="is no id of an execution")).to_be_visible()


def test_markup_in_a_payload_is_shown_and_never_run(open_page: Open, relay: Relay) -> None:
    made = relay.send(99.0, MARKUP)
    page = open_page("/executions?rule=relay")
    expect(rows_of(page).nth(1)).to_contain_text("<img src=x onerror=")
    rows_of(page).nth(1).get_by_role("link", name=f"Why? {made['id']}").click()
    expect(page.get_by_text("<script>window.hurt=1</script>").first).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img, main script").count() == 0


def test_somebody_new_finds_three_answers_by_following_links(open_page: Open, relay: Relay, plant: Plant) -> None:
    """Which node is sick and why, what the running deployment waits for, why the relay switched: from the link on."""
    plant.stop("node-b", 9)
    asked = {"all": True, "strategy": "rolling", "options": {"batch": 1, "observeS": 600}}
    deployment = plant.ask("POST", "/api/rules/ticker/deploy", json=asked)["id"]
    page = open_page(plant.eyeflow("coordinator", "sign-in", "--json").json["link"], token=None)
    sick = page.get_by_role("listitem").filter(has_text="Node node-b is offline")
    expect(sick).to_contain_text("To do: see on that machine whether it runs")
    page.get_by_role("link", name="Open deployments").click()
    page.get_by_role("table", name="Deployments").get_by_role("link", name=deployment).click()
    expect(page.locator(".standing .waits")).to_contain_text("the connection of node-b")
    page.get_by_role("link", name="Executions and why").click()
    page.get_by_label("Only what changed something").check()
    page.get_by_label("Rule").fill("relay")
    page.get_by_label("Rule").press("Enter")
    hot = rows_of(page).filter(has_text="celsius = 90")
    expect(hot).to_contain_text("gpio.set_pin(RELAY, HIGH)")
    hot.get_by_role("link", name="Why?").click()
    reason = page.get_by_role("region", name="Text of the rule").locator("li.marked").first
    expect(reason).to_contain_text("the condition was true 90.0 > 80.0 is true")
    in_sight = (
        "(one) => { const box = one.closest('.source').getBoundingClientRect(), at = one.getBoundingClientRect();"
    )
    assert reason.evaluate(in_sight + " return at.top >= box.top && at.bottom <= box.bottom; }")
    plant.ask("POST", f"/api/deployments/{deployment}/cancel")
    plant.start_node("node-b")
    wait_until(lambda: plant.ask("GET", "/api/nodes/node-b")["connected"], "node-b is back")
    over = lambda: plant.ask("GET", f"/api/deployments/{deployment}")["over"]  # noqa: E731
    wait_until(over, "the deployment has ended")


def test_an_alarm_is_acknowledged_and_survives_a_restart(open_page: Open, plant: Plant) -> None:
    page = open_page("/alarms")
    heading(page, "Alarms")
    expect(page.get_by_text("No alarm is open.").first).to_be_visible()
    link = page.get_by_role("link", name="Alarms", exact=False).first
    expect(link).to_have_text("Alarms")
    plant.stop("node-b")
    wait_until(lambda: not plant.ask("GET", "/api/nodes/node-b")["connected"], "node-b is away")
    asked = {"nodeIds": ["node-b"], "strategy": "immediate", "deadlineS": 1}
    plant.ask("POST", "/api/rules/ticker/deploy", json=asked)
    failed = page.get_by_role("listitem").filter(has_text="failed").filter(has_text="Deployment")
    expect(failed).to_contain_text("since")
    expect(failed).to_contain_text("To do: see why: eyeflow deployments show")
    plant.ask("POST", "/api/nodes/node-b/quarantine", json={"reason": MARKUP})
    doubt = page.get_by_role("listitem").filter(has_text="The history of node node-b is in doubt")
    expect(doubt).to_contain_text(MARKUP)
    titles = page.locator(".troubles .what").all_inner_texts()
    assert "node-b" in titles[0], "what cannot be trusted stands before what failed"
    expect(link).to_contain_text("2 open alarms")
    expect(page.get_by_role("status").filter(has_text="2 open alarms")).to_be_attached()
    doubt.get_by_text("Acknowledge", exact=True).first.click()
    doubt.get_by_label("Note for others").fill(f"Anna looks {MARKUP}")
    doubt.get_by_role("button", name="Acknowledge").click()
    expect(doubt).to_contain_text("acknowledged by first-admin")
    expect(doubt).to_contain_text(f"Anna looks {MARKUP}")
    assert "node-b" in page.locator(".troubles .what").all_inner_texts()[1], "nobody looks after the other one yet"
    assert page.evaluate("window.hurt") is None and page.locator("main img, main script").count() == 0
    plant.stop("coordinator", 9)
    expect(page.get_by_role("status").filter(has_text="Connection lost")).to_be_visible()
    plant.begin()
    expect(page.locator("main.stale")).to_have_count(0)
    page.reload()
    expect(doubt).to_contain_text("acknowledged by first-admin")
    plant.ask("POST", "/api/nodes/node-b/accept")
    expect(doubt).to_have_count(0)
    ended = page.get_by_role("table", name="Ended").get_by_role("row").filter(has_text="node-b")
    expect(ended).to_contain_text("first-admin")
    expect(link).to_contain_text("1 open alarm")
    page.get_by_label("Kind").select_option("certificateExpires")
    expect(page.get_by_text("No alarm of this kind is open.")).to_be_visible()
    assert "kind=certificateExpires" in page.url


@pytest.mark.usefixtures("troubled")
def test_who_may_only_read_acknowledges_nothing(open_page: Open, plant: Plant) -> None:
    page = open_page("/alarms", token=plant.token_of("watcher", "read"))
    expect(page.get_by_role("listitem").filter(has_text="To do:").first).to_be_visible()
    assert page.get_by_text("Acknowledge", exact=True).count() == 0
    number = plant.ask("GET", "/api/alarms?open=true")["alarms"][0]["id"]
    forced = page.context.request.post(
        f"/api/alarms/{number}/acknowledge", data={}, headers={"X-Eyeflow-Request": "dashboard"}
    )
    assert forced.json()["code"] == "forbidden", "the coordinator refuses anyway"


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_these_pages(open_page: Open, relay: Relay, theme: str) -> None:
    axe = Axe()
    page = open_page(color_scheme=theme)
    for path in ("/executions?rule=relay", f"/executions/{relay.executions()[0]['id']}", "/alarms"):
        page.goto(path)
        expect(page.get_by_role("table").first).to_be_attached()
        found = axe.run(page)
        assert found.violations_count == 0, f"{path} {theme}\n{found.generate_report()}"
        page.set_viewport_size({"width": 320, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, f"{path} needs more than 320 px"
        page.set_viewport_size({"width": 1280, "height": 800})


def test_french_says_it_in_french(open_page: Open, relay: Relay) -> None:
    page = open_page(f"/executions/{relay.executions()[0]['id']}", locale="fr-FR")
    expect(page.get_by_role("heading", name="Le chemin dans la règle")).to_be_visible()
    expect(page.get_by_text("Sa place dans la chaîne d’audit")).to_be_visible()
    page.get_by_role("link", name="Alarmes").click()
    heading(page, "Alarmes")
