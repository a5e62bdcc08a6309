"""Sites of the fast path: actions, events, reads and LLM calls, and the names of enum members."""

from __future__ import annotations

from eyeflow.svm.execution import Action
from eyeflow.svm.fast_code import Entry, Val
from eyeflow.svm.fast_ops import TYPES, atom, expression, pop, stable
from eyeflow.svm.fast_slots import HandlerEmitter
from eyeflow.svm.layout import scalar_slot
from eyeflow.svm.numbers import INT_MAX, INT_MIN
from eyeflow.svm.opcodes import Op
from eyeflow.svm.program import Instruction, OnFailure, Site, Type, TypeTag, Value, ValueType


def world(to: HandlerEmitter, instruction: Instruction) -> bool:
    """Translate an instruction that meets the world; False when it is none of those."""
    match instruction.opcode:
        case Op.CALL_ACTION | Op.EMIT_EVENT:
            _act(to, instruction.b)
        case Op.LOAD_RESOURCE | Op.LLM_CALL:
            _read(to, instruction.b)
        case Op.TEXT_ENUM:
            _member(to, instruction.a, instruction.b)
        case _:
            return False
    return True


def _arguments(to: HandlerEmitter, site: Site) -> tuple[str, tuple[Value, ...] | None]:
    """Pop a site's arguments; return the expression of their tuple, and the tuple when it is constant."""
    args = [_one_nan(to, stable(to, val)) for val in pop(to.path.stack, len(site.args))]
    values = tuple(val.value for val in args if val.value is not None)
    if len(values) == len(args):
        return (to.pool.name(values) if values else "()"), values
    return f"({', '.join(val.text for val in args)},)", None


def _one_nan(to: HandlerEmitter, val: Val) -> Val:
    """Return a value as it leaves the SVM: with the one NaN."""
    if val.type is not ValueType.FLOAT or val.value is not None:
        return val
    val = atom(to, val)
    return Val(f"({val.text} if {val.text} == {val.text} else NAN)", val.type, depth=val.depth + 1)


def _act(to: HandlerEmitter, index: int) -> None:
    text, values = _arguments(to, to.program.sites[index])
    if values is None:
        to.path.actions.append(Entry(f"new(Action, ({index}, {text}))"))
    else:
        action = Action(index, values)
        to.path.actions.append(Entry(to.pool.name(action), action))


def _read(to: HandlerEmitter, index: int) -> None:
    """Ask the host; an answer that does not fit the declared type is a failure."""
    site = to.program.sites[index]
    args, values = _arguments(to, site)
    if site.result is None:
        raise AssertionError("a verified read site has a result")
    if values is None:
        args = _named(to, args)
    fallback = stable(to, to.path.stack.pop()) if site.on_failure is OnFailure.FALLBACK else None
    line, answer = to.writer.line, to.writer.fresh("r")
    line(f"try: {answer} = h.read({index}, {args})")
    line(f"except CapabilityFailure: {answer} = None")
    to.path.answers.append(Entry(f"{index}, {args}, {answer}"))
    fits = _fits(answer, site.result, len(to.program.pins))
    kind, value = scalar_slot(site.result).type, answer
    if fallback is None:
        to.trap_unless(fits)
    else:
        value = to.writer.fresh()
        line(f"if {fits}: {value} = {answer}")
        line(f"else: {answer} = None; {value} = {fallback.text}")
    if kind is ValueType.FLOAT:
        again = f"; {value} = NAN" if value != answer else ""
        line(f"if {answer} != {answer}: {answer} = NAN{again}")
    to.path.stack.append(Val(value, kind))


def _named(to: HandlerEmitter, text: str) -> str:
    """Put a tuple into a variable: it is used twice."""
    name = to.writer.fresh()
    to.writer.line(f"{name} = {text}")
    return name


def _fits(name: str, type_: Type, pins: int) -> str:
    """Return the condition that an answer has the declared type: exact Python type, range and size."""
    match scalar_slot(type_).type:
        case ValueType.BOOL:
            return f"type({name}) is bool"
        case ValueType.FLOAT:
            return f"type({name}) is float"
        case ValueType.TEXT:
            return f"type({name}) is str and text_fits({name}, {type_.size})"
    if type_.tag is TypeTag.ENUM:
        return f"type({name}) is int and 0 <= {name} < {len(type_.members)}"
    if type_.tag is TypeTag.PIN:
        return f"type({name}) is int and 0 <= {name} < {pins}"
    return f"type({name}) is int and {INT_MIN} <= {name} <= {INT_MAX}"


def _member(to: HandlerEmitter, count: int, first: int) -> None:
    """TEXT_ENUM: the name of an ordinal."""
    ordinal = atom(to, to.path.stack.pop())
    if ordinal.low < 0 or ordinal.high >= count:
        to.trap_unless(f"0 <= {ordinal.text} < {count}")
    names = to.pool.name(tuple(to.program.constants[first : first + count]))
    to.path.stack.append(expression(to, f"{names}[{ordinal.text}]", TYPES["T"], (ordinal,)))
