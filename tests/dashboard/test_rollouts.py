"""Deployments and rules in a real browser, with real nodes: begun, watched, steered and taken back from the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from cli.test_first_path import TICKER
from components.waiting import wait_until

from .conftest import Open, Plant

MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
VERSION = 'version "1.0.0"'
TRAPS = 'HIGH else LOW)\n    log.info("share {100 / (ticks % 2)}")\n'
"""Every other execution divides by zero."""
CRON = 'cron "0 6 1 1 *"'


def source(version: str, rule: str = "ticker", description: str = "") -> str:
    head = f'version "{version}"' + (f'\n    description "{description}"' if description else "")
    return TICKER.split("    test ")[0].replace(VERSION, head).replace("rule ticker", f"rule {rule}") + "}\n"


def upload(plant: Plant, text: str, rule: str = "ticker") -> str:
    """Compile and sign a rule, and upload it. Returns the program's id."""
    path, out = plant.folder / f"{rule}.eye", plant.folder / f"{rule}.svm"
    path.write_text(text)
    ran = plant.eyeflow("compile", path, "--sign", "default", "-o", out)
    assert ran.code == 0, ran.err
    made = plant.ask(
        "POST", "/api/programs", content=out.read_bytes(), headers={"Content-Type": "application/octet-stream"}
    )
    return str(made["id"])


def begin(plant: Plant, program_id: str, strategy: str, rule: str = "ticker", by: str = "", **options: Any) -> str:
    body = {"programId": program_id, "all": True, "strategy": strategy, "options": options}
    who = {"Authorization": f"Bearer {by or plant.token}"}
    return str(plant.ask("POST", f"/api/rules/{rule}/deploy", json=body, headers=who)["id"])


def runs(plant: Plant, node: str) -> dict[str, str]:
    """The active program of each rule, as the node tells."""
    told = plant.ask("GET", f"/api/nodes/{node}")["health"]
    return {one["name"]: one["programId"] for one in told if one["kind"] == "rule" and one["slot"] == "active"}


def press(page: Page, name: str) -> None:
    """Press a button and answer its question with yes."""
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("group").get_by_role("button", name=name, exact=True).click()


def waits(page: Page) -> Locator:
    return page.locator(".standing .waits")


def test_a_canary_is_begun_on_the_page_and_watched_to_its_promotion(open_page: Open, plant: Plant) -> None:
    upload(plant, source("1.1.0"))
    page = open_page("/deployments/new?rule=ticker")
    page.get_by_label("level", exact=True).fill("2.5")
    expect(page.get_by_label("Version")).to_contain_text("1.1.0")
    page.get_by_label("these", exact=True).check()
    page.get_by_label("Node", exact=True).fill("node-a")
    page.get_by_role("button", name="Add: Node").click()
    page.get_by_label("Shares in percent").fill("50, 100")
    page.get_by_label("Watch after each step").fill("3")
    page.get_by_label("Replay on recorded events").fill("1")
    page.get_by_role("button", name="Dry run").click()
    expect(
        page.get_by_role("status").filter(has_text="1 node, 3 steps, watched for 6 seconds at least")
    ).to_be_visible()
    plan = page.get_by_role("table", name="What becomes of each node")
    expect(plan.get_by_role("row").filter(has_text="node-a")).to_contain_text("gets another version of ticker")
    replay = page.get_by_role("table", name="Replay on recorded events").get_by_role("row").filter(has_text="node-a")
    assert int(replay.locator('[data-title="Events"]').inner_text()) > 0, "the node ran it on its own records"
    page.get_by_label("level", exact=True).fill("3.5")
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    page.get_by_label("level", exact=True).fill("2.5")
    page.get_by_label("Replay on recorded events").fill("")
    page.get_by_role("button", name="Dry run").click()
    press(page, "Start")
    expect(page.get_by_role("heading", level=1, name="Deployment of ticker")).to_be_visible()
    expect(waits(page)).to_contain_text("It waits for")
    expect(page.get_by_text("of 3: 50 % of the traffic")).to_be_visible()
    evidence = page.get_by_role("table", name="Evidence")
    expect(evidence.get_by_role("row").filter(has_text="new version")).to_contain_text(re.compile(r"\d to [\d.]+ %"))
    expect(evidence.get_by_role("row").filter(has_text="beside it")).to_be_visible()
    expect(waits(page)).to_have_text("It has succeeded and waits for nothing.")
    expect(page.get_by_role("status").filter(has_text="succeeded")).to_be_visible()
    expect(page.get_by_text("As of the look that decided.")).to_be_visible()
    expect(evidence.get_by_role("row").filter(has_text="new version")).to_contain_text(re.compile(r"\d to [\d.]+ %"))
    on_node = page.get_by_role("table", name="Nodes").get_by_role("row").filter(has_text="node-a")
    assert int(on_node.locator('[data-title="Executions of it"]').inner_text()) > 0
    identity = page.url.rsplit("/", 1)[1]
    made = plant.ask("GET", f"/api/deployments/{identity}")
    assert (made["state"], made["strategy"]) == ("succeeded", "canary")
    assert made["options"]["steps"] == [50, 100] and made["changes"][0]["params"] == {"level": 2.5}
    assert made["createdBy"] == "first-admin"
    wait_until(lambda: runs(plant, "node-a").get("ticker") == made["changes"][0]["programId"], "node-a runs it")

    before = made["nodes"][0]["previous"][0]["programId"]
    press(page, "Roll back")
    expect(waits(page)).to_contain_text("It was taken back.")
    wait_until(lambda: runs(plant, "node-a").get("ticker") == before, "node-a runs what it ran before")


