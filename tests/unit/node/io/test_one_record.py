"""A source and driver of its own, defined here by one record, is a part of everything: configuration, template, pages,
compiler and a running node. The control leaves the record out of the list."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from tools import gen_capabilities

from components.node_sim import SIGNER
from components.waiting import HANG_S
from eyeflow.base.errors import EyeflowError
from eyeflow.compiler.catalog import Catalog
from eyeflow.compiler.compile import compile_rule
from eyeflow.node.config.config import NodeConfig, load_config, settings
from eyeflow.node.config.reference import settings_page
from eyeflow.node.config.settings import Section, integer, named, required, text
from eyeflow.node.config.template import config_template
from eyeflow.node.daemon import run_node
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.connector import Connector, PortsConfig, Problem, Site
from eyeflow.node.io.connectors import CONNECTORS
from eyeflow.node.io.payloads import decode_object
from eyeflow.node.io.ports import Deliver, IncomingEvent, PortStatus, Subscription
from eyeflow.node.io.world import check_subscription
from eyeflow.node.runtime import NodeRuntime
from eyeflow.svm.container import encode
from eyeflow.svm.program import Value
from eyeflow.svm.signing import public_key_of, sign_program

# --- the whole of a new source and driver: JSON objects in UDP datagrams ---


@dataclass(frozen=True, slots=True)
class PeerConfig(Section):
    """Where one peer is."""

    SECTION: ClassVar[str] = "datagram.peers.NAME"

    port: int = integer(0, 0, 65_535, "Port of the peer.")


@dataclass(frozen=True, slots=True)
class DatagramConfig(Section):
    """The socket of the node."""

    SECTION: ClassVar[str] = "datagram"

    host: str = required("Address to listen on.")
    port: int = integer(0, 0, 65_535, "Port to listen on.")
    greeting: str = text("hello", "What an answer starts with.", ("hello", "hi"))
    peers: Mapping[str, PeerConfig] = named(PeerConfig, "peers", short="port")


def _open(site: Site) -> socket.socket:
    config, opened = site.of(DatagramConfig), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.bind((config.host, config.port))
    return opened


@dataclass
class DatagramSource:
    opened: socket.socket
    wanted: dict[str, Subscription] = field(default_factory=dict)
    status: PortStatus = field(default_factory=lambda: PortStatus("datagram", "up"))

    def update(self, subscriptions: Collection[Subscription]) -> None:
        self.wanted = {one.address: one for one in subscriptions}

    async def run(self, deliver: Deliver) -> None:
        while True:
            data = await asyncio.get_running_loop().sock_recv(self.opened, 2048)
            payload = dict(decode_object(data, 2048))
            if (subscription := self.wanted.get(str(payload.pop("sensor")))) is not None:
                await deliver(IncomingEvent(subscription, payload, 1_700_000_000_000_000))


class DatagramDriver(BaseDriver):
    def __init__(self, opened: socket.socket, config: DatagramConfig) -> None:
        super().__init__("datagram")
        self._opened, self._config = opened, config

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        peer = ("127.0.0.1", self._config.peers[str(args["peer"])].port)
        answer = f"{self._config.greeting} {args['text']}".encode()
        await asyncio.get_running_loop().sock_sendto(self._opened, answer, peer)

    async def close(self) -> None:
        self._opened.close()


def _check(address: str, config: PortsConfig) -> Problem | None:
    return ("the node has no sensor 9", "Listen to another one.") if address == "sensor/9" else None


DATAGRAM = Connector(
    name="datagram",
    sections=(DatagramConfig,),
    share=_open,
    source=lambda site, opened: DatagramSource(opened),
    driver=lambda site, opened: DatagramDriver(opened, site.of(DatagramConfig)),
    check=_check,
    grants=("datagram.*",),
    short={"peers": "datagram.peers"},
    template="""\
[datagram]
host = "127.0.0.1"               # only programs of this machine
""",
    catalog="""\
[[source]]
name = "datagram"
address = "required"
form = "sensor/[0-9]+"
example = "sensor/7"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network" }
doc = "A JSON object in a datagram."

