"""`make pictures`: pictures of the dashboard's pages for the documentation, taken of a real run of the demo.

They are taken in Debian's chromium. What they show changes with each run: whoever takes new ones looks at them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PATIENCE_S = 120.0
MINUTES = 3
"""The curves have a point for each minute."""
LINK = re.compile(r"https?://\S+/sign-in#[0-9a-f]+")


@contextmanager
def demo() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demo and leave it running; gives its process and a link that signs in."""
    command = [sys.executable, str(ROOT / "scripts" / "demo.py")]
    environment = os.environ | {"KEEP": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, _link(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _link(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = ""
    for line in process.stdout:
        found = match[0] if (match := LINK.search(line)) else found
        if "until you press Ctrl-C" in line:
            return found
    raise SystemExit("the demo ended before it stayed: run `make demo KEEP=1` to see why")


def stop_node(process: subprocess.Popen[str], name: str) -> None:
    """End a node of the demo, so that there is something to see."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if f"demo-data/{name}/" in " ".join(child.cmdline()):
            child.terminate()


def wait_for_curves(page: Page, address: str) -> None:
    """Wait until the curve has some points."""
    ends = time.monotonic() + 60 * (MINUTES + 1)
    while len(page.request.get(f"{address}/api/trend").json()["points"]) < MINUTES and time.monotonic() < ends:
        time.sleep(2)


def deployment(page: Page, address: str) -> str:
    """Return the newest deployment."""
    return str(page.request.get(f"{address}/api/deployments?limit=1").json()["deployments"][0]["id"])


def switching(page: Page, address: str) -> str:
    """Return the execution in which the relay switched."""
    found = page.request.get(f"{address}/api/executions?rule=overheat_relay&action=log.warn&limit=1").json()
    return str(found["executions"][0]["id"])


def take(page: Page, name: str, path: str, address: str) -> None:
    """Take a picture of one page, once it has what it shows."""
    page.goto(address + path)
    expect(page.locator("main h2, main table").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}: {(IMAGES / name).stat().st_size // 1024} KB", flush=True)


def main() -> int:
    """Take all pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("pictures need Debian's chromium: scripts/install-test-deps.sh", file=sys.stderr)
        return 3
    with demo() as (process, link), sync_playwright() as playwright:
        address = link.partition("/sign-in")[0]
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 800}, locale="en-GB", color_scheme="light")
        page.goto(link)
        expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
        print(f"waiting {MINUTES} minutes for the curves ...", flush=True)
        wait_for_curves(page, address)
        stop_node(process, "node-b")
        expect(page.get_by_text("Node node-b is offline")).to_be_visible(timeout=PATIENCE_S * 1000)
        take(page, "dashboard-overview.png", "/", address)
        take(page, "dashboard-node.png", "/nodes/node-a", address)
        take(page, "dashboard-deployment.png", f"/deployments/{deployment(page, address)}", address)
        take(page, "dashboard-why.png", f"/executions/{quote(switching(page, address), safe='')}", address)
        page.emulate_media(color_scheme="dark")
        take(page, "dashboard-nodes.png", "/nodes", address)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
