"""The results of a rule's tests, kept beside its program: whoever ran them tells how each went."""

from __future__ import annotations

from eyeflow.coordinator.api import Call, Reply
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.programs import found_program
from eyeflow.coordinator.store.facts import TestRun


async def put_tests(hub: Hub, call: Call) -> Reply:
    """Keep how the tests of a program's rule went, in place of what was told before, with the name of the token."""
    run = TestRun(hub.clock(), call.actor.name, tuple(call.body["tests"]))
    await hub.programs.keep_tests(call.path["id"], run)
    return Reply(204)


async def get_tests(hub: Hub, call: Call) -> Reply:
    """Return how the tests of a program's rule went, as somebody told; `toldUs` 0 when nobody did."""
    program_id = call.path["id"]
    run = await hub.store.read(lambda reading: reading.program_tests(found_program(reading, program_id).id))
    run = run or TestRun(0, "", ())
    return Reply(200, {"toldUs": run.told_us, "toldBy": run.told_by, "tests": list(run.tests)})
