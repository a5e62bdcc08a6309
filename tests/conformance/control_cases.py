"""Cases of memory and control flow. Where the code is no straight line, fuel stands here as the sum it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from assembler import LETTERS, Case, CaseStep, Expected, Handler, assemble, list_of, text

from eyeflow.svm import program as p
from eyeflow.svm.opcodes import Op, Trap
from eyeflow.svm.program import Value

NAN = math.nan


def memory_cases() -> Iterator[Case]:
    for letter, value in (
        ("B", True),
        ("I", -(2**63)),
        ("F", -0.0),
        ("F", 5e-324),
        ("F", math.inf),
        ("F", NAN),
        ("T", "日\0🔥"),
    ):
        program = assemble([Handler("", [(Op.LOAD, 0), (Op.STORE, 1), (Op.RETURN,)])], params=letter, state=letter)
        yield Case(
            f"memory: a parameter {value!r} into state", program, [CaseStep(Expected(state=[value]))], params=[value]
        )
    constants: tuple[Value, ...] = (2**63 - 1, -0.0, NAN, "", "ä", 0.0, 7)
    letters = "IFFTTFI"
    code = [item for index in range(7) for item in ((Op.CONST, index), (Op.STORE, index))]
    program = assemble([Handler("", [*code, (Op.RETURN,)])], state=letters, constants=constants)
    yield Case("memory: constants of every type", program, [CaseStep(Expected(state=constants))])
    for operand, value in ((0, 0), (1, 1), (0x7FFF, 32767), (0x8000, -32768), (0xFFFF, -1)):
        program = assemble([Handler("", [(Op.PUSH_INT, operand), (Op.STORE, 0), (Op.RETURN,)])], state="I")
        yield Case(f"memory: PUSH_INT 0x{operand:04X}", program, [CaseStep(Expected(state=[value]))])
    for given, limit, kept in (
        ("äöü", 5, "äö"),
        ("äöü", 6, "äöü"),
        ("🔥", 3, ""),
        ("a🔥b", 5, "a🔥"),
        ("日本", 4, "日"),
        ("abc", 1, "a"),
    ):
        code = [(Op.LOAD, 0), (Op.STORE, 1), (Op.RETURN,)]
        program = assemble([Handler("T", code)], state=[text(limit)])
        yield Case(
            f"memory: {given!r} cut to {limit} bytes", program, [CaseStep(Expected(state=[kept]), inputs=[given])]
        )
    code = [(Op.PUSH_INT, 7), (Op.DUP,), (Op.STORE, 0), (Op.STORE, 1), (Op.PUSH_INT, 1), (Op.POP,), (Op.RETURN,)]
    yield Case("memory: DUP and POP", assemble([Handler("", code)], state="II"), [CaseStep(Expected(state=[7, 7]))])
    yield from _moving_texts()
    for chosen, expected in ((True, "x"), (False, "y")):
        code = [(Op.LOAD, 0), (Op.LOAD, 1), (Op.LOAD, 2), (Op.SELECT,), (Op.STORE, 3), (Op.RETURN,)]
        program = assemble([Handler("BTT", code)], state="T")
        yield Case(
            f"memory: SELECT {chosen}", program, [CaseStep(Expected(state=[expected]), inputs=[chosen, "x", "y"])]
        )
    code = [(Op.LOAD, 1), (Op.STORE, 0), (Op.PUSH_INT, 5), (Op.STORE, 1), (Op.RETURN,)]
    program = assemble([Handler("", code)], state="I", local="I", initial=[9])
    yield Case(
        "memory: locals are zero at each start", program, [CaseStep(Expected(state=[0])), CaseStep(Expected(state=[0]))]
    )
    first, second = [(Op.LOAD, 0), (Op.STORE, 2), (Op.RETURN,)], [(Op.LOAD, 1), (Op.STORE, 2), (Op.RETURN,)]
    program = assemble([Handler("I", first), Handler("I", second)], state="I")
    steps = [CaseStep(Expected(state=[5]), inputs=[5]), CaseStep(Expected(state=[6]), inputs=[6], trigger=1)]
    yield Case("memory: each trigger has its own inputs", program, steps)
    code = [(Op.LOAD, 0), (Op.LOAD, 1), (Op.ADD_I,), (Op.STORE, 1), (Op.RETURN,)]
    program = assemble([Handler("I", code)], state="I", initial=[2**63 - 2])
    steps = [CaseStep(Expected(state=[2**63 - 1]), inputs=[1]),
             CaseStep(Expected("trapped", state=[2**63 - 1], trap=Trap.INT_OVERFLOW, pc=2), inputs=[1]),
             CaseStep(Expected(state=[2**63 - 2]), inputs=[-1])]  # fmt: skip
    yield Case("memory: a trap keeps the state, and the next event goes on from it", program, steps)
    code = [(Op.PUSH_INT, 9), (Op.STORE, 1), (Op.LOAD, 0), (Op.F_TO_I,), (Op.STORE, 2), (Op.RETURN,)]
    program = assemble([Handler("F", code)], state="II")
    step = CaseStep(Expected("trapped", state=[0, 0], trap=Trap.CONVERT_RANGE, pc=3), inputs=[NAN])
    yield Case("memory: a store before a trap is undone", program, [step])


def _moving_texts() -> Iterator[Case]:
    """Texts are values: a machine that keeps them in place and passes references must not let one change under another."""
    loads = [(Op.LOAD, 0), (Op.LOAD, 1), (Op.LOAD, 2)]
    program = assemble([Handler("", [*loads, (Op.STORE, 0), (Op.STORE, 2), (Op.STORE, 1), (Op.RETURN,)])], state="TTT",
                       initial=["a", "bb", "日本"])  # fmt: skip
    turns = [["日本", "a", "bb"], ["bb", "日本", "a"], ["a", "bb", "日本"]]
    yield Case("memory: texts change places", program, [CaseStep(Expected(state=turn)) for turn in turns])
    site = p.Site(p.SiteKind.ACT, "log.text", (("old", LETTERS["T"]), ("new", LETTERS["T"])))
    code = [(Op.LOAD, 0), (Op.LOAD, 0), (Op.LOAD, 0), (Op.CONCAT, 0, 64), (Op.STORE, 0), (Op.LOAD, 0),
            (Op.CALL_ACTION, 0), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("", code)], state="T", initial=["ä"], sites=[site])
    steps = [
        CaseStep(Expected(state=["ää"], actions=[(0, ("ä", "ää"))])),
        CaseStep(Expected(state=["ääää"], actions=[(0, ("ää", "ääää"))])),
    ]
    yield Case("memory: a text on the stack outlives its slot", program, steps)
    limits = [text(8), text(2)]
    code = [(Op.LOAD, 0), (Op.STORE, 1), (Op.LOAD, 1), (Op.STORE, 0), (Op.RETURN,)]
    program = assemble([Handler("", code)], state=limits, initial=["aäö", "z"])
    yield Case("memory: a text cut on its way back", program, [CaseStep(Expected(state=["a", "a"]))])


def array_cases() -> Iterator[Case]:
    load = [(Op.LOAD, 0), (Op.LOAD_AT, 0), (Op.STORE, 5), (Op.RETURN,)]
    program = assemble([Handler("I", load)], state=[list_of("I", 3), *"I"], initial=[2, 10, 20, 30, 0])
    # slots: input 0, length 1, elements 2 to 4, result 5
    for index, value in ((0, 10), (1, 20)):
        step = CaseStep(Expected(state=[2, 10, 20, 30, value]), inputs=[index])
        yield Case(f"array: load element {index} of 2", program, [step])
    for index in (2, 3, -1, 2**63 - 1, -(2**63)):
        step = CaseStep(Expected("trapped", trap=Trap.INDEX_RANGE, pc=1), inputs=[index])
        yield Case(f"array: load element {index} of 2 traps", program, [step])
    for length, index, fine in ((4, 2, True), (4, 3, False), (2**63 - 1, 3, False), (-1, 0, False), (0, 0, False)):
        expected = (
            Expected(state=[length, 10, 20, 30, 30]) if fine else Expected("trapped", trap=Trap.INDEX_RANGE, pc=1)
        )
        start = [length, 10, 20, 30, 0]
        yield Case(
            f"array: element {index} of a length slot of {length}",
            program,
            [CaseStep(expected, inputs=[index])],
            start=start,
        )
    store = [(Op.LOAD, 1), (Op.LOAD, 0), (Op.STORE_AT, 0), (Op.RETURN,)]
    program = assemble([Handler("IF", store)], state=[list_of("F", 2)], initial=[2, 1.0, 2.0])
    yield Case("array: store", program, [CaseStep(Expected(state=[2, 1.0, -0.0]), inputs=[1, -0.0])])
    step = CaseStep(Expected("trapped", state=[2, 1.0, 2.0], trap=Trap.INDEX_RANGE, pc=2), inputs=[2, 9.0])
    yield Case("array: store beyond the length traps", program, [step])
    append = [(Op.LOAD, 0), (Op.GROW, 0), (Op.STORE_AT, 0), (Op.RETURN,)]
    program = assemble([Handler("T", append)], state=[list_of("T", 2)])
    steps = [CaseStep(Expected(state=[1, "a", ""]), inputs=["a"]), CaseStep(Expected(state=[2, "a", "b"]),
    inputs=["b"]),
             CaseStep(Expected("trapped", state=[2, "a", "b"], trap=Trap.LIST_FULL, pc=1), inputs=["c"])]  # fmt: skip
    yield Case("array: GROW until it is full", program, steps)
    for length in (-1, 3, 2**63 - 1, -(2**63)):
        step = CaseStep(Expected("trapped", trap=Trap.LIST_FULL, pc=1), inputs=["c"])
        yield Case(f"array: GROW a length slot of {length}", program, [step], start=[length, "a", "b"])
    code = [
        (Op.PUSH_INT, 4),
        (Op.GROW, 0),
        (Op.STORE_AT, 0),
        (Op.PUSH_INT, 0),
        (Op.LOAD_AT, 0),
        (Op.STORE, 0),
        (Op.RETURN,),
    ]
    program = assemble([Handler("", code)], state="I", local=[list_of("I", 2)])
    yield Case(
        "array: a local list starts empty each time",
        program,
        [CaseStep(Expected(state=[4])), CaseStep(Expected(state=[4]))],
    )
    code = [(Op.PUSH_INT, 1), (Op.LOAD_AT, 0), (Op.STORE, 3), (Op.RETURN,)]
    program = assemble([Handler([list_of("I", 2)], code)], state="I")
    yield Case("array: a list of the payload", program, [CaseStep(Expected(state=[8]), inputs=[2, 7, 8])])


def branch_cases() -> Iterator[Case]:
    # 0 LOAD, 1 BRANCH, 2 PUSH, 3 STORE, 4 RETURN
    program = assemble(
        [Handler("B", [(Op.LOAD, 0), (Op.BRANCH, 4), (Op.PUSH_INT, 1), (Op.STORE, 1), (Op.RETURN,)])], state="I"
    )
    yield Case("control: if, taken and not", program, [
        CaseStep(Expected(state=[1], fuel=1 + 1 + 1 + 1 + 1), inputs=[True]),
        CaseStep(Expected(state=[1], fuel=1 + 1 + 1), inputs=[False]),
    ])  # fmt: skip
    # 0 LOAD, 1 BRANCH 4, 2 PUSH 1, 3 JUMP 5, 4 PUSH 2, 5 STORE, 6 RETURN: the arms leave a value
    code = [(Op.LOAD, 0), (Op.BRANCH, 4), (Op.PUSH_INT, 1), (Op.JUMP, 5), (Op.PUSH_INT, 2), (Op.STORE, 1), (Op.RETURN,)]
    program = assemble([Handler("B", code)], state="I")
    yield Case("control: if-else whose arms leave a value", program, [
        CaseStep(Expected(state=[1], fuel=1 + 1 + 1 + 1 + 1 + 1), inputs=[True]),
        CaseStep(Expected(state=[2], fuel=1 + 1 + 1 + 1 + 1), inputs=[False]),
    ])  # fmt: skip
    code = [(Op.PUSH_INT, 10), *code[:1], (Op.BRANCH, 5), (Op.PUSH_INT, 1), (Op.JUMP, 6), (Op.PUSH_INT, 2), (Op.ADD_I,),
            (Op.STORE, 1), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("B", code)], state="I")
    yield Case("control: if-else above a value on the stack", program, [
        CaseStep(Expected(state=[11], fuel=8), inputs=[True]), CaseStep(Expected(state=[12], fuel=7), inputs=[False]),
    ])  # fmt: skip
    program = assemble([Handler("B", [(Op.LOAD, 0), (Op.BRANCH, 2), (Op.RETURN,)])])
    yield Case(
        "control: an empty arm", program, [CaseStep(Expected(state=[], fuel=3), inputs=[x]) for x in (True, False)]
    )
    program = assemble([Handler("B", [(Op.LOAD, 0), (Op.BRANCH, 3), (Op.JUMP, 3), (Op.RETURN,)])])
    yield Case("control: two empty arms", program, [
        CaseStep(Expected(state=[], fuel=4), inputs=[True]), CaseStep(Expected(state=[], fuel=3), inputs=[False]),
    ])  # fmt: skip
    # blocks that end at the same place: 0 LOAD 1 BRANCH 8 2 LOAD 3 BRANCH 8 4 LOAD 5 BRANCH 8 6 PUSH 7 STORE 8 RETURN
    code = [(Op.LOAD, 0), (Op.BRANCH, 8), (Op.LOAD, 1), (Op.BRANCH, 8), (Op.LOAD, 2), (Op.BRANCH, 8), (Op.PUSH_INT, 5),
            (Op.STORE, 3), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("BBB", code)], state="I")
    yield Case("control: three blocks end at one place", program, [
        CaseStep(Expected(state=[0], fuel=3), inputs=[False, True, True]),
        CaseStep(Expected(state=[0], fuel=5), inputs=[True, False, True]),
        CaseStep(Expected(state=[0], fuel=7), inputs=[True, True, False]),
        CaseStep(Expected(state=[5], fuel=9), inputs=[True, True, True]),
    ])  # fmt: skip
    # else if: 0 LOAD 1 BRANCH 5 2 PUSH 3 STORE 4 JUMP 12 5 LOAD 6 BRANCH 10 7 PUSH 8 STORE 9 JUMP 12 10 PUSH 11
    # STORE 12 RETURN
    code = [(Op.LOAD, 0), (Op.BRANCH, 5), (Op.PUSH_INT, 1), (Op.STORE, 2), (Op.JUMP, 12), (Op.LOAD, 1), (Op.BRANCH, 10),
            (Op.PUSH_INT, 2), (Op.STORE, 2), (Op.JUMP, 12), (Op.PUSH_INT, 3), (Op.STORE, 2), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("BB", code)], state="I")
    yield Case("control: else if", program, [
        CaseStep(Expected(state=[1], fuel=6), inputs=[True, True]), CaseStep(Expected(state=[2], fuel=8),
        inputs=[False, True]),
        CaseStep(Expected(state=[3], fuel=7), inputs=[False, False]),
    ])  # fmt: skip


def loop_cases() -> Iterator[Case]:
    # 0 LOAD n, 1 LOOP 4, 2 LOAD s, 3 LOOP_INDEX, 4 ADD, 5 STORE s, 6 END_LOOP 2, 7 RETURN: s = sum of trip numbers
    code = [
        (Op.LOAD, 0),
        (Op.LOOP, 4),
        (Op.LOAD, 1),
        (Op.LOOP_INDEX, 0),
        (Op.ADD_I,),
        (Op.STORE, 1),
        (Op.END_LOOP, 2),
        (Op.RETURN,),
    ]
    program = assemble([Handler("I", code)], state="I")
    for trips, total in ((1, 0), (2, 1), (4, 6)):
        step = CaseStep(Expected(state=[total], fuel=1 + 2 + trips * (4 + 2) + 1), inputs=[trips])
        yield Case(f"control: a loop of {trips} trips", program, [step])
    for trips in (0, -1, 5, 2**63 - 1, -(2**63)):
        step = CaseStep(Expected("trapped", state=[0], trap=Trap.LOOP_BOUND, pc=1, fuel=3), inputs=[trips])
        yield Case(f"control: {trips} trips of at most 4 trap", program, [step])
    # 0 LOAD 0, 1 LOOP 3, 2 LOAD 1, 3 LOOP 3, 4 LOAD 2, 5 PUSH 10, 6 MUL, 7 LOOP_INDEX 1, 8 ADD, 9 LOOP_INDEX 0, 10 ADD,
    # 11 STORE 2, 12 END_LOOP 4, 13 END_LOOP 2, 14 RETURN
    code = [(Op.LOAD, 0), (Op.LOOP, 3), (Op.LOAD, 1), (Op.LOOP, 3), (Op.LOAD, 2), (Op.PUSH_INT, 10), (Op.MUL_I,),
            (Op.LOOP_INDEX, 1), (Op.ADD_I,), (Op.LOOP_INDEX, 0), (Op.ADD_I,), (Op.STORE, 2), (Op.END_LOOP, 4),
            (Op.END_LOOP, 2),
            (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("II", code)], state="I")
    # digits are outer + inner trip: (0,0) (0,1) (0,2) (1,0) (1,1) (1,2)
    step = CaseStep(Expected(state=[12123], fuel=1 + 2 + 2 * (1 + 2 + 3 * (8 + 2) + 2) + 1), inputs=[2, 3])
    yield Case("control: nested loops see both trip numbers", program, [step])
    yield Case("control: an inner loop out of bound", program, [
        CaseStep(Expected("trapped", state=[0], trap=Trap.LOOP_BOUND, pc=3, fuel=1 + 2 + 1 + 2), inputs=[2, 4]),
    ])  # fmt: skip
    program = assemble([Handler("", [(Op.PUSH_INT, 3), (Op.LOOP, 3), (Op.END_LOOP, 2), (Op.RETURN,)])])
    yield Case("control: an empty loop", program, [CaseStep(Expected(state=[], fuel=1 + 2 + 3 * 2 + 1))])
    # 0 PUSH 7, 1 PUSH 3, 2 LOOP 3, 3 LOOP_INDEX, 4 PUSH 1, 5 EQ, 6 BRANCH 9, 7 LOOP_INDEX, 8 STORE, 9 END_LOOP 3, 10
    # STORE, 11 RETURN
    code = [(Op.PUSH_INT, 7), (Op.PUSH_INT, 3), (Op.LOOP, 3), (Op.LOOP_INDEX, 0), (Op.PUSH_INT, 1), (Op.EQ_I,),
    (Op.BRANCH, 9),
            (Op.LOOP_INDEX, 0), (Op.STORE, 0), (Op.END_LOOP, 3), (Op.STORE, 1), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("", code)], state="II")
    step = CaseStep(Expected(state=[1, 7], fuel=2 + 2 + 3 * (4 + 2) + 2 + 2))
    yield Case("control: a block in a loop above a value on the stack", program, [step])
    # a loop inside an arm: 0 LOAD, 1 BRANCH 8, 2 PUSH 2, 3 LOOP 2, 4 LOAD, 5 NEG... the trap is in the second trip
    code = [(Op.PUSH_INT, 2), (Op.LOOP, 2), (Op.PUSH_INT, 1), (Op.PUSH_INT, 1), (Op.LOOP_INDEX, 0), (Op.SUB_I,),
    (Op.DIV_I,),
            (Op.STORE, 0), (Op.END_LOOP, 2), (Op.RETURN,)]  # fmt: skip
    program = assemble([Handler("", code)], state="I")
    fuel = 1 + 2 + (1 + 1 + 1 + 1 + 2 + 1 + 2) + (1 + 1 + 1 + 1 + 2)
    step = CaseStep(Expected("trapped", state=[0], trap=Trap.DIV_BY_ZERO, pc=6, fuel=fuel))
    yield Case("control: a trap in the second trip", program, [step])
    depth = 8
    code = [item for level in range(depth) for item in ((Op.PUSH_INT, 2), (Op.LOOP, 2))]
    code += [(Op.LOAD, 0), (Op.LOOP_INDEX, depth - 1), (Op.ADD_I,), (Op.STORE, 0)]
    code += [(Op.END_LOOP, 2 * level + 2) for level in reversed(range(depth))]
    program = assemble([Handler("", [*code, (Op.RETURN,)])], state="I")
    body = 4
    for _ in range(depth):
        body = 1 + 2 + 2 * (body + 2)
    yield Case("control: eight loops nest", program, [CaseStep(Expected(state=[128], fuel=body + 1))])
    blocks = 64
    ends = 2 * blocks + 2
    code = [item for _ in range(blocks) for item in ((Op.LOAD, 0), (Op.BRANCH, ends))] + [
        (Op.PUSH_INT, 3),
        (Op.STORE, 1),
        (Op.RETURN,),
    ]
    program = assemble([Handler("B", code)], state="I")
    yield Case("control: 64 blocks nest", program, [
        CaseStep(Expected(state=[0], fuel=3), inputs=[False]), CaseStep(Expected(state=[3], fuel=2 * blocks + 3),
        inputs=[True]),
    ])  # fmt: skip
    code = [(Op.PUSH_INT, 1)] * 64 + [(Op.ADD_I,)] * 63 + [(Op.STORE, 0), (Op.RETURN,)]
    yield Case("control: a stack of 64", assemble([Handler("", code)], state="I"), [CaseStep(Expected(state=[64]))])


def cases() -> Iterator[Case]:
    for make in (memory_cases, array_cases, branch_cases, loop_cases):
        yield from make()
