"""The same path over TLS: join, link and REST trust the given certificate and nothing else."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from eyeflow.base.errors import EyeflowError
from eyeflow.client.profile import ClientProfile
from eyeflow.client.rest import CoordinatorClient
from eyeflow.coordinator.serve import ServeOptions, Started, serve
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership, join_cluster


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / f"{name}.crt", directory / f"{name}.key"
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_path.chmod(0o600)
    return cert_path, key_path


def test_join_link_and_rest_work_over_tls_and_only_with_the_right_ca(tmp_path: Path, make: Any) -> None:
    cert, key = certificate(tmp_path, "own")
    foreign, _ = certificate(tmp_path, "foreign")
    options = ServeOptions(tmp_path / "data", port=0, tls_cert=cert, tls_key=key, profile_path=tmp_path / "client.toml")

    async def scenario() -> None:
        ready: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(options, ready.set_result, stop))
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        assert not serving.done(), serving.result()  # a coordinator that did not start would be waited for for ever
        started = ready.result()
        assert started.url.startswith("https://127.0.0.1:")
        node = make.control("node-a")
        token = await asyncio.to_thread(join_token, tmp_path / "client.toml")
        refused = await asyncio.to_thread(refusal, started.url, str(foreign))
        assert refused == "unreachable"

        def join(ca_file: Path) -> Any:
            return join_cluster(started.url, token, "node-a", node.sign, node.key.public_key, str(ca_file))

        with pytest.raises(EyeflowError) as error:
            await asyncio.to_thread(join, foreign)
        assert error.value.code == "unreachable"
        membership = Membership(tmp_path / "node")
        membership.join(await asyncio.to_thread(join, cert))
        link = CoordinatorLink(node, membership, backoff=Backoff(first_s=0.02, last_s=0.05))
        dialing = asyncio.create_task(link.run())

        async def up() -> bool:
            return bool(link.status.state == "up")

        await make.until(up, "the link over TLS")
        dialing.cancel()
        await asyncio.wait({dialing})
        stop.set()
        await serving

    asyncio.run(scenario())


def join_token(profile_path: Path) -> str:
    profile = ClientProfile.load(profile_path, {})
    with CoordinatorClient(profile.url, profile.token, profile.ca_file) as client:
        return str(client.create_join_token()["token"])


def refusal(url: str, ca_file: str) -> str:
    with pytest.raises(EyeflowError) as error, CoordinatorClient(url, "t", ca_file) as client:
        client.status()
    return error.value.code


def test_a_damaged_certificate_is_said(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "own")
    cert.write_text("not a certificate")
    with pytest.raises(EyeflowError) as error:
        asyncio.run(serve(ServeOptions(tmp_path / "data", port=0, tls_cert=cert, tls_key=key), lambda started: None))
    assert error.value.code == "tls_file"
