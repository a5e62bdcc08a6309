"""Executions of boards as people read them: what a board does not record is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from eyeflow.protocol.audit_bodies import BoardRecordBody, ExecutionBody
from eyeflow.protocol.board_records import NO_EXECUTION, BoardExecution, read_execution
from eyeflow.protocol.slot import Slot
from eyeflow.svm.arguments import trigger_text
from eyeflow.svm.execution import Outcome
from eyeflow.svm.opcodes import Trap
from eyeflow.svm.program import Program
from eyeflow.svm.source_map import line_of


def is_execution(body: object) -> TypeGuard[ExecutionBody | BoardRecordBody]:
    """Say whether a record tells of an execution: of a node, or of a board."""
    return isinstance(body, ExecutionBody) or (isinstance(body, BoardRecordBody) and body.outcome != NO_EXECUTION)


def board_view(body: BoardRecordBody, program: Program | None) -> dict[str, Any]:
    """Return an execution of a board as that of a node.

    It has the levels of all outputs after the execution, and not which action set one.
    """
    run = read_execution(body.data)
    assert run is not None, "it is an execution"
    triggers = program.triggers if program is not None else ()
    view: dict[str, Any] = {
        "rule": body.rule,
        "slot": Slot.ACTIVE.value,
        "program": (body.program or run.program_key).hex(),
        "trigger": trigger_text(triggers[run.trigger]) if run.trigger < len(triggers) else "",
        "eventTimeUs": run.time_us,
        "key": "",
        "inputs": {},
        "reads": [],
        "outcome": Outcome(run.outcome).name.lower(),
        "actions": [],
        "fuel": run.fuel,
        "board": {
            "boot": body.boot,
            "number": body.number,
            "instruction": run.pc,
            "clockTold": run.is_clock_told,
            "outputs": _outputs(body, run),
        },
    }
    if run.trap:
        # Newer firmware may have other traps.
        name = Trap(run.trap).name if run.trap in set(Trap) else f"trap {run.trap}"
        is_known = program is not None and run.pc < len(program.code)
        view["trap"] = {"name": name, "line": line_of(program, run.pc) if is_known and program is not None else 0}
    return view


def _outputs(body: BoardRecordBody, run: BoardExecution) -> dict[str, bool]:
    count = len(body.outputs) or max(1, run.levels.bit_length())
    names = body.outputs or [f"output {number}" for number in range(count)]
    return {name: bool(run.levels >> bit & 1) for bit, name in enumerate(names)}


def levels_text(board: Mapping[str, Any]) -> str:
    """Return the levels of a board's outputs after an execution."""
    return ", ".join(f"{name} {'HIGH' if level else 'LOW'}" for name, level in board["outputs"].items())
