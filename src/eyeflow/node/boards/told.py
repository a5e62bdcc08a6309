"""What a gateway tells the coordinator of a board: its status, health, and facts, in the words of the protocol."""

from __future__ import annotations

from eyeflow.board_link.conversations import Status as Found
from eyeflow.board_link.messages import Counters, Installed
from eyeflow.node.boards.board import GatewayBoard
from eyeflow.node.boards.keeping import KeptBoard
from eyeflow.protocol.boards import PLACES_MAX, BoardProgram, BoardState, BoardStatus
from eyeflow.protocol.node_facts import NodeFacts
from eyeflow.protocol.wire import REASON_CHARS_MAX, SHORT_CHARS_MAX, cut

_HEALTH = {
    BoardState.ONLINE: "running",
    BoardState.UPDATING: "running",
    BoardState.STALE: "connecting",
    BoardState.UNKNOWN: "connecting",
    BoardState.LINK_LOST: "connecting",
    BoardState.FAILED: "failed",
}


def board_facts(kept: KeptBoard) -> NodeFacts:
    """Return what a board can run, as it told last. It refuses by itself what it has no pin or capability for."""
    chip = cut(kept.chip, SHORT_CHARS_MAX)
    return NodeFacts("mcu", chip, "", kept.ram_bytes, kept.abi, None, None, None)


def board_status(board: GatewayBoard) -> BoardStatus:
    """Return what the gateway knows of a board."""
    standing, hello, found = board.standing, board.hello, board.found
    health = None if found is None else found.health
    return BoardStatus(
        state=standing.state,
        reason=cut(standing.reason, SHORT_CHARS_MAX),
        since_us=standing.since_us,
        evidence=cut(standing.evidence, REASON_CHARS_MAX),
        answered_us=board.answered_us,
        firmware="" if hello is None else cut(hello.firmware, SHORT_CHARS_MAX),
        abi=0 if hello is None else hello.abi,
        boot=0 if hello is None else hello.boot,
        uptime_ms=0 if health is None else min(health.uptime_ms, 2**63 - 1),
        # Firmware that knows no causes tells no stack either.
        reset_cause="" if health is None or not health.stack_bytes else health.reset_cause.name.lower(),
        stack_bytes=0 if health is None else health.stack_bytes,
        stack_used_bytes=0 if health is None else health.stack_used_bytes,
        flash_bytes=0 if health is None else health.flash_bytes,
        flash_used_bytes=0 if health is None else health.flash_used_bytes,
        ram_bytes=0 if health is None else health.ram_bytes,
        ram_used_bytes=0 if health is None else health.ram_used_bytes,
        scans=0 if health is None else health.scans,
        scan_us_max=0 if health is None else health.scan_us_max,
        frames_good=0 if health is None else health.frames_good,
        frames_bad=0 if health is None else health.frames_bad,
        received_bad=board.frames.received_bad,
        asked_again=board.frames.asked_again,
        starts=board.starts,
        programs=() if found is None else _programs(board, found),
    )


def _programs(board: GatewayBoard, found: Found) -> tuple[BoardProgram, ...]:
    return tuple(
        _program(program, counters, board.fault(program, counters)) for program, counters in found.pairs[:PLACES_MAX]
    )


def _program(program: Installed, counters: Counters, fault: str) -> BoardProgram:
    return BoardProgram(
        rule=cut(program.rule, SHORT_CHARS_MAX),
        version=cut(program.version, SHORT_CHARS_MAX),
        program_id=program.program_id,
        is_running=counters.running,
        is_good=program.good,
        has_previous=program.has_previous,
        has_staged=program.has_staged,
        executions=counters.executions,
        traps=counters.traps,
        failures=counters.failures,
        last_fault=cut(fault, REASON_CHARS_MAX),
    )


def board_health(board: GatewayBoard) -> dict[str, object]:
    """Return a board's state in the form of `NodeControl.status`: the board as a port, and each of its programs."""
    standing = board.standing
    port = {"name": "board", "state": _HEALTH[standing.state], "detail": f"{standing.reason}: {standing.evidence}"}
    found = board.found
    pairs = () if found is None else found.pairs[:PLACES_MAX]
    rules = [
        {
            "rule": program.rule,
            "slot": "active",
            "program_id": program.program_id,
            "state": "running" if counters.running else "failed",
            "last_error": board.fault(program, counters),
            "counters": {
                "executions": counters.executions,
                "trapped": counters.traps,
                "skipped": counters.skips,
                "capability_failures": counters.failures,
                "fuel_max": counters.fuel_max,
            },
        }
        for program, counters in pairs
    ]
    trouble, lost = board.records.trouble, sum(board.records.lost.values())
    store = {"state": "failed" if trouble else "up", "problem": trouble, "dropped_records": lost}
    return {"rules": rules, "services": [port], "store": store}
