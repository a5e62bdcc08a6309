"""The CA of a coordinator, known by its fingerprint only: fetched before anything secret is sent."""

from __future__ import annotations

import asyncio
import re
import ssl

import httpx

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.base.reasons import why
from eyeflow.net.bodies import CLOSING, PLAIN, aread_body
from eyeflow.protocol import certificates
from eyeflow.protocol.certificates import CertificateError

FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}")
FETCH_S = 15.0
ANSWER_BYTES_MAX = 64 * 1024


async def fetch_ca(url: str, pin: str) -> str:
    """Return the CA (PEM) of the coordinator at `url` whose fingerprint begins with `pin` (hex).

    The connection of this one request trusts any certificate: it carries nothing secret, and what comes is compared.
    Raises EyeflowError: `wrong_ca`, `unreachable`.
    """
    try:
        async with (
            asyncio.timeout(FETCH_S),
            httpx.AsyncClient(
                base_url=url, timeout=FETCH_S, verify=_any_certificate(), trust_env=False, event_hooks=CLOSING
            ) as client,
            client.stream("GET", "/api/ca", headers=PLAIN) as reply,
        ):
            status, body = reply.status_code, await aread_body(reply, ANSWER_BYTES_MAX)
        found = parse_json(body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, Unreadable) as error:
        raise EyeflowError(
            f"cannot ask {url} for its CA",
            cause=why(error),
            next_step="check the URL (it begins with https://), and that the coordinator runs there",
            code="unreachable",
        ) from error
    if status == 404:
        raise _wrong(url, "the server has no CA of its own")
    try:
        ca = certificates.split(found["ca"])[0]
    except (KeyError, TypeError, AttributeError, CertificateError) as error:
        raise _wrong(url, "the server does not answer with a certificate") from error
    fingerprint = certificates.facts(ca).fingerprint
    if not fingerprint.startswith(pin.lower()):
        raise _wrong(url, f"its CA has the fingerprint {fingerprint[:32]}..., expected was {pin[:32]}...")
    return ca


def _any_certificate() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _wrong(url: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"the server at {url} is not the coordinator that was meant",
        cause=cause,
        next_step="check the URL; when the coordinator got another CA, make a new join token there, or see its "
        "fingerprint with `eyeflow coordinator init`; else somebody may sit between",
        code="wrong_ca",
        exit_code=ExitCode.PROBLEMS,
    )
