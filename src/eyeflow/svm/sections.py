"""The twelve sections of a `.svm` file: how each is written from a program and read into a draft of one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import field
from itertools import groupby
from typing import Any

from eyeflow.base.record import dataclass
from eyeflow.svm import program as p
from eyeflow.svm.layout import scalar_slot
from eyeflow.svm.numbers import float_bits
from eyeflow.svm.wire import Reader, Writer
from eyeflow.svm.wire_types import (
    TEXT_LIMIT_BYTES_MAX,
    flat_size,
    read_detail,
    read_scalar,
    read_tag,
    read_type,
    read_value,
    read_values,
    write_detail,
    write_type,
    write_value,
    write_values,
)

SLOTS_MAX = 4_096
KEY_NONE = 255
SITE_LEVEL = 1
SITE_COUNT_BYTES, SITE_START_BYTES = 2, 4
PARAM_LOW, PARAM_HIGH = 1, 2
TEXT_CONSTANT = p.MemorySlot(p.ValueType.TEXT, TEXT_LIMIT_BYTES_MAX)


@dataclass(slots=True)
class Draft:
    """A program while its sections are being read: the fields of `Program` by name."""

    profile: p.Profile
    priority: p.Priority
    sequence: int
    parts: dict[str, Any] = field(default_factory=dict)

    def program(self) -> p.Program:
        """Return the program, all sections read."""
        return p.Program(profile=self.profile, priority=self.priority, sequence=self.sequence, **self.parts)


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its name for messages and its codec."""

    name: str
    write: Callable[[Writer, p.Program], None]
    read: Callable[[Reader, Draft], None]


# --- 1 meta, 2 limits ----------------------------------------------------------------------------------------------


def _write_meta(out: Writer, program: p.Program) -> None:
    out.name(program.rule)
    out.name(program.version)
    out.name(program.chip)
    out.text(program.description)
    out.name(program.source_name)


def _read_meta(reader: Reader, draft: Draft) -> None:
    draft.parts["rule"] = reader.name("the rule's name")
    draft.parts["version"] = reader.name("the version")
    draft.parts["chip"] = reader.name("the chip")
    draft.parts["description"] = reader.text("the description")
    draft.parts["source_name"] = reader.name("the source's name")


LIMITS_LAYOUT = "I3Bx4H2I"


def _write_limits(out: Writer, program: p.Program) -> None:
    limits = program.limits
    out.pack(
        LIMITS_LAYOUT, limits.fuel_max, limits.stack_max, limits.block_depth_max, limits.loop_depth_max,
        limits.actions_max, limits.emits_max, limits.reads_max, limits.llm_max,
        limits.state_bytes, limits.scratch_bytes,
    )  # fmt: skip


def _read_limits(reader: Reader, draft: Draft) -> None:
    draft.parts["limits"] = p.Limits(*reader.unpack(LIMITS_LAYOUT, "the limits"))


# --- 3 slots, 4 code, 5 constants ----------------------------------------------------------------------------------


def _write_slots(out: Writer, program: p.Program) -> None:
    regions = program.regions
    runs = [(slot, len(list(same))) for slot, same in groupby(program.slots)]
    out.pack("5H", regions.params, regions.inputs, regions.state, regions.locals, len(runs))
    for slot, count in runs:
        out.pack("2HBx", count, slot.size_bytes_max, slot.type)


def _read_slots(reader: Reader, draft: Draft) -> None:
    at = reader.position
    *regions, runs = reader.unpack("5H", "the regions")
    draft.parts["regions"] = p.Regions(*regions)
    if sum(regions) > SLOTS_MAX:
        raise reader.fail(f"{sum(regions)} slots are more than {SLOTS_MAX}", at)
    slots: list[p.MemorySlot] = []
    for _ in range(runs):
        slots += _read_run(reader, sum(regions) - len(slots), slots[-1] if slots else None)
    if len(slots) != sum(regions):
        raise reader.fail(f"the runs have {len(slots)} slots, the regions {sum(regions)}")
    draft.parts["slots"] = tuple(slots)


