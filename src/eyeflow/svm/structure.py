"""Everything about a program that can be checked without looking at its code: counts, indexes, types, layout.

docs/svm.md, Memory, Control, Sites and The `.svm` file. `check_structure` runs when a program is encoded, decoded
and verified.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from eyeflow.svm import program as p
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.layout import flat_types, flatten, input_types, is_scalar, scalar_slot, state_base, value_fault
from eyeflow.svm.opcodes import TIMERS
from eyeflow.svm.sections import KEY_NONE, SLOTS_MAX, constant_key, constant_slot
from eyeflow.svm.wire_types import TEXT_LIMIT_BYTES_MAX, TEXT_LIMIT_MCU_BYTES_MAX, TYPE_DEPTH_MAX, flat_size, type_fault

SLOTS_MCU_MAX = 512
CODE_MAX = 65_535
CONSTANTS_MAX = 1_024
ARRAYS_MAX = 256
TIMERS_MAX = 256
SITES_MAX = 256
PARAMS_MAX = 64
PINS_MAX = 32
TRIGGERS_MAX = 16
ARGS_MAX = 32
"""Arguments of one site: fewer than the stack holds."""
PERIOD_US_MAX = 2**62
RULE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_structure(program: p.Program) -> None:
    """Raise ProgramError, naming the faulty entry, unless all tables of the program fit together."""
    _check_counts(program)
    _check_slots(program)
    _check_constants(program)
    _check_params(program)
    _check_state(program)
    _check_arrays(program)
    for index, site in enumerate(program.sites):
        _check_site(program, site, f"site {index} ({site.capability})")
    _check_triggers(program)
    _check_source_map(program)


def text_limit_max(profile: p.Profile) -> int:
    """Return the largest byte limit of a text on a profile."""
    return TEXT_LIMIT_MCU_BYTES_MAX if profile is p.Profile.MCU else TEXT_LIMIT_BYTES_MAX


def _need(condition: bool, reason: str, place: str) -> None:
    if not condition:
        raise ProgramError(reason, place=place)


def _check_counts(program: p.Program) -> None:
    """The numbers of entries, and the rule's name."""
    counts: tuple[tuple[str, Collection[object], int, int], ...] = (
        ("instructions", program.code, 1, CODE_MAX),
        ("slots", program.slots, 0, SLOTS_MCU_MAX if program.profile is p.Profile.MCU else SLOTS_MAX),
        ("constants", program.constants, 0, CONSTANTS_MAX),
        ("arrays", program.arrays, 0, ARRAYS_MAX),
        ("timers", program.timers, 0, TIMERS_MAX),
        ("sites", program.sites, 0, SITES_MAX),
        ("parameters", program.params, 0, PARAMS_MAX),
        ("pins", program.pins, 0, PINS_MAX),
        ("triggers", program.triggers, 1, TRIGGERS_MAX),
    )
    for what, entries, least, most in counts:
        _need(least <= len(entries) <= most, f"{len(entries)} {what}, allowed are {least} to {most}", "counts")
    _need(RULE_NAME.fullmatch(program.rule) is not None, f"`{program.rule}` is no name of a rule", "meta")
    _need_unique((pin.name for pin in program.pins), "pin")


