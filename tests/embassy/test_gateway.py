"""A node as the gateway of a board: its daemon's boards with the very firmware image, on an emulated chip."""

from __future__ import annotations

import asyncio
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.responses import JSONResponse

from components.boards import F401, PATIENCE, PLAIN_LABS, SECOND_US, Lab
from components.http_server import serve
from components.waiting import running, until
from eyeflow.base.machine import Machine
from eyeflow.node.boards.boards import Boards
from eyeflow.node.boards.models import ModelAccess
from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.boards.wanted import Wanted
from eyeflow.node.clock import SystemClock
from eyeflow.node.control import InstallOutcome
from eyeflow.node.io.llm.driver import LlmDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.own_key import load_identity
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record, verify_chain
from eyeflow.protocol.audit_bodies import BoardAnswerBody, BoardChainBody, BoardRecordBody
from eyeflow.protocol.board_records import first_chain, next_chain, read_execution
from eyeflow.svm.container import decode

from .test_board_llm import CLASSIFY, program

HOT = 1200
"""Of the ADC: 120 degrees, above the limit of the rule."""


@pytest.mark.parametrize("lab", PLAIN_LABS, ids=lambda lab: lab.chip)
def test_a_real_board_is_served_gets_its_program_and_refuses_what_is_older(lab: Lab, tmp_path: Path) -> None:
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
            # The firmware's own records: the relay switches, since it is hot. START, BOARD_CHAIN and INSTALL are not.
            await until(lambda: made.by_name["node-mcu-01"].records.head.seq > 3)

    chip = lab.start()
    chip.set_adc(0, HOT)
    with lab.served(chip) as url:
        asyncio.run(test(url))
    directory = tmp_path / "boards" / "node-mcu-01"
    stored = list(AuditReader(directory).records(1))
    assert verify_chain(stored, load_identity(directory).public_key).holds
    bodies = [decode_record(one).body for one in stored]
    (begins,) = (one for one in bodies if isinstance(one, BoardChainBody))
    assert (begins.reason, begins.number) == ("started", 0)
    taken = [one for one in bodies if isinstance(one, BoardRecordBody)]
    chain = first_chain(begins.device, begins.boot)
    for number, one in enumerate(taken):
        assert (one.number, one.rule, one.program) == (number, "overheat_relay", bytes.fromhex(decode(new).program_id))
        chain = next_chain(chain, number, one.data)
    assert taken and taken[-1].chain == chain, "the firmware and the gateway chain alike"
    switched = read_execution(taken[0].data)
    assert switched is not None and taken[0].outputs[0] == "RELAY" and switched.levels & 1
    assert chip.time_us > SECOND_US and chip.serial_overruns(lab.link_port) == 0
    chip.close()


def test_the_gateway_asks_the_model_for_a_real_board_and_the_rule_acts_on_the_answer(tmp_path: Path) -> None:
    lab, data = F401, program(CLASSIFY)
    reply = JSONResponse({"choices": [{"message": {"content": "HOT"}}]})

    async def test(url: str, model: str) -> None:
        access = ModelAccess(LlmDriver(LlmConfig(f"{model}/v1", "small")), "llm.classify".__eq__)
        place = BoardSection("node-mcu-01", url)
        how = (SystemClock(), Machine(), ZoneInfo("UTC"))
        made = Boards("gateway", (place,), tmp_path, *how, patience=PATIENCE, access=access)
        async with running(made.run()):
            await until(lambda: bool(made.by_name) and made.views()[0]["state"] == "online")
            signed = decode(data)
            await made.by_name["node-mcu-01"].programs.want(Wanted(signed.program.rule, signed.program_id), data)
            await until(lambda: chip.pin(lab.relay))
            await until(lambda: made.views()[0]["models"]["answered"] > 0)  # type: ignore[index]

    chip = lab.start()
    with serve(lambda request, body: reply) as model, lab.served(chip) as url:
        asyncio.run(test(url, model))
    chip.close()
    stored = AuditReader(tmp_path / "boards" / "node-mcu-01").records(1)
    answers = [body for one in stored if isinstance(body := decode_record(one).body, BoardAnswerBody)]
    assert answers[0].answer == "HOT" and answers[0].args == ("what the probe says, " * 9, "is it hot?")
