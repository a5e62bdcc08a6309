"""`make demo KEEP=1`: it leaves its cluster to look around, prints a link that signs in once, and ends cleanly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil
import pytest
from playwright.sync_api import Browser, expect

from components.waiting import wait_until

ROOT = Path(__file__).parents[2]
HEARS_CTRL_C = (
    "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.argv[:] = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""A shell that starts the tests in the background has them, and so the demo, ignore Ctrl-C."""
LONG_S = 600.0
"""The demo waits for its own steps, and says in which it waited in vain."""
LINK = re.compile(r"http://127\.0\.0\.1:\d+/sign-in#[0-9a-f]+")


@dataclass
class Demo:
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def daemons(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """The demo in a folder of its own: it works beside its script, and would replace what somebody looks at."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "demo.py", tmp_path / "scripts")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {"KEEP": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-c", HEARS_CTRL_C, str(script)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    made = Demo(subprocess.Popen(command, env=environment, **output))  # type: ignore[call-overload]
    reader = Thread(target=made.read)
    reader.start()
    try:
        yield made
    finally:
        if made.process.poll() is None:
            for daemon in made.daemons():
                daemon.kill()
            made.process.kill()
        made.process.wait()
        reader.join()
        assert made.process.stdout is not None
        made.process.stdout.close()


def test_the_demo_stays_until_somebody_ends_it(demo: Demo, browser: Browser) -> None:
    stays = "The cluster runs until you press Ctrl-C"
    wait_until(lambda: stays in demo.said or demo.process.poll() is not None, "the demo stays", LONG_S)
    assert demo.process.poll() is None, demo.said
    (link,) = LINK.findall(demo.said)
    page = browser.new_page()
    page.goto(link)
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    expect(page.locator(".sums div").first).to_contain_text("2/2")
    page.get_by_role("link", name="Rules", exact=True).click()
    expect(page.get_by_role("link", name="overheat_relay")).to_be_visible()
    page.close()
    again = browser.new_context().new_page()
    again.goto(link)
    expect(again.get_by_role("alert").filter(has_text="used before")).to_be_visible()
    again.context.close()
    daemons = demo.daemons()
    assert len(daemons) >= 3, "a coordinator and two nodes"
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(LONG_S) == 0, demo.said
    assert not [one for one in daemons if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert "Done in" in demo.said and "everything was shut down" in demo.said
    assert "Traceback" not in demo.said
