"""The page of the REST API: whole, harmless, and readable without the internet."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from typing import Any

from eyeflow.coordinator import openapi
from eyeflow.coordinator.docs_page import page

VOID = {"meta"}


class Read(HTMLParser):
    """Reads the page as strictly as a test may: each element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.text = self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.attributes |= found.keys()
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links |= {found["href"] or ""} if "href" in found else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


def read(text: str) -> Read:
    found = Read()
    found.feed(text)
    found.close()
    assert not found.open
    return found


def test_the_page_has_every_path_and_object_and_its_links_lead_somewhere(api: Any) -> None:
    reply = api.client.get("/api/docs")
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/html")
    found, whole = read(reply.text), openapi.document()
    for path, methods in whole["paths"].items():
        assert path in found.text
        assert {one["operationId"] for one in methods.values()} <= set(found.ids)
    assert whole["components"]["schemas"].keys() <= set(found.ids)
    assert len(found.ids) == len(set(found.ids)), "no id stands there twice"
    assert found.links <= {f"#{one}" for one in found.ids}, "and none leads out of the page"
    assert len(reply.text) < 400_000


def test_the_browser_may_load_and_run_nothing(api: Any) -> None:
    reply = api.client.get("/api/docs")
    found, policy = read(reply.text), reply.headers["content-security-policy"]
    assert "script" not in found.tags and not any(name.startswith("on") or name == "style" for name in found.attributes)
    assert "src" not in found.attributes and "url(" not in found.style and "@import" not in found.style
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; "), "the style is the one it allows"
    assert "frame-ancestors 'none'" in policy and reply.headers["x-content-type-options"] == "nosniff"


def test_markup_in_a_text_is_shown_and_not_taken(monkeypatch: Any) -> None:
    whole = openapi.document()
    whole["info"]["description"] = "<script>alert(1)</script> & `a<b`"
    monkeypatch.setattr("eyeflow.coordinator.docs_page.document", lambda: whole)
    found = read(page.__wrapped__())
    assert "script" not in found.tags and "<script>alert(1)</script> & a<b" in found.text