def test_a_canary_that_fails_tells_why_and_can_be_tried_again(open_page: Open, plant: Plant) -> None:
    text = source("1.2.0").replace("HIGH else LOW)\n", TRAPS, 1)
    bad = upload(plant, text)
    plant.ask("PUT", f"/api/programs/{bad}/source", json={"source": text})
    page = open_page(f"/deployments/{begin(plant, bad, 'canary', steps=[100], observeS=60)}")
    expect(waits(page)).to_contain_text("It has failed.")
    expect(page.locator(".standing")).to_contain_text("executions failed")
    new = page.get_by_role("table", name="Evidence").get_by_role("row").filter(has_text="new version")
    expect(new).to_contain_text(re.compile(r"[\d.]+ to [\d.]+ %"))
    case = page.locator("section", has=page.get_by_role("heading", name="Executions that failed")).get_by_role(
        "listitem"
    )
    trap = case.filter(has_text="trap DIV_BY_ZERO at line 12").first
    expect(trap).to_contain_text("Event: every 100ms")
    expect(trap).to_contain_text("audit record")
    link = trap.get_by_role("link", name="ticker").get_attribute("href")
    assert link == f"/rules/ticker?program={bad}&line=12", "it leads to the line, in the version that ran"
    page.get_by_label("State").select_option("refused")
    assert "state=refused" in page.url
    first = page.url
    press(page, "Retry")
    page.wait_for_url(lambda url: url != first and "/deployments/d-" in url)
    press(page, "Cancel deployment")
    expect(waits(page)).to_contain_text(re.compile("It was cancelled|It has failed"))
    page.goto(link)
    expect(page.locator(".source li.marked")).to_have_text(
        re.compile(r"log.info\(.share \{100 / .*the line in question")
    )
    expect(page.get_by_role("heading", name="Version 1.2.0")).to_be_visible()


def test_one_without_executions_is_paused_resumed_and_promoted(open_page: Open, plant: Plant) -> None:
    """The sentence says which executions are missing, and where."""
    rare = upload(plant, source("1.0.0", "rare").replace("every 100ms", CRON), "rare")
    page = open_page(f"/deployments/{begin(plant, rare, 'rolling', 'rare', batch=2, observeS=1)}")
    expect(waits(page)).to_have_text(
        "Paused: no executions. It waits for 20 more executions on node-a and node-b, or for somebody to promote it."
    )
    page.get_by_role("button", name="Pause", exact=True).press("Enter")
    question = "document.activeElement.closest('[role=group]') !== null"
    wait_until(lambda: page.evaluate(question), "the focus is on the question")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    focused = "document.activeElement.textContent"
    wait_until(lambda: page.evaluate(focused) == "Pause", "the answer was no: the focus is back on the button")
    press(page, "Pause")
    expect(waits(page)).to_contain_text("paused by first-admin")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_have_count(0)
    press(page, "Resume")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(waits(page)).not_to_contain_text("paused by")
    press(page, "Promote")
    expect(waits(page)).to_contain_text("It has succeeded")


