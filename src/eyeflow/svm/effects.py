"""What each instruction pops and pushes, and which of its operands are right: the typing rules of the verifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eyeflow.svm import program as p
from eyeflow.svm.layout import input_types, scalar_slot, state_base
from eyeflow.svm.numbers import DECIMALS_MAX, DECIMALS_SHORTEST
from eyeflow.svm.opcodes import OPS, TIMERS, Op
from eyeflow.svm.sections import constant_slot
from eyeflow.svm.structure import text_limit_max

Types = tuple[p.ValueType, ...]
Effect = tuple[str, Types, Types]
"""Why the instruction is wrong ("": it is not), what it pops, the last the top of the stack, and what it pushes."""

LETTERS = {"B": p.ValueType.BOOL, "I": p.ValueType.INT, "F": p.ValueType.FLOAT, "T": p.ValueType.TEXT}
_INT: Types = (p.ValueType.INT,)
_TEXT: Types = (p.ValueType.TEXT,)
_BOOL: Types = (p.ValueType.BOOL,)


class Scope:
    """What one handler may name: all slots but the inputs of other triggers."""

    def __init__(self, program: p.Program, trigger: int) -> None:
        self.program = program
        self._inputs = range(program.regions.params, state_base(program))
        start = program.triggers[trigger].input_base
        self._own = range(start, start + len(input_types(program, trigger)))

    def slot_fault(self, slot: int, *, store: bool = False) -> str:
        """Say why this handler may not load (or store) a slot, or ""."""
        if slot >= len(self.program.slots):
            return f"slot {slot} of {len(self.program.slots)} does not exist"
        if slot in self._inputs and slot not in self._own:
            return f"slot {slot} is an input of another trigger"
        if store and slot < self._inputs.stop:
            return f"slot {slot} is a parameter or an input, and cannot be stored"
        return ""

    def array_fault(self, index: int, *, store: bool = False) -> str:
        """Say why this handler may not load (or store) an array, or ""."""
        if index >= len(self.program.arrays):
            return f"array {index} of {len(self.program.arrays)} does not exist"
        array = self.program.arrays[index]
        # The ends are enough: an array lies in one region, and the inputs of a trigger are one run of slots.
        ends = (array.base, array.base + array.capacity - 1, array.length_slot)
        return next(filter(None, (self.slot_fault(slot, store=store) for slot in ends)), "")

    def element(self, index: int) -> p.ValueType:
        """Return the element type of an array that exists."""
        return self.program.slots[self.program.arrays[index].base].type


def _wrong(reason: str) -> Effect:
    return reason, (), ()


def _load(scope: Scope, word: p.Instruction) -> Effect:
    fault = scope.slot_fault(word.b)
    return _wrong(fault) if fault else ("", (), (scope.program.slots[word.b].type,))


def _store(scope: Scope, word: p.Instruction) -> Effect:
    fault = scope.slot_fault(word.b, store=True)
    return _wrong(fault) if fault else ("", (scope.program.slots[word.b].type,), ())


def _load_at(scope: Scope, word: p.Instruction) -> Effect:
    fault = scope.array_fault(word.b)
    return _wrong(fault) if fault else ("", _INT, (scope.element(word.b),))


def _store_at(scope: Scope, word: p.Instruction) -> Effect:
    fault = scope.array_fault(word.b, store=True)
    return _wrong(fault) if fault else ("", (scope.element(word.b), p.ValueType.INT), ())


def _grow(scope: Scope, word: p.Instruction) -> Effect:
    return scope.array_fault(word.b, store=True), (), _INT


def _const(scope: Scope, word: p.Instruction) -> Effect:
    constants = scope.program.constants
    if word.b >= len(constants):
        return _wrong(f"constant {word.b} of {len(constants)} does not exist")
    return "", (), (constant_slot(constants[word.b]).type,)


def _push_bool(scope: Scope, word: p.Instruction) -> Effect:
    return ("" if word.a <= 1 else f"operand a is {word.a}, neither 0 nor 1"), (), _BOOL


_SITE_KINDS = {
    Op.LOAD_RESOURCE: p.SiteKind.READ,
    Op.CALL_ACTION: p.SiteKind.ACT,
    Op.LLM_CALL: p.SiteKind.LLM,
    Op.EMIT_EVENT: p.SiteKind.EMIT,
}


def _site(scope: Scope, word: p.Instruction) -> Effect:
    sites = scope.program.sites
    if word.b >= len(sites):
        return _wrong(f"site {word.b} of {len(sites)} does not exist")
    site = sites[word.b]
    if site.kind is not _SITE_KINDS[Op(word.opcode)]:
        return _wrong(f"site {word.b} is of kind {site.kind.name.lower()}")
    pops = tuple(scalar_slot(type_).type for _, type_ in site.args)
    pushes: Types = () if site.result is None else (scalar_slot(site.result).type,)
    fallback = pushes if site.on_failure is p.OnFailure.FALLBACK else ()
    return "", fallback + pops, pushes


def _timer(scope: Scope, word: p.Instruction) -> Effect:
    timers = scope.program.timers
    if word.b >= len(timers):
        return _wrong(f"timer {word.b} of {len(timers)} does not exist")
    if word.opcode == Op.RESET:
        return "", (), ()
    info = TIMERS[timers[word.b].kind]
    return "", tuple(LETTERS[letter] for letter in info.pops), tuple(LETTERS[letter] for letter in info.pushes)


def _concat(scope: Scope, word: p.Instruction) -> Effect:
    most = text_limit_max(scope.program.profile)
    return ("" if word.b <= most else f"{word.b} bytes are more than a text can have ({most})"), _TEXT * 2, _TEXT


def _text_f(scope: Scope, word: p.Instruction) -> Effect:
    right = word.a <= DECIMALS_MAX or word.a == DECIMALS_SHORTEST
    return ("" if right else f"{word.a} decimals are not possible"), (p.ValueType.FLOAT,), _TEXT


def _text_enum(scope: Scope, word: p.Instruction) -> Effect:
    names = scope.program.constants[word.b : word.b + word.a]
    right = 0 < word.a == len(names) and all(isinstance(name, str) for name in names)
    return ("" if right else f"constants {word.b} to {word.b + word.a} are not the texts of an enum"), _INT, _TEXT


EFFECTS: dict[int, Callable[[Scope, p.Instruction], Effect]] = {
    Op.LOAD: _load,
    Op.STORE: _store,
    Op.LOAD_AT: _load_at,
    Op.STORE_AT: _store_at,
    Op.GROW: _grow,
    Op.CONST: _const,
    Op.PUSH_BOOL: _push_bool,
    Op.LOAD_RESOURCE: _site,
    Op.CALL_ACTION: _site,
    Op.LLM_CALL: _site,
    Op.EMIT_EVENT: _site,
    Op.EVAL: _timer,
    Op.RESET: _timer,
    Op.CONCAT: _concat,
    Op.TEXT_F: _text_f,
    Op.TEXT_ENUM: _text_enum,
}
"""The instructions whose operands need checks or decide their types; those of control stand in `verify`."""


def simple_effect(opcode: int, stack: Sequence[p.ValueType]) -> Effect:
    """Return the effect of an instruction whose signature is fixed; X is the type on top of the stack."""
    info = OPS[opcode]
    top = stack[-1] if stack else p.ValueType.INT
    return "", _typed(info.pops, top), _typed(info.pushes, top)


def _typed(signature: str, any_type: p.ValueType) -> Types:
    return tuple(LETTERS.get(letter, any_type) for letter in signature)
