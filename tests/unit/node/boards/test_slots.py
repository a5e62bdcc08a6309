"""What a deployment wants of a board by manifests: staged, switched to, taken back, and told as the board says it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.board_double import BoardDouble, plugged_in
from components.waiting import until
from eyeflow.board_link.messages import Request
from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.node.boards.control import BoardControl
from eyeflow.node.boards.wanted import There
from eyeflow.node.cluster.applying import Applying
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import Evidence, EvidenceStanding, ManifestEntry, Trial, WantedManifest
from eyeflow.protocol.outputs import Apply
from eyeflow.protocol.slot import Slot
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile
from eyeflow.svm.signing import sign_program

from .test_boards import at, boards_of, is_

RULE = """rule {rule} {{
    version "{version}"
    pin {pin}: output
    param limit: float = 3.0
    on every 1s
    if adc.read_channel(0) > limit {{ gpio.set_pin({pin}, HIGH) }}
}}
"""
TRIAL = Trial(60, 20, 500, 3, True, 1)
A, C = Slot.ACTIVE, Slot.CANDIDATE


def program(version: str, rule: str = "relay", pin: str = "RELAY") -> bytes:
    options = CompileOptions(profile=Profile.MCU, chip="STM32F401CC")
    result = compile_rule(RULE.format(version=version, rule=rule, pin=pin), name="relay.eye", options=options)
    assert result.program is not None, result.diagnostics
    return sign_program(encode(result.program), bytes(range(32)))


OLD, NEW = program("1.0.0"), program("2.0.0")
FAN_OLD, FAN_NEW = program("1.0.0", "fan", "FAN"), program("2.0.0", "fan", "FAN")


def entry(data: bytes, by: str, slot: Slot = A, **terms: Any) -> ManifestEntry:
    signed = decode(data)
    return ManifestEntry(signed.program.rule, signed.program_id, by, slot=slot, **terms)


@dataclass
class Gateway:
    """A board behind a node, and the manifests that reach it one after the other."""

    board: BoardDouble
    control: BoardControl
    version: int = 0
    sent: dict[str, bytes] = field(default_factory=dict)

    async def apply(
        self, *entries: ManifestEntry, programs: Sequence[bytes] = (OLD, NEW, FAN_OLD, FAN_NEW)
    ) -> list[str]:
        """Apply a manifest; return what was refused."""
        self.version += 1
        held = {one.program_id for one in self.control.held() if not one.refusal}
        fetched = {decode(data).program_id: data for data in programs if decode(data).program_id not in held}
        wanted = {one.program_id for one in entries}
        ordered = tuple(sorted(entries, key=lambda one: (one.rule, one.slot.value)))
        manifest = WantedManifest("c" * 64, "node-mcu-01", self.version, 0, ordered)
        output = Apply(manifest, b"", {key: data for key, data in fetched.items() if key in wanted}, frozenset())
        results = await Applying(self.control).apply(output)
        return [one.reason for one in results if one.reason]

    @property
    def running(self) -> dict[str, str]:
        """The versions that the board runs, by rule."""
        return {one.signed.program.rule: one.signed.program.version for one in self.board.programs.values()}

    @property
    def staged(self) -> dict[str, str]:
        return {one.signed.program.rule: one.signed.program.version for one in self.board.staged.values()}

    def asked(self, request: Request) -> int:
        return self.board.requests.count(request)

    def evidence(self, rule: str = "relay") -> Evidence:
        (found,) = (one for one in self.control.evidence() if one.rule == rule)
        return found


def behind_a_gateway(
    directory: Path, test: Callable[[Gateway], Coroutine[Any, Any, None]], board: BoardDouble | None = None
) -> None:
    board = board or BoardDouble()

    async def run(path: str) -> None:
        async with boards_of(directory, at(path)) as boards:
            await until(is_(boards, "online"))
            control = BoardControl(boards.by_name["node-mcu-01"], Identity(bytes(range(32))), "1")
            await test(Gateway(board, control))

    with plugged_in(board) as path:
        asyncio.run(run(path))


def test_two_rules_are_staged_switched_by_one_request_and_taken_back(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        before = (entry(OLD, "d1"), entry(FAN_OLD, "d1"))
        assert await gateway.apply(*before) == []
        assert await gateway.apply(*before, entry(NEW, "d2", C), entry(FAN_NEW, "d2", C)) == []
        assert gateway.running == {"relay": "1.0.0", "fan": "1.0.0"}
        assert gateway.staged == {"relay": "2.0.0", "fan": "2.0.0"}
        assert gateway.asked(Request.SWITCH) == 0
        switched = (entry(NEW, "d2", trial=TRIAL), entry(FAN_NEW, "d2", trial=TRIAL))
        warm = (entry(OLD, "d1", C), entry(FAN_OLD, "d1", C))
        pushed = gateway.board.pieces
        assert await gateway.apply(*switched, *warm) == []
        assert gateway.running == {"relay": "2.0.0", "fan": "2.0.0"} and gateway.staged == {}
        assert gateway.asked(Request.SWITCH) == 1, "both rules from the same scan on"
        assert await gateway.apply(*before) == []
        assert gateway.running == {"relay": "1.0.0", "fan": "1.0.0"}
        assert gateway.asked(Request.BACK) == 1 and gateway.board.pieces == pushed, "nothing was sent again"

    behind_a_gateway(tmp_path, test)


def test_what_passed_is_kept_alone_and_what_is_staged_no_more_is_given_up(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        await gateway.apply(entry(OLD, "d1"), entry(NEW, "d2", C))
        assert gateway.staged == {"relay": "2.0.0"}
        assert await gateway.apply(entry(OLD, "d1")) == []
        await until(lambda: gateway.staged == {})
        assert gateway.running == {"relay": "1.0.0"} and gateway.asked(Request.DROP) == 1
        await gateway.apply(entry(OLD, "d1"), entry(NEW, "d3", C))
        await gateway.apply(entry(NEW, "d3"), entry(OLD, "d1", C))
        assert await gateway.apply(entry(NEW, "d3")) == []
        assert [(one.slot, one.refusal) for one in gateway.control.held()] == [(A, "")]
        assert gateway.board.programs[0].previous is not None, "the board keeps its way back"

    behind_a_gateway(tmp_path, test)


def test_a_rule_that_the_board_never_had_is_staged_and_goes_with_its_deployment(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        assert await gateway.apply(entry(NEW, "d1", C)) == []
        assert (gateway.running, gateway.staged) == ({}, {"relay": "2.0.0"})
        assert await gateway.apply() == []
        assert gateway.staged == {} and gateway.control.held() == ()
        assert await gateway.apply(entry(NEW, "d2", C)) == []
        assert await gateway.apply(entry(NEW, "d2")) == []
        assert gateway.running == {"relay": "2.0.0"}

    behind_a_gateway(tmp_path, test)


def test_rolling_takes_the_place_and_goes_back_without_a_byte_of_the_old_program(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        assert await gateway.apply(entry(NEW, "d2", trial=TRIAL)) == []
        pushed = gateway.board.pieces
        assert await gateway.apply(entry(OLD, "d1")) == []
        assert gateway.running == {"relay": "1.0.0"}
        assert (gateway.asked(Request.BACK), gateway.board.pieces) == (1, pushed)

    behind_a_gateway(tmp_path, test)


def test_what_passed_is_what_the_board_goes_back_to_although_it_ran_but_shortly(tmp_path: Path) -> None:
    newest = program("3.0.0")

    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        gateway.board.programs[0].good = True  # the board has counted enough of its executions
        await gateway.apply(entry(NEW, "d2", trial=TRIAL))
        await gateway.apply(entry(NEW, "d2"))  # it passed
        assert await gateway.apply(entry(newest, "d3", trial=TRIAL), programs=(newest,)) == []
        assert gateway.board.programs[0].previous is not None and gateway.asked(Request.GOOD) == 1
        assert await gateway.apply(entry(NEW, "d2")) == []
        assert gateway.running == {"relay": "2.0.0"}

    behind_a_gateway(tmp_path, test)


def test_what_did_not_pass_is_not_called_good(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        await gateway.apply(entry(NEW, "d2", trial=TRIAL))
        await gateway.apply(entry(program("3.0.0"), "d3", trial=TRIAL), programs=(program("3.0.0"),))
        assert gateway.asked(Request.GOOD) == 1, "only of the one that passed"
        assert gateway.board.programs[0].previous is not None
        assert gateway.board.programs[0].previous.signed.program.version == "1.0.0"

    behind_a_gateway(tmp_path, test)


def test_in_a_canary_a_board_is_one_key(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        others = entry(NEW, "d2", C, share=1000, keyless=False, trial=TRIAL)
        assert await gateway.apply(entry(OLD, "d1"), others) == []
        assert (gateway.running, gateway.staged) == ({"relay": "1.0.0"}, {"relay": "2.0.0"})
        told = gateway.evidence()
        assert (told.deployment_id, told.slot, told.executions) == ("d2", C, 0), "it is heard of, and ran nothing"
        ours = entry(NEW, "d2", C, share=5000, keyless=True, trial=TRIAL)
        assert await gateway.apply(entry(OLD, "d1"), ours) == []
        assert gateway.running == {"relay": "2.0.0"} and gateway.asked(Request.SWITCH) == 1
        gateway.board.programs[0].executions = 7
        await until(lambda: gateway.evidence().executions == 7)
        assert await gateway.apply(entry(NEW, "d2")) == []
        assert gateway.running == {"relay": "2.0.0"}
        assert gateway.evidence().standing is EvidenceStanding.PASSED

    behind_a_gateway(tmp_path, test)


def test_a_canary_that_fails_is_taken_back_where_it_ran(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        await gateway.apply(entry(OLD, "d1"), entry(NEW, "d2", C, share=1000, keyless=True, trial=TRIAL))
        assert gateway.running == {"relay": "2.0.0"}
        assert await gateway.apply(entry(OLD, "d1")) == []
        await until(lambda: gateway.running == {"relay": "1.0.0"})
        assert gateway.asked(Request.BACK) == 1

    behind_a_gateway(tmp_path, test)


def test_a_program_that_shall_only_watch_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        (why,) = await gateway.apply(entry(OLD, "d1"), entry(NEW, "d2", C, trial=TRIAL))
        assert "a board runs one program of a rule at a time" in why
        assert (gateway.running, gateway.staged) == ({"relay": "1.0.0"}, {})

    behind_a_gateway(tmp_path, test)


def test_the_boards_own_way_back_is_told_as_rolled_back(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        gateway.board.programs[0].executions = 500
        await until(lambda: gateway.evidence().executions == 500)
        await gateway.apply(entry(NEW, "d2", trial=TRIAL))
        held = gateway.board.programs[0]
        held.executions, held.traps, held.trap, held.pc = 2, 2, 4, 17
        await until(lambda: gateway.evidence().traps == 2)
        assert (gateway.evidence().executions, gateway.evidence().standing) == (2, EvidenceStanding.TRIAL)
        assert held.previous is not None
        gateway.board.programs[0] = held.previous  # a third fault: the board went back
        await until(lambda: gateway.evidence().standing is EvidenceStanding.ROLLED_BACK)
        told = gateway.evidence()
        assert (told.deployment_id, told.program_id) == ("d2", decode(NEW).program_id)
        assert told.reason.startswith("the board gave up relay") and told.reason.endswith(
            "fault: INDEX_RANGE at line 6"
        )
        assert await gateway.apply(entry(OLD, "d1")) == []
        assert gateway.running == {"relay": "1.0.0"} and gateway.asked(Request.BACK) == 0

    behind_a_gateway(tmp_path, test)


def test_evidence_adds_up_over_starts_of_the_board_and_begins_with_the_deployment(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        gateway.board.programs[0].executions = 100
        await until(lambda: gateway.evidence().executions == 100)
        gateway.board.restart()
        gateway.board.programs[0].executions = 30
        await until(lambda: gateway.evidence().executions == 130)
        await gateway.apply(entry(OLD, "d2", trial=TRIAL))
        assert (gateway.evidence().executions, gateway.evidence().deployment_id) == (0, "d2")
        gateway.board.programs[0].executions, gateway.board.programs[0].failures = 50, 3
        await until(lambda: gateway.evidence().executions == 20)
        assert gateway.evidence().failed_actions == 3

    behind_a_gateway(tmp_path, test)


def test_what_waits_on_the_board_is_still_wanted_after_a_restart_of_the_gateway(tmp_path: Path) -> None:
    board = BoardDouble()
    canary = entry(NEW, "d2", C, share=1000, keyless=True, trial=TRIAL)

    async def begin(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        assert await gateway.apply(entry(OLD, "d1"), canary) == []

    async def go_on(gateway: Gateway) -> None:
        held = lambda: [(one.slot, one.refusal) for one in gateway.control.held()]  # noqa: E731
        await until(lambda: held() == [(A, ""), (C, "")])
        assert gateway.running == {"relay": "2.0.0"}
        gateway.version = 2
        assert await gateway.apply(entry(OLD, "d1")) == []
        await until(lambda: gateway.running == {"relay": "1.0.0"})

    behind_a_gateway(tmp_path, begin, board)
    behind_a_gateway(tmp_path, go_on, board)


def test_a_switch_of_what_the_board_lost_meanwhile_brings_it_anew(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        await gateway.apply(entry(OLD, "d1"), entry(NEW, "d2", C))
        gateway.board.staged.clear()
        assert await gateway.apply(entry(NEW, "d2"), entry(OLD, "d1", C)) == []
        assert gateway.running == {"relay": "2.0.0"}

    behind_a_gateway(tmp_path, test)


def test_older_firmware_takes_programs_at_once_and_refuses_to_stage_with_the_reason(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        assert await gateway.apply(entry(OLD, "d1")) == []
        (why,) = await gateway.apply(entry(OLD, "d1"), entry(NEW, "d2", C))
        assert "keeps no second program of a rule" in why
        assert await gateway.apply(entry(NEW, "d3")) == []
        assert gateway.running == {"relay": "2.0.0"}

    behind_a_gateway(tmp_path, test, BoardDouble(is_old=True))


def test_a_person_takes_a_program_back_by_hand(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        await gateway.apply(entry(OLD, "d1"))
        assert (await gateway.control.roll_back("relay", "")).code == "no_previous"
        await gateway.apply(entry(NEW, "d2"))
        await until(lambda: gateway.control.board.there.previous != {})
        result = await gateway.control.roll_back("relay", "it hums")
        assert (result.message, gateway.running) == ("", {"relay": "1.0.0"})

    behind_a_gateway(tmp_path, test)


@pytest.mark.parametrize(
    "there", [There(), There({"relay": "a"}), There({"relay": "a"}, {"relay": "b"}, {"relay": "c"})]
)
def test_what_is_there(there: There) -> None:
    assert (there.has("relay", "a"), there.has("relay", "c")) == (bool(there.running), bool(there.staged))
    assert there.knows("relay") is bool(there.running) and not there.knows("fan") and not there.has("fan", "a")
