"""Cases of capability sites: arguments, answers, the three answers to failure, and atomicity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from assembler import ENUM, LETTERS, TEXT_BYTES, Case, CaseStep, Expected, Handler, assemble

from eyeflow.svm import program as p
from eyeflow.svm.opcodes import Op, Trap
from eyeflow.svm.program import OnFailure, Site, SiteKind, Value

NAN = math.nan
PINS = (p.Pin("RELAY", p.Direction.OUTPUT), p.Pin("DOOR", p.Direction.INPUT))


def site(
    kind: SiteKind,
    args: str = "",
    result: p.Type | None = None,
    on_failure: OnFailure = OnFailure.ABORT,
    cost: int = 10,
) -> Site:
    names = tuple((f"a{index}", LETTERS[letter]) for index, letter in enumerate(args))
    return Site(kind, "cap.do", names, result, on_failure, cost=cost)


def action_cases() -> Iterator[Case]:
    sites = [site(SiteKind.ACT, "BIFT"), site(SiteKind.EMIT, "I"), site(SiteKind.ACT)]
    loads = [(Op.LOAD, index) for index in range(4)]
    code = [*loads, (Op.CALL_ACTION, 0), (Op.LOAD, 1), (Op.EMIT_EVENT, 1), (Op.CALL_ACTION, 2), (Op.RETURN,)]
    program = assemble([Handler("BIFT", code)], sites=sites)
    for values in ((True, -5, -0.0, "日"), (False, 2**63 - 1, NAN, "")):
        actions = [(0, values), (1, [values[1]]), (2, [])]
        step = CaseStep(Expected(state=[], actions=actions, fuel=4 + 11 + 1 + 11 + 11 + 1), inputs=values)
        yield Case(f"world: actions and events keep their order and arguments: {values!r}", program, [step])
    code = [(Op.LOAD, 0), (Op.NEG_F,), (Op.CALL_ACTION, 0), (Op.RETURN,)]
    program = assemble([Handler("F", code)], sites=[site(SiteKind.ACT, "F")])
    step = CaseStep(Expected(state=[], actions=[(0, [NAN])]), inputs=[NAN])
    yield Case("world: a negated NaN leaves as the one NaN", program, [step])
    code = [
        (Op.PUSH_INT, 1),
        (Op.CALL_ACTION, 0),
        (Op.PUSH_INT, 1),
        (Op.PUSH_INT, 0),
        (Op.MOD_I,),
        (Op.POP,),
        (Op.RETURN,),
    ]
    program = assemble([Handler("", code)], sites=[site(SiteKind.ACT, "I")])
    step = CaseStep(Expected("trapped", trap=Trap.DIV_BY_ZERO, pc=4))
    yield Case("world: a trap takes back the actions before it", program, [step])
    code = [(Op.PUSH_INT, 3), (Op.LOOP, 3), (Op.LOOP_INDEX, 0), (Op.CALL_ACTION, 0), (Op.END_LOOP, 2), (Op.RETURN,)]
    program = assemble([Handler("", code)], sites=[site(SiteKind.ACT, "I", cost=0)])
    step = CaseStep(Expected(state=[], actions=[(0, [0]), (0, [1]), (0, [2])], fuel=1 + 2 + 3 * (1 + 1 + 2) + 1))
    yield Case("world: an action in each trip of a loop", program, [step])


RESULTS: Sequence[tuple[str, p.Type, str, Sequence[Value], Sequence[Value]]] = (
    ("bool", LETTERS["B"], "B", [True, False], [1, 0, 1.0, ""]),
    ("int", LETTERS["I"], "I", [-(2**63), 2**63 - 1], [True, 1.0, "1"]),
    ("float", LETTERS["F"], "F", [0.5, -0.0, NAN, math.inf], [1, True, "0.5"]),
    ("text", LETTERS["T"], "T", ["", "é" * 32, "x" * TEXT_BYTES], [1, "x" * (TEXT_BYTES + 1), "é" * 32 + "x"]),
    ("enum", ENUM, "I", [0, 2], [3, -1, "HEAT", 1.0]),
    ("pin", p.Type(p.TypeTag.PIN, direction=p.Direction.INPUT), "I", [0, 1], [2, -1, True]),
    ("duration", p.Type(p.TypeTag.DURATION), "I", [1_500_000], ["1.5s", 1.5]),
)


def read_cases() -> Iterator[Case]:
    for kind, op in ((SiteKind.READ, Op.LOAD_RESOURCE), (SiteKind.LLM, Op.LLM_CALL)):
        for name, type_, letter, good, bad in RESULTS:
            code = [(op, 0), (Op.STORE, 0), (Op.RETURN,)]
            program = assemble([Handler("", code)], state=letter, sites=[site(kind, "", type_)], pins=PINS)
            fine = [CaseStep(Expected(state=[value]), answers=[value]) for value in good]
            last = good[-1]
            failed = Expected("trapped", state=[last], trap=Trap.CAPABILITY_FAILED, pc=0)
            wrong = [CaseStep(failed, answers=[value]) for value in (*bad, None)]
            yield Case(f"world: {op.name} gives {name}; anything else fails", program, [*fine, *wrong])


def failure_cases() -> Iterator[Case]:
    for kind, op in ((SiteKind.READ, Op.LOAD_RESOURCE), (SiteKind.LLM, Op.LLM_CALL)):
        code = [(Op.PUSH_INT, 77), (Op.LOAD, 0), (op, 0), (Op.STORE, 1), (Op.RETURN,)]
        fallback = assemble([Handler("F", code)], state="I", sites=[site(kind, "F", LETTERS["I"], OnFailure.FALLBACK)])
        yield Case(f"world: {op.name} falls back", fallback, [
            CaseStep(Expected(state=[5]), inputs=[1.0], answers=[5]), CaseStep(Expected(state=[77]),
            inputs=[1.0], answers=[None]),
            CaseStep(Expected(state=[77]), inputs=[1.0], answers=["wrong"]),
        ])  # fmt: skip
        code = [(Op.PUSH_INT, 9), (Op.STORE, 0), (Op.CALL_ACTION, 1), (op, 0), (Op.STORE, 0), (Op.RETURN,)]
        sites = [site(kind, "", LETTERS["I"], OnFailure.SKIP), site(SiteKind.ACT)]
        skip = assemble([Handler("", code)], state="I", sites=sites)
        skipped = Expected("skipped", state=[4], pc=3, fuel=1 + 1 + 11 + 11)
        yield Case(f"world: {op.name} skips and takes everything back", skip, [
            CaseStep(Expected(state=[4], actions=[(1, [])]), answers=[4]), CaseStep(skipped, answers=[None]),
            CaseStep(skipped, answers=[1.5]),
        ])  # fmt: skip
        abort = assemble([Handler("", code)], state="I", sites=[site(kind, "", LETTERS["I"]), site(SiteKind.ACT)])
        trapped = Expected("trapped", state=[0], trap=Trap.CAPABILITY_FAILED, pc=3)
        yield Case(f"world: {op.name} aborts", abort, [CaseStep(trapped, answers=[None])])
    code = [(Op.LOAD_RESOURCE, 0), (Op.LOAD_RESOURCE, 0), (Op.SUB_I,), (Op.STORE, 0), (Op.RETURN,)]
    program = assemble([Handler("", code)], state="I", sites=[site(SiteKind.READ, "", LETTERS["I"])])
    yield Case("world: two reads are answered in order", program, [
        CaseStep(Expected(state=[6]), answers=[10, 4]),
        CaseStep(Expected("trapped", state=[6], trap=Trap.CAPABILITY_FAILED, pc=1), answers=[10, None]),
    ])  # fmt: skip


def cases() -> Iterator[Case]:
    yield from action_cases()
    yield from read_cases()
    yield from failure_cases()
