"""One connection to the MQTT broker at a time, for as long as it is wanted; the home of paho-mqtt.

Everything happens in the event loop: it tells paho when the socket can be read and written, and calls its clock. Only
to connect, which blocks, paho has a thread. So reading can stop while acknowledgements and pings still go out: then TCP
holds the broker back, whatever it thinks of the flow control of MQTT.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from eyeflow.base.reasons import internal, why
from eyeflow.node.backoff import Backoff
from eyeflow.node.config.tables import secret
from eyeflow.node.io.mqtt.client import BufferedClient
from eyeflow.node.io.mqtt.limits import BrokerLimits
from eyeflow.node.io.mqtt.settings import MqttConfig
from eyeflow.node.io.mqtt.tls import tls_context
from eyeflow.node.io.ports import PortStatus

_log = logging.getLogger("eyeflow.node")

CORK: int | None = getattr(socket, "TCP_CORK", None)
"""Linux has it; elsewhere each packet leaves by itself."""
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
CONNECT_TIMEOUT_S = 5.0
TICK_S = 1.0
PACKETS_PER_TURN = 64
"""Packets that are read before other tasks of the node get a turn."""
RETAINED_ALWAYS, RETAINED_IF_NEW = 0, 1
"""MQTT 5 retain handling: with the latter a retained message comes at the first subscription, not at each reconnect."""


class NotConnected(Exception):  # noqa: N818 - the word of the protocol
    """Nothing can be sent now; the text says why."""


class Handler:
    """What happens on a connection; each method does nothing here."""

    def up(self) -> None:
        """The broker took the connection; `Connection.limits` says what it has."""

    def down(self, reason: str) -> None:
        """The connection ended, or there was none."""

    def message(self, message: paho.MQTTMessage) -> None:
        """A message came."""

    def published(self, mid: int, problem: str) -> None:
        """The broker confirmed a message, or refused it."""

    def subscribed(self, mid: int, reason: Any) -> None:
        """The broker answered a SUBSCRIBE."""

    def tick(self) -> None:
        """Another TICK_S of a connection have passed."""


class Connection:
    """Connects, and connects again with exponential backoff, while `run` runs."""

    def __init__(
        self, config: MqttConfig, client_id: str, status: PortStatus, handler: Handler, backoff: Backoff | None = None
    ) -> None:
        """`status` is kept up to date. Raises EyeflowError for a secret or a TLS file that cannot be read."""
        self.config, self.status, self.limits = config, status, BrokerLimits()
        self.is_up = self.is_paused = False
        self._client_id, self._backoff, self._handler = client_id, backoff or Backoff(), handler
        self._ended = asyncio.Event()
        self._ended.set()
        self._fd = -1
        self._heard = self._writes_soon = False
        self._packets = self._to_write = 0
        self._up_s = self._lasted_s = 0.0
        self._paho = self._new_client()

    # --- for its users ---

    def pause(self) -> None:
        """Read nothing more from the broker until `resume`."""
        self.is_paused = True
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)

    def resume(self) -> None:
        """Read again."""
        self.is_paused = False
        if self._fd >= 0:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._fd, self._readable)
            loop.call_soon(self._read_on)

    def subscribe(self, topic_filter: str, identifier: int, *, retained: bool) -> int:
        """Send a SUBSCRIBE with QoS 1 and return its packet identifier; `identifier` 0: without one."""
        if self.config.protocol != "5":
            return int(self._paho.subscribe(topic_filter, qos=1)[1] or 0)
        properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
        if identifier:
            properties.SubscriptionIdentifier = identifier
        options = SubscribeOptions(qos=1, retainHandling=RETAINED_ALWAYS if retained else RETAINED_IF_NEW)
        return int(self._paho.subscribe(topic_filter, options=options, properties=properties)[1] or 0)

    def unsubscribe(self, topic_filter: str) -> None:
        """Send an UNSUBSCRIBE."""
        self._paho.unsubscribe(topic_filter)

    def ack(self, mid: int, qos: int) -> None:
        """Acknowledge a message of this connection."""
        if self.is_up:
            self._paho.ack(mid, qos)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> int:
        """Send a PUBLISH and return its packet identifier. Raises NotConnected."""
        info = self._paho.publish(topic, payload, qos, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise NotConnected(paho.error_string(info.rc))
        return info.mid

    def end(self, reason: str) -> None:
        """End this connection; `run` makes the next one."""
        self._disconnected(reason)

    async def run(self) -> None:
        """Connect, stay connected, connect again, until cancelled."""
        while True:
            await self._connect_once()
            delay_s = self._backoff.after_s(self._lasted_s)
            self.status.detail += f"; next attempt in {delay_s:.1f}s"
            await asyncio.sleep(delay_s)

    # --- one connection ---

    async def _connect_once(self) -> None:
        self._ended.clear()
        self._lasted_s, self._to_write = 0.0, 0
        # A client of its own for each connection: paho would send again what its last one left unconfirmed. Those
        # publishes have failed for their rules already, and one that a broker does not take would end every connection.
        self._paho = client = self._new_client()
        where = f"{self.config.host}:{self.config.port}"
        try:
            connect = partial(client.connect, **self._connect_arguments())
            await asyncio.to_thread(connect, self.config.host, self.config.port, self.config.keepalive_s)
        except (OSError, ssl.SSLError) as error:
            self.status.state = "failed"
            self.status.detail = f"cannot reach the MQTT broker {where}: {why(error)}"
            self._disconnected(why(error))
            return
        try:
            self._attach()
            while not self._ended.is_set():
                await self._wait_a_tick()
        finally:
            self._leave()

    async def _wait_a_tick(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):  # not `wait_for`, which in Python 3.11 may swallow a cancellation
                await self._ended.wait()
        except TimeoutError:
            if self._heard or self.is_paused:
                # paho ends a connection when its ping has no answer in time. But the answer stands behind all
                # messages that are sent and not read: while they come, or we do not read, its lack means nothing.
                self._paho._ping_t = 0.0
            self._heard = False
            self._guarded(self._paho.loop_misc)
            self._handler.tick()

    def _attach(self) -> None:
        sock = self._paho.socket()
        if sock is None:
            self._disconnected("the connection ended at once")
            return
        self._fd, self.is_paused = sock.fileno(), False
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, self._readable)
        loop.add_writer(self._fd, self._writable)

    def _detach(self) -> None:
        if self._fd >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._fd)
            loop.remove_writer(self._fd)
            self._fd = -1

    def _leave(self) -> None:
        """Say goodbye, as far as the socket takes it at once, after the acknowledgements that wait to be sent."""
        client = self._paho
        if client.socket() is not None:
            client.disconnect()
            self._guarded(client.loop_write)
        self._detach()
        if (sock := client.socket()) is not None:
            sock.close()
        self._disconnected("the node left")

    def _readable(self) -> None:
        if self.is_paused or self._fd < 0:
            return  # called by `_read_on` before that
        self._paho.expect_more()
        _confirm_at_once(self._paho.socket())
        for _ in range(PACKETS_PER_TURN):
            before = self._packets
            self._guarded(self._paho.loop_read)
            if self._packets == before or self.is_paused or self._fd < 0 or self._paho.is_drained:
                break
        self._read_on()

    def _read_on(self) -> None:
        """Go on when the client or TLS has read more from the socket than was taken: the socket does not say so."""
        sock = self._paho.socket()
        has_more = self._paho.has_more or (isinstance(sock, ssl.SSLSocket) and bool(sock.pending()))
        if has_more and self._fd >= 0 and not self.is_paused:
            asyncio.get_running_loop().call_soon(self._readable)

    def _writable(self) -> None:
        self._write()
        if self._fd >= 0 and not self._paho.want_write():
            asyncio.get_running_loop().remove_writer(self._fd)

    def _write(self) -> None:
        several, self._to_write = self._to_write != 1, 0
        sock = self._paho.socket()
        if several:
            _collect(sock, True)
        self._guarded(self._paho.loop_write)
        if several and self._fd >= 0:
            _collect(sock, False)

    def _guarded(self, step: Callable[[], Any]) -> None:
        try:
            step()
        except Exception as error:  # bytes that are no MQTT make paho fail in many ways; they must not stop the node
            _log.debug("paho-mqtt failed", exc_info=True)
            self._disconnected(f"what the broker sent is not understood: {internal(error)}")
            self.status.state = "failed"
            self.status.detail = f"what the MQTT broker sent is not understood: {internal(error)}"

    def _connect_arguments(self) -> dict[str, Any]:
        if self.config.protocol != "5":
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.config.session_expiry_s
        properties.ReceiveMaximum = self.config.inflight_max
        return {"clean_start": False, "properties": properties}

    def _new_client(self) -> BufferedClient:
        v5 = self.config.protocol == "5"
        client = BufferedClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if v5 else False,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages = 0  # no queue of paho's own: `Publisher` waits where a rule can be told
        if self.config.username:
            password = secret("mqtt", self.config.password_env, self.config.password_file)
            client.username_pw_set(self.config.username, password or None)
        if self.config.tls is not None:
            client.tls_set_context(tls_context(self.config.tls))
        # A weak reference, so that no cycle keeps a client, and its sockets, alive after its last use.
        me = weakref.proxy(self)
        client.on_socket_open = lambda _c, _u, sock: _send_at_once(sock)
        client.on_socket_close = partial(_closed, weakref.ref(self))
        # With this callback set, paho writes when `_writable` asks it to and never where it is called.
        client.on_socket_register_write = lambda _c, _u, _s: me._want_write()
        client.on_connect = lambda _c, _u, _flags, reason, properties: me._answered(reason, properties)
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: me._disconnected(str(reason))
        client.on_message = lambda _c, _u, message: me._received(message)
        client.on_publish = lambda _c, _u, mid, reason, _p: me._published(mid, reason)
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: me._subscribed(mid, reasons)
        return client

    # --- what paho reports ---

    def _want_write(self) -> None:
        self._to_write += 1
        if self._fd >= 0 and not self._writes_soon:  # not yet while the thread connects
            self._writes_soon = True
            asyncio.get_running_loop().call_soon(self._write_soon)

    def _write_soon(self) -> None:
        """Write what was handed over in this turn of the loop; only a socket that is full is watched, as that costs."""
        self._writes_soon = False
        if self._fd >= 0:
            self._write()
        if self._fd >= 0 and self._paho.want_write():
            asyncio.get_running_loop().add_writer(self._fd, self._writable)

    def _answered(self, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.status.state = "failed"
            self.status.detail = f"the MQTT broker refused the connection: {reason}"
            return
        self.limits = BrokerLimits.from_properties(properties)
        self.is_up = True
        self._up_s = asyncio.get_running_loop().time()
        self.status.state, self.status.detail = "up", f"{self.config.host}:{self.config.port}"
        self.status.counters["connects"] += 1
        self._handler.up()

    def _disconnected(self, reason: str) -> None:
        if self._ended.is_set():
            return
        was_up, self.is_up = self.is_up, False
        self._ended.set()
        if was_up:
            self.status.state, self.status.detail = "connecting", f"the connection to the MQTT broker ended: {reason}"
            self._lasted_s = asyncio.get_running_loop().time() - self._up_s
        self._handler.down(reason)

    def _received(self, message: paho.MQTTMessage) -> None:
        self._heard = True
        self._packets += 1
        self._handler.message(message)

    def _published(self, mid: int, reason: Any) -> None:
        self._packets += 1
        self._handler.published(mid, str(reason) if reason.is_failure else "")

    def _subscribed(self, mid: int, reasons: list[Any]) -> None:
        self._handler.subscribed(mid, reasons[0])


def _closed(of: weakref.ref[Connection], client: paho.Client, _userdata: Any, _sock: Any) -> None:
    # A client that is not used any more closes its socket late; what is watched is the socket of another one then.
    if (connection := of()) is not None and connection._paho is client:
        connection._detach()


def _collect(sock: Any, on: bool) -> None:
    """Let what is written meanwhile leave together: paho writes each acknowledgement of a batch by itself.

    Without it, a send for each takes a third of the time of a backlog (measured with Mosquitto on one machine).
    """
    if CORK is not None and sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, CORK, int(on))


def _confirm_at_once(sock: Any) -> None:
    """Let TCP confirm what came before this side has something to send, up to 40 ms later.

    A broker with Nagle's algorithm on, as Mosquitto is by default, holds back its next small message until then. Linux
    forgets this setting each time that something is sent.
    """
    if QUICK_ACK is not None and sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)


def _send_at_once(sock: Any) -> None:
    """Turn Nagle's algorithm off: with it, a small packet waits up to 40 ms for the answer to the one before."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
