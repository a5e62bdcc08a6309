"""The node's one connection to its MQTT broker, shared by `on mqtt` and `mqtt.publish`; the home of paho-mqtt.

paho's network loop runs in a thread of ours; everything crosses into the event loop before it touches our state.
A QoS 1 message is acknowledged (PUBACK) only when `Message.ack` is called. An acknowledgement belongs to one
connection: after a reconnect the broker sends again what it has not seen acknowledged, and a late `ack` of the old
connection is dropped.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from eyeflow.base.errors import EyeflowError
from eyeflow.node.backoff import Backoff
from eyeflow.node.config.ports import MqttConfig, TlsConfig
from eyeflow.node.config.tables import secret
from eyeflow.node.ports import PortStatus

CONNECT_TIMEOUT_S = 5.0
LOOP_TIMEOUT_S = 1.0
RETAIN_IF_NEW = 1
"""MQTT 5 retain handling: a retained message comes at the first subscription, not again at each reconnect."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the broker. `filters`: those it was sent for, when the broker tells (MQTT 5), else None."""

    topic: str
    payload: bytes
    filters: frozenset[str] | None
    ack: Callable[[], None]


class NotConnected(Exception):  # noqa: N818 - the word of the protocol
    """A message cannot be published now; the text says why."""


class MqttClient:
    """Keeps the connection up while `run` runs, with exponential backoff. All methods belong to the event loop."""

    def __init__(self, config: MqttConfig, client_id: str, backoff: Backoff | None = None) -> None:
        self.config = config
        self.status = PortStatus("mqtt", counters={"connects": 0, "received": 0, "published": 0})
        self._backoff = backoff or Backoff()
        self._filters: dict[str, int] = {}
        self._filter_of_id: dict[int, str] = {}
        self._on_message: Callable[[Message], None] | None = None
        self._generation = 0
        self._stopping = False
        self._connected = False
        self._up_s = self._lasted_s = 0.0
        self._ended = asyncio.Event()
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client_id = client_id
        self._paho = self._new_client()

    # --- for the source and the driver ---

    def subscribe(self, filters: Collection[str], on_message: Callable[[Message], None]) -> None:
        """Replace the set of topic filters; takes effect at once when connected, else at the next connection."""
        self._on_message = on_message
        gone, new = self._filters.keys() - set(filters), set(filters) - self._filters.keys()
        for topic_filter in gone:
            del self._filter_of_id[self._filters.pop(topic_filter)]
        for topic_filter in sorted(new):
            self._filters[topic_filter] = number = max(self._filter_of_id, default=0) + 1
            self._filter_of_id[number] = topic_filter
        if self._connected:
            for topic_filter in gone:
                self._paho.unsubscribe(topic_filter)
            self._send_subscriptions(sorted(new))

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish one message and, with QoS 1, wait for its PUBACK. Raises NotConnected or TimeoutError."""
        if not self._connected:
            raise NotConnected(self.status.detail or "not connected to the broker yet")
        info = self._paho.publish(topic, payload, qos, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise NotConnected(paho.error_string(info.rc))
        if qos:
            future = self._pending[info.mid] = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(future, self.config.publish_timeout_s)
            finally:
                self._pending.pop(info.mid, None)
        self.status.counters["published"] += 1

    async def run(self) -> None:
        """Connect, stay connected, connect again, until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self._connect_once()
                delay_s = self._backoff.after_s(self._lasted_s)
                self.status.detail += f"; next attempt in {delay_s:.1f}s"
                await asyncio.sleep(delay_s)
        finally:
            self._connected = False

    # --- one connection ---

    async def _connect_once(self) -> None:
        self._ended.clear()
        self._lasted_s = 0.0
        # A client of its own for each connection: paho would send again what its last one left unconfirmed. Those
        # publishes have failed for their rules already, and one that a broker does not take would end every connection.
        self._paho = self._new_client()
        where = f"{self.config.host}:{self.config.port}"
        try:
            connect = partial(self._paho.connect, **self._connect_arguments())
            await asyncio.to_thread(connect, self.config.host, self.config.port, self.config.keepalive_s)
        except (OSError, ssl.SSLError) as error:
            self.status.state = "failed"
            self.status.detail = f"cannot reach the MQTT broker {where}: {error}"
            return
        network = threading.Thread(target=self._network_loop, name="mqtt", daemon=True)
        self._stopping = False
        network.start()
        try:
            await self._ended.wait()
        finally:
            self._stopping = True
            # Wakes the network thread, so that joining it takes no time; without effect when the connection is gone.
            self._paho.disconnect()
            network.join()

    def _network_loop(self) -> None:
        # Not paho's own loop_start: it leaves a pair of sockets behind at each start.
        code = paho.MQTT_ERR_SUCCESS
        while code == paho.MQTT_ERR_SUCCESS and not self._stopping:
            code = self._paho.loop(LOOP_TIMEOUT_S)
        self._call(self._disconnected, paho.error_string(code))

    def _connect_arguments(self) -> dict[str, Any]:
        if self.config.protocol != "5":
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self.config.session_expiry_s
        properties.ReceiveMaximum = self.config.inflight_max
        return {"clean_start": False, "properties": properties}

    def _send_subscriptions(self, filters: Collection[str]) -> None:
        for topic_filter in filters:
            if self.config.protocol == "5":
                properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]
                properties.SubscriptionIdentifier = self._filters[topic_filter]
                options = SubscribeOptions(qos=1, retainHandling=RETAIN_IF_NEW)
                self._paho.subscribe(topic_filter, options=options, properties=properties)
            else:
                self._paho.subscribe(topic_filter, qos=1)

    # --- what the network thread reports, brought into the event loop ---

    def _new_client(self) -> paho.Client:
        v5 = self.config.protocol == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if v5 else False,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self.config.username:
            password = secret("mqtt", self.config.password_env, self.config.password_file)
            client.username_pw_set(self.config.username, password or None)
        if self.config.tls is not None:
            client.tls_set_context(tls_context(self.config.tls))
        # A weak reference, so that no cycle keeps a client, and its sockets, alive after its last use.
        me = weakref.proxy(self)
        client.on_connect = lambda _c, _u, _flags, reason, _p: me._call(me._connect_answered, reason)
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: me._call(me._disconnected, str(reason))
        client.on_message = lambda _c, _u, message: me._call(me._received, message)
        client.on_publish = lambda _c, _u, mid, reason, _p: me._call(me._published, mid, reason)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: me._call(me._subscribed, list(reasons))
        # With this callback set, paho writes in the network thread only and never in the thread that publishes.
        client.on_socket_register_write = lambda _c, _u, _socket: None
        return client

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _connect_answered(self, reason: Any) -> None:
        if reason.is_failure:
            self.status.state = "failed"
            self.status.detail = f"the MQTT broker refused the connection: {reason}"
            return
        self._generation += 1
        self._connected = True
        self._up_s = asyncio.get_running_loop().time()
        self.status.state, self.status.detail = "up", f"{self.config.host}:{self.config.port}"
        self.status.counters["connects"] += 1
        self._send_subscriptions(sorted(self._filters))

    def _disconnected(self, reason: str) -> None:
        if self._ended.is_set():
            return
        if self._connected:
            self.status.state, self.status.detail = "connecting", f"the connection to the MQTT broker ended: {reason}"
            self._lasted_s = asyncio.get_running_loop().time() - self._up_s
        self._connected = False
        for future in self._pending.values():
            if not future.done():
                future.set_exception(NotConnected(f"the connection ended before the broker confirmed: {reason}"))
        self._ended.set()

    def _received(self, message: paho.MQTTMessage) -> None:
        self.status.counters["received"] += 1
        ack = partial(self._ack, self._generation, message.mid, message.qos)
        if self._on_message is None:
            return
        numbers = getattr(message.properties, "SubscriptionIdentifier", None) if message.properties else None
        known = self._filter_of_id
        filters = None if numbers is None else frozenset(known[number] for number in numbers if number in known)
        self._on_message(Message(message.topic, bytes(message.payload), filters, ack))

    def _ack(self, generation: int, mid: int, qos: int) -> None:
        if qos and self._connected and generation == self._generation:
            self._paho.ack(mid, qos)

    def _published(self, mid: int, reason: Any) -> None:
        future = self._pending.get(mid)
        if future is None or future.done():
            return
        if reason.is_failure:
            future.set_exception(NotConnected(f"the MQTT broker refused the message: {reason}"))
        else:
            future.set_result(None)

    def _subscribed(self, reasons: list[Any]) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.status.detail = f"the MQTT broker refused a subscription: {refused[0]}"


class _TlsSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        """Close the socket of a failed handshake: paho forgets it."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return the client's TLS context: the server is always verified, TLS 1.2 or newer."""
    try:
        context = ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
        context.sslsocket_class = _TlsSocket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        raise EyeflowError(
            "cannot load the TLS files of [mqtt.tls]",
            cause=str(error),
            next_step="Check that ca_file, cert_file and key_file are readable PEM files and that the key fits.",
            code="tls_files",
        ) from error
    return context