def _read_run(reader: Reader, room: int, before: p.MemorySlot | None) -> list[p.MemorySlot]:
    at = reader.position
    count, limit = reader.unpack("2H", "a run of slots")
    slot = p.MemorySlot(reader.member(p.ValueType, "the type of a slot"), limit)
    reader.zeros(1, "a run of slots")
    if not 1 <= count <= room:
        raise reader.fail(f"a run of {count} slots where {room} are left", at)
    if slot == before:
        raise reader.fail("two adjacent runs are the same", at)
    return [slot] * count


def _write_code(out: Writer, program: p.Program) -> None:
    out.pack("H2x", len(program.code))
    out.pack("BBH" * len(program.code), *(part for word in program.code for part in (word.opcode, word.a, word.b)))


def _read_code(reader: Reader, draft: Draft) -> None:
    count = reader.number("H", "the number of instructions")
    reader.zeros(2, "after the number of instructions")
    words = struct.iter_unpack("<BBH", reader.take(4 * count, f"the code, {count} instructions,"))
    draft.parts["code"] = tuple(p.Instruction(*word) for word in words)


def constant_slot(value: p.Value) -> p.MemorySlot:
    """Return the slot that describes a constant."""
    if isinstance(value, str):
        return TEXT_CONSTANT
    return p.MemorySlot(p.ValueType.FLOAT if isinstance(value, float) else p.ValueType.INT)


def constant_key(value: p.Value) -> tuple[p.ValueType, p.Value]:
    """Return what makes a constant the same as another: its type and its bits."""
    return constant_slot(value).type, float_bits(value) if isinstance(value, float) else value


def _write_constants(out: Writer, program: p.Program) -> None:
    """Entries of one size, so that a machine finds each at once; the bytes of the texts follow them."""
    texts = Writer()
    out.pack("H", len(program.constants))
    for value in program.constants:
        slot = constant_slot(value)
        out.pack("B", slot.type)
        if isinstance(value, str):
            offset = len(texts.buffer)
            texts.utf8(value)
            out.pack("IHH", offset, len(texts.buffer) - offset, 0)
        else:
            write_value(out, slot, value)
    out.buffer += texts.buffer


def _read_constants(reader: Reader, draft: Draft) -> None:
    count = reader.number("H", "the number of constants")
    entries = [_read_constant(reader) for _ in range(count)]
    draft.parts["constants"] = tuple(
        reader.utf8(entry.stop - entry.start, "a text constant") if isinstance(entry, range) else entry
        for entry in entries
    )
    # That each text starts where its entry says shows when the program is encoded again.


def _read_constant(reader: Reader) -> p.Value | range:
    """Return a constant; of a text where its bytes lie behind the entries."""
    at, kind = reader.position, reader.member(p.ValueType, "the type of a constant")
    if kind is p.ValueType.BOOL:
        raise reader.fail("a constant is never a bool", at)
    if kind is not p.ValueType.TEXT:
        return read_value(reader, p.MemorySlot(kind))
    offset, size_bytes = reader.unpack("IH", "a text constant")
    reader.zeros(2, "a text constant")
    return range(offset, offset + size_bytes)


# --- 6 arrays, 7 timers, 8 sites -----------------------------------------------------------------------------------


def _write_arrays(out: Writer, program: p.Program) -> None:
    out.pack("H", len(program.arrays))
    for array in program.arrays:
        out.pack("3H", array.length_slot, array.base, array.capacity)


def _read_arrays(reader: Reader, draft: Draft) -> None:
    count = reader.number("H", "the number of arrays")
    draft.parts["arrays"] = tuple(p.Array(*reader.unpack("3H", "an array")) for _ in range(count))


def _write_timers(out: Writer, program: p.Program) -> None:
    out.pack("H", len(program.timers))
    for timer in program.timers:
        out.pack("Bx2H", timer.kind, timer.base, timer.capacity)


def _read_timers(reader: Reader, draft: Draft) -> None:
    count = reader.number("H", "the number of timers")
    draft.parts["timers"] = tuple(_read_timer(reader) for _ in range(count))


def _read_timer(reader: Reader) -> p.Timer:
    kind = reader.number("B", "the kind of a timer")
    reader.zeros(1, "a timer")
    base, capacity = reader.unpack("2H", "a timer")
    return p.Timer(kind, base, capacity)


