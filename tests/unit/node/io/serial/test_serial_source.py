"""`on serial`: JSON lines over a pseudo-terminal, which is a real serial device to the program that reads it."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import tty
from pathlib import Path

import pytest
import serial

from components.waiting import running, until
from eyeflow.node.io.ports import IncomingEvent, Subscription
from eyeflow.node.io.serial import source as serial_module
from eyeflow.node.io.serial.settings import SerialPort
from eyeflow.node.io.serial.source import SerialSource
from eyeflow.node.status.port_log import PortLog

SCALE = Subscription("serial", "scale")


class Device:
    """The far end of a line: a new pseudo-terminal each time it is plugged in, behind one stable path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = -1

    def plug_in(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def pull_out(self) -> None:
        self.path.unlink()
        os.close(self.master)
        os.close(self._slave)


def test_lines_become_events_and_bad_ones_are_rejected(tmp_path: Path) -> None:
    async def scenario() -> None:
        events: list[IncomingEvent] = []

        async def deliver(event: IncomingEvent) -> None:
            events.append(event)

        device = Device(tmp_path / "tty")
        device.plug_in()
        source = SerialSource({"scale": SerialPort(str(device.path), line_bytes_max=64)}, clock=lambda: 7)
        source.update([SCALE])
        async with running(source.run(deliver)):
            await until(lambda: source.status.state == "up" and source.status.counters["opens"] == 1)
            device.send(b'{"kg": 1.5}\r\n\n{"kg"')
            await until(lambda: len(events) == 1)
            device.send(b": 2.5}\nnonsense\n[1]\n" + b"x" * 200 + b"\n")
            await until(lambda: len(events) >= 5)
        device.pull_out()
        assert [event.payload for event in events[:2]] == [{"kg": 1.5}, {"kg": 2.5}]
        reasons = [event.rejected for event in events[2:]]
        assert "not JSON" in reasons[0]
        assert "a list" in reasons[1]
        assert any("more than 64" in reason for reason in reasons[2:])
        assert {event.time_us for event in events} == {7}

    asyncio.run(scenario())


def test_nothing_of_a_line_that_is_too_long_becomes_an_event(tmp_path: Path) -> None:
    """However the line arrives: its tail, taken for a line, may be an order of its own."""

    async def scenario() -> None:
        events: list[IncomingEvent] = []

        async def deliver(event: IncomingEvent) -> None:
            events.append(event)

        device = Device(tmp_path / "tty")
        device.plug_in()
        source = SerialSource({"scale": SerialPort(str(device.path), line_bytes_max=64)})
        source.update([SCALE])
        async with running(source.run(deliver)):
            await until(lambda: source.status.counters["opens"] == 1)
            device.send(b'{"kg": 1.0, "junk": "' + b"x" * 80)
            await until(lambda: len(events) == 1)
            device.send(b"y" * 10)
            device.send(b'{"kg": 666.0}\n{"kg": 2.0}\n')
            await until(lambda: any(event.payload for event in events))
        device.pull_out()
        assert [event.payload for event in events] == [{}, {"kg": 2.0}]
        assert "more than 64" in events[0].rejected

    asyncio.run(scenario())


def test_the_status_is_that_of_the_ports_that_rules_listen_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def deliver(_event: IncomingEvent) -> None:
            return None

        device = Device(tmp_path / "tty")
        device.plug_in()
        missing = SerialPort(str(tmp_path / "missing"))
        source = SerialSource({"scale": SerialPort(str(device.path)), "gone": missing}, backoff_first_s=0.01)
        gone = Subscription("serial", "gone")
        source.update([SCALE, gone])
        async with running(source.run(deliver)):
            await until(lambda: source.status.counters["opens"] == 1 and source.status.state == "failed")
            assert "missing" in source.status.detail, "a port that works hides none that fails"
            source.update([SCALE])
            await until(lambda: source.status.state == "up")
            assert source.status.detail == str(device.path)
            source.update([gone])
            await until(lambda: source.status.state == "failed")
            source.update([])
            await until(lambda: source.status.state == "up")
            assert source.status.detail == "no rule listens"
        device.pull_out()

    asyncio.run(scenario())


def test_a_port_that_fails_in_an_unforeseen_way_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(port: serial.Serial) -> int:
        raise AttributeError("fd")

    async def deliver(event: IncomingEvent) -> None:
        raise AssertionError("nothing can be read")

    async def scenario() -> None:
        device = Device(tmp_path / "tty")
        device.plug_in()
        source = SerialSource({"scale": SerialPort(str(device.path))}, backoff_first_s=0.01)
        source.update([SCALE])
        monkeypatch.setattr(serial.Serial, "in_waiting", property(strange))
        async with running(source.run(deliver)):
            await until(lambda: source.status.counters["opens"] >= 2)
        device.pull_out()

    asyncio.run(scenario())


def test_a_device_that_goes_and_comes_back_is_opened_again(tmp_path: Path, monkeypatch: object) -> None:
    async def scenario() -> None:
        numbers: list[object] = []

        async def deliver(event: IncomingEvent) -> None:
            numbers.append(event.payload["n"])

        device = Device(tmp_path / "tty")
        source = SerialSource({"scale": SerialPort(str(device.path))}, backoff_first_s=0.01)
        source.update([SCALE])
        async with running(source.run(deliver)):
            await until(lambda: "next attempt" in source.status.detail)
            assert source.status.state == "failed"
            for turn in range(3):
                device.plug_in()
                await until(lambda turn=turn: source.status.counters["opens"] == turn + 1)
                device.send(b'{"n": %d}\n' % turn)
                await until(lambda turn=turn: len(numbers) == turn + 1)
                device.pull_out()
                await until(lambda: source.status.state == "failed")
        assert numbers == [0, 1, 2]

    asyncio.run(scenario())


def test_a_rule_that_goes_closes_its_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def deliver(_event: IncomingEvent) -> None:
            raise AssertionError("nobody listens")

        device = Device(tmp_path / "tty")
        device.plug_in()
        source = SerialSource({"scale": SerialPort(str(device.path))})
        source.update([SCALE])
        async with running(source.run(deliver)):
            await until(lambda: source.status.counters["opens"] == 1)
            source.update([])
            await until(lambda: not [task for task in asyncio.all_tasks() if "_read" in repr(task.get_coro())])
            device.send(b'{"n": 1}\n')
        device.pull_out()

    asyncio.run(scenario())
    assert serial_module.LINES_MAX > 0


def test_the_log_follows_each_port_by_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second port that fails while the first one is away is told, too, and so is each that comes back."""
    caplog.set_level(logging.INFO, "eyeflow.node")

    async def scenario() -> None:
        async def deliver(event: IncomingEvent) -> None:
            return None

        devices = {name: Device(tmp_path / name) for name in ("scale", "meter")}
        for device in devices.values():
            device.plug_in()
        ports = {name: SerialPort(str(device.path)) for name, device in devices.items()}
        source = SerialSource(ports, backoff_first_s=0.01)
        source.update([Subscription("serial", name) for name in devices])
        log = PortLog([source.status])

        async def told(*starts: str) -> None:
            def all_told() -> bool:
                log.look()
                return len(caplog.messages) >= len(starts)

            await until(all_told)
            assert all(said.startswith(start) for said, start in zip(caplog.messages, starts, strict=True)), caplog.text
            caplog.clear()

        async with running(source.run(deliver)):
            await until(lambda: source.status.counters["opens"] == 2)
            for name in ("scale", "meter"):
                devices[name].pull_out()
                await told(f"serial {name}: {devices[name].path}")
            for name in ("meter", "scale"):
                devices[name].plug_in()
                await told(f"serial {name}: up again")
        for device in devices.values():
            device.pull_out()

    asyncio.run(scenario())
