"""A program that runs: its parameters, its state, its clock. Used by nodes, by tests of rules and by replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eyeflow.base.duration import parse_duration
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable
from eyeflow.svm.execution import Execution, Host, Machine
from eyeflow.svm.inheritance import same_memory, taken_over
from eyeflow.svm.layout import scalar_slot, state_base, state_slots, structured, value_fault
from eyeflow.svm.program import MemorySlot, Param, TypeTag, Value
from eyeflow.svm.state_packing import STATE_FORMAT, StatePacker
from eyeflow.svm.structure import bounds_fault
from eyeflow.svm.timers import initial_state, shift_times
from eyeflow.svm.verify import Verified
from eyeflow.svm.wire import Reader
from eyeflow.svm.wire_types import read_value


class Instance:
    """One running program. `state` has one value for each state slot and is changed in place by `step`.

    `params` maps names to values: a duration may be microseconds or a text like `2s`, an enum its member's name or
    ordinal, a float an int. Raises EyeflowError for an unknown name, a wrong type or a value out of bounds.
    """

    def __init__(
        self,
        verified: Verified,
        params: Mapping[str, Value] | None = None,
        state: Sequence[Value] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.verified = verified
        self.program = verified.program
        self.params = [param.default for param in sorted(self.program.params, key=lambda param: param.slot)]
        self.set_params(params or {})
        self.state = initial_state(self.program)
        if state is not None:
            self._set_state(state)
        self.last_time_us = 0
        """The time of the last event; no execution sees an earlier one."""
        machine = machine or default_machine(verified)
        self._packer: StatePacker | None = None
        """Made at the first use: tests and replays never pack a state."""
        self._handlers = [machine.handler(index) for index in range(len(self.program.triggers))]

    def step(self, trigger: int, inputs: Sequence[Value], time_us: int, utc_offset_us: int, host: Host) -> Execution:
        """Run the handler of `trigger` on one event; an event older than the last one gets the last one's time."""
        if time_us < self.last_time_us:
            time_us = self.last_time_us
        else:
            self.last_time_us = time_us
        return self._handlers[trigger](time_us, utc_offset_us, self.params, inputs, self.state, host)

    def set_params(self, params: Mapping[str, Value]) -> None:
        """Override parameters by name; all or, when one is refused, none."""
        known = {param.name: param for param in self.program.params}
        wanted = [(_known(known, name), value) for name, value in params.items()]
        checked = [(param.slot, param_value(param, value)) for param, value in wanted]
        for slot, value in checked:
            self.params[slot] = value

    def shift_times(self, step_us: int) -> None:
        """Move all that time words remember by the step of a clock that was set: what was 3 s ago still is."""
        self.last_time_us = max(0, self.last_time_us + step_us)
        shift_times(self.program, self.state, step_us)

    def state_values(self) -> dict[str, Any]:
        """Return each state variable by name: an enum as its member's name, a list as list, a record as dict."""
        base = state_base(self.program)
        return {
            variable.name: structured(
                variable.type, self.state[variable.base - base : variable.base - base + len(variable.initial)]
            )
            for variable in self.program.state
        }

    def adopt(self, old: Instance) -> None:
        """Take over the clock and the state of the program that this one replaces.

        A state variable goes over when name and type are equal; the others keep their initial values. The memory of
        time words goes over only when code and slots are the same, for nothing else tells one time word from another.
        """
        self.last_time_us = max(self.last_time_us, old.last_time_us)
        if same_memory(self.program, old.program):
            self.state[:] = old.state
            return
        base, old_base = state_base(self.program), state_base(old.program)
        for variable, kept in taken_over(self.program, old.program):
            start, place, size = variable.base - base, kept.base - old_base, len(variable.initial)
            self.state[start : start + size] = old.state[place : place + size]

    def state_bytes(self) -> bytes:
        """Return clock and state in their one encoding (`StatePacker`)."""
        if self._packer is None:
            self._packer = StatePacker(self.program)
        return self._packer.pack(self.last_time_us, self.state)

    def load_state_bytes(self, data: bytes) -> None:
        """Restore what `state_bytes` of the same program gave; raises EyeflowError for anything else."""
        reader = Reader(data, section="stored state")
        form, last_time_us, count = reader.unpack("BqH", "the stored state")
        slots = state_slots(self.program)
        if form != STATE_FORMAT or count != len(slots) or last_time_us < 0:
            raise reader.fail(
                f"format {form} with {count} values is no state of this program, which has {len(slots)}", 0
            )
        values = [_read_typed(reader, slot) for slot in slots]
        reader.finish()
        self.state[:] = values
        self.last_time_us = last_time_us

    def _set_state(self, state: Sequence[Value]) -> None:
        slots = state_slots(self.program)
        if len(state) != len(slots):
            raise _refused(f"a state of {len(state)} values does not fit {len(slots)} slots")
        for index, (slot, value) in enumerate(zip(slots, state, strict=True)):
            fault = value_fault(value, slot)
            if fault:
                raise _refused(f"state slot {index}: {fault}")
        self.state[:] = state


def default_machine(verified: Verified) -> Machine:
    """Return the fast path of a program."""
    from eyeflow.svm.fast import FastMachine  # late: making Python code is only needed where programs run

    return FastMachine(verified)


def param_value(param: Param, value: Value) -> Value:
    """Return `value` as a parameter's slot holds it; raises EyeflowError for another type or one out of bounds."""
    typed = _typed(param, value)
    fault = value_fault(typed, scalar_slot(param.type), param.type) or bounds_fault(param, typed)
    if fault:
        raise _refused(f"parameter `{param.name}`: {fault}")
    return typed


def _typed(param: Param, value: Value) -> Value:
    """Return a value in the form of its type, where it was given in another."""
    tag = param.type.tag
    if tag is TypeTag.FLOAT and type(value) is int:
        return float(value)
    if tag is TypeTag.DURATION and isinstance(value, str):
        try:
            return parse_duration(value.removeprefix("-")) * (-1 if value.startswith("-") else 1)
        except Unreadable as error:
            raise _refused(f"parameter `{param.name}`: {error}") from error
    if tag is TypeTag.ENUM and isinstance(value, str):
        if value not in param.type.members:
            hint = near(value, param.type.members)
            raise _refused(
                f"parameter `{param.name}`: `{value}` is none of {', '.join(param.type.members)}",
                f"Did you mean `{hint}`?" if hint else "",
            )
        return param.type.members.index(value)
    return value


def _known(known: Mapping[str, Param], name: str) -> Param:
    if name in known:
        return known[name]
    hint = near(name, known)
    listed = ", ".join(known) or "none"
    raise _refused(f"there is no parameter `{name}`", f"Did you mean `{hint}`?" if hint else f"It has: {listed}.")


def _refused(message: str, next_step: str = "") -> EyeflowError:
    return EyeflowError(message, next_step=next_step, code="bad_value", exit_code=ExitCode.PROBLEMS)


def _read_typed(reader: Reader, slot: MemorySlot) -> Value:
    at, kind = reader.position, reader.number("B", "the type of a stored value")
    if kind != slot.type:
        raise reader.fail(f"a stored value of type {kind} where the program has {slot.type.name.lower()}", at)
    return read_value(reader, slot)