def _write_sites(out: Writer, program: p.Program) -> None:
    """Where each entry starts stands in front; in an entry what a call needs stands first, its names last."""
    entries, first = Writer(), SITE_COUNT_BYTES + SITE_START_BYTES * len(program.sites)
    out.pack("H", len(program.sites))
    for site in program.sites:
        out.pack("I", first + len(entries.buffer))
        _write_site(entries, site)
    out.buffer += entries.buffer


def _write_site(out: Writer, site: p.Site) -> None:
    out.pack("4BH2B", site.kind, site.on_failure, site.retries, SITE_LEVEL if site.level else 0,
             site.cost, len(site.args), site.result is not None)  # fmt: skip
    for _, type_ in site.args:
        out.pack("B", type_.tag.value)
    out.name(site.capability)
    out.name(site.resource)
    if site.result is not None:
        write_type(out, site.result)
    for _, type_ in site.args:
        write_detail(out, type_)
    out.pack("2Q", site.backoff_us, site.timeout_us)
    for name, _ in site.args:
        out.name(name)


def _read_sites(reader: Reader, draft: Draft) -> None:
    section = reader.position
    count = reader.number("H", "the number of sites")
    starts = [reader.number("I", "where a site starts") for _ in range(count)]
    draft.parts["sites"] = tuple(_read_site(reader, section + start) for start in starts)


def _read_site(reader: Reader, start: int) -> p.Site:
    if reader.position != start:
        raise reader.fail("a site does not start where it should")
    kind = reader.member(p.SiteKind, "the kind of a site")
    on_failure = reader.member(p.OnFailure, "the answer to failure")
    retries = reader.number("B", "the retries of a site")
    level = reader.flag("the flags of a site")
    cost, count = reader.unpack("HB", "cost and number of arguments of a site")
    has_result = reader.flag("whether a site has a result")
    tags = [read_tag(reader) for _ in range(count)]
    capability, resource = reader.name("a capability"), reader.name("the resource of a site")
    result = read_type(reader) if has_result else None
    types = [read_detail(reader, tag) for tag in tags]
    backoff_us, timeout_us = reader.unpack("2Q", "backoff and timeout of a site")
    args = tuple((reader.name("the name of an argument"), type_) for type_ in types)
    return p.Site(kind, capability, args, result, on_failure, retries, backoff_us, timeout_us, cost, resource, level)


# --- 9 params and pins, 10 state -----------------------------------------------------------------------------------


def _write_params(out: Writer, program: p.Program) -> None:
    out.pack("B", len(program.params))
    for param in program.params:
        out.name(param.name)
    for param in program.params:
        slot = scalar_slot(param.type)
        write_type(out, param.type)
        write_value(out, slot, param.default)
        out.pack("B", (param.low is not None) * PARAM_LOW | (param.high is not None) * PARAM_HIGH)
        for bound in (param.low, param.high):
            if bound is not None:
                write_value(out, slot, bound)
    out.pack("B", len(program.pins))
    for pin in program.pins:
        out.name(pin.name)
    for pin in program.pins:
        out.pack("B", pin.direction)


def _read_params(reader: Reader, draft: Draft) -> None:
    """Names stand in front of the rest, so that those that must be unique lie side by side."""
    names = _read_names(reader, "B", "parameter")
    draft.parts["params"] = tuple(_read_param(reader, name, slot) for slot, name in enumerate(names))
    names = _read_names(reader, "B", "pin")
    draft.parts["pins"] = tuple(p.Pin(name, reader.member(p.Direction, "the direction of a pin")) for name in names)


def _read_names(reader: Reader, layout: str, what: str) -> list[str]:
    count = reader.number(layout, f"the number of {what}s")
    return [reader.name(f"the name of a {what}") for _ in range(count)]


def _read_param(reader: Reader, name: str, slot: int) -> p.Param:
    type_ = read_type(reader)
    default = read_scalar(reader, type_)
    at, flags = reader.position, reader.number("B", "the flags of a parameter")
    if flags > PARAM_LOW | PARAM_HIGH:
        raise reader.fail(f"the flags of a parameter are {flags}", at)
    low = read_scalar(reader, type_) if flags & PARAM_LOW else None
    high = read_scalar(reader, type_) if flags & PARAM_HIGH else None
    return p.Param(name, type_, slot, default, low, high)


