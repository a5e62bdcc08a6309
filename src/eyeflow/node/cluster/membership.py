"""What a node keeps about its cluster in its data directory: whom it joined, and which manifest it accepted.

The manifest's version is written before anything of it is applied, so that no crash lets an older one in again.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import WriteWhole
from eyeflow.base.reading import Unreadable, parse_json, read_at_once
from eyeflow.base.reasons import tls_advice, why
from eyeflow.base.whole_file import write_whole
from eyeflow.client.pinned import fetch_ca
from eyeflow.net.bodies import CLOSING, PLAIN, aread_body
from eyeflow.protocol.boards import board_bytes
from eyeflow.protocol.identity import KEY_BYTES, key_fingerprint
from eyeflow.protocol.messages import join_bytes
from eyeflow.protocol.session import Accepted, Peer

CLUSTER_FILE = "cluster.json"
MANIFEST_FILE = "manifest.json"
JOIN_S = 15.0
ANSWER_BYTES_MAX = 1024 * 1024
"""Largest answer that a node reads from a coordinator it asks over HTTP; signers are 64 bytes each."""
DIGEST_BYTES = 32
FILE_BYTES_MAX = 64 * 1024
_PIN = re.compile(r"efj_[0-9a-f]{12}_[0-9a-f]{64}_([0-9a-f]{16})(?:_([0-9a-f]{32}))?")


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The cluster a node belongs to. `signers`: the public keys (32 bytes) that the cluster trusted then.

    `ca`: the cluster's own CA (PEM), empty when it has none. With it the link needs a certificate.
    """

    url: str
    node: str
    coordinator_id: str
    coordinator_key: bytes
    signers: tuple[bytes, ...]
    ca_file: str = ""
    ca: str = ""

    @property
    def peer(self) -> Peer:
        """The coordinator as the link's session knows it."""
        return Peer(self.coordinator_id, self.coordinator_key)


def join_cluster(
    url: str, token: str, node_name: str, sign: Callable[[bytes], bytes], public_key: bytes, ca_file: str = ""
) -> JoinResult:
    """As `ask_to_join`, for a caller without an event loop."""
    return asyncio.run(ask_to_join(url, token, node_name, sign, public_key, ca_file))


async def ask_to_join(
    url: str, token: str, node_name: str, sign: Callable[[bytes], bytes], public_key: bytes, ca_file: str = ""
) -> JoinResult:
    """Register this node's public key with a join token; the token pins the coordinator's key.

    `sign` signs with the node's Ed25519 key. Raises EyeflowError: `bad_join_token`, `join_refused`, `unreachable`.
    """
    pin = _PIN.fullmatch(token.strip())
    if pin is None:
        raise _refused("the join token is malformed", "it is not of the form efj_..._..._...", "copy it whole")
    if pin[2] and not url.startswith("https://"):
        raise _refused("the token is for a coordinator with TLS", f"the URL is {url}", "write the URL with https://")
    ca = await fetch_ca(url, pin[2]) if pin[2] else ""
    ask = partial(_ask_to_join, url, token.strip(), node_name, sign, public_key, pin=pin[1])
    answer = await ask(tls_context(ca_file, ca))
    try:
        key, signers = bytes.fromhex(answer["publicKey"]), tuple(bytes.fromhex(one) for one in answer["signers"])
        known = key_fingerprint(key)
    except (KeyError, TypeError, ValueError) as error:
        raise _refused("the coordinator's answer is malformed", why(error), "check the URL") from error
    if known[:16] != pin[1] or answer.get("coordinatorId") != known:
        raise _refused(
            "the coordinator is not the one that made this join token",
            "its key does not match the token's last part",
            "check the URL; somebody may sit between this node and the coordinator",
        )
    if not ca and url.startswith("https://"):  # the token is from before the CA, and the server is known all the same
        ca = str(answer.get("ca", ""))
    return JoinResult(url.rstrip("/"), node_name, known, key, signers, ca_file, ca)


