"""Containers that every decoder or verifier must refuse, with words that the reason of the Python SVM contains.

`stage` says who refuses: `decode` (the bytes) or `verify` (the code; the bytes decode).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assembler import LETTERS, Code, Handler, assemble, list_of, text

from eyeflow.svm import program as p
from eyeflow.svm.container import attach_signatures, encode, serialize
from eyeflow.svm.opcodes import Op, TimerKind
from eyeflow.svm.program import Program

HEADER_BYTES, SECTION_HEAD_BYTES = 20, 8


def rich() -> Program:
    """Return a valid program that has something in every section."""
    code = [(Op.LOAD, 0), (Op.LOAD, 1), (Op.ADD_I,), (Op.STORE, 2), (Op.CONST, 0), (Op.POP,), (Op.LOAD, 2),
    (Op.CALL_ACTION, 0),
            (Op.LOAD_RESOURCE, 1), (Op.POP,), (Op.RETURN,)]  # fmt: skip
    sites = (
        p.Site(p.SiteKind.ACT, "gpio.set_pin", (("value", LETTERS["I"]),), resource="gpio/{value}", level=True),
        p.Site(p.SiteKind.READ, "adc.read", (), LETTERS["F"], p.OnFailure.SKIP, retries=2),
    )
    program = assemble([Handler("I", code)], params="I", state=["I", list_of("F", 2),
    text(8)], timers=[(TimerKind.HOLD, 0)],
                       constants=[1.5, "ä", 7], sites=sites, pins=[p.Pin("RELAY", p.Direction.OUTPUT)])  # fmt: skip
    return replace(program, source_name="rich.eye", source_map=(p.SourcePosition(0, 1, 1), p.SourcePosition(4, 2, 5)))


def sections(data: bytes) -> list[tuple[int, int]]:
    """Return where each section's payload starts and how long it is."""
    found, at = [], HEADER_BYTES + 4
    for _ in range(12):
        (size,) = struct.unpack_from("<I", data, at + 4)
        found.append((at + SECTION_HEAD_BYTES, size))
        at += SECTION_HEAD_BYTES + size + (-size % 4)
    return found


