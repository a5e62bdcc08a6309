"""The node's link to its coordinator: dials, authenticates, applies manifests, tells its health. Rules never wait.

The protocol is `protocol.session.NodeSession`; this is the WebSocket shell around it. Without a coordinator the node
runs on, and the link dials again for ever.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random, SystemRandom

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from eyeflow.base.clock import NowUs, wall_clock_us
from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import parse_json
from eyeflow.base.reasons import internal, why
from eyeflow.base.side_by_side import side_by_side
from eyeflow.net.bodies import PLAIN, aread_body
from eyeflow.node.backoff import Backoff
from eyeflow.node.cluster.applying import Applying
from eyeflow.node.cluster.certificate import LinkCertificate
from eyeflow.node.cluster.dialling import dial_failure, link_url
from eyeflow.node.cluster.health import (
    health_of,
    installed_of,
    lost_of,
    unanswerable,
)
from eyeflow.node.cluster.membership import ANSWER_BYTES_MAX, JoinResult, Membership, http_client, tls_context
from eyeflow.node.cluster.sender import BYTES_PER_S, AuditSender
from eyeflow.node.control import NodeControl
from eyeflow.node.io.ports import PortStatus
from eyeflow.protocol.audit import decode_record, record_hash
from eyeflow.protocol.collecting import Collect, Collected
from eyeflow.protocol.executions import DIFFERENCES_MAX, FAILURES_MAX, Differences, Failure, Failures
from eyeflow.protocol.messages import (
    BOOT_BYTES,
    Head,
    InstalledRule,
    RuleResult,
    Status,
    link_bytes,
)
from eyeflow.protocol.node_facts import facts_extension
from eyeflow.protocol.opening import NONCE_BYTES, Hello
from eyeflow.protocol.outputs import Apply, Close, Gather, Hear, Output, Remember, Rerun, Send
from eyeflow.protocol.replays import Replay
from eyeflow.protocol.session import EXECUTIONS_SINCE, Accepted, NodeSession, Phase
from eyeflow.protocol.signer_list import SignerListError
from eyeflow.protocol.versions import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN
from eyeflow.protocol.wire import MESSAGE_BYTES_MAX, ProtocolError

DIAL_S = 15.0
RENEW_LOOK_S = 600.0
"""How often the node looks whether its certificate is due while the link is up."""
PING_S = 15.0
CLOSE_BYTES_MAX = 123
"""A WebSocket takes no longer reason (RFC 6455, 5.5)."""

_log = logging.getLogger("eyeflow.node")

TrustedKeys = Callable[[frozenset[bytes]], None]


class CoordinatorLink:
    """Satisfies `control.Link`. `on_signers` is told the cluster's trusted signer keys of each accepted manifest.

    `on_signer_list` takes the root's list of signers, for a node that knows a root; it raises SignerListError.

    `status_s` None: tell the status as often as the coordinator asks for. `status`: where it shows how it does.
    `now_us` and `random` are the system's unless a simulation hands in its own. `others` are addresses of further
    coordinators of the cluster: each dial that fails is followed by one of the next address. `hands_on`: whether the
    coordinator gets the audit records that it asks for, no faster than `catch_up_bytes_per_s`. `applies_aside`: a
    manifest may take hours, since a board that is away must take it; a newer one takes its place then.
    """

    def __init__(
        self,
        control: NodeControl,
        membership: Membership,
        on_signers: TrustedKeys | None = None,
        backoff: Backoff | None = None,
        status_s: float | None = None,
        status: PortStatus | None = None,
        now_us: NowUs = wall_clock_us,
        random: Random | None = None,
        others: Sequence[str] = (),
        on_signer_list: Callable[[bytes], None] | None = None,
        hands_on: bool = True,
        catch_up_bytes_per_s: int = BYTES_PER_S,
        applies_aside: bool = False,
    ) -> None:
        backoff_of_sender = Backoff(random or SystemRandom())
        self.sender, self._hands_on = AuditSender(control, backoff_of_sender, catch_up_bytes_per_s), hands_on
        self._others = tuple(one.rstrip("/") for one in others)
        self.status = status or PortStatus("coordinator", counters={"dials": 0, "connects": 0, "manifests": 0})
        self.url = ""
        self._control = control
        self._membership = membership
        self._on_signers, self._on_signer_list = on_signers, on_signer_list
        self._now_us, self._random = now_us, random or SystemRandom()
        self._backoff = backoff or Backoff(self._random)
        self._status_s = status_s
        self._joined: JoinResult
        self._accepted = Accepted()
        self._changed = asyncio.Event()
        self._up_s: float | None = None
        self._certificate = LinkCertificate(membership.directory, membership.write, self._now_us)
        self._boot = self._random.randbytes(BOOT_BYTES)
        self._told_seq = 0
        self._told_failures: frozenset[Failure] = frozenset()
        self._replaying: asyncio.Task[None] | None = None
        self._applies_aside, self._applying = applies_aside, _no_task()

    def tell_soon(self) -> None:
        """Tell the status at once instead of with the next look: something has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Dial until cancelled; each failure is shown in `status` and followed by a longer wait, up to a bound."""
        joined = self._membership.joined()
        if joined is None:
            self._show("failed", "this node has not joined a cluster")
            return
        self._accepted = self._membership.accepted()
        self._joined = joined
        addresses = list(dict.fromkeys((joined.url, *self._others)))
        while True:
            self.url = addresses[0]
            wait_s = await self._attempt(replace(self._joined, url=self.url))
            if self._up_s is None:
                addresses.append(addresses.pop(0))
            await asyncio.sleep(wait_s)

    async def _attempt(self, joined: JoinResult) -> float:
        self.status.counters["dials"] += 1
        self._up_s = None
        try:
            await self._serve(joined)
            told = "the coordinator closed the link"
        except ConnectionClosed as error:
            told = (error.rcvd.reason if error.rcvd else "") or "the connection broke"
        except EyeflowError as error:
            told = error.brief
        except (OSError, InvalidHandshake, httpx.HTTPError, TimeoutError) as error:
            told = dial_failure(error)
        lasted_s = 0.0 if self._up_s is None else asyncio.get_running_loop().time() - self._up_s
        wait_s = self._backoff.after_s(lasted_s)
        self._show("connecting", f"{told}; next attempt in {wait_s:.1f} s")
        return wait_s

    async def _serve(self, joined: JoinResult) -> None:
        async with asyncio.timeout(DIAL_S):
            connection = await self._dial(joined)
        async with connection:
            session = self._session(joined)
            await self._act(connection, session, session.start())
            try:
                await side_by_side(
                    self._listen(connection, session), self._tell(connection, session), self._keep_certificate(joined)
                )
            finally:
                for task in filter(None, [self._replaying, self._applying]):
                    task.cancel()
                self.sender.link_ended()

    async def _dial(self, joined: JoinResult) -> ClientConnection:
        """Open the link. A certificate with which that fails is not used again: it may be one of another CA."""
        if joined.ca:
            joined = await self._renewed_when_due(joined)
        context = tls_context(joined.ca_file, joined.ca)
        nonce = await self._challenged(joined, context)
        if joined.ca and context is not None:
            self._certificate.load(context)
        try:
            return await self._open(joined, nonce, context)
        except (ssl.SSLError, InvalidHandshake, EOFError, ConnectionError) as error:
            # TLS 1.3 ends a connection with a certificate that it does not take only after the client's handshake.
            if joined.ca and not (isinstance(error, InvalidStatus) and error.response.status_code != 401):
                self._certificate.forget()
            raise

    async def _renewed_when_due(self, joined: JoinResult) -> JoinResult:
        if not self._certificate.is_due():
            return joined
        nonce = await self._challenged(joined, tls_context(joined.ca_file, joined.ca))
        renewed = await self._certificate.renew(joined, nonce, self._control.sign)
        if renewed != joined:  # the cluster has another CA now, and the one before vouches for it
            self._joined = replace(self._joined, ca=renewed.ca)  # it may have been another coordinator's address
            await asyncio.to_thread(self._membership.join, self._joined)
        return renewed

    async def _keep_certificate(self, joined: JoinResult) -> None:
        """Renew the certificate while the link is up, so that a link that breaks can be opened again at once."""
        while joined.ca:
            await asyncio.sleep(RENEW_LOOK_S)
            try:
                joined = await self._renewed_when_due(joined)
            except (EyeflowError, OSError, httpx.HTTPError, ProtocolError, TimeoutError) as error:
                _log.warning("the link's certificate is not renewed yet: %s", why(error))

    async def _challenged(self, joined: JoinResult, context: ssl.SSLContext | None) -> bytes:
        async with http_client(joined.url, context, DIAL_S) as client:
            return _nonce(await _ask_challenge(client))

    async def _open(self, joined: JoinResult, nonce: bytes, context: ssl.SSLContext | None) -> ClientConnection:
        signature = base64.b64encode(self._control.sign(link_bytes(joined.coordinator_id, joined.node, nonce))).decode()
        fields = f'node="{joined.node}", nonce="{nonce.hex()}", signature="{signature}"'
        return await connect(
            link_url(joined.url),
            additional_headers={"Authorization": f"EyeflowLink {fields}"},
            compression=None,
            max_size=MESSAGE_BYTES_MAX,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            proxy=None,
            ssl=context if joined.url.startswith("https") and context is not None else None,
        )

    def _session(self, joined: JoinResult) -> NodeSession:
        self._told_seq, self._told_failures = 0, frozenset()
        identity = self._control.identity
        hello = Hello(
            PROTOCOL_VERSION_MIN,
            PROTOCOL_VERSION_MAX,
            f"eyeflow {identity.version}",
            joined.node,
            self._accepted.version,
            self._random.randbytes(NONCE_BYTES),
            () if identity.facts is None else facts_extension(identity.facts),
        )
        return NodeSession(hello, joined.peer, self._accepted, self._head(), self._installed())

    def _head(self) -> Head:
        end = self._control.audit_head
        return Head(self._boot, self._control.identity.epoch, end.seq, end.hash)

    async def _listen(self, connection: ClientConnection, session: NodeSession) -> None:
        async for data in connection:
            if isinstance(data, str):
                raise ProtocolError("a text message where binary ones are spoken")
            await self._act(connection, session, session.receive(session.read(data)))
            if self._applies_aside and session.is_outdated:
                await self._give_up(connection, session)
            if session.phase is Phase.READY and self.status.state != "up":
                self.status.counters["connects"] += 1
                self._up_s = asyncio.get_running_loop().time()
                self._show("up", joined_detail(session, self._hands_on))
                self._changed.set()

    async def _act(self, connection: ClientConnection, session: NodeSession, outputs: tuple[Output, ...]) -> None:
        pending = list(outputs)
        while pending:
            output = pending.pop(0)
            if isinstance(output, Send):
                await connection.send(session.write(output.message))
            elif isinstance(output, Apply) and self._applies_aside:
                self._applying = asyncio.create_task(self._apply_aside(connection, session, output))
            elif isinstance(output, Apply):
                pending += await self._applied(output, session)
                self._changed.set()
            elif isinstance(output, Remember):
                pending += session.remembered(output, await self._hash_of(output))
            elif isinstance(output, Rerun):
                self._replay(connection, session, output.replay)
            elif isinstance(output, Hear):
                pending += session.listened(self._control.listened(output.listen))
            elif isinstance(output, Gather):
                self._gather(connection, session, output.collect)
            elif isinstance(output, Close):
                await connection.close(4000, _close_reason(f"{output.code}: {output.reason}"))
                raise ProtocolError(output.reason)

    async def _apply_aside(self, connection: ClientConnection, session: NodeSession, output: Apply) -> None:
        """Carry a manifest out while the link goes on; ends with the link, or when a newer manifest came."""
        try:
            await self._act(connection, session, await self._applied(output, session))
            self._changed.set()
        except ConnectionClosed:
            return
        except EyeflowError as error:  # as when it is carried out by the link itself: the link begins anew
            await connection.close(1011, _close_reason(error.brief))
        except Exception as error:  # a bug here must not leave the coordinator waiting on a link that is up
            _log.exception("a manifest could not be carried out")
            await connection.close(1011, _close_reason(internal(error)))

    async def _give_up(self, connection: ClientConnection, session: NodeSession) -> None:
        if self._applying is not None:
            self._applying.cancel()
            await asyncio.gather(self._applying, return_exceptions=True)
        if session.is_outdated:  # else it ended at this moment, and was reported
            await self._act(connection, session, session.give_up(self._installed()))

    def _replay(self, connection: ClientConnection, session: NodeSession, asked: Replay) -> None:
        """Answer in a task of its own, which ends with the link, and when something newer is asked."""

        async def answer() -> None:
            try:
                found = await self._control.replay(asked)
                await self._act(connection, session, session.replayed(found))
            except ConnectionClosed:
                return
            except Exception as error:  # a bug in a replay must not cost the node its link
                _log.exception("a replay failed")
                await self._act(connection, session, session.replayed(unanswerable(asked, internal(error))))

        if self._replaying is not None:
            self._replaying.cancel()
        self._replaying = asyncio.create_task(answer())

    def _gather(self, connection: ClientConnection, session: NodeSession, asked: Collect) -> None:
        async def send(records: Collected) -> None:
            with contextlib.suppress(ConnectionClosed):
                await self._act(connection, session, session.collected(records))

        if self._hands_on:
            self.sender.asked(asked, self._joined.peer, send)

    async def _hash_of(self, asked: Remember) -> bytes:
        """Return the hash of an own audit record, empty when it is not here (any more)."""
        if asked.epoch != self._control.identity.epoch:
            return b""
        try:
            found = await self._control.audit_range(asked.seq, 1)
        except EyeflowError:  # a disk that fails right now must not cost the node its link
            return b""
        return record_hash(found[0]) if found and decode_record(found[0]).seq == asked.seq else b""

    async def _applied(self, output: Apply, session: NodeSession) -> tuple[Output, ...]:
        await self._accept(output)
        # Somebody else may have signed it since this node got it: then the rule goes on.
        if (lost := lost_of(output, self._installed())) and (again := session.fetch_again(output, lost)):
            return again
        return session.applied(await self._apply(output), self._installed())

    async def _accept(self, output: Apply) -> None:
        """Trust whom the manifest names. Its version is kept first: no crash lets an older manifest in."""
        manifest = output.manifest
        self._accepted = Accepted(manifest.version, output.digest)
        await asyncio.to_thread(self._membership.accept, self._accepted)
        await self._fetch_signer_list()
        if self._on_signers is not None:
            self._on_signers(frozenset(manifest.signers))
            await self._control.stop_distrusted()

    async def _apply(self, output: Apply) -> tuple[RuleResult, ...]:
        results = await Applying(self._control).apply(output)
        self.status.counters["manifests"] += 1
        return results

    async def _fetch_signer_list(self) -> None:
        """Ask for the root's list before each manifest counts; without an answer the one that is known holds."""
        if self._on_signer_list is None:
            return
        try:
            async with (
                asyncio.timeout(DIAL_S),
                http_client(self.url, tls_context(self._joined.ca_file, self._joined.ca), DIAL_S) as client,
                client.stream("GET", "/api/keys/root", headers=PLAIN) as reply,
            ):
                status, body = reply.status_code, await aread_body(reply, ANSWER_BYTES_MAX)
            if status == 200:
                self._on_signer_list(body)
            elif status != 404:
                _log.warning("the coordinator gave no list of signers: it answered %d", status)
        except SignerListError as error:
            _log.error("the coordinator's list of signers is refused: %s", error)
        except (OSError, httpx.HTTPError, TimeoutError) as error:
            _log.warning("the coordinator gave no list of signers: %s", why(error))

    def _installed(self) -> frozenset[InstalledRule]:
        return installed_of(self._control.held(), self._accepted.version)

    async def _tell(self, connection: ClientConnection, session: NodeSession) -> None:
        """Send the node's status at once after a change, and from time to time."""
        while True:
            try:
                async with asyncio.timeout(self._status_s or session.status_s):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._tell_failures(connection, session)  # before the counts by which they are judged
                await self._act(connection, session, session.status(*self._status()))
                await self._tell_differences(connection, session)
            except ConnectionClosed:
                return

    async def _tell_differences(self, connection: ClientConnection, session: NodeSession) -> None:
        """Send what this link has not told yet: after a link broke, the newest come twice rather than never."""
        found = [one for one in self._control.differences() if one.candidate.seq > self._told_seq]
        if found:
            newest = await self._control.explained(found[-DIFFERENCES_MAX:])
            told = Differences(self._control.identity.epoch, newest)
            await self._act(connection, session, session.executions(told))
            self._told_seq = found[-1].candidate.seq

    async def _tell_failures(self, connection: ClientConnection, session: NodeSession) -> None:
        """As `_tell_differences`."""
        found = self._control.failures()
        if new := [one for one in found if one not in self._told_failures]:
            newest = await self._control.explained(new[-FAILURES_MAX:])
            await self._act(connection, session, session.executions(Failures(self._control.identity.epoch, newest)))
        self._told_failures = frozenset(found)

    def _status(self) -> tuple[Status, Head]:
        state = self._control.status()
        identity = self._control.identity
        status = Status(
            self._now_us(),
            identity.epoch,
            self._control.audit_head.seq + 1,
            self._accepted.version,
            health_of(state),
            self._control.evidence(),
            self._control.board_status(),
        )
        return status, self._head()

    def _show(self, state: str, detail: str) -> None:
        self.status.state, self.status.detail = state, detail


def _no_task() -> asyncio.Task[None] | None:
    return None


def joined_detail(session: NodeSession, hands_on: bool = True) -> str:
    """Return what `eyeflow status` shows of a live link."""
    if not hands_on:
        return f"protocol {session.protocol}; the audit stays on the node ([offline] reconcile_on_reconnect)"
    older = "; this version cannot collect the audit" if session.protocol < EXECUTIONS_SINCE else ""
    return f"protocol {session.protocol}{older}"


def _close_reason(text: str) -> str:
    return text.encode()[:CLOSE_BYTES_MAX].decode(errors="ignore")


async def _ask_challenge(client: httpx.AsyncClient) -> bytes:
    async with client.stream("GET", "/api/link/challenge", headers=PLAIN) as reply:
        return await aread_body(reply.raise_for_status(), ANSWER_BYTES_MAX)


def _nonce(challenge: bytes) -> bytes:
    try:
        nonce = bytes.fromhex(parse_json(challenge)["nonce"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError("the coordinator's challenge is malformed") from error
    if len(nonce) != NONCE_BYTES:
        raise ProtocolError("the coordinator's challenge is malformed")
    return nonce
