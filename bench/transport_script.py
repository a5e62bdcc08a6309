"""What engineers write by hand, as a process: messages in, one SQLite commit for each, messages out.

`python -m bench.transport_script PORT FILE`. Each message is committed (`synchronous=FULL`) before it is
acknowledged and answered, as eyeflow promises. Nothing is sent again after a crash, and nothing is checked.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main(port: int, path: str) -> None:
    """Run until the process is ended."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, topic TEXT, payload BLOB)")
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="script", clean_session=False, manual_ack=True)

    def received(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        reading = json.loads(message.payload)
        db.execute("INSERT INTO events (topic, payload) VALUES (?, ?)", (message.topic, message.payload))
        client.ack(message.mid, message.qos)
        if reading["temp"] > 0.0:
            client.publish("out", f"{reading['number']}", qos=1)

    def sends_at_once(_client: paho.Client, _data: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_message = received
    client.on_connect = lambda client, *_: client.subscribe("in", qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_socket_open = sends_at_once
    client.connect("127.0.0.1", port)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
