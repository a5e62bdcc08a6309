"""A rule in two halves: the interlock on the very firmware of a board, the coordination on the daemon behind it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.boards import F401, SECOND_US, SIGNER
from components.rust import ROOT
from eyeflow.mcu.sim.endpoints import PtyEndpoint
from eyeflow.mcu.sim.serve import SimServer

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, until

__all__ = ["cluster"]

EXAMPLE = ROOT / "examples" / "split_press"
LAB = F401
COLD, WARM, HOT = 300, 750, 850
"""Of the ADC, a tenth of a degree each: far below all limits, above the limit of 70 degrees, above that of 80."""
CHANNEL = """
[board.press_limit]
board = "press"
rule = "press_interlock"
param = "limit"
every_s = 1.0
"""


def own_key(eyeflow: Command, home: Path) -> None:
    """Give the user the key that the firmware of the tests trusts: so its image is built once."""
    folder = home / ".config" / "eyeflow" / "keys"
    folder.mkdir(parents=True, mode=0o700)
    key = Ed25519PrivateKey.from_private_bytes(SIGNER)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes_raw().hex()
    for name, data in (("default.pem", pem), ("default.pub", f"eyeflow-ed25519 {public} default\n".encode())):
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    assert eyeflow("keys", "trust", public, "--name", "own").code == 0


def test_the_board_stops_by_itself_and_its_gateway_lowers_its_limit(
    cluster: Cluster, eyeflow: Command, home: Path, tmp_path: Path
) -> None:
    own_key(eyeflow, home)
    cluster.join("node-a", cluster.coordinator())
    config, board_file = cluster.config("node-a"), tmp_path / "board.toml"
    with config.open("a") as file:
        file.write(CHANNEL)
    board_file.write_text(LAB.board_text)
    chip = LAB.start()
    chip.set_adc(0, COLD)
    log = cluster.node("node-a", "--grants-allow", "log.*,board.*")
    with shown_on_failure(log), LAB.running(chip, PtyEndpoint()) as server:
        adopted = eyeflow(
            "node", "boards", "adopt", server.url, "--name", "press", "--board", board_file, "--config", config
        )
        assert adopted.code == 0, adopted.err
        until(lambda: "press" in eyeflow("nodes", "list").out, "the board has joined")
        for rule, node in (("press_line", "node-a"), ("press_interlock", "press")):
            ran = eyeflow("deploy", EXAMPLE / f"{rule}.eye", "--nodes", node)
            assert ran.code == 0, ran.err
        until(lambda: is_stopped_when(server, WARM), "the gateway has lowered the limit on the board")
        its_gateway_has_recorded_both(eyeflow)
    chip.close()


def is_stopped_when(server: SimServer, counts: int) -> bool:
    """Let the press trip, cool down, and become so warm; say whether its relay stops it then. An event may be lost."""
    for level, high in ((HOT, True), (COLD, False)):
        server.post(lambda chip, level=level: chip.set_adc(0, level))  # type: ignore[misc]
        until(lambda high=high: server.chip.pin(LAB.relay) is high, "the interlock acts")  # type: ignore[misc]
    server.post(lambda chip: chip.set_adc(0, counts))
    ends_us = server.chip.time_us + 2 * SECOND_US  # of the board: ten scans of the rule, however slow this machine is
    until(lambda: server.chip.pin(LAB.relay) or server.chip.time_us > ends_us, "the board goes on")
    return server.chip.pin(LAB.relay)


def its_gateway_has_recorded_both(eyeflow: Command) -> None:
    """The event is an input of the gateway's rule, and what it set is one of its actions."""
    shown = lambda: eyeflow("executions", "--node", "node-a", "--rule", "press_line", "--json").lines  # noqa: E731
    until(lambda: shown() != [], "its execution is at the coordinator")
    first = shown()[0]
    assert first["inputs"] == {"temp": 85.0} or first["inputs"][0]["value"] == 85.0, first
    assert [one["capability"] for one in first["actions"]] == ["log.warn", "board.set_param"], first