def _need_unique(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        _need(bool(name) and name not in seen, f"the name `{name}` is empty or stands twice", f"{what}s")
        seen.add(name)


def _check_slots(program: p.Program) -> None:
    regions = program.regions
    total = regions.params + regions.inputs + regions.state + regions.locals
    _need(total == len(program.slots), f"the regions have {total} slots, the program {len(program.slots)}", "slots")
    most = text_limit_max(program.profile)
    for index, slot in enumerate(program.slots):
        if slot.type is p.ValueType.TEXT:
            _need(1 <= slot.size_bytes_max <= most, f"a text limit of {slot.size_bytes_max} bytes", f"slot {index}")
        else:
            _need(slot.size_bytes_max == 0, "a text limit on a slot that holds no text", f"slot {index}")


def _check_constants(program: p.Program) -> None:
    seen = set()
    for index, value in enumerate(program.constants):
        place = f"constant {index}"
        _need(not isinstance(value, bool), "a constant is never a bool", place)
        limit = text_limit_max(program.profile) if isinstance(value, str) else 0
        fault = value_fault(value, p.MemorySlot(constant_slot(value).type, limit))
        _need(not fault, fault, place)
        key = constant_key(value)
        _need(key not in seen, f"{value!r} stands there twice", place)
        seen.add(key)


def check_type(type_: p.Type, place: str, profile: p.Profile, depth: int = 1) -> None:
    """Raise ProgramError unless a type is well formed all the way down."""
    _need(depth <= TYPE_DEPTH_MAX, f"a type is nested more than {TYPE_DEPTH_MAX} deep", place)
    inner = [field_type for _, field_type in type_.fields] + ([type_.element] if type_.element else [])
    for each in inner:
        check_type(each, place, profile, depth + 1)
    fault = type_fault(type_)
    _need(not fault, fault, place)
    if type_.tag is p.TypeTag.TEXT:
        _need(type_.size <= text_limit_max(profile), f"a text limit of {type_.size} bytes", place)
    if type_.tag is p.TypeTag.PIN:
        return
    _need(type_.direction is p.Direction.INPUT, "a direction on a type that is no pin", place)


def _check_values(values: tuple[p.Value, ...], type_: p.Type, place: str) -> None:
    pairs = list(flat_types(type_))
    _need(len(values) == len(pairs), f"{len(values)} values for {len(pairs)} slots", place)
    for (slot, scalar), value in zip(pairs, values, strict=True):
        fault = value_fault(value, slot, scalar)
        _need(not fault, fault, place)


def _check_params(program: p.Program) -> None:
    _need_unique((param.name for param in program.params), "parameter")
    slots = [param.slot for param in program.params]
    _need(
        slots == list(range(program.regions.params)), "the parameters do not fill their region in order", "parameters"
    )
    for param in program.params:
        place = f"parameter {param.name}"
        check_type(param.type, place, program.profile)
        _need(is_scalar(param.type), "a parameter has one value", place)
        _need(program.slots[param.slot] == scalar_slot(param.type), "its slot has another type", place)
        for value in (param.default, param.low, param.high):
            if value is not None:
                _check_values((value,), param.type, place)
        _check_bounds(param, place)


def _check_bounds(param: p.Param, place: str) -> None:
    """Bounds belong to numbers, and the default lies within them."""
    if param.low is None and param.high is None:
        return
    numeric = param.type.tag in (p.TypeTag.INT, p.TypeTag.FLOAT, p.TypeTag.DURATION)
    _need(numeric, "bounds on a value that is no number", place)
    fault = bounds_fault(param, param.default)
    _need(not fault, f"the default {fault}", place)


def bounds_fault(param: p.Param, value: p.Value) -> str:
    """Say which bound of a parameter `value` (of its type) breaks, or ""."""
    if param.low is not None and not value >= param.low:  # type: ignore[operator]
        return f"{value} is below {param.low}"
    if param.high is not None and not value <= param.high:  # type: ignore[operator]
        return f"{value} is above {param.high}"
    return ""


def _check_state(program: p.Program) -> None:
    """The state variables, and behind them the timers, fill their region in order."""
    _need_unique((variable.name for variable in program.state), "state variable")
    base, end = state_base(program), state_base(program) + program.regions.state
    for variable in program.state:
        place = f"state {variable.name}"
        check_type(variable.type, place, program.profile)
        slots = flatten(variable.type)
        _need(variable.base == base, f"its slots do not start at {base}", place)
        base += len(slots)
        _need(base <= end, "it lies outside the state region", place)
        _need(program.slots[variable.base : variable.base + len(slots)] == slots, "its slots have other types", place)
        _check_values(variable.initial, variable.type, place)
    for index, timer in enumerate(program.timers):
        _check_timer(program, timer, base, f"timer {index}")
        base += len(timer_slots(timer))
    _need(base == end, "the variables and timers do not fill the state region", "state")


def timer_slots(timer: p.Timer) -> tuple[p.ValueType, ...]:
    """Return the types of a timer's slots: a window is head, count, times, samples."""
    if TIMERS[timer.kind].window:
        return (p.ValueType.INT,) * (2 + timer.capacity) + (p.ValueType.FLOAT,) * timer.capacity
    return (p.ValueType.BOOL if TIMERS[timer.kind].pops == "B" else p.ValueType.INT,)


def _check_timer(program: p.Program, timer: p.Timer, base: int, place: str) -> None:
    _need(timer.kind in TIMERS, f"kind {timer.kind} is not known", place)
    _need(TIMERS[timer.kind].window == (timer.capacity > 0), "only a window has a capacity, of at least 1", place)
    _need(timer.base == base, f"its slots do not start at {base}", place)
    types = timer_slots(timer)
    slots = program.slots[base : base + len(types)]
    _need(tuple(slot.type for slot in slots) == types, "its slots have other types", place)


def region_of(program: p.Program, slot: int) -> int:
    """Return the region of a slot: 0 params, 1 inputs, 2 state, 3 locals."""
    regions = program.regions
    ends = (regions.params, state_base(program), state_base(program) + regions.state)
    return sum(slot >= end for end in ends)


def _check_arrays(program: p.Program) -> None:
    for index, array in enumerate(program.arrays):
        place, last = f"array {index}", array.base + array.capacity - 1
        _need(array.capacity >= 1, "it has no elements", place)
        _need(max(last, array.length_slot) < len(program.slots), "it lies outside the slots", place)
        same = region_of(program, array.base) == region_of(program, last) == region_of(program, array.length_slot)
        _need(same, "it reaches over more than one region", place)
        _need(program.slots[array.length_slot].type is p.ValueType.INT, "its length slot is no int", place)
        _need(not array.base <= array.length_slot <= last, "its length slot is one of its elements", place)
        _need(len(set(program.slots[array.base : last + 1])) == 1, "its elements have more than one type", place)


def _check_site(program: p.Program, site: p.Site, place: str) -> None:
    _need(bool(site.capability), "it has no name", place)
    _need(len(site.args) <= ARGS_MAX, f"{len(site.args)} arguments are more than {ARGS_MAX}", place)
    _need_unique((name for name, _ in site.args), f"{place}: argument")
    asks = site.kind in (p.SiteKind.READ, p.SiteKind.LLM)
    _need(asks == (site.result is not None), "a read or llm site has a result, an act or emit site none", place)
    _need(asks or site.on_failure is not p.OnFailure.FALLBACK, "only a read or llm site has a fallback", place)
    for _, type_ in (*site.args, *([("result", site.result)] if site.result else [])):
        check_type(type_, place, program.profile)
        _need(is_scalar(type_), "arguments and results have one value", place)
    _need(max(site.backoff_us, site.timeout_us) <= PERIOD_US_MAX, "a duration is out of range", place)


def _check_triggers(program: p.Program) -> None:
    """Handlers fill the code and inputs fill their region, both in the order of the triggers."""
    entry, input_base = 0, program.regions.params
    for index, trigger in enumerate(program.triggers):
        place = f"trigger {index}"
        _need(trigger.entry == entry < trigger.end, f"its handler does not start at instruction {entry}", place)
        entry = trigger.end
        _check_trigger_kind(trigger, place)
        _check_fields(program, trigger, place)
        _need(trigger.input_base == input_base, f"its inputs do not start at slot {input_base}", place)
        input_base += sum(flat_size(field.type) for field in trigger.fields)
        _need(input_base <= state_base(program), "its inputs lie outside their region", place)
        slots = tuple(slot for slot, _ in input_types(program, index))
        _need(program.slots[trigger.input_base : input_base] == slots, "its input slots have other types", place)
    _need(entry == len(program.code), "the handlers do not fill the code", "triggers")
    _need(input_base == state_base(program), "the payloads do not fill the inputs", "triggers")


def _check_trigger_kind(trigger: p.Trigger, place: str) -> None:
    _need(trigger.period_us <= PERIOD_US_MAX, "its period is out of range", place)
    if trigger.kind is p.TriggerKind.SOURCE:
        _need(bool(trigger.source), "it has no source", place)
        return
    _need(not trigger.source and not trigger.fields, "every and cron have no source and no payload", place)
    if trigger.kind is p.TriggerKind.EVERY:
        _need(trigger.period_us > 0 and not trigger.address, "every has a period and no address", place)
    else:
        _need(trigger.period_us == 0 and bool(trigger.address), "cron has an expression and no period", place)


def _check_fields(program: p.Program, trigger: p.Trigger, place: str) -> None:
    _need(len(trigger.fields) < KEY_NONE, f"{len(trigger.fields)} fields", place)
    _need_unique((field.name for field in trigger.fields), f"{place}: field")
    for field in trigger.fields:
        check_type(field.type, place, program.profile)
        if field.default is not None:
            _check_values(field.default, field.type, f"{place}, field {field.name}")
    if trigger.key is not None:
        _need(0 <= trigger.key < len(trigger.fields), "its key is no field", place)
        _need(is_scalar(trigger.fields[trigger.key].type), "its key has more than one value", place)


def _check_source_map(program: p.Program) -> None:
    before = -1
    for index, place in enumerate(program.source_map):
        _need(before < place.pc < len(program.code), "not ascending, or outside the code", f"source position {index}")
        _need(place.line >= 1 and place.column >= 1, "lines and columns count from 1", f"source position {index}")
        before = place.pc
