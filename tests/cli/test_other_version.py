"""Commands of this version against a coordinator of another one: what, why and what to do, and never a bug report."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .conftest import Command

ENVIRONMENT = 3
COMMANDS = [
    ("status",),
    ("status", "--watch", "--json"),
    ("nodes",),
    ("nodes", "show", "a"),
    ("deployments",),
    ("deployments", "watch", "d-1"),
    ("deploy", "lamp.svm", "--all"),
    ("remove", "lamp", "--all"),
    ("tokens", "list"),
    ("tokens", "revoke", "ci"),
    ("coordinator", "log"),
    ("coordinator", "join-token"),
]


class Other(BaseHTTPRequestHandler):
    """Answers each request with an object that has none of the members of this version, or one of them."""

    def do_GET(self) -> None:
        whole = {"status": "ok", "nodes": [{"name": "a"}], "deployments": [{"id": "d-1"}], "entries": [{"number": 1}]}
        body = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None: ...


class Older(Other):
    """Knows none of the paths."""

    def do_GET(self) -> None:
        body = json.dumps(
            {"code": "not_found", "detail": f"{self.command} {self.path}: see /api/openapi.json."}
        ).encode()
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815


@pytest.fixture(params=[Other, Older], ids=["other answers", "no such paths"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_command_says_that_the_coordinator_is_of_another_version(
    eyeflow: Command, url: str, tmp_path: Path
) -> None:
    rule = tmp_path / "lamp.eye"
    rule.write_text('rule lamp {\n    version "1.0.0"\n\n    on every 1s\n\n    log.info("on")\n}\n')
    assert eyeflow("keys", "new").code == 0
    assert eyeflow("compile", rule, "--sign", "default").code == 0
    for command in COMMANDS:
        ran = eyeflow(*command, env={"EYEFLOW_COORDINATOR": url, "EYEFLOW_TOKEN": "eft_x"})
        assert ran.code == ENVIRONMENT, (command, ran.out, ran.err)
        assert "the coordinator is of another version of eyeflow than this command" in ran.out + ran.err, (command, ran)
        assert "bring the coordinator up" in ran.out + ran.err
