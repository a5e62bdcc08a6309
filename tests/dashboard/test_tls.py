"""The dashboard of a coordinator with a CA of its own: the cookie is for this host alone, over TLS alone."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from .conftest import Plant


def test_a_session_over_tls(browser: Browser, tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    try:
        made = plant.eyeflow("coordinator", "init", "--name", "127.0.0.1")
        assert made.code == 0, made.err
        plant.begin()
        link = plant.eyeflow("coordinator", "sign-in", "--json").json["link"]
        assert link.startswith("https://")
        context = browser.new_context(ignore_https_errors=True, locale="en-GB")
        page = context.new_page()
        page.goto(link)
        expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
        expect(page.locator("header .badge.good")).to_have_text("✓ connected")
        (cookie,) = context.cookies()
        told = {name: cookie[name] for name in ("name", "secure", "httpOnly", "sameSite", "path")}  # type: ignore[literal-required]
        assert told == {"name": "__Host-eyeflow", "secure": True, "httpOnly": True, "sameSite": "Strict", "path": "/"}
        context.close()
    finally:
        for process in plant.running.values():
            process.kill()
            process.wait()