[[capability]]
name = "datagram.send"
kind = "act"
args = [{ name = "peer", type = "text(32)" }, { name = "text", type = "text(64)" }]
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network" }
doc = "Send a text to a peer."
""",
)

# --- what follows from it ---

ALL = (*CONNECTORS, DATAGRAM)
CATALOG = Catalog.builtin().with_toml(DATAGRAM.catalog, name="datagram")
RULE = """
rule heat {
    version "1.0.0"
    record Heat { celsius: float }
    on datagram "sensor/7" as heat: Heat
    datagram.send("panel", "{heat.celsius}")
}
"""


def configured(tmp_path: Path, more: str = "", connectors: tuple[Connector, ...] = ALL) -> NodeConfig:
    file = tmp_path / "eyeflow-svm.toml"
    file.write_text(config_template("n1", trusted_keys=[public_key_of(SIGNER)], connectors=connectors) + more)
    return load_config(file, {"EYEFLOW_DATAGRAM_GREETING": "hi"}, connectors=connectors)


def test_a_source_defined_by_one_record_is_configured_and_checked(tmp_path: Path) -> None:
    config = configured(tmp_path, "[datagram.peers]\npanel = 7000\n")
    assert "datagram.*" in config.grants
    section = config.ports.of(DatagramConfig)
    assert (section.host, section.greeting, section.peers) == ("127.0.0.1", "hi", {"panel": PeerConfig(7000)})
    assert configured(tmp_path, "[peers]\nwall = 7001\n").ports.of(DatagramConfig).peers == {"wall": PeerConfig(7001)}
    for wrong, says in (
        ("[datagram.peers]\npanel = 70000\n", "[datagram.peers.panel] port must be in 0..65535"),
        ("[datagram.peers.panel]\nprot = 1\n", "unknown key `prot`"),
        ("[datagrm]\n", "unknown section [datagrm]"),
    ):
        with pytest.raises(EyeflowError) as raised:
            configured(tmp_path, wrong)
        assert says in raised.value.message
    configured(tmp_path)
    with pytest.raises(EyeflowError, match="greeting = 'hullo' is not known"):
        load_config(tmp_path / "eyeflow-svm.toml", {"EYEFLOW_DATAGRAM_GREETING": "hullo"}, connectors=ALL)


def test_control_without_the_record_nothing_knows_it(tmp_path: Path) -> None:
    configured(tmp_path)
    with pytest.raises(EyeflowError, match=r"unknown section \[datagram\]"):
        load_config(tmp_path / "eyeflow-svm.toml")
    assert "datagram" not in settings_page() + config_template("n1") + gen_capabilities.page()
    assert not compile_rule(RULE, name="heat.eye").program


def test_its_settings_and_capabilities_stand_on_the_pages() -> None:
    page = settings_page(ALL)
    assert "## [datagram]" in page and "### [datagram.peers.NAME]" in page
    assert "| `port` | integer 0..65535 | `0` | `EYEFLOW_DATAGRAM_PORT` | Port to listen on. |" in page
    assert "`[peers]` is a short way to write `[datagram.peers]`" in page
    assert "--datagram-greeting" in {setting.flag for setting in settings(ALL)}
    page = gen_capabilities.page(ALL)
    assert "### datagram\n" in page and "### datagram.send" in page


def test_the_compiler_and_the_node_check_its_addresses_by_the_same_words(tmp_path: Path) -> None:
    wrong = compile_rule(RULE.replace("sensor/7", "probe/7"), name="heat.eye", catalog=CATALOG)
    assert [(one.code, one.label) for one in wrong.diagnostics] == [
        ("EF0308", "an address of this source looks like `sensor/7`")
    ]
    config = configured(tmp_path).ports
    check_subscription(Subscription("datagram", "sensor/7"), config)
    for address, cause in (("probe/7", "looks like `sensor/7`"), ("sensor/9", "no sensor 9")):
        with pytest.raises(EyeflowError) as raised:
            check_subscription(Subscription("datagram", address), config)
        assert cause in raised.value.cause
    bare = PortsConfig.from_tables({}, ALL)
    assert bare.hint("datagram") == "Add a section [datagram] with `host = ...` to the node's configuration."
    with pytest.raises(EyeflowError) as raised:
        check_subscription(Subscription("datagram", "sensor/7"), bare)
    assert raised.value.next_step == bare.hint("datagram")


async def heard(config: NodeConfig, program: bytes, panel: socket.socket) -> bytes:
    """Run a node, install the program, send it a reading and return what the panel hears."""
    stop, nodes, loop = asyncio.Event(), [], asyncio.get_running_loop()
    running = asyncio.create_task(run_node(config, on_ready=nodes.append, stop=stop))
    async with asyncio.timeout(HANG_S):
        while not nodes and not running.done():
            await asyncio.sleep(0)
        node: NodeRuntime = nodes[0] if nodes else await running  # type: ignore[assignment]
        assert (await node.install(program, {}, "d", 1)).message == ""
        source = node.sources["datagram"]
        assert isinstance(source, DatagramSource)
        reading = json.dumps({"sensor": "sensor/7", "celsius": 21.5}).encode()
        await loop.sock_sendto(panel, reading, source.opened.getsockname())
        answer = await loop.sock_recv(panel, 2048)
    assert {one["name"]: one["state"] for one in node.status()["drivers"]}["datagram"] == "up"  # type: ignore[attr-defined]
    stop.set()
    await running
    return answer


def test_a_rule_runs_on_it(tmp_path: Path) -> None:
    compiled = compile_rule(RULE, name="heat.eye", catalog=CATALOG)
    assert compiled.program is not None, compiled.diagnostics
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as panel:
        panel.bind(("127.0.0.1", 0))
        panel.setblocking(False)
        config = configured(tmp_path, f"[datagram.peers]\npanel = {panel.getsockname()[1]}\n")
        program = sign_program(encode(compiled.program), SIGNER)
        assert asyncio.run(heard(config, program, panel)) == b"hi 21.5"
