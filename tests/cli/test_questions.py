"""Secrets that are asked for: without a terminal the command says where else it takes them, and has done nothing yet."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from .conftest import Command
from .test_first_path import Cluster, cluster

__all__ = ["cluster"]


def test_a_passphrase_needs_a_terminal_or_the_environment(eyeflow: Command, home: Path) -> None:
    asked = eyeflow("keys", "new", "--passphrase")
    assert (asked.code, asked.out) == (2, "")
    assert asked.err.startswith("error: nobody can be asked for the passphrase\n") and "EYEFLOW_PASSPHRASE" in asked.err
    assert list(home.rglob("*.pem")) == []
    given = {"EYEFLOW_PASSPHRASE": "correct horse"}
    assert eyeflow("keys", "new", "--passphrase", env=given).code == 0
    assert b"ENCRYPTED" in next(home.rglob("*.pem")).read_bytes()


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("127.0.0.1:7700", 2, "must begin with http"),
        ("http://127.0.0.1:1", 3, "Connection refused"),
    ],
)
def test_login_looks_at_the_url_before_it_asks(eyeflow: Command, url: str, code: int, why: str) -> None:
    ran = eyeflow("coordinator", "login", url)
    assert ran.code == code and why in ran.err and "token" not in ran.err


def test_login_tells_no_token_to_what_is_no_coordinator(eyeflow: Command) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        ran = eyeflow("coordinator", "login", url, env={"EYEFLOW_TOKEN": "eft_secret"})
        thread.join()
    assert ran.code == 3 and "does not answer like an eyeflow coordinator" in ran.err
    assert b"GET /healthz" in heard[0] and b"eft_secret" not in heard[0]


def test_login_and_a_key_that_the_cluster_refuses(cluster: Cluster, eyeflow: Command, home: Path) -> None:
    assert eyeflow("keys", "new").code == 0
    url = cluster.coordinator()
    asked = eyeflow("coordinator", "login", url)
    assert asked.code == 2 and "EYEFLOW_TOKEN" in asked.err
    for token, said in (("wrong", "token"), ("a b", "this is no API token")):
        ran = eyeflow("coordinator", "login", url, env={"EYEFLOW_TOKEN": token})
        assert ran.code != 0 and said in ran.err

    # The cluster refuses it: then this user's keyring is as it was.
    key = eyeflow("keys", "new", "other", "--json", env={"EYEFLOW_KEYS": str(home / "other")}).json["publicKey"]
    reads = eyeflow("tokens", "new", "reader", "--role", "read", "--json").json["token"]
    before = eyeflow("keys", "list").out
    for command in (("trust", key, "--name", "other"), ("revoke", "default")):
        refused = eyeflow("keys", *command, "--cluster", env={"EYEFLOW_TOKEN": reads})
        assert refused.code == 1, refused.out
        assert eyeflow("keys", "list").out == before
    assert eyeflow("keys", "trust", key, "--name", "other", "--cluster").code == 0
    assert "other" in eyeflow("keys", "list").out
    shown = eyeflow("keys", "show", "other")
    assert shown.code == 0 and "trusted since 20" in shown.out and f"public   {key}" in shown.out
    assert eyeflow("keys", "show", "other", "--json").json["publicKey"] == key
    assert eyeflow("keys", "show", "nobody").code == 1