def test_a_second_person_approves_and_who_began_it_cannot(open_page: Open, plant: Plant) -> None:
    ann, zoe = plant.token_of("ann", "deploy"), plant.token_of("zoe", "deploy")
    demand = '[[demand]]\nname = "two"\nnodes = ["node-b"]\napproval = true\n'
    plant.ask("POST", "/api/policy", json={"text": demand})
    try:
        deployment = begin(plant, upload(plant, source("1.3.0")), "immediate", by=ann)
    finally:
        plant.ask("POST", "/api/policy", json={"text": ""})
    own = open_page(f"/deployments/{deployment}", token=ann)
    expect(waits(own)).to_contain_text("Paused: a second person must agree. It waits for another person to approve it")
    expect(own.get_by_role("button", name="Cancel deployment")).to_be_visible()
    assert own.get_by_role("button", name="Approve").count() == 0
    admin = open_page(f"/deployments/{deployment}")
    expect(admin.get_by_role("button", name="Cancel deployment")).to_be_visible()
    assert admin.get_by_role("button", name="Approve").count() == 0, "who made the token of ann counts as ann"
    press(open_page(f"/deployments/{deployment}", token=zoe), "Approve")
    expect(waits(own)).to_have_text("It has succeeded and waits for nothing.")


def test_a_shadow_shows_what_it_would_decide_otherwise(open_page: Open, plant: Plant) -> None:
    other = upload(plant, source("1.4.0").replace("ticks % 2", "ticks % 4"))
    page = open_page(f"/deployments/{begin(plant, other, 'shadow', observeS=4)}")
    expect(waits(page)).to_have_text("It has succeeded and waits for nothing.")
    case = page.locator("section", has=page.get_by_role("heading", name="Decisions that would differ"))
    differing = case.get_by_role("listitem").first
    expect(differing).to_contain_text("The active program did: gpio.set_pin(LAMP")
    expect(differing).to_contain_text("The new version would do: gpio.set_pin(LAMP")
    assert other not in {*runs(plant, "node-a").values(), *runs(plant, "node-b").values()}


def test_a_refusal_is_shown_whole_and_a_plan_that_would_fail_offers_no_start(open_page: Open, plant: Plant) -> None:
    page = open_page("/deployments/new?rule=ticker")
    page.get_by_label("these", exact=True).check()
    page.get_by_label("Node", exact=True).fill("node-z")
    page.get_by_label("Node", exact=True).press("Enter")
    page.get_by_role("button", name="Dry run").click()
    refusal = page.get_by_role("alert").filter(has_text="Refused:")
    expect(refusal).to_contain_text("node-z")
    expect(refusal).to_contain_text("To do:")
    assert page.get_by_role("button", name="Start").count() == 0


def test_who_may_only_read_sees_no_buttons_and_is_refused(open_page: Open, plant: Plant) -> None:
    made = plant.ask("GET", "/api/deployments?limit=1")["deployments"][0]["id"]
    token = plant.token_of("watcher", "read")
    page = open_page(f"/deployments/{made}", token=token)
    expect(waits(page)).to_be_visible()
    assert page.locator("main .actions button").count() == 0
    page.goto("/deployments/new")
    expect(page.get_by_text("Your token may not deploy.")).to_be_visible()
    assert page.locator("main button").count() == 0
    page.goto("/rules/ticker")
    expect(page.get_by_role("table", name="Versions")).to_be_visible()
    assert page.get_by_role("link", name="Deploy version").count() == 0
    for path in (f"/api/deployments/{made}/retry", f"/api/deployments/{made}/cancel"):
        forced = page.context.request.post(path, headers={"X-Eyeflow-Request": "dashboard"})
        assert forced.json()["code"] == "forbidden"
    admin = open_page(f"/deployments/{made}")
    expect(admin.get_by_role("button", name="Retry")).to_be_visible()


def test_deployments_are_filtered_and_the_address_keeps_it(open_page: Open, plant: Plant) -> None:
    page = open_page("/deployments")
    table = page.get_by_role("table", name="Deployments")
    expect(table.get_by_role("row").filter(has_text="rare")).to_have_count(1)
    page.get_by_label("Strategy").select_option("rolling")
    expect(table.get_by_role("row")).to_have_count(2)
    assert "strategy=rolling" in page.url
    page.reload()
    expect(table.get_by_role("row")).to_have_count(2)
    table.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1, name="Deployment of rare")).to_be_visible()


