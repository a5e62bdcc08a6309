"""A real coordinator with real nodes, and a real browser that looks at it. Both serve all tests of a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from cli.conftest import command_in, environment_of
from cli.test_first_path import TICKER, Cluster

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 60_000
"""Far beyond what a page needs: only a hang reaches it."""


class Plant(Cluster):
    """A cluster with the API of its coordinator at hand. It is sparing with commands: each is a process."""

    def __init__(self, folder: Path) -> None:
        (folder / "home").mkdir()
        environment = environment_of(folder / "home")
        super().__init__(command_in(environment, folder), environment, folder)
        self.port, self.token = 0, ""

    def begin(self) -> None:
        """Start the coordinator, also again: at the same address."""
        self.coordinator(self.port)
        self.port = int(self.url.rsplit(":", 1)[1])
        self.token = next(self.folder.glob("home/**/admin-token")).read_text().strip()

    def ask(self, method: str, path: str, **request: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **request.pop("headers", {})}
        reply = httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=60, **request)
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    def add_node(self, name: str) -> None:
        token = self.ask("POST", "/api/nodes/join-tokens", json={})["token"]
        for words in (("node", "init", name, "--out"), ("node", "join", self.url, "--token", token, "--config")):
            ran = self.eyeflow(*words, self.config(name))
            assert ran.code == 0, ran.err
        self.start_node(name)

    def start_node(self, name: str) -> None:
        self.start(name, "node", "start", "--config", str(self.config(name)))

    def deploy(self, *nodes: str) -> None:
        rule = self.folder / "ticker.eye"
        rule.write_text(TICKER)
        ran = self.eyeflow("deploy", rule, "--nodes", ",".join(nodes), "--json")
        assert ran.code == 0, ran.err

    def token_of(self, name: str, role: str, **more: Any) -> str:
        return str(self.ask("POST", "/api/tokens", json={"name": name, "role": role, **more})["token"])


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Two nodes; node-a runs a rule."""
    made = Plant(tmp_path_factory.mktemp("plant"))
    try:
        assert made.eyeflow("keys", "new").code == 0
        made.begin()
        for name in ("node-a", "node-b"):
            made.add_node(name)
        made.deploy("node-a")
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file: it keeps an event loop, which other files must not find."""
    assert CHROMIUM, "the tests need Debian's chromium: scripts/install-test-deps.sh"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


BROWSER_WORDS = ("net::ERR_", "the server responded with a status of 4", "WebSocket connection to")
"""What the browser says by itself of a coordinator that is away, and of what it refuses."""
FAILED = pytest.StashKey[bool]()
Open = Callable[..., Page]


@pytest.fixture
def open_page(plant: Plant, browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens pages, each in a browser profile of its own. What the page complains of fails the test.

    A failure leaves a picture of each page.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    borne = set(BROWSER_WORDS)

    def opened(path: str = "/", token: str | None = "", script: str = "", bears: str = "", **options: Any) -> Page:
        """`token` empty: that of the admin, None: nobody has signed in. `bears`: a complaint that belongs to the test."""
        borne.update([bears] if bears else [])
        context = browser.new_context(base_url=plant.url, locale=options.pop("locale", "en-GB"), **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        if token is not None:
            done = context.request.post("/api/session", data={"token": token or plant.token})
            assert done.status == 201, done.text()
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield opened
    if request.node.stash.get(FAILED, True):
        for number, page in enumerate(page for context in contexts for page in context.pages):
            picture = tmp_path / f"failure-{number}.png"
            page.screenshot(path=picture, full_page=True)
            print(f"picture of the page: {picture}; it complained of: {complaints}")
    for context in contexts:
        context.close()
    unexpected = [one for one in complaints if not any(part in one for part in borne)]
    assert not unexpected, unexpected
