"""A simulated chip served in real time: socket, pseudo-terminal, events, commands from another thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.sim.endpoints import Endpoint, PtyEndpoint, TcpEndpoint
from eyeflow.mcu.sim.events import PinChanged, PowerLost, SimEvent
from eyeflow.mcu.sim.serve import SimServer
from eyeflow.mcu.sim.simulator import Simulator
from sim_firmware import FIRMWARE

WAIT_S = 30.0


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[tuple[SimServer, Queue[SimEvent]]]:
    server = SimServer(Simulator(FIRMWARE), endpoint, link_port=1)
    events: Queue[SimEvent] = Queue()
    thread = Thread(target=lambda: [events.put(event) for event in server.events()])
    thread.start()
    try:
        yield server, events
    finally:
        server.stop()
        thread.join(WAIT_S)
        server.close()


def connect(server: SimServer) -> socket.socket:
    host, port = server.url.removeprefix("socket://").split(":")
    return socket.create_connection((host, int(port)), timeout=WAIT_S)


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = client.recv(count - len(data))
        assert part, "the simulator hung up"
        data += part
    return data


def next_event(events: Queue[SimEvent], kind: type) -> SimEvent:
    while True:
        event = events.get(timeout=WAIT_S)
        if isinstance(event, kind):
            return event


def test_a_client_on_the_socket_talks_to_the_firmware() -> None:
    with serving(TcpEndpoint()) as (server, events):
        text = bytes(range(0x62, 0x72)) * 20
        with connect(server) as client:
            client.sendall(text)
            assert read(client, len(text)) == text
        assert next_event(events, PinChanged).pin == "PA5"  # type: ignore[union-attr]
        with connect(server) as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello", "the next client is served after the first has gone"


def test_a_second_client_is_turned_away() -> None:
    with serving(TcpEndpoint()) as (server, _), connect(server) as first:
        first.sendall(b"b")
        assert read(first, 1) == b"b"
        with connect(server) as second:
            assert second.recv(1) == b""
        first.sendall(b"c")
        assert read(first, 1) == b"c"


def test_a_pseudo_terminal_talks_to_the_firmware() -> None:
    with serving(PtyEndpoint()) as (server, _):
        terminal = os.open(server.url, os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b"b\x03\r\n\x00")
        data = b""
        while len(data) < 5:
            data += os.read(terminal, 5)
        os.close(terminal)
        assert data == b"b\x03\r\n\x00", "control characters pass unchanged"


def test_commands_act_on_the_chip_between_slices() -> None:
    with serving(TcpEndpoint()) as (server, events):
        server.post(lambda chip: chip.set_adc(0, 0xAB0))
        with connect(server) as client:
            client.sendall(b"a")
            assert read(client, 1) == b"\xab"
            server.post(lambda chip: chip.power_cut())
            next_event(events, PowerLost)
            server.post(lambda chip: chip.power_on())
            client.sendall(b"b")
            assert read(client, 1) == b"b", "the socket outlives the power of the chip"


def test_a_port_in_use_is_an_error_with_a_next_step() -> None:
    taken = TcpEndpoint()
    try:
        with pytest.raises(EyeflowError, match="cannot listen on") as caught:
            TcpEndpoint(port=int(taken.url.rsplit(":", 1)[1]))
        assert caught.value.code == "port_in_use"
    finally:
        taken.close()
