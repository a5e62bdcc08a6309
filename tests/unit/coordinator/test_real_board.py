"""Every strategy on the very firmware image of the STM32F401CC, on an emulated chip behind a real node and coordinator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from components.boards import PLAIN_F401, share_compiled_crates
from components.waiting import running
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.config.sections import CoordinatorConfig
from eyeflow.node.daemon import run_node
from eyeflow.node.io.connectors import ports_config
from eyeflow.svm.container import decode

from .test_boards import OCTETS, node_of, stand

share_compiled_crates()

RULE = """rule relay {{
    version "{version}"
    pin RELAY: output
    param one: int = 1
    on every 100ms
    if 10 / {divisor} > 100 {{ gpio.set_pin(RELAY, HIGH) }}
}}
"""
OPTIONS = {"observeS": 1, "samplesMin": 5}


def test_a_real_board_follows_rolling_and_blue_green_and_goes_back_from_a_bad_program(
    cluster: Any, make: Any, tmp_path: Path
) -> None:
    lab = PLAIN_F401

    async def test(url: str) -> None:
        async with cluster.coordinator() as client:
            token = (await client.post("/api/nodes/join-tokens", json={})).json()["token"]
            (tmp_path / "token").write_text(token)
            (tmp_path / "token").chmod(0o600)
            coordinator = CoordinatorConfig(cluster.url, token_file=tmp_path / "token")
            boards = (BoardSection("node-mcu-01", url),)
            config = NodeConfig(
                "gateway", tmp_path / "node", coordinator=coordinator, ports=ports_config(), boards=boards
            )

            async def deploy(version: str, strategy: str, divisor: str = "one") -> Any:
                data = lab.compile(RULE.format(version=version, divisor=divisor), "relay.eye")
                added = await client.post("/api/programs", content=data, headers=OCTETS)
                assert added.status_code in (200, 201), added.text
                asked: dict[str, Any] = {"programId": decode(data).program_id, "nodeIds": ["node-mcu-01"]}
                asked |= {"strategy": strategy} | ({} if strategy == "immediate" else {"options": OPTIONS})
                answer = await client.post("/api/rules/relay/deploy", json=asked)
                return await make.ended(client, answer.headers["location"])

            async def runs(version: str) -> None:
                async def found() -> bool:
                    programs = (await node_of(client))["board"]["programs"]
                    return [(one["version"], one["isRunning"]) for one in programs] == [(version, True)]

                await make.until(found, f"the board says that it runs {version}")

            async with running(run_node(config, stop=asyncio.Event())):
                await stand(client, make, "online", "answers")
                assert (await deploy("1.0.0", "immediate"))["state"] == "succeeded"
                for version, strategy in (("1.1.0", "rolling"), ("1.2.0", "blue_green"), ("1.3.0", "canary")):
                    ended = await deploy(version, strategy)
                    assert ended["state"] == "succeeded", ended
                    await runs(version)
                for version, strategy in (("1.4.0", "rolling"), ("1.5.0", "blue_green")):
                    ended = await deploy(version, strategy, divisor="(one - 1)")
                    assert ended["state"] == "failed", ended
                    assert "the board gave up relay" in ended["reason"], ended
                    await runs("1.3.0")

    chip = lab.start()
    with lab.served(chip) as url:
        asyncio.run(test(url))
    assert chip.serial_overruns(lab.link_port) == 0
    chip.close()
