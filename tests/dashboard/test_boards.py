"""A simulated board behind a real node, in a real browser: its flash, its gateway, and what one sees when its line ends.

The board speaks its real link over a serial line, and runs what it is given; tests/emulated has the real firmware.
"""

from __future__ import annotations

import re
from contextlib import ExitStack

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cli.test_boards import BOARD, RULE
from components.board_double import BoardDouble, plugged_in
from components.waiting import wait_until

from .conftest import Open, Plant


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
        deployed = plant.eyeflow("deploy", RULE, "--nodes", "press")
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
        program = (
            page.get_by_role("table", name="Programs by slot").get_by_role("row").filter(has_text="overheat_relay")
        )
        expect(program).to_contain_text("running")
        assert Axe().run(page).violations_count == 0
    lost = open_page()
    wrong = lost.locator(".troubles li").filter(has_text="press")
    expect(wrong).to_contain_text("since")
    expect(wrong).to_contain_text("To do: look at the gateway node-b and the cable of the board")
    page.get_by_role("definition").get_by_role("link", name="node-b").click()
    expect(page.get_by_role("heading", level=1, name="node-b")).to_be_visible()
    expect(behind).not_to_contain_text("fine")