async def ask_to_join_board(
    joined: JoinResult,
    gateway_sign: Callable[[bytes], bytes],
    board: str,
    public_key: bytes,
    device: str,
    board_file: str,
) -> JoinResult:
    """Let a board join the cluster that its gateway has joined; the gateway's signature stands for a join token.

    Raises EyeflowError: `join_refused` and the coordinator's own codes, `unreachable`.
    """
    try:
        async with (
            asyncio.timeout(JOIN_S),
            http_client(joined.url, tls_context(joined.ca_file, joined.ca), JOIN_S) as client,
        ):
            _, challenge = await _ask(client, "GET", "/api/link/challenge")
            nonce = bytes.fromhex(challenge["nonce"])
            signed = board_bytes(joined.coordinator_id, joined.node, nonce, board, public_key, device, board_file)
            body = {
                "board": board,
                "publicKey": public_key.hex(),
                "device": device,
                "boardFile": board_file,
                "nonce": nonce.hex(),
                "signature": gateway_sign(signed).hex(),
            }
            status, answer = await _ask(client, "POST", f"/api/nodes/{joined.node}/boards", json=body)
    except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise _unreachable(joined.url, error) from error
    if status != 201:
        raise _refusal_of(board, status, answer)
    return replace(joined, node=board)


async def _ask_to_join(
    url: str,
    token: str,
    node: str,
    sign: Callable[[bytes], bytes],
    public_key: bytes,
    tls: ssl.SSLContext | None,
    *,
    pin: str,
) -> dict[str, Any]:
    try:
        async with (
            asyncio.timeout(JOIN_S),  # httpx limits each wait only; an answer that trickles would take for ever
            http_client(url, tls, JOIN_S) as client,
        ):
            _, challenge = await _ask(client, "GET", "/api/link/challenge")
            coordinator_id = str(challenge["coordinatorId"])
            # Before the token is sent: a stranger that answers at this address must not get it.
            if coordinator_id[:16] != pin:
                raise _refused("the coordinator is not the one that made this join token", url, "check the URL")
            body = {
                "token": token,
                "node": node,
                "publicKey": public_key.hex(),
                "signature": sign(join_bytes(coordinator_id, node, public_key)).hex(),
            }
            status, answer = await _ask(client, "POST", "/api/nodes/join", json=body)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise _unreachable(url, error) from error
    if status == 201 and isinstance(answer, dict):
        return answer
    raise _refusal_of(node, status, answer)


def _unreachable(url: str, error: Exception) -> EyeflowError:
    return EyeflowError(
        f"cannot join the cluster at {url}",
        cause=why(error),
        next_step=tls_advice(error) or "check the URL, and that the coordinator runs there: eyeflow coordinator start",
        code="unreachable",
    )


def _refusal_of(node: str, status: int, answer: Any) -> EyeflowError:
    problem = answer if isinstance(answer, dict) else {}
    return _refused(
        f"the coordinator refused to let `{node}` join",
        str(problem.get("detail", f"status {status}")),
        str(problem.get("nextStep", "make a new join token on the coordinator")),
        str(problem.get("code", "join_refused")),
    )


async def _ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with client.stream(method, path, headers=PLAIN, **more) as reply:
        return reply.status_code, parse_json(await aread_body(reply, ANSWER_BYTES_MAX))


def _refused(message: str, cause: str, next_step: str, code: str = "join_refused") -> EyeflowError:
    return EyeflowError(message, cause=cause, next_step=next_step, code=code, exit_code=ExitCode.PROBLEMS)


def tls_context(ca_file: str, ca: str) -> ssl.SSLContext | None:
    """Return a client context that trusts only `ca` (PEM) or, without it, `ca_file`; None for the system's CAs."""
    if not ca_file and not ca:
        return None
    try:
        return ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise EyeflowError(
            f"the CA file {ca_file} cannot be used",
            cause=why(error),
            next_step="give the PEM file that signs the coordinator's certificate",
            code="ca_file",
        ) from error


def http_client(url: str, tls: ssl.SSLContext | None, timeout_s: float) -> httpx.AsyncClient:
    """Return a client of the coordinator at `url` that trusts `tls`, or the system's CAs when it is None.

    To read the CAs takes 20 ms, so only an address that is not plain HTTP reads them. No redirect is followed.
    """
    is_plain = urlsplit(url).scheme == "http"
    verify = tls if tls is not None else not is_plain
    return httpx.AsyncClient(base_url=url, timeout=timeout_s, verify=verify, trust_env=False, event_hooks=CLOSING)