def patched(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _entry(name: str, data: bytes, reason: str, stage: str = "decode") -> dict[str, Any]:
    return {"name": name, "stage": stage, "reason": reason, "bytes": data.hex()}


def header_cases() -> Iterator[dict[str, Any]]:
    data = encode(rich())
    yield _entry("empty file", b"", "truncated")
    yield _entry("four bytes", data[:4], "truncated")
    yield _entry("wrong magic", patched(data, 0, b"\x7fELF"), "magic")
    yield _entry("unknown format", patched(data, 4, b"\x01"), "format 1 is not known")
    yield _entry("unknown abi", patched(data, 5, b"\x63"), "abi 99 is not known")
    yield _entry("unknown profile", patched(data, 6, b"\x02"), "profile 2 is not known")
    yield _entry("unknown priority", patched(data, 7, b"\x05"), "priority 5 is not known")
    size = len(data) - 4
    yield _entry("size one less", patched(data, 16, struct.pack("<I", size - 1)), "")
    yield _entry("size beyond the file", patched(data, 16, struct.pack("<I", size + 5)), "truncated")
    yield _entry("size of nothing", patched(data, 16, struct.pack("<I", 0)), "truncated")
    yield _entry("eleven sections", patched(data, 20, b"\x0b"), "11 sections instead of 12")
    yield _entry("padding after the count", patched(data, 21, b"\x01"), "padding is not zero")
    yield _entry("trailing byte", data + b"\0", "left over")
    yield _entry("truncated by one", data[:-1], "truncated")
    for share in (3, 2):
        yield _entry(f"truncated to 1/{share}", data[: len(data) // share], "truncated")


def signature_cases() -> Iterator[dict[str, Any]]:
    data = encode(rich())
    signed = data[:-4]
    one, two = (b"\x01" * 32, b"\xaa" * 64), (b"\x02" * 32, b"\xbb" * 64)
    good = attach_signatures(signed, (one, two))
    tail = len(signed) + 4
    swapped = good[:tail] + b"".join(two) + b"".join(one)
    yield _entry("signatures not ascending", swapped, "ascending")
    yield _entry("one key twice", good[:tail] + b"".join(one) * 2, "ascending")
    yield _entry("five signatures", signed + b"\x05\0\0\0" + b"\0" * 96 * 5, "5 signatures")
    yield _entry("a signature cut short", good[:-1], "truncated")
    yield _entry("padding after the number of signatures", signed + b"\0\0\0\x01", "padding is not zero")
    yield _entry("fewer signatures than follow", patched(good, len(signed), b"\x01"), "left over")


def section_cases() -> Iterator[dict[str, Any]]:
    data = encode(rich())
    places = sections(data)
    for number, (start, size) in enumerate(places, start=1):
        head = start - SECTION_HEAD_BYTES
        yield _entry(
            f"section {number} with another id", patched(data, head, bytes([number % 12 + 1])), f"section {number} ("
        )
        yield _entry(
            f"section {number} with padding in its head", patched(data, head + 1, b"\x01"), "padding is not zero"
        )
        yield _entry(f"section {number} of size 0", patched(data, head + 4, struct.pack("<I", 0)), "truncated")
        huge = struct.pack("<I", 0xFFFFFFFF)
        yield _entry(f"section {number} of 4 GiB", patched(data, head + 4, huge), "truncated")
        if size % 4:
            yield _entry(f"padding after section {number}", patched(data, start + size, b"\x01"), "padding is not zero")
        # the last byte of the payload turned into padding
        yield _entry(f"section {number} one byte too short", patched(data, head + 4, struct.pack("<I", size - 1)), "")
    limits = places[1][0]
    yield _entry("limits: padding", patched(data, limits + 7, b"\x01"), "not the one encoding")
    yield _entry("code: padding", patched(data, places[3][0] + 2, b"\x01"), "padding is not zero")
    yield _entry("slots: an unknown type", patched(data, places[2][0] + 14, b"\x04"), "type of a slot 4 is not known")
    yield _entry("rule's name is not UTF-8", patched(data, places[0][0] + 1, b"\xff"), "not valid UTF-8")
    yield _entry("constants: a bool", patched(data, places[4][0] + 2, b"\x00"), "never a bool")
    nan = struct.pack("<Q", 0x7FF8000000000001)
    yield _entry("constants: a NaN with other bits", patched(data, places[4][0] + 3, nan), "NaN with bits")
    yield _entry(
        "constants: a negative NaN", patched(data, places[4][0] + 3, struct.pack("<Q", 0xFFF8 << 48)), "NaN with bits"
    )
    text_at = places[4][0] + 2 + 9 + 1
    yield _entry("constants: a text that starts elsewhere", patched(data, text_at, b"\x01"), "not the one encoding")
    yield _entry("constants: padding of a text", patched(data, text_at + 6, b"\x01"), "padding is not zero")
    yield _entry("constants: a text longer than the section", patched(data, text_at + 4, b"\xff"), "truncated")
    yield _entry(
        "sites: an entry that starts elsewhere", patched(data, places[7][0] + 6, b"\x01"), "does not start where"
    )
    site = places[7][0] + 2 + 2 * 4
    yield _entry("sites: a flag of 2", patched(data, site + 3, b"\x02"), "neither 0 nor 1")
    yield _entry("sites: an unknown kind", patched(data, site, b"\x04"), "kind of a site 4 is not known")


def _changed(name: str, reason: str, **changes: Any) -> dict[str, Any]:
    """Return a case of `rich` with other fields."""
    return _entry(name, serialize(replace(rich(), **changes)) + b"\0\0\0\0", reason)


def structure_cases() -> Iterator[dict[str, Any]]:
    """Bytes that are well formed and contradict themselves."""
    base = rich()
    param, variable, case = base.params[0], base.state[0], _changed
    yield case("a rule's name with a capital", "is no name of a rule", rule="Case")
    yield case("no trigger", "triggers, allowed are", triggers=())
    yield case("a constant twice", "stands there twice", constants=(7, 7))
    yield case("a text constant over the limit", "longer than", constants=("x" * 4097,))
    yield case("a parameter too few", "do not fill their region", params=())
    yield case(
        "a parameter of another type", "has another type", params=(replace(param, type=LETTERS["F"], default=0.5),)
    )
    yield case("a default above its bound", "is above", params=(replace(param, default=9, high=8),))
    yield case("a default below its bound", "is below", params=(replace(param, default=9, low=10),))
    yield case("a bound of a bool", "", params=(replace(param, type=LETTERS["B"], default=True, low=False),))
    more = replace(variable, name="more", initial=(0, 0.0), type=list_of("F", 1))
    yield case("state variables beyond their region", "", state=(*base.state, more, replace(more, name="most")))
    yield case("a state region with room left", "do not start at", state=base.state[:-1])
    yield case("a state region without its timer", "do not fill the state region", timers=())
    yield case(
        "a state variable of another type",
        "have other types",
        state=(replace(variable, type=LETTERS["F"], initial=(0.5,)),),
    )
    yield case("state variables in another order", "have other types", state=(base.state[1], variable, base.state[2]))
    yield case("a state name twice", "stands twice", state=(variable, variable))
    long_list = replace(base.state[1], initial=(3, 0.0, 0.0))
    yield case("a list longer than its capacity", "is no length of a list", state=(variable, long_list))
    yield case("a timer elsewhere", "do not start at", timers=(p.Timer(TimerKind.HOLD, 0, 0),))
    yield case("a timer over a variable", "do not start at", timers=(replace(base.timers[0], base=variable.base),))
    yield case("a timer of an unknown kind", "kind 99 is not known", timers=(p.Timer(99, 0, 0),))
    yield case("a window without capacity", "capacity", timers=(replace(base.timers[0], kind=TimerKind.SUM),))
    yield case("a hold with a capacity", "capacity", timers=(replace(base.timers[0], capacity=3),))


def array_and_site_cases() -> Iterator[dict[str, Any]]:
    """Arrays and sites that contradict the rest of the program."""
    base, case = rich(), _changed
    array = base.arrays[0]
    yield case("an array beyond the slots", "outside the slots", arrays=(replace(array, capacity=500),))
    yield case("an array over two regions", "more than one region", arrays=(p.Array(array.length_slot, 0, 2),))
    yield case("an empty array", "no elements", arrays=(replace(array, capacity=0),))
    yield case("an array of two types", "more than one type", arrays=(replace(array, capacity=3),))
    yield case(
        "an array with a float as length", "is no int", arrays=(replace(array, length_slot=array.base + 1, capacity=1),)
    )
    yield case(
        "an array that holds its length",
        "one of its elements",
        arrays=(replace(array, base=array.length_slot, capacity=1),),
    )
    act, read = base.sites
    yield case("an action with a result", "has a result", sites=(replace(act, result=LETTERS["I"]), read))
    yield case("a read without a result", "has a result", sites=(act, replace(read, result=None)))
    yield case(
        "an action with a fallback", "has a fallback", sites=(replace(act, on_failure=p.OnFailure.FALLBACK), read)
    )
    yield case(
        "an argument that is a list", "have one value", sites=(replace(act, args=(("x", list_of("I", 2)),)), read)
    )


def trigger_cases() -> Iterator[dict[str, Any]]:
    """Triggers and source maps that contradict the rest of the program."""
    base, case = rich(), _changed
    trigger = base.triggers[0]
    yield case("a handler of nothing", "does not start at instruction 0", triggers=(replace(trigger, end=0),))
    yield case("a trigger that ends early", "do not fill the code", triggers=(replace(trigger, end=5),))
    yield case("inputs that end elsewhere", "not the one encoding", triggers=(replace(trigger, input_base=0),))
    yield case(
        "a payload of another type",
        "have other types",
        triggers=(replace(trigger, fields=(p.Field("f", LETTERS["F"]),)),),
    )
    yield case(
        "a payload that is too large",
        "outside their region",
        triggers=(replace(trigger, fields=(p.Field("f", list_of("I", 2)),)),),
    )
    yield case("a missing payload", "do not fill the inputs", triggers=(replace(trigger, fields=()),))
    yield case("a key that is no field", "its key is no field", triggers=(replace(trigger, key=1),))
    yield case("a source without a name", "it has no source", triggers=(replace(trigger, source=""),))
    yield case("every without a period", "no payload", triggers=(replace(trigger, kind=p.TriggerKind.EVERY),))
    yield case(
        "a source map that goes back",
        "not ascending",
        source_map=(p.SourcePosition(4, 1, 1), p.SourcePosition(4, 1, 1)),
    )
    yield case("a source map outside the code", "outside the code", source_map=(p.SourcePosition(99, 1, 1),))
    yield case("line 0", "count from 1", source_map=(p.SourcePosition(0, 0, 1),))
    yield case(
        "a text limit of 0", "text limit", slots=(*base.slots[:-2], p.MemorySlot(p.ValueType.TEXT, 0), base.slots[-1])
    )
    deep = LETTERS["I"]
    for _ in range(4):
        deep = p.Type(p.TypeTag.RECORD, name="R", fields=(("x", deep),))
    yield case(
        "a type nested five deep", "nested more than", triggers=(replace(trigger, fields=(p.Field("f", deep),)),)
    )
    wide = p.Type(p.TypeTag.LIST, size=5000, element=LETTERS["I"])
    yield case(
        "a type of 5,001 slots", "more than 4096 slots", triggers=(replace(trigger, fields=(p.Field("f", wide),)),)
    )


def _code(name: str, reason: str, code: Code, profile: p.Profile = p.Profile.LINUX, **tables: Any) -> dict[str, Any]:
    """Return a case whose code is refused by the verifier; its tables are those of a valid program."""
    program = assemble([Handler("IBFT", [(Op.RETURN,)])], state=["I", text(8),
    list_of("I", 2)], timers=[(TimerKind.HOLD, 0)],
                       constants=[1, 2.5, "x"], **tables)  # fmt: skip
    words = tuple(p.Instruction(*item) for item in code)
    bad = replace(program, profile=profile, code=words, triggers=(replace(program.triggers[0], end=len(words)),))
    return _entry(name, encode(bad), reason, "verify")


def code_cases() -> Iterator[dict[str, Any]]:
    """Code on slots 0 int, 1 bool, 2 float, 3 text (inputs), 4 int, 5 text, 6 length, 7 and 8 ints, 9 timer (state)."""
    end = (Op.RETURN, 0, 0)
    load = (Op.LOAD, 0, 0)
    yield _code("unknown opcode", "opcode 0xEE is not known", [(0xEE, 0, 0), end])
    yield _code("opcode zero", "opcode 0x00 is not known", [(0, 0, 0), end])
    yield _code("operand a of an instruction without one", "is not zero", [(Op.LOAD, 1, 0), (Op.POP, 0, 0), end])
    yield _code("operand b of an instruction without one", "is not zero", [load, (Op.POP, 0, 1), end])
    yield _code("no RETURN", "RETURN is the last", [load, (Op.POP, 0, 0)])
    yield _code("RETURN in the middle", "RETURN is the last", [end, end])
    yield _code("a value left at RETURN", "left on the stack", [load, end])
    yield _code("popping an empty stack", "it pops 1 values", [(Op.POP, 0, 0), end])
    yield _code("adding a bool", "needs int int", [load, (Op.LOAD, 0, 1), (Op.ADD_I, 0, 0), (Op.POP, 0, 0), end])
    yield _code("storing another type", "needs int", [(Op.LOAD, 0, 2), (Op.STORE, 0, 4), end])
    yield _code("storing into an input", "cannot be stored", [load, (Op.STORE, 0, 0), end])
    yield _code("loading a slot that does not exist", "does not exist", [(Op.LOAD, 0, 99), (Op.POP, 0, 0), end])
    yield _code("a constant that does not exist", "does not exist", [(Op.CONST, 0, 3), (Op.POP, 0, 0), end])
    yield _code("an array that does not exist", "does not exist", [load, (Op.LOAD_AT, 0, 1), (Op.POP, 0, 0), end])
    yield _code("a timer that does not exist", "does not exist", [(Op.RESET, 0, 1), end])
    yield _code("a site that does not exist", "does not exist", [(Op.CALL_ACTION, 0, 0), end])
    site = p.Site(p.SiteKind.ACT, "a.b", ())
    yield _code("reading an action", "is of kind act", [(Op.LOAD_RESOURCE, 0, 0), (Op.POP, 0, 0), end], sites=[site])
    yield _code("a bool that is 2", "neither 0 nor 1", [(Op.PUSH_BOOL, 2, 0), (Op.POP, 0, 0), end])
    yield _code(
        "seven decimals", "decimals are not possible", [(Op.LOAD, 0, 2), (Op.TEXT_F, 7, 0), (Op.POP, 0, 0), end]
    )
    joined = [(Op.LOAD, 0, 3), (Op.LOAD, 0, 3), (Op.CONCAT, 0, 4097), (Op.POP, 0, 0), end]
    yield _code("a text of 4,097 bytes", "more than a text can have", joined)
    yield _code(
        "the texts of an enum that are numbers", "not the texts", [load, (Op.TEXT_ENUM, 2, 1), (Op.POP, 0, 0), end]
    )
    yield _code("an enum of nothing", "not the texts", [load, (Op.TEXT_ENUM, 0, 2), (Op.POP, 0, 0), end])
    choice = [(Op.LOAD, 0, 1), load, (Op.LOAD, 0, 2), (Op.SELECT, 0, 0), (Op.POP, 0, 0), end]
    yield _code("SELECT of two types", "it needs", choice)


def branch_cases() -> Iterator[dict[str, Any]]:
    """Blocks that are not structured; the slots are those of `code_cases`."""
    end, load = (Op.RETURN, 0, 0), (Op.LOAD, 0, 0)
    flag = (Op.LOAD, 0, 1)
    yield _code("a branch backward", "not forward", [flag, (Op.BRANCH, 0, 0), end])
    yield _code("a branch to itself", "not forward", [flag, (Op.BRANCH, 0, 1), end])
    yield _code("a branch beyond RETURN", "not forward", [flag, (Op.BRANCH, 0, 3), end])
    yield _code("a branch on an int", "needs bool", [load, (Op.BRANCH, 0, 2), end])
    yield _code("a JUMP outside a block", "not the last instruction", [(Op.JUMP, 0, 1), end])
    middle = [flag, (Op.BRANCH, 0, 4), (Op.JUMP, 0, 4), (Op.RESET, 0, 0), end]
    yield _code("a JUMP in the middle of a block", "not the last instruction", middle)
    back = [flag, (Op.BRANCH, 0, 3), (Op.JUMP, 0, 0), end]
    yield _code("a JUMP backward", "not forward", back)
    out = [flag, (Op.BRANCH, 0, 3), (Op.JUMP, 0, 4), end]
    yield _code("a JUMP beyond RETURN", "not forward", out)
    twice = [flag, (Op.BRANCH, 0, 3), (Op.JUMP, 0, 4), (Op.JUMP, 0, 4), end]
    yield _code("a JUMP at the end of an else arm", "not the last instruction", twice)
    yield _code("an arm that leaves a value", "leave different stacks", [flag, (Op.BRANCH, 0, 3), load, end])
    arms = [flag, (Op.BRANCH, 0, 4), load, (Op.JUMP, 0, 5), (Op.LOAD, 0, 2), (Op.POP, 0, 0), end]
    yield _code("arms that leave different types", "leave different stacks", arms)
    below = [load, flag, (Op.BRANCH, 0, 4), (Op.POP, 0, 0), end]
    yield _code("an arm that pops below its block", "it pops 1 values, its block has 0", below)
    below = [load, flag, (Op.BRANCH, 0, 5), (Op.DUP, 0, 0), (Op.POP, 0, 0), (Op.POP, 0, 0), end]
    yield _code("an arm that duplicates below its block", "it pops 1 values, its block has 0", below)
    crossed = [
        flag,
        (Op.BRANCH, 0, 6),
        flag,
        (Op.BRANCH, 0, 7),
        (Op.RESET, 0, 0),
        (Op.RESET, 0, 0),
        (Op.RESET, 0, 0),
        end,
    ]
    yield _code("blocks that cross", "not forward within its block", crossed)


def loop_cases() -> Iterator[dict[str, Any]]:
    """Loops that are not structured, nesting and limits; the slots are those of `code_cases`."""
    end, load, flag = (Op.RETURN, 0, 0), (Op.LOAD, 0, 0), (Op.LOAD, 0, 1)
    yield _code("a loop of bound 0", "its bound is 0", [load, (Op.LOOP, 0, 0), (Op.END_LOOP, 0, 2), end])
    yield _code("a loop that never ends", "is not closed", [load, (Op.LOOP, 0, 2), end])
    yield _code("END_LOOP without a loop", "does not close", [(Op.END_LOOP, 0, 0), end])
    yield _code("END_LOOP that goes elsewhere", "does not close", [load, (Op.LOOP, 0, 2), (Op.END_LOOP, 0, 1), end])
    grows = [load, (Op.LOOP, 0, 2), load, (Op.END_LOOP, 0, 2), end]
    yield _code("a loop that grows the stack", "changes the stack", grows)
    sinks = [load, load, (Op.LOOP, 0, 2), (Op.POP, 0, 0), (Op.END_LOOP, 0, 3), end]
    yield _code("a loop that pops below its start", "it pops 1 values, its block has 0", sinks)
    yield _code("the trip number outside a loop", "names loop 0 of 0", [(Op.LOOP_INDEX, 0, 0), (Op.POP, 0, 0), end])
    straddles = [load, (Op.LOOP, 0, 2), flag, (Op.BRANCH, 0, 5), (Op.END_LOOP, 0, 2), end]
    yield _code("a block that straddles END_LOOP", "does not close", straddles)
    inside = [flag, (Op.BRANCH, 0, 4), load, (Op.LOOP, 0, 2), (Op.END_LOOP, 0, 4), end]
    yield _code("a loop that straddles the end of a block", "is not closed within its block", inside)
    deep: list[tuple[int, ...]] = [each for _ in range(9) for each in (load, (Op.LOOP, 0, 1))]
    ends: list[tuple[int, ...]] = [(Op.END_LOOP, 0, 2 * level + 2) for level in reversed(range(9))]
    yield _code("nine loops", "loops nest", [*deep, *ends, end])
    many = [each for _ in range(65) for each in (flag, (Op.BRANCH, 0, 130))]
    yield _code("65 blocks", "more than 64 blocks", [*many, end])
    yield _code("a stack of 65", "grows beyond 64", [*[load] * 65, *[(Op.POP, 0, 0)] * 65, end])
    many = [each for _ in range(33) for each in (flag, (Op.BRANCH, 0, 66))]
    yield _code("33 blocks on mcu", "more than 32 blocks", [*many, end], profile=p.Profile.MCU)
    tall = [*[load] * 33, *[(Op.POP, 0, 0)] * 33, end]
    yield _code("a stack of 33 on mcu", "grows beyond 32", tall, profile=p.Profile.MCU)
    eight = [each for _ in range(3) for each in (load, (Op.LOOP, 0, 65535))]
    closing = [(Op.END_LOOP, 0, 2 * level + 2) for level in reversed(range(3))]
    yield _code("more fuel than can be counted", "fuel, allowed are", [*eight, *closing, end])
    yield _code("limits that were not proven", "is declared as", [load, (Op.POP, 0, 0), end])
    good = rich()
    for name in p.Limits.__dataclass_fields__:
        lied = replace(good, limits=replace(good.limits, **{name: getattr(good.limits, name) + 1}))
        yield _entry(f"{name} one too high", encode(lied), f"{name} is declared as", "verify")


def refused() -> list[dict[str, Any]]:
    """Return every case."""
    makers = (
        header_cases, signature_cases, section_cases, structure_cases, array_and_site_cases, trigger_cases,
        code_cases, branch_cases, loop_cases,
    )  # fmt: skip
    return [entry for make in makers for entry in make()]
