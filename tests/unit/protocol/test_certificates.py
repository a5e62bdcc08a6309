"""The cluster's certificates: what each may do, checked by OpenSSL on a real handshake in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.clock import wall_clock_us
from eyeflow.protocol import certificates
from eyeflow.protocol.certificates import Authority, CertificateError, Facts, Request

DAY_US = 86_400 * 1_000_000


def shake_hands(
    directory: Path, server: tuple[str, str], trusted: str, client: tuple[str, str] | None, client_cas: str
) -> str:
    """Return whom the server sees after a handshake in memory, empty for nobody. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.verify_mode = ssl.CERT_OPTIONAL
    listening.load_verify_locations(cadata=client_cas)
    calling = ssl.create_default_context(cadata=trusted)
    for context, pair, name in ((listening, server, "server"), (calling, client, "client")):
        if pair is not None:
            path = directory / f"{name}.pem"
            path.write_text(pair[1] + pair[0])
            context.load_cert_chain(path)
    there = listening.wrap_bio(to_server, to_client, server_side=True)
    here = calling.wrap_bio(to_client, to_server, server_hostname="plant.example")
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = there.getpeercert(binary_form=True)
    return certificates.facts(certificates.pem_of(shown)).common_name if shown else ""


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.new(wall_clock_us())


def server_of(ca: Authority, now_us: int | None = None) -> tuple[str, str]:
    return ca.server(["plant.example", "127.0.0.1"], wall_clock_us() if now_us is None else now_us)


def client_of(ca: Authority, name: str = "node-1", now_us: int | None = None) -> tuple[str, str]:
    asked = Request.new("somebody else")
    return ca.node(name, asked.request, wall_clock_us() if now_us is None else now_us), asked.key


def test_server_and_node_know_each_other(ca: Authority, tmp_path: Path) -> None:
    server = server_of(ca)
    assert shake_hands(tmp_path, server, ca.certificate, client_of(ca), ca.certificate) == "node-1"
    assert shake_hands(tmp_path, server, ca.certificate, None, ca.certificate) == ""


def test_each_certificate_is_good_for_its_own_purpose_only(ca: Authority, tmp_path: Path) -> None:
    for server, client in (
        (client_of(ca, "plant.example"), None),
        (server_of(ca), server_of(ca)),
        (server_of(Authority.new(wall_clock_us())), None),
        (server_of(ca), client_of(Authority.new(wall_clock_us()))),
        (server_of(ca, wall_clock_us() - 365 * DAY_US), None),
        (server_of(ca, wall_clock_us() + 365 * DAY_US), None),
        (server_of(ca), client_of(ca, now_us=wall_clock_us() - 365 * DAY_US)),
    ):
        with pytest.raises(ssl.SSLError):
            shake_hands(tmp_path, server, ca.certificate, client, ca.certificate)


def test_a_ca_vouches_for_the_next_ones_to_who_knows_only_it(ca: Authority, tmp_path: Path) -> None:
    now_us = wall_clock_us()
    second, third = Authority.new(now_us), Authority.new(now_us)
    certificate, key = third.server(["plant.example"], now_us)
    chain = certificate + second.vouch(third, now_us) + ca.vouch(second, now_us)
    for trusted in (ca, second, third):
        assert shake_hands(tmp_path, (chain, key), trusted.certificate, None, third.certificate) == ""
    with pytest.raises(ssl.SSLError):  # the control: nobody vouches
        shake_hands(tmp_path, (certificate, key), ca.certificate, None, third.certificate)


def test_a_request_gives_a_certificate_for_its_key_and_no_other_name(ca: Authority) -> None:
    asked = Request.new("admin")
    facts = certificates.facts(ca.node("node-1", asked.request, wall_clock_us(), valid_s=60))
    assert (facts.common_name, facts.names) == ("node-1", ())
    assert facts.until_us - facts.from_us == (60 + certificates.BACKDATE_S) * 1_000_000
    assert "PRIVATE" not in asked.request
    body = asked.request.splitlines()
    body[2] = body[2][:10] + ("A" if body[2][10] != "A" else "B") + body[2][11:]
    for broken in ("", "x", asked.key, ca.certificate, "\n".join(body)):
        with pytest.raises(CertificateError):
            ca.node("node-1", broken, wall_clock_us())


def test_a_ca_is_read_as_it_was_written_and_nothing_else(ca: Authority) -> None:
    again = Authority.of(ca.certificate, ca.key)
    assert again.certificate == ca.certificate and again.signed(client_of(ca)[0])
    other = Authority.new(wall_clock_us())
    assert not other.signed(client_of(ca)[0])
    assert certificates.facts(other.certificate).common_name != certificates.facts(ca.certificate).common_name
    for certificate, key in ((ca.certificate, other.key), ("x", ca.key), (ca.certificate, "x")):
        with pytest.raises(CertificateError):
            Authority.of(certificate, key)


@given(now_us=st.integers(-10, 110), left=st.sampled_from([0.0, 0.25, 0.5]))
def test_a_certificate_is_due_outside_of_its_time_and_near_its_end(now_us: int, left: float) -> None:
    facts = Facts("", (), 0, 100, "")
    assert facts.is_valid(now_us) == (0 <= now_us < 100)
    assert facts.is_due(now_us, left) == (not 0 <= now_us < 100 or 100 - now_us < 100 * left)
