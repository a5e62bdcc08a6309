"""A simulated board behind a real node, in a real browser: its flash, its gateway, and what one sees when its line ends.

The board speaks its real link over a serial line, and runs what it is given; tests/emulated has the real firmware.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from cli.test_boards import BOARD
from cli.test_first_path import TICKER
from components.board_double import BoardDouble, plugged_in
from components.waiting import wait_until

from .conftest import Open, Plant
from .test_rollouts import press as press_button


def test_a_board_is_seen_with_its_flash_behind_its_gateway_and_when_its_line_is_lost(
    open_page: Open, plant: Plant
) -> None:
    board_file = plant.folder / "board.toml"
    board_file.write_text(BOARD)
    with ExitStack() as line:
        port = line.enter_context(plugged_in(BoardDouble()))
        config = ("--config", plant.config("node-b"))
        adopted = plant.eyeflow("node", "boards", "adopt", port, "--name", "press", "--board", board_file, *config)
        assert adopted.code == 0, adopted.err
        row = lambda: next((one for one in plant.ask("GET", "/api/nodes")["nodes"] if one["name"] == "press"), None)  # noqa: E731
        wait_until(lambda: (found := row()) and found["connected"] and found["board"]["hasBoardFile"], "it is there")
        rule = plant.folder / "blink.eye"
        rule.write_text(TICKER.replace("LAMP", "RELAY").replace("rule ticker", "rule blink"))
        deployed = plant.eyeflow("deploy", rule, "--nodes", "node-b,press")
        assert deployed.code == 0, deployed.err

        page = open_page()
        nodes = page.get_by_role("table", name="Nodes, the worst first")
        press = nodes.get_by_role("row").filter(has_text="press")
        expect(press).to_contain_text("fine")
        expect(press.locator('[data-title="Memory"]')).to_have_text(re.compile(r"flash [\d.]+\s%"))
        expect(press.locator('[data-title="Rules"]')).to_have_text("1")
        page.goto("/nodes/node-b")
        behind = page.get_by_role("table", name="Boards behind this node").get_by_role("row").filter(has_text="press")
        expect(behind).to_contain_text("fine")
        expect(behind.locator('[data-title="Flash"]')).to_have_text(re.compile(r"[\d.]+\s%"))
        behind.get_by_role("link", name="press").click()
        expect(page.get_by_role("heading", level=1, name="press")).to_be_visible()
        expect(page.get_by_role("definition").filter(has_text="online, flash")).to_be_visible()
        program = page.get_by_role("table", name="Programs by slot").get_by_role("row").filter(has_text="blink")
        expect(program).to_contain_text("running")
        assert Axe().run(page).violations_count == 0
        a_deployment_is_begun_on_the_page_to_a_node_and_a_board(open_page(), plant)
    lost = open_page()
    wrong = lost.locator(".troubles li").filter(has_text="press")
    expect(wrong).to_contain_text("since")
    expect(wrong).to_contain_text("To do: look at the gateway node-b and the cable of the board")
    page.get_by_role("definition").get_by_role("link", name="node-b").click()
    expect(page.get_by_role("heading", level=1, name="node-b")).to_be_visible()
    expect(behind).not_to_contain_text("fine")


def a_deployment_is_begun_on_the_page_to_a_node_and_a_board(page: Page, plant: Plant) -> None:
    """Each gets the program for its chip: the page names both, of one version, unless somebody chooses otherwise."""
    page.goto("/deployments/new?rule=blink")
    page.get_by_label("these", exact=True).check()
    for name in ("node-a", "press"):
        page.get_by_label("Node", exact=True).fill(name)
        page.get_by_role("button", name="Add: Node").click()
    page.get_by_label("Strategy").select_option("immediate")
    of_boards = page.get_by_label("On boards with STM32F401CC")
    expect(of_boards.locator("option:checked")).to_contain_text("1.0.0 (STM32F401CC, ")
    own = of_boards.input_value()
    of_boards.select_option("nothing")
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("comes for that: give the one that is compiled for it")).to_be_visible()
    of_boards.select_option(own)
    page.get_by_role("button", name="Dry run").click()
    plan = page.get_by_role("table", name="What becomes of each node")
    expect(plan.get_by_role("row").filter(has_text="node-a")).to_contain_text("blink")
    press_button(page, "Start")
    expect(page.locator(".standing")).to_contain_text("succeeded")
    wanted = {one["name"]: _wanted(one) for one in plant.ask("GET", "/api/nodes")["nodes"]}
    assert wanted["press"] == own and wanted["node-a"] == wanted["node-b"] != own, wanted


def _wanted(node: Any) -> str:
    return next(one["wanted"]["programId"] for one in node["rules"] if one["rule"] == "blink")
