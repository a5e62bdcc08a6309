"""What the coordinator checks of a program before it keeps it, and of parameters before it deploys them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.rollout.deployment import Params
from eyeflow.svm.container import SignedProgram, decode
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.program import Param, Program, SiteKind, TriggerKind, Type, TypeTag
from eyeflow.svm.signing import check_signatures
from eyeflow.svm.verify import verify

_INTS = frozenset({TypeTag.INT, TypeTag.DURATION})


@dataclass(frozen=True, slots=True)
class Intake:
    """A program that was decoded, verified and is signed by trusted keys; `data` are its bytes."""

    data: bytes
    program_id: str
    program: Program
    signers: tuple[bytes, ...]


def check_program(data: bytes, trusted: frozenset[bytes]) -> Intake:
    """Return the program in `data`; raises Problem 422 when it is malformed, unproven or untrusted.

    Takes about a second for each MiB: run it in a thread.
    """
    try:
        signed = decode(data)
        signers = _signers(signed, trusted)  # before the proof, which costs most
        verify(signed.program)
    except ProgramError as error:
        raise Problem("invalid_program", error.message, error.next_step or "compile and sign the rule again") from error
    return Intake(data, signed.program_id, signed.program, signers)


def check_any_program(data: bytes) -> Intake:
    """Return the program in `data`, whoever signed it: for a plan. Raises Problem 422 as `check_program`."""
    try:
        signed = decode(data)
        signers = tuple(key for key, _ in signed.signatures)
    except ProgramError as error:
        raise Problem("invalid_program", error.message, error.next_step or "compile and sign the rule again") from error
    return check_program(data, frozenset(signers))


def _signers(signed: SignedProgram, trusted: frozenset[bytes]) -> tuple[bytes, ...]:
    try:
        return tuple(check_signatures(signed, trusted))
    except ProgramError as error:
        next_step = "sign it with a trusted key, or let an admin trust the signer's key (POST /api/keys)"
        raise Problem("untrusted_program", error.message, next_step) from error


def describe(intake: Intake) -> dict[str, Any]:
    """Return the facts of a program that the API shows, as JSON-able data."""
    program = intake.program
    sites = sorted(
        {(site.capability, site.kind.name.lower()) for site in program.sites if site.kind is not SiteKind.EMIT}
    )
    return {
        "description": program.description,
        "chip": program.chip,
        "priority": program.priority.name.lower(),
        "signers": [key.hex() for key in intake.signers],
        "capabilities": sorted({capability for capability, _ in sites}),
        "sources": sorted({one.source for one in program.triggers if one.kind is TriggerKind.SOURCE}),
        "params": [_describe_param(param) for param in program.params],
        "limits": {
            "fuelMax": program.limits.fuel_max,
            "stackMax": program.limits.stack_max,
            "actionsMax": program.limits.actions_max,
            "stateBytes": program.limits.state_bytes,
        },
    }


def _describe_param(param: Param) -> dict[str, Any]:
    made: dict[str, Any] = {"name": param.name, "type": param.type.tag.name.lower(), "default": param.default}
    if param.type.tag is TypeTag.ENUM:
        made["members"] = list(param.type.members)
    if param.low is not None:
        made["low"] = param.low
    if param.high is not None:
        made["high"] = param.high
    return made


def check_params(program: Program, given: dict[str, Any]) -> Params:
    """Return parameters as the program takes them, ascending by name; raises Problem 422 naming each misfit."""
    known = {param.name: param for param in program.params}
    errors: list[FieldError] = []
    fitted: list[tuple[str, bool | int | float | str]] = []
    for name in sorted(given):
        if name not in known:
            guess = near(name, known)
            hint = f"; did you mean `{guess}`?" if guess else f"; it has: {', '.join(known) or 'none'}"
            errors.append(FieldError(f"/params/{name}", f"is not a parameter of {program.rule}{hint}"))
            continue
        try:
            fitted.append((name, _fit(known[name], given[name])))
        except Unreadable as error:
            errors.append(FieldError(f"/params/{name}", str(error)))
    if errors:
        raise Problem("invalid_params", f"The parameters do not fit {program.rule} {program.version}.", errors=errors)
    return tuple(fitted)


def _fit(param: Param, value: Any) -> bool | int | float | str:
    fitted = _scalar(param.type, value)
    low, high = param.low, param.high
    if (low is not None and fitted < low) or (high is not None and fitted > high):  # type: ignore[operator]
        raise Unreadable(f"must lie from {low if low is not None else 'any'} to {high if high is not None else 'any'}")
    return fitted


def _scalar(kind: Type, value: Any) -> bool | int | float | str:
    if kind.tag is TypeTag.BOOL and type(value) is bool:
        return value
    if kind.tag in _INTS and type(value) is int and -(2**63) <= value < 2**63:
        return value
    if kind.tag is TypeTag.FLOAT and type(value) in {int, float} and abs(value) < 2**1023:
        return float(value)
    if kind.tag is TypeTag.ENUM:
        return _ordinal(kind, value)
    if kind.tag is TypeTag.TEXT and type(value) is str and len(value.encode()) <= kind.size:
        return value
    wanted = f"text of at most {kind.size} bytes" if kind.tag is TypeTag.TEXT else kind.tag.name.lower()
    unit = " (an integer of microseconds)" if kind.tag is TypeTag.DURATION else ""
    raise Unreadable(f"must be {wanted}{unit}")


def _ordinal(kind: Type, value: Any) -> int:
    if isinstance(value, str) and value in kind.members:
        return kind.members.index(value)
    guess = near(value, kind.members) if isinstance(value, str) else None
    raise Unreadable(f"must be one of {', '.join(kind.members)}" + (f"; did you mean `{guess}`?" if guess else ""))
