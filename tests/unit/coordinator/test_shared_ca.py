"""Several coordinators with a copy of one CA, each with a certificate of its own."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest

from eyeflow.base.clock import wall_clock_us
from eyeflow.coordinator.tls import OwnTls, init_tls, open_tls, server_names
from eyeflow.protocol.certificates import Request, facts, pem_of


def handshake(server: OwnTls, trusted: str, host: str, client: Path) -> str:
    """Return which node a coordinator sees after a handshake in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = ssl.create_default_context(cadata=trusted)
    calling.load_cert_chain(client)
    there = server.context().wrap_bio(to_server, to_client, server_side=True)
    here = calling.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        for side in (here, there):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return facts(pem_of(there.getpeercert(binary_form=True) or b"")).common_name


def test_coordinators_with_a_copy_of_the_ca_take_each_others_nodes(tmp_path: Path) -> None:
    """As `run-several-coordinators.md` says: `authority.pem` is copied, then `init --name` for the own name."""
    now_us, asked = wall_clock_us(), Request.new("node-a")
    first = init_tls(tmp_path / "first", server_names(["one.example"]), now_us)
    folder = tmp_path / "second" / "tls"
    folder.mkdir(parents=True, mode=0o700)

    def copy() -> None:
        (folder / "authority.pem").touch(mode=0o600)
        (folder / "authority.pem").write_bytes((tmp_path / "first" / "tls" / "authority.pem").read_bytes())

    copy()
    second = open_tls(tmp_path / "second")
    assert second is not None
    second.make_server(server_names(["two.example"]), now_us)
    second.prepare(now_us)
    certificate = tmp_path / "link.pem"
    certificate.write_text(asked.key + first.authority.node("node-a", asked.request, now_us))
    assert handshake(second, first.ca, "two.example", certificate) == "node-a"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(second, first.ca, "one.example", certificate)
    stranger = init_tls(tmp_path / "third", server_names(["two.example"]), now_us)
    with pytest.raises(ssl.SSLError):
        handshake(stranger, first.ca, "two.example", certificate)

    before = first.ca
    first.replace_authority(now_us)
    copy()
    assert second.refreshed(now_us) is not None
    assert second.ca == first.ca != before
    assert handshake(second, before, "two.example", certificate) == "node-a", "a node that has not heard of it yet"
    certificate.write_text(asked.key + first.authority.node("node-a", asked.request, now_us))
    assert handshake(second, first.ca, "two.example", certificate) == "node-a"