def _write_state(out: Writer, program: p.Program) -> None:
    out.pack("H", len(program.state))
    for variable in program.state:
        out.name(variable.name)
    for variable in program.state:
        write_type(out, variable.type)
        write_values(out, variable.type, variable.initial)


def _read_state(reader: Reader, draft: Draft) -> None:
    """The variables follow each other from the start of their region."""
    regions: p.Regions = draft.parts["regions"]
    base, state = regions.params + regions.inputs, []
    for name in _read_names(reader, "H", "state variable"):
        type_ = read_type(reader)
        state.append(p.StateVariable(name, type_, base, read_values(reader, type_)))
        base += flat_size(type_)
    draft.parts["state"] = tuple(state)


# --- 11 triggers, 12 source map ------------------------------------------------------------------------------------


def _write_triggers(out: Writer, program: p.Program) -> None:
    """In front heads of one size, so that a machine finds each handler at once."""
    out.pack("B", len(program.triggers))
    for trigger in program.triggers:
        key = KEY_NONE if trigger.key is None else trigger.key
        inputs = sum(flat_size(field.type) for field in trigger.fields)
        out.pack("2B2H", trigger.kind, key, trigger.input_base + inputs, trigger.end)
    for trigger in program.triggers:
        out.pack("Q", trigger.period_us)
        out.name(trigger.source)
        out.text(trigger.address)
        out.name(trigger.binding)
        out.pack("B", len(trigger.fields))
        for each in trigger.fields:
            out.name(each.name)
        for each in trigger.fields:
            write_type(out, each.type)
            out.pack("B", each.default is not None)
            if each.default is not None:
                write_values(out, each.type, each.default)


def _read_triggers(reader: Reader, draft: Draft) -> None:
    """Handlers follow each other in the code, and payloads in the inputs: a head says where they end."""
    count = reader.number("B", "the number of triggers")
    heads = [_read_head(reader) for _ in range(count)]
    triggers: list[p.Trigger] = []
    regions: p.Regions = draft.parts["regions"]
    input_base, entry = regions.params, 0
    for kind, key, input_end, end in heads:
        period_us = reader.number("Q", "the period of a trigger")
        source, address, binding = reader.name("a source"), reader.text("an address"), reader.name("a binding")
        fields = tuple(_read_field(reader, name) for name in _read_names(reader, "B", "field"))
        key_index = None if key == KEY_NONE else key
        triggers.append(p.Trigger(kind, source, address, period_us, binding, fields, key_index, input_base, entry, end))
        input_base, entry = input_end, end
    draft.parts["triggers"] = tuple(triggers)
    # That each payload ends where its head says shows when the program is encoded again.


def _read_head(reader: Reader) -> tuple[p.TriggerKind, int, int, int]:
    """Return kind, key, the slot behind the inputs and the instruction behind the handler."""
    kind = reader.member(p.TriggerKind, "the kind of a trigger")
    key, input_end, end = reader.unpack("B2H", "a trigger")
    return kind, key, input_end, end


def _read_field(reader: Reader, name: str) -> p.Field:
    type_ = read_type(reader)
    default = read_values(reader, type_) if reader.flag("whether a field has a default") else None
    return p.Field(name, type_, default)


def _write_source_map(out: Writer, program: p.Program) -> None:
    out.pack("H", len(program.source_map))
    for place in program.source_map:
        out.pack("3H", place.pc, place.line, place.column)


def _read_source_map(reader: Reader, draft: Draft) -> None:
    count = reader.number("H", "the size of the source map")
    draft.parts["source_map"] = tuple(p.SourcePosition(*reader.unpack("3H", "a source position")) for _ in range(count))


SECTIONS = (
    Section("meta", _write_meta, _read_meta),
    Section("limits", _write_limits, _read_limits),
    Section("slots", _write_slots, _read_slots),
    Section("code", _write_code, _read_code),
    Section("constants", _write_constants, _read_constants),
    Section("arrays", _write_arrays, _read_arrays),
    Section("timers", _write_timers, _read_timers),
    Section("sites", _write_sites, _read_sites),
    Section("params and pins", _write_params, _read_params),
    Section("state", _write_state, _read_state),
    Section("triggers", _write_triggers, _read_triggers),
    Section("source map", _write_source_map, _read_source_map),
)
"""In order of their ids, from 1."""
