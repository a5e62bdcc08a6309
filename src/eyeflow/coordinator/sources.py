"""The texts of rules, kept beside their programs: what is kept compiles to the program, so its lines can be shown."""

from __future__ import annotations

import asyncio

from eyeflow.base.errors import EyeflowError
from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.programs import found_program
from eyeflow.coordinator.store.facts import SOURCE_CHARS_MAX
from eyeflow.svm.container import decode, encode
from eyeflow.svm.program import Profile, Program

SOURCE_BYTES_MAX = 4 * SOURCE_CHARS_MAX
MANY = 1 << 32
"""Channels of each kind: more than any board has."""


async def put_source(hub: Hub, call: Call) -> Reply:
    """Keep the text of the rule of a program. It must compile to that program, with the built-in catalog."""
    program_id, source = call.path["id"], call.body["source"]
    data = await hub.store.read(lambda reading: reading.program_bytes(found_program(reading, program_id).id))
    async with hub.checking_program:
        made = await asyncio.to_thread(compiled_id, source, decode(data).program)
    if made != program_id:
        detail = "The text compiles to another program." if made else "The text does not compile here."
        raise Problem("source_differs", detail, "send the text from which this program was compiled")
    await hub.programs.keep_source(program_id, source, hub.clock(), call.actor.name)
    return Reply(204)


async def get_source(hub: Hub, call: Call) -> Reply:
    """Return the text of the rule of a program, empty when it was not uploaded."""
    program_id = call.path["id"]
    source = await hub.store.read(lambda reading: reading.program_source(found_program(reading, program_id).id))
    return Reply(200, {"source": source})


def compiled_id(source: str, program: Program) -> str:
    """Return the id of the program that a text compiles to, for what `program` was compiled; empty for none."""
    # A coordinator that gets no text needs none of it.
    from eyeflow.compiler.compile import CompileOptions, compile_rule
    from eyeflow.compiler.hardware import CHANNEL_KINDS, Hardware

    # Whether its board has what it uses was said when it was compiled: only the bytes are compared here.
    any_board = Hardware("any board", dict.fromkeys(CHANNEL_KINDS, MANY), delegates_llm=True, sends_events=True)
    for hardware in (None, any_board) if program.profile is Profile.MCU else (None,):
        options = CompileOptions(program.profile, program.chip, sequence=program.sequence, hardware=hardware)
        try:
            made = compile_rule(source, name=program.source_name, options=options).program
        except EyeflowError:
            continue
        if made is not None:
            return decode(encode(made)).program_id
    return ""
