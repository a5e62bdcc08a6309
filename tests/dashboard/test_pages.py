"""The dashboard in a real browser: signing in, what the pages show of a real cluster, and who can read them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from starlette.responses import Response

from components.http_server import serve
from components.waiting import wait_until

from .conftest import Open, Plant

PAGES = ("/", "/nodes", "/nodes/node-a", "/no/such/page")
MARKUP = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1, name=text)).to_be_visible()


def open_menu(page: Page) -> None:
    """Open what the name of the reader opens: who they are, colours, language, signing out."""
    page.locator("header .account summary").click()


def active(page: Page, text: str) -> None:
    expect(page.locator(".sums div").first).to_contain_text(text)


def test_signing_in_with_a_token_and_out(open_page: Open, plant: Plant) -> None:
    page = open_page("/nodes", token=None)
    heading(page, "Sign in")
    field = page.get_by_label("API token")
    field.fill("eft_wrong")
    field.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="no valid token")).to_be_visible()
    field.fill(f"  {plant.token} ")
    page.get_by_role("button", name="Sign in").click()
    heading(page, "Nodes")
    assert page.evaluate("document.cookie") == "", "no script reads the cookie"
    page.reload()
    heading(page, "Nodes")
    open_menu(page)
    page.get_by_role("button", name="Sign out", exact=True).click()
    heading(page, "Sign in")
    page.reload()
    heading(page, "Sign in")


def test_a_link_signs_in_once(open_page: Open, plant: Plant) -> None:
    link = plant.eyeflow("coordinator", "sign-in", "--json").json["link"]
    assert link.startswith(plant.url + "/sign-in#")
    page = open_page(link, token=None)
    heading(page, "Overview")
    assert page.url == f"{plant.url}/", "the code does not stay in the address"
    other = open_page(link, token=None)
    expect(other.get_by_role("alert").filter(has_text="used before")).to_be_visible()
    heading(other, "Sign in")


def test_two_tabs_see_the_same_and_signing_out_everywhere_ends_both(open_page: Open, plant: Plant) -> None:
    token = plant.token_of("both", "read")
    one, two = open_page(token=token), open_page("/nodes", token=token)
    heading(one, "Overview")
    heading(two, "Nodes")
    open_menu(one)
    one.get_by_role("button", name="Sign out in all browsers").click()
    heading(one, "Sign in")
    heading(two, "Sign in")
    expect(two.get_by_role("alert").filter(has_text="session has ended")).to_be_visible()


def test_a_session_ends_with_its_token_and_the_page_says_so(open_page: Open, plant: Plant) -> None:
    token = plant.token_of("short", "read")
    page = open_page(token=token)
    heading(page, "Overview")
    plant.ask("DELETE", f"/api/tokens/{token.split('_')[1]}")
    expect(page.get_by_role("alert").filter(has_text="was revoked")).to_be_visible()
    heading(page, "Sign in")


def test_a_session_that_expires_is_told(open_page: Open, plant: Plant) -> None:
    token = plant.token_of("soon", "read", validS=3)
    page = open_page(token=token)
    expect(page.get_by_role("alert").filter(has_text="has expired")).to_be_visible()
    heading(page, "Sign in")


def test_a_command_signs_all_browsers_out(open_page: Open, plant: Plant) -> None:
    page = open_page()
    heading(page, "Overview")
    assert plant.eyeflow("coordinator", "sign-out").code == 0
    heading(page, "Sign in")


def test_a_token_for_some_nodes_sees_these_only(open_page: Open, plant: Plant) -> None:
    plant.ask("PUT", "/api/nodes/node-a/labels", json={"labels": {"site": "paris"}})
    page = open_page(token=plant.token_of("paris", "read", labels={"site": "paris"}))
    active(page, "1/1")
    expect(page.get_by_role("rowheader")).to_have_text(["node-a"])
    assert page.get_by_role("figure").count() == 0, "the curves are of all nodes"
    page.goto("/nodes/node-b")
    expect(page.get_by_role("alert").filter(has_text="No node that this token is for")).to_be_visible()


def test_who_may_only_read_sees_no_buttons(open_page: Open, plant: Plant) -> None:
    reader = open_page("/nodes/node-a", token=plant.token_of("reader", "read"))
    heading(reader, "node-a")
    expect(reader.get_by_role("heading", name="Programs by slot")).to_be_visible()
    assert reader.get_by_role("button", name="Drain").count() == 0
    forced = reader.context.request.post("/api/nodes/node-a/drain", headers={"X-Eyeflow-Request": "dashboard"})
    assert forced.json()["code"] == "forbidden", "the coordinator refuses anyway"
    deployer = open_page("/nodes/node-a", token=plant.token_of("deployer", "deploy"))
    expect(deployer.get_by_role("button", name="Drain")).to_be_visible()


def test_the_overview_shows_a_node_that_dies_and_comes_back(open_page: Open, plant: Plant) -> None:
    page = open_page()
    active(page, "2/2")
    expect(page.get_by_text("Nothing: all nodes are heard")).to_be_visible()
    plant.stop("node-b", 9)
    trouble = page.get_by_role("listitem").filter(has_text="Node node-b is offline")
    expect(trouble).to_contain_text("since")
    expect(trouble).to_contain_text("To do: see on that machine whether it runs")
    active(page, "1/2")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="node-b"))
    expect(row).to_contain_text("offline")
    expect(row).to_contain_text("when heard last")
    trouble.get_by_role("link").click()
    heading(page, "node-b")
    expect(trouble).to_contain_text("To do: see on that machine whether it runs")
    parts = page.get_by_role("table", name="Sources, drivers")
    expect(parts.get_by_role("row").nth(1)).to_contain_text("running, when heard last")
    page.go_back()
    active(page, "1/2")
    plant.start_node("node-b")
    active(page, "2/2")
    expect(trouble).to_have_count(0)
    expect(row).to_contain_text("fine")


def test_a_node_tells_what_it_runs_and_what_was_done(open_page: Open, plant: Plant) -> None:
    page = open_page("/nodes/node-a")
    programs = page.get_by_role("table", name="Programs by slot")
    row = programs.get_by_role("row").filter(has_text="ticker")
    expect(row).to_contain_text("active")
    expect(row).to_contain_text("running")
    expect(page.get_by_role("table", name="Sources, drivers")).to_contain_text("gpio")
    expect(page.get_by_role("table", name="Last executions")).to_contain_text("gpio.set_pin(LAMP")
    expect(page.get_by_role("table", name="What was done with it")).to_contain_text("join")
    expect(page.get_by_text("Cosigned by the coordinator")).to_be_visible()
    moment = page.locator("time").first
    assert re.search(r"\d{2}:\d{2}:\d{2} UTC$", moment.get_attribute("title") or "")
    moment.focus()
    assert "UTC" in moment.evaluate("one => getComputedStyle(one, '::after').content"), "by the keyboard, too"


def test_a_button_does_it_and_the_page_shows_it(open_page: Open, plant: Plant) -> None:
    page = open_page("/nodes/node-b")
    page.get_by_role("button", name="Drain").click()
    page.get_by_role("group", name="Take all rules off this node?").get_by_role("button", name="Drain").click()
    expect(page.get_by_role("button", name="Undrain")).to_be_visible()
    assert plant.ask("GET", "/api/nodes/node-b")["drainedUs"] > 0
    page.get_by_role("button", name="Undrain").click()
    expect(page.get_by_role("button", name="Drain", exact=True)).to_be_visible()
    assert plant.ask("GET", "/api/nodes/node-b")["drainedUs"] == 0


def test_labels_are_changed_and_a_refusal_keeps_what_was_typed(open_page: Open, plant: Plant) -> None:
    page = open_page("/nodes/node-b")
    page.get_by_text("Change labels").click()
    field = page.get_by_role("textbox", name="Labels")
    field.fill("site=lyon line")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="Refused:")).to_be_visible()
    expect(field).to_have_value("site=lyon line")
    field.fill("site=lyon line=3")
    field.press("Enter")
    expect(page.get_by_role("definition").filter(has_text="line=3 site=lyon")).to_be_visible()
    assert plant.ask("GET", "/api/nodes/node-b")["labels"] == {"site": "lyon", "line": "3"}


def test_what_was_chosen_of_the_nodes_stands_in_the_address(open_page: Open, plant: Plant) -> None:
    plant.ask("PUT", "/api/nodes/node-b/labels", json={"labels": {"site": "lyon"}})
    page = open_page("/nodes")
    table = page.get_by_role("table", name="Nodes")
    expect(table.get_by_role("rowheader")).to_have_text(["node-a", "node-b"])
    page.get_by_label("Label").fill("site=lyon")
    page.get_by_role("button", name="Add").click()
    expect(table.get_by_role("rowheader")).to_have_text(["node-b"])
    assert "label=site%3Dlyon" in page.url
    page.reload()
    expect(table.get_by_role("rowheader")).to_have_text(["node-b"])
    page.get_by_role("button", name="site=lyon").click()
    expect(table.get_by_role("rowheader")).to_have_text(["node-a", "node-b"])
    page.get_by_role("button", name="Executions a minute").click()
    expect(table.get_by_role("columnheader", name="Executions a minute")).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Name").fill("NODE-A")
    expect(table.get_by_role("rowheader")).to_have_text(["node-a"])
    assert "sort=executions" in page.url and "name=NODE-A" in page.url


def test_a_lost_connection_is_told_and_nothing_stale_looks_fresh(open_page: Open, plant: Plant) -> None:
    page = open_page()
    active(page, "2/2")
    plant.stop("coordinator", 9)
    bar = page.get_by_role("status").filter(has_text="Connection lost. What you see is from")
    expect(bar).to_be_visible()
    assert re.search(r"from \d{2}:\d{2}:\d{2}", bar.inner_text())
    expect(page.locator("main.stale")).to_be_visible()
    plant.begin()
    expect(page.get_by_role("status").filter(has_text="Connected")).to_be_attached()
    expect(page.locator("main.stale")).to_have_count(0)
    active(page, "2/2")


def test_an_address_that_is_none_says_what_to_do(open_page: Open) -> None:
    page = open_page("/deployments/d-old/x?y=1")
    heading(page, "No such page")
    page.get_by_role("link", name="Go to the overview").click()
    heading(page, "Overview")
    assert page.evaluate("document.activeElement.textContent") == "Overview", "the focus goes along"
    page.go_back()
    heading(page, "No such page")


def test_markup_of_others_is_shown_and_never_run(open_page: Open, plant: Plant) -> None:
    plant.ask("POST", "/api/nodes/node-b/quarantine", json={"reason": MARKUP})
    try:
        for path in ("/", "/nodes/node-b"):
            page = open_page(path)
            expect(page.get_by_text(MARKUP).first).to_be_visible()
            assert page.evaluate("window.hurt") is None
            assert page.locator("main img, main script").count() == 0
    finally:
        plant.ask("POST", "/api/nodes/node-b/accept")


def test_a_page_of_another_port_does_nothing_with_the_session(open_page: Open, plant: Plant) -> None:
    """The cookie goes along to the same host, whatever SameSite says: only the guard is left."""
    page = open_page("/nodes/node-b")
    heading(page, "node-b")
    with serve(lambda *_: Response("<!doctype html><title>evil</title>", media_type="text/html")) as address:
        evil = page.context.new_page()
        evil.goto(address)
        sent = "fetch(%r, {method: 'POST', mode: 'no-cors', credentials: 'include'}).then(() => 1)"
        assert evil.evaluate(sent % f"{plant.url}/api/nodes/node-b/drain") == 1, "it was sent"
    assert plant.ask("GET", "/api/nodes/node-b")["drainedUs"] == 0
    own = sent.replace("'POST',", "'POST', headers: {'X-Eyeflow-Request': 'dashboard'},").replace(
        "no-cors", "same-origin"
    )
    assert page.evaluate(own % "/api/nodes/node-b/drain") == 1
    assert plant.ask("GET", "/api/nodes/node-b")["drainedUs"] > 0, "the control: an own page may"
    plant.ask("POST", "/api/nodes/node-b/undrain")


def test_cookies_that_the_browser_refuses_are_told(open_page: Open, plant: Plant) -> None:
    page = open_page(token=None)

    def without_cookie(route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        body = httpx.post(f"{plant.url}/api/session", json={"token": plant.token}, trust_env=False).text
        route.fulfill(status=201, body=body, content_type="application/json")

    page.route("**/api/session", without_cookie)
    page.get_by_label("API token").fill(plant.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="did not keep the cookie")).to_be_visible()


def test_an_old_browser_and_one_without_scripts_get_a_sentence(open_page: Open) -> None:
    old = open_page(token=None, script="delete Object.hasOwn")
    expect(old.get_by_text("This browser is too old for the dashboard.")).to_be_visible()
    assert old.locator("#app *").count() == 0
    none = open_page(token=None, java_script_enabled=False)
    expect(none.locator("noscript p").first).to_be_visible()


def test_french_and_english(open_page: Open) -> None:
    page = open_page(locale="fr-FR")
    heading(page, "Vue d’ensemble")
    assert page.evaluate("document.documentElement.lang") == "fr"
    open_menu(page)
    page.get_by_label("Langue").select_option("en")
    heading(page, "Overview")
    page.reload()
    heading(page, "Overview")
    open_menu(page)
    page.get_by_label("Language").select_option("fr")
    active(page, "Nœuds actifs")


@pytest.mark.parametrize("locale", ["en-GB", "fr-FR"])
def test_the_head_of_the_page_is_one_row(open_page: Open, locale: str) -> None:
    page = open_page(locale=locale, viewport={"width": 1280, "height": 800})
    active(page, "2/2")
    one_row = "(() => { const tops = [...document.querySelectorAll('.brand, nav a, .badge, .account summary')]"
    one_row += ".filter((one) => one.closest('header')).map((one) => one.getBoundingClientRect());"
    one_row += "return Math.max(...tops.map((one) => one.top)) < Math.min(...tops.map((one) => one.bottom)); })()"
    assert page.evaluate(one_row)
    page.set_viewport_size({"width": 320, "height": 700})
    assert not page.evaluate(one_row), "the control: there it wraps"
    open_menu(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_each_page(open_page: Open, theme: str) -> None:
    axe = Axe()
    page = open_page(color_scheme=theme)
    for path in PAGES:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if path != PAGES[-1]:
            expect(page.get_by_role("table").first).to_be_attached()
        found = axe.run(page)
        assert found.violations_count == 0, f"{path} {theme}\n{found.generate_report()}"
        page.set_viewport_size({"width": 320, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, f"{path} needs more than 320 px"
        page.set_viewport_size({"width": 1280, "height": 800})
    out = open_page(token=None, color_scheme=theme)
    heading(out, "Sign in")
    assert axe.run(out).violations_count == 0
    out.evaluate(
        "const one = document.querySelector('main label'); one.style.color = '#777'; one.style.background = '#888'"
    )
    assert axe.run(out).violations_count > 0, "the control: unreadable text is found"


def test_a_theme_is_chosen_and_stays(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    open_menu(page)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.reload()
    heading(page, "Overview")
    assert page.evaluate(ground) == dark


def test_the_keyboard_reaches_the_pages(open_page: Open) -> None:
    page = open_page()
    heading(page, "Overview")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Nodes":
            break
    page.keyboard.press("Enter")
    heading(page, "Nodes")
    wait_until(lambda: page.evaluate("document.activeElement.tagName") == "H1", "the focus is on the heading")