class Membership:
    """The two files in `directory`. Writes are atomic and durable."""

    def __init__(self, directory: Path, write: WriteWhole = write_whole) -> None:
        self.directory, self.write = directory, write
        self._write = write
        self._cluster = directory / CLUSTER_FILE
        self._manifest = directory / MANIFEST_FILE
        self._accepting = threading.Lock()

    def joined(self) -> JoinResult | None:
        """Return the cluster this node belongs to, None before it joined."""
        plain = _load(self._cluster)
        if plain is None:
            return None
        with _broken(self._cluster):
            texts = [*(plain[name] for name in ("url", "node", "coordinatorId", "caFile")), plain.get("ca", "")]
            if any(type(text) is not str for text in texts) or type(plain["signers"]) is not list:
                raise TypeError("a value has the wrong type")
            url, node, coordinator_id, ca_file, ca = texts
            signers = tuple(bytes.fromhex(key) for key in plain["signers"])
            key = bytes.fromhex(plain["coordinatorKey"])
            if {len(one) for one in (key, *signers)} != {KEY_BYTES}:
                raise ValueError(f"a key has not {KEY_BYTES} bytes")
            return JoinResult(url, node, coordinator_id, key, signers, ca_file, ca)

    @property
    def is_there(self) -> bool:
        """Whether the node has joined, also when its file cannot be read any more."""
        return self._cluster.exists()

    def join(self, joined: JoinResult) -> None:
        """Keep the cluster that was joined. Another coordinator's manifests start anew; the same one's go on."""
        before = self.joined()
        if before is None or before.coordinator_id != joined.coordinator_id:
            # First: after a crash between the two, the old version would refuse each manifest of the new coordinator.
            self._manifest.unlink(missing_ok=True)
        _store(
            self._write,
            self._cluster,
            {
                "url": joined.url,
                "node": joined.node,
                "coordinatorId": joined.coordinator_id,
                "coordinatorKey": joined.coordinator_key.hex(),
                "signers": [key.hex() for key in joined.signers],
                "caFile": joined.ca_file,
                **({"ca": joined.ca} if joined.ca else {}),
            },
        )

    def accepted(self) -> Accepted:
        """Return the manifest accepted last."""
        plain = _load(self._manifest)
        if plain is None:
            return Accepted()
        with _broken(self._manifest):
            version, digest = plain["version"], bytes.fromhex(plain["digest"])
            # `true` of JSON is an instance of int in Python, so `isinstance` would take it.
            if type(version) is not int or version < 1 or len(digest) != DIGEST_BYTES:
                raise ValueError("no version with a digest")
            return Accepted(version, digest)

    def accept(self, accepted: Accepted) -> None:
        """Keep the manifest accepted last; nothing older is accepted from now on."""
        # A link that broke leaves its write behind in a thread: it must not end after that of the next link.
        with self._accepting:
            known = self.accepted()
            assert accepted.version >= known.version, "the session lets no older manifest through"
            # Each connect brings the same manifest again: only a new one is worth a write with its sync.
            if accepted != known:
                _store(self._write, self._manifest, {"version": accepted.version, "digest": accepted.digest.hex()})


class _broken:  # noqa: N801 - a context manager
    """Turns a file that does not hold what we wrote into an EyeflowError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyError | TypeError | ValueError):
            raise _unusable(self._path, "a field is missing, or it is of another type than was written") from error


def _load(path: Path) -> Any:
    try:
        plain = parse_json(read_at_once(path, FILE_BYTES_MAX))
        if not isinstance(plain, dict):  # `null` must not pass for a file that is not there
            raise Unreadable("it holds no JSON object")
        return plain
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as error:
        raise _unusable(path, why(error)) from error


def _unusable(path: Path, cause: str) -> EyeflowError:
    next_step = "move the file away and join again: eyeflow node join URL --token TOKEN"
    return EyeflowError(f"{path} cannot be used", cause=cause, next_step=next_step, code="membership")


def _store(write: WriteWhole, path: Path, plain: object) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write(path, json.dumps(plain).encode(), 0o600)
    except OSError as error:
        raise EyeflowError(
            f"cannot write {path}",
            cause=why(error),
            next_step="check that the disk is not full and that you may write there",
            code="cannot_write",
        ) from error
