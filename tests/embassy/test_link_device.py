"""The host's side of the link against the board's own code: the real device crates on simulated flash behind a socket."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.device import QUICK, Device
from components.rust import rust_example
from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import LogLine
from eyeflow.board_link.port import Board, Patience
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import public_key_of, sign_program

KEY = bytes(range(32))
FOREIGN = bytes(range(1, 33))
HASTY = Patience(answer_s=0.05, slow_answer_s=0.05, tries=2, slow_tries=2)
NOISY = Patience(answer_s=0.05, slow_answer_s=0.1, tries=60, slow_tries=60)
POWER_CUT = 3

RULE = """rule {name} {{
    version "{version}"
    pin RELAY: output
    param limit: float = 80.0
    state trips: int = 0
    on every 500ms
    let temp = adc.read_channel(0) * 0.1
    if temp > limit for 2s {{
        gpio.set_pin(RELAY, HIGH)
        trips = trips + {step}
    }} else {{
        gpio.set_pin(RELAY, LOW)
    }}
}}
"""


def program(name: str, version: str = "1.0.0", *, chip: str = "STM32F401CC", key: bytes | None = KEY) -> bytes:
    source = RULE.format(name=name, version=version, step=version.split(".")[0])
    options = CompileOptions(profile=Profile.MCU, chip=chip)
    result = compile_rule(source, name=f"{name}.eye", catalog=Catalog.builtin(), options=options)
    assert result.program is not None, result.diagnostics
    data = encode(result.program)
    return data if key is None else sign_program(data, key)


@pytest.fixture(scope="module")
def binary() -> Path:
    return rust_example("eyeflow-link", "device")


@pytest.fixture
def device(binary: Path, tmp_path: Path) -> Iterator[Device]:
    made = Device(binary, tmp_path / "flash.img")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.mark.parametrize("geometry", ["f4", "h7", "nrf52", "rp2040"])
def test_push_update_list_remove(device: Device, geometry: str) -> None:
    device.start(geometry=geometry)
    first, second = program("relay"), program("relay", "2.0.0")
    seen: list[tuple[int, int]] = []
    with device.board() as board:
        assert board.hello.chip == "STM32F401CC"
        pushed = board.push(first, lambda done, total: seen.append((done, total)))
        assert not pushed.already and pushed.sent_bytes < len(first)
        assert seen[0][0] == 0 and seen[-1] == (pushed.sent_bytes, pushed.sent_bytes)
        again = board.push(first)
        assert again.already and again.sent_bytes == 0
        board.push(second)
        (installed,) = board.list()
        assert (installed.rule, installed.version, installed.has_previous) == ("relay", "2.0.0", True)
        assert installed.program_id == decode(second).program_id
        status = board.status()
        assert status.programs == (installed,) and status.counters[0].running
        assert 0 < status.health.flash_used_bytes < status.health.flash_bytes
        board.remove("relay")
        assert board.list() == ()
        assert failure(lambda: board.remove("relay")).code == "unknown_rule"


def failure(action: Callable[[], object]) -> EyeflowError:
    with pytest.raises(EyeflowError) as caught:
        action()
    error = caught.value
    assert error.message and error.cause and error.next_step
    return error


def test_every_refusal_has_its_reason_and_loses_nothing(device: Device) -> None:
    device.start()
    kept = program("relay", "2.0.0")
    changed = bytearray(program("relay", "3.0.0"))
    changed[-1] ^= 1
    refused = {
        "unsigned": program("relay", "3.0.0", key=None),
        "foreign_signature": program("relay", "3.0.0", key=FOREIGN),
        "bad_signature": bytes(changed),
        "older_program": program("relay", "1.0.0"),
        "wrong_chip": program("relay", "3.0.0", chip="RP2040"),
    }
    with device.board() as board:
        board.push(kept)
        for code, data in refused.items():
            assert failure(lambda data=data: board.push(data)).code == code  # type: ignore[misc]
            assert board.list()[0].program_id == decode(kept).program_id
        for name in ("two", "three", "four"):
            board.push(program(name))
        assert failure(lambda: board.push(program("five"))).code == "fifth_program"
        assert [each.rule for each in board.list()] == ["relay", "two", "three", "four"]


def test_a_push_goes_on_where_another_host_stopped(device: Device) -> None:
    device.start()
    data = program("relay")

    class StopError(Exception):
        pass

    def stop(done_bytes: int, total_bytes: int) -> None:
        if done_bytes >= 300:
            raise StopError

    with device.board() as board, pytest.raises(StopError):
        board.push(data, stop)
    with device.board() as board:
        pushed = board.push(data)
        assert pushed.resumed_from_bytes >= 300
        assert board.list()[0].program_id == decode(data).program_id


def test_a_board_that_is_killed_in_a_transfer_keeps_the_old_program(device: Device) -> None:
    device.start()
    old, new = program("relay"), program("relay", "2.0.0")
    with device.board() as board:
        board.push(old)

        def kill(done_bytes: int, total_bytes: int) -> None:
            if done_bytes >= 300:
                device.stop()

        gone = failure(lambda: board.push(new, kill))
        assert gone.code in {"port_gone", "board_stopped"}
    device.start()
    with device.board() as board:
        assert board.list()[0].program_id == decode(old).program_id
        assert not board.push(new).already
        assert board.list()[0].program_id == decode(new).program_id


@pytest.mark.parametrize("steps", [0, 7, 130, 400, 900, 1500, 1900])
def test_a_power_cut_in_an_update_leaves_the_old_or_the_new_program(device: Device, steps: int) -> None:
    device.start()
    old, new = program("relay"), program("relay", "2.0.0")
    with device.board() as board:
        board.push(old)
    device.stop()
    device.start("--cut", str(steps), "--seed", str(steps))
    with device.board() as board:
        try:
            board.push(new)
            device.stop()
        except EyeflowError as error:
            assert error.code in {"port_gone", "port_busy", "board_stopped", "board_silent"}
            assert device.ended() == POWER_CUT
    device.start("--seed", str(steps + 1))
    with device.board() as board:
        assert board.list()[0].program_id in {decode(old).program_id, decode(new).program_id}
        board.push(new)
        assert board.list()[0].program_id == decode(new).program_id


@dataclass(slots=True)
class Line:
    """A serial line between host and board that garbles, doubles, drops and invents bytes, by a seed."""

    target: int
    harm: Callable[[random.Random, bytes], bytes]
    seed: int = 1
    server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    threads: list[threading.Thread] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[str]:
        serve = threading.Thread(target=self._serve)
        serve.start()
        try:
            yield f"socket://127.0.0.1:{self.server.getsockname()[1]}"
        finally:
            serve.join(10)
            self.server.close()

    def _serve(self) -> None:
        host, _ = self.server.accept()
        with host, socket.create_connection(("127.0.0.1", self.target)) as board:
            back = threading.Thread(target=self._carry, args=(board, host, self.seed + 1))
            back.start()
            self._carry(host, board, self.seed)
            back.join(10)

    def _carry(self, source: socket.socket, sink: socket.socket, seed: int) -> None:
        rng = random.Random(seed)
        try:
            while data := source.recv(4096):
                sink.sendall(self.harm(rng, data))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def garble(rng: random.Random, data: bytes) -> bytes:
    return bytes(byte ^ (rng.randrange(1, 256) if rng.random() < 0.002 else 0) for byte in data)


def drop(rng: random.Random, data: bytes) -> bytes:
    return bytes(byte for byte in data if rng.random() > 0.002)


def double(rng: random.Random, data: bytes) -> bytes:
    return data * 2 if rng.random() < 0.3 else data


def burst(rng: random.Random, data: bytes) -> bytes:
    return rng.randbytes(rng.randrange(200)) + data if rng.random() < 0.3 else data


def mute(rng: random.Random, data: bytes) -> bytes:
    return b"" if rng.random() < 0.2 else data


@pytest.mark.parametrize("harm", [garble, drop, double, burst, mute])
def test_a_bad_line_costs_time_and_nothing_else(device: Device, harm: Callable[[random.Random, bytes], bytes]) -> None:
    device.start("--records", "5")
    with Line(device.port, harm, seed=7).open() as url, Board(url, patience=NOISY) as board:
        for data in (program("relay"), program("relay", "2.0.0"), program("other")):
            board.push(data)
        assert [each.version for each in board.list()] == ["2.0.0", "1.0.0"]
        batch = board.records()
        assert batch.lost == 0 and len(batch.records) == 8
        board.set_time(1_790_000_000_000_000, 3600)


def test_records_wait_for_their_acknowledgement(device: Device) -> None:
    device.start("--records", "10")
    with device.board() as board:
        batch = board.records()
        assert [record.sequence for record in batch.records] == list(range(10))
        execution = batch.records[0].execution
        assert execution is not None
        assert (execution.outcome, execution.pc, execution.fuel, execution.program_key) == ("ok", 17, 93, "ab" * 8)
        board.acknowledge(batch.next_sequence - 2)
    with device.board() as board:
        rest = board.records()
        assert [record.sequence for record in rest.records] == [8, 9]
        assert rest.chain_after == batch.chain_after


def test_a_full_ring_says_what_it_lost(device: Device) -> None:
    device.start("--records", "100")
    with device.board() as board:
        batch = board.records()
        assert batch.lost + len(batch.records) == 100
        assert batch.records[-1].sequence == 99


def test_log_lines_and_llm_requests_share_the_line(device: Device) -> None:
    device.start()
    with device.board() as board:
        board.push(program("relay"))
        board.records()
        board.answer_llm(1, "yes")
        board.answer_llm(2, None)
        heard = list(board.listen(0.3))
        texts = [said.text for said in heard if isinstance(said, LogLine)]
        assert "place 0 changed" in texts
        assert "llm 1 0 yes" in texts and "llm 2 1 " in texts
        assert board.ping(b"echo") >= 0


def test_a_parameter_is_set_by_its_index(device: Device) -> None:
    device.start()
    with device.board() as board:
        board.push(program("relay"))
        board.set_param("relay", 0, 81.5)
        assert failure(lambda: board.set_param("relay", 7, 1.0)).code == "unknown_rule"
        assert failure(lambda: board.set_param("nobody", 0, 1.0)).code == "unknown_rule"


@contextmanager
def strange(data: bytes) -> Iterator[str]:
    """Something at the other end that is no board: it sends this and then listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            # The host hangs up when it has seen enough.
            with peer, contextlib.suppress(ConnectionError):
                peer.settimeout(0.01)
                while not done.is_set():
                    peer.sendall(data)
                    with contextlib.suppress(TimeoutError):
                        peer.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join(10)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "board_silent"),
        (b"login: \r\nlogin: \r\n", "not_eyeflow"),
        (bytes(random.Random(5).randbytes(300)), "line_garbled"),
        (bytes.fromhex("00 08 c0 01 01 02 03 04 05 00"), "line_garbled"),
        (bytes(300), "line_garbled"),
        (b"\r\n\r\n", "not_eyeflow"),
    ],
    ids=["silence", "text", "noise", "damaged", "a line that is held low", "empty lines"],
)
def test_what_is_no_board_is_named(data: bytes, code: str) -> None:
    with strange(data) as url, Board(url, patience=HASTY) as board:
        assert failure(lambda: board.hello).code == code


def test_ports_that_cannot_be_opened() -> None:
    assert failure(lambda: Board("/dev/no-such-board")).code == "port_missing"
    assert failure(lambda: Board("strange://x")).code == "port_unknown"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert failure(lambda: Board(f"socket://127.0.0.1:{port}")).code == "port_missing"


def test_a_port_that_takes_no_bytes() -> None:
    import serial

    from eyeflow.board_link.failures import port_lost

    def stuck() -> None:
        with port_lost("/dev/ttyACM0"):
            raise serial.SerialTimeoutException("Write timeout")

    assert failure(stuck).code == "port_stuck"


def test_a_pseudo_terminal_and_a_busy_port(binary: Path) -> None:
    import tty

    far, near = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    url = os.ttyname(near)
    trust = public_key_of(KEY).hex()
    with subprocess.Popen([str(binary), "--stdio", "--trust", trust], stdin=far, stdout=far) as process:
        try:
            with Board(url, patience=QUICK) as board:
                board.push(program("relay"))
                assert board.list()[0].rule == "relay"
                assert failure(lambda: Board(url)).code == "port_busy"
        finally:
            process.kill()
            os.close(far)
            os.close(near)
