"""A node as the gateway of a board: its daemon's boards with the very firmware image, on an emulated chip."""

from __future__ import annotations

import asyncio
from pathlib import Path
from zoneinfo import ZoneInfo

from components.boards import PATIENCE, PLAIN_F401, SECOND_US
from components.waiting import running, until
from eyeflow.base.machine import Machine
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.programs import Wanted
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.clock import SystemClock
from eyeflow.node.control import InstallOutcome
from eyeflow.svm.container import decode


def test_a_real_board_is_served_gets_its_program_and_refuses_what_is_older(tmp_path: Path) -> None:
    lab = PLAIN_F401
    new, old, strange = lab.program("1.3.0"), lab.program("1.2.0"), lab.program("1.4.0", key=bytes(range(1, 33)))

    async def test(url: str) -> None:
        (tmp_path / "board.toml").write_text(lab.board_text)
        place = BoardSection("node-mcu-01", url, board_file=tmp_path / "board.toml")
        made = Boards("gateway", (place,), tmp_path, SystemClock(), Machine(), ZoneInfo("UTC"), patience=PATIENCE)
        async with running(made.run()):
            await until(lambda: bool(made.by_name) and made.views()[0]["state"] == "online")
            programs = made.by_name["node-mcu-01"].programs

            async def want(data: bytes) -> object:
                signed = decode(data)
                params = (("limit", 70.0),)
                result = await programs.want(Wanted(signed.program.rule, signed.program_id, params, 1), data)
                return result.code or result.outcome

            assert await want(new) is InstallOutcome.INSTALLED
            (shown,) = made.views()
            assert [(one["rule"], one["version"], one["state"]) for one in shown["rules"]] == [  # type: ignore[index, attr-defined]
                ("overheat_relay", "1.3.0", "running")
            ]
            assert shown["health"]["ram_used_bytes"] > 0  # type: ignore[index]
            assert await want(old) == "older_program"
            assert await want(strange) == "foreign_signature"
            assert made.views()[0]["state"] == "online"

    chip = lab.start()
    with lab.served(chip) as url:
        asyncio.run(test(url))
    assert chip.time_us > SECOND_US and chip.serial_overruns(lab.link_port) == 0
    chip.close()