def test_a_rule_shows_its_versions_limits_ranges_and_where_it_runs(open_page: Open, plant: Plant) -> None:
    program = upload(plant, source("3.0.0", "marked", MARKUP.replace('"', "'")), "marked")
    page = open_page("/rules")
    page.get_by_label("Name").fill("TICK")
    page.get_by_role("link", name="ticker").click()
    versions = page.get_by_role("table", name="Versions")
    expect(versions.get_by_role("row").filter(has_text="1.1.0")).to_contain_text("first-admin")
    versions.get_by_role("button", name="1.0.0").click()
    expect(page.get_by_role("heading", name="Version 1.0.0")).to_be_visible()
    assert "program=" in page.url
    level = page.get_by_role("table", name="Parameters").get_by_role("row").filter(has_text="level")
    expect(level).to_contain_text("0 to 10")
    expect(page.get_by_text("Instructions at most")).to_be_visible()
    place = page.get_by_role("table", name="Where it runs").get_by_role("row").filter(has_text="node-a")
    running = plant.ask("GET", f"/api/programs/{runs(plant, 'node-a')['ticker']}")["version"]
    expect(place).to_contain_text(f"active{running}")
    expect(place).to_contain_text("running")
    page.goto("/rules/marked")
    expect(page.get_by_text(MARKUP.replace('"', "'"))).to_be_visible()
    expect(page.get_by_text("It runs nowhere.")).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img, main script").count() == 0
    page.get_by_role("link", name="Deploy version 3.0.0").click()
    expect(page.get_by_label("Version")).to_have_value(program)
    page.goto(f"/rules/ticker?program={'0' * 64}")
    expect(page.get_by_role("alert").filter(has_text="Refused: No program has the id")).to_be_visible()
    page.goto("/rules/no_such_rule")
    expect(page.get_by_text("No program of a rule no_such_rule")).to_be_visible()


def test_a_rule_shows_how_the_tests_of_a_version_went(open_page: Open, plant: Plant) -> None:
    rule = plant.folder / "tested.eye"
    late = '    test "<b>late</b>" {\n        after 100ms expect no gpio.set_pin(LAMP, HIGH)\n    }\n}\n'
    rule.write_text(TICKER.replace("rule ticker", "rule tested").rstrip().removesuffix("}") + late)
    not_there = plant.eyeflow("test", rule, "--upload")
    assert not_there.code == 1 and "does not have the program" in not_there.err
    deployed = plant.eyeflow("deploy", rule, "--nodes", "node-b", "--json")
    assert deployed.code == 0 and "`<b>late</b>`" in deployed.err
    page = open_page("/rules/tested")
    tests = page.get_by_role("region", name="Tests of this version")
    expect(tests).to_contain_text("1 test failed")
    expect(tests).to_contain_text("1 test passed told by first-admin at")
    rows = tests.get_by_role("row")
    expect(rows.nth(1)).to_have_text(re.compile("^ticks.*passed"))
    expect(rows.nth(2)).to_have_text(re.compile("^<b>late</b>.*failed.*line [0-9]+: expected no"))
    plant.ask("PUT", f"/api/programs/{runs(plant, 'node-b')['tested']}/tests", json={"tests": []})
    expect(tests).to_contain_text("The rule has no tests.")
    assert plant.eyeflow("test", rule, "--upload").code == 1, "one fails"
    expect(tests).to_contain_text("1 test failed")
    assert plant.eyeflow("test", rule, "--upload", "-k", "ticks").code == 2
    upload(plant, source("3.1.0", "quiet"), "quiet")
    page.goto("/rules/quiet")
    expect(tests).to_contain_text("Nobody told how its tests went: eyeflow deploy RULE.eye does it")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_each_page(open_page: Open, plant: Plant, theme: str) -> None:
    failed = plant.ask("GET", "/api/deployments?state=failed&limit=1")["deployments"][0]["id"]
    page = open_page(color_scheme=theme, locale="fr-FR" if theme == "dark" else "en-GB")
    axe = Axe()
    for path in ("/deployments", f"/deployments/{failed}", "/deployments/new?rule=ticker", "/rules", "/rules/ticker"):
        page.goto(path)
        expect(page.locator("main :is(table, fieldset:has(select))").first).to_be_visible()
        assert axe.run(page).violations_count == 0, f"{path} {theme}\n{axe.run(page).generate_report()}"
        page.set_viewport_size({"width": 320, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, f"{path} needs more than 320 px"
        page.set_viewport_size({"width": 1280, "height": 800})
