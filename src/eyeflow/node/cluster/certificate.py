"""The node's certificate for its link: a key that never leaves the node, and a certificate that renews itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from eyeflow.base.clock import NowUs
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import Unreadable, parse_json, read_text
from eyeflow.base.reasons import why
from eyeflow.net.bodies import PLAIN, aread_body
from eyeflow.node.cluster.membership import ANSWER_BYTES_MAX, JoinResult, http_client, tls_context
from eyeflow.protocol import certificates
from eyeflow.protocol.certificates import BACKDATE_S, CertificateError, Facts, Request
from eyeflow.protocol.messages import certificate_bytes

LINK_FILE = "link.pem"
"""The key and, after it, its certificate."""
FILE_BYTES_MAX = 64 * 1024
RENEW_LEFT = 0.5
"""A certificate is renewed when less than this share of its time is left."""
RENEW_S = 15.0


class LinkCertificate:
    """The file `link.pem` in the node's data directory."""

    def __init__(self, directory: Path, write: WriteWhole, now_us: NowUs) -> None:
        self._path = directory / LINK_FILE
        self._write, self._now_us = write, now_us

    def is_due(self) -> bool:
        """Say whether a new one is needed: none is here, it cannot be read, or half of its time is over."""
        try:
            return certificates.facts(read_text(self._path, FILE_BYTES_MAX)).is_due(self._now_us(), RENEW_LEFT)
        except (OSError, Unreadable, CertificateError):
            return True

    def forget(self) -> None:
        """Let the next dial get a new one: this one opened nothing."""
        self._path.unlink(missing_ok=True)

    def load(self, context: ssl.SSLContext) -> None:
        """Let the connections of a context show this certificate. Raises EyeflowError."""
        try:
            context.load_cert_chain(self._path)
        except (OSError, ValueError) as error:
            self.forget()
            raise _unusable(self._path, why(error)) from error

    async def renew(self, joined: JoinResult, nonce: bytes, sign: Callable[[bytes], bytes]) -> JoinResult:
        """Get a certificate for a new key, keep it, and return the membership with the CA that the cluster has now.

        `sign` signs with the node's own key, so that a node comes back whose certificate has expired long ago.
        Raises EyeflowError or httpx.HTTPError.
        """
        asked = Request.new(joined.node)
        signed = sign(certificate_bytes(joined.coordinator_id, joined.node, nonce, asked.request))
        body = {"node": joined.node, "nonce": nonce.hex(), "request": asked.request, "signature": signed.hex()}
        async with (
            http_client(joined.url, tls_context(joined.ca_file, joined.ca), RENEW_S) as client,
            client.stream("POST", "/api/link/certificate", headers=PLAIN, json=body) as reply,
        ):
            status, answer = reply.status_code, await aread_body(reply, ANSWER_BYTES_MAX)
        certificate, ca = _answer(joined.url, status, answer)
        known = certificates.facts(certificate)
        if not known.is_valid(self._now_us()):
            raise _wrong_clock(known, self._now_us())
        try:
            self._write(self._path, (asked.key + certificate).encode(), 0o600)
        except OSError as error:
            raise _unusable(self._path, why(error)) from error
        return replace(joined, ca=ca)


def _answer(url: str, status: int, body: bytes) -> tuple[str, str]:
    try:
        answer = parse_json(body)
        if status == 200:
            return certificates.split(answer["certificate"])[0], certificates.split(answer["ca"])[0]
        said = str(answer["detail"])
    except (Unreadable, CertificateError, KeyError, TypeError, AttributeError) as error:
        raise _refused(url, "its answer is malformed") from error
    raise _refused(url, said)


def _refused(url: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"the coordinator at {url} gave no certificate for the link",
        cause=cause,
        next_step="when this node was removed, let it join again: eyeflow node join URL --token TOKEN",
        code="no_certificate",
        exit_code=ExitCode.PROBLEMS,
    )


def _wrong_clock(known: Facts, now_us: int) -> EyeflowError:
    there_us = known.from_us + BACKDATE_S * 1_000_000  # when it was made, by the coordinator's clock
    return EyeflowError(
        "the clock of this node and that of the coordinator are far apart",
        cause=f"it is {_time(now_us)} here and {_time(there_us)} there",
        next_step="set the clock that is wrong, for example with NTP; the node tries again by itself",
        code="clock",
    )


def _time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _unusable(path: Path, cause: str) -> EyeflowError:
    return EyeflowError(
        f"{path} cannot be used", cause=cause, next_step="the next attempt gets a new one", code="link_certificate"
    )
