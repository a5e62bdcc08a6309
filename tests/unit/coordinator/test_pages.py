"""The dashboard as the coordinator serves it: the page for each address, files with tags, a strict policy."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from eyeflow.coordinator import pages

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/", "/nodes", "/nodes/node-a", "/deployments/d-1", "/no/such/page", "/sign-in"])
def test_each_address_of_a_page_gives_the_page(api: Any, path: str) -> None:
    reply = api.client.get(path, headers=HTML)
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.content == pages.files()["index.html"].data
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert reply.headers["x-content-type-options"] == "nosniff" and reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/no-such-path", HTML),
        ("GET", "/api/", HTML),
        ("POST", "/nodes", HTML),
        ("GET", "/nodes", {}),
        ("GET", "/../serve.py", {}),
        ("GET", "/%2e%2e/serve.py", {}),
        ("GET", "/dashboard/app.js", {}),
    ],
)
def test_what_is_no_page_stays_a_problem(api: Any, method: str, path: str, headers: dict[str, str]) -> None:
    reply = api.client.request(method, path, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


def test_a_file_is_sent_once_and_small(api: Any) -> None:
    file = pages.files()["app.js"]
    plain = api.client.get("/app.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == file.data and "content-encoding" not in plain.headers
    assert plain.headers["content-type"].startswith("text/javascript")
    small = api.client.get("/app.js", headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip" and small.content == file.data
    assert gzip.decompress(file.compressed) == file.data
    assert small.headers["etag"] != plain.headers["etag"]
    again = api.client.get("/app.js", headers={"If-None-Match": plain.headers["etag"], "Accept-Encoding": "identity"})
    assert (again.status_code, again.content) == (304, b"") and again.headers["etag"] == plain.headers["etag"]
    head = api.client.request("HEAD", "/app.js", headers={"Accept-Encoding": "identity"})
    assert head.status_code == 200 and head.headers["content-length"] == str(len(file.data))
