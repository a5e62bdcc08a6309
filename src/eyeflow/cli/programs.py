"""Commands on compiled programs: inspect and sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyeflow.base.duration import format_duration
from eyeflow.cli.console import JsonFlag, say, say_json
from eyeflow.cli.files import read_bytes, read_program, write_bytes
from eyeflow.cli.program_files import limits_json, sign_bytes, signers

if TYPE_CHECKING:
    from eyeflow.svm.container import SignedProgram
    from eyeflow.svm.program import Program, Type, Value

BOUNDS = ("default", "low", "high")
ProgramFile = Annotated[Path, typer.Argument(help="A .svm program.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("inspect")(inspect)
    app.command("sign")(sign)


def sign(
    program: ProgramFile,
    key: Annotated[str, typer.Option("--key", help="The key of your keyring to sign with.")] = "default",
    json_: JsonFlag = False,
) -> None:
    """Add a signature to a program; its id does not change."""
    from eyeflow.svm.container import decode

    unsigned, _found = read_program(program)
    data = sign_bytes(unsigned, key)
    write_bytes(program, data)
    signed = decode(data)
    if json_:
        say_json({"program": str(program), "programId": signed.program_id, "signers": signers(signed)})
    else:
        say(f"{program} {signed.program_id[:16]} signed by {', '.join(signers(signed))}")


def inspect(
    program: ProgramFile,
    disasm: Annotated[
        bool, typer.Option("--disasm", help="Show the instructions with the source line of each.")
    ] = False,
    source: Annotated[Path | None, typer.Option("--source", help="The rule file, for its lines in --disasm.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Show what a program is: header, proven limits, capabilities, signers, code. Verifies it first."""
    from eyeflow.svm.signing import check_unchanged
    from eyeflow.svm.verify import verify

    _data, signed = read_program(program)
    verify(signed.program)
    check_unchanged(signed)
    lines = _source_lines(program, source)
    if json_:
        report = describe(signed)
        if disasm:
            report["disassembly"] = _disassembly(signed.program, lines)
        say_json(report)
        return
    _say_program(describe(signed))
    if disasm:
        say()
        for line in _disassembly(signed.program, lines):
            say(line)


def _source_lines(program: Path, source: Path | None) -> list[str] | None:
    path = source or program.with_suffix(".eye")
    if source is None and not path.is_file():
        return None
    return read_bytes(path).decode("utf-8", errors="replace").splitlines()


def _disassembly(program: Program, source_lines: list[str] | None) -> list[str]:
    from eyeflow.svm.disasm import disassemble

    return list(disassemble(program, source_lines))


def describe(signed: SignedProgram) -> dict[str, Any]:
    """Return a program as JSON-able data."""
    p = signed.program
    return {
        "programId": signed.program_id,
        "rule": p.rule,
        "version": p.version,
        "description": p.description,
        "priority": p.priority.name.lower(),
        "profile": p.profile.name.lower(),
        "chip": p.chip or None,
        "sequence": p.sequence,
        "source": p.source_name,
        "signers": signers(signed),
        "limits": limits_json(p.limits),
        "capabilities": sorted({site.capability for site in p.sites if site.kind.name != "EMIT"}),
        "emits": sorted({site.capability for site in p.sites if site.kind.name == "EMIT"}),
        "triggers": [_trigger(trigger) for trigger in p.triggers],
        "params": [
            {"name": x.name, "type": _type(x.type)} | {k: show_value(getattr(x, k), x.type) for k in BOUNDS}
            for x in p.params
        ],
        "state": [{"name": x.name, "type": _type(x.type)} for x in p.state],
        "pins": [{"name": x.name, "direction": x.direction.name.lower()} for x in p.pins],
        "instructions": len(p.code),
    }


def show_value(value: Value | None, kind: Type) -> Value | None:
    """Return a slot's value as people read it: a duration in its largest unit, an enum's member by name."""
    from eyeflow.svm.program import TypeTag

    if value is None:
        return None
    if kind.tag is TypeTag.DURATION:
        return format_duration(int(value))
    return kind.members[int(value)] if kind.tag is TypeTag.ENUM else value


def _type(kind: Any) -> str:
    from eyeflow.compiler.types import show

    return show(kind)


def _trigger(trigger: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": trigger.kind.name.lower()}
    if trigger.source:
        shown["source"] = trigger.source
    if trigger.address:
        shown["address"] = trigger.address
    if trigger.period_us:
        shown["period"] = format_duration(trigger.period_us)
    if trigger.fields:
        shown["fields"] = {field.name: _type(field.type) for field in trigger.fields}
    if trigger.key is not None:
        shown["key"] = trigger.fields[trigger.key].name
    return shown


def _say_program(report: dict[str, Any]) -> None:
    say(f"{report['rule']} {report['version']}  ({report['description']})" if report["description"] else
        f"{report['rule']} {report['version']}")  # fmt: skip
    for name in ("programId", "sequence", "profile", "chip", "priority", "source"):
        if report[name] not in (None, ""):
            say(f"  {name:<13}{report[name]}")
    say(f"  {'signers':<13}{', '.join(report['signers']) or 'none: no node will run it'}")
    say(f"  {'proven':<13}" + ", ".join(f"{name} {value}" for name, value in report["limits"].items()))
    say(f"  {'capabilities':<13}{', '.join(report['capabilities']) or 'none'}")
    if report["emits"]:
        say(f"  {'emits':<13}{', '.join(report['emits'])}")
    for trigger in report["triggers"]:
        fields = trigger.pop("fields", None)
        text = " ".join(str(value) for value in trigger.values())
        say(f"  {'trigger':<13}{text}" + (f" ({', '.join(f'{k}: {v}' for k, v in fields.items())})" if fields else ""))
    for param in report["params"]:
        bounds = f" in {param['low']}..{param['high']}" if param["low"] is not None else ""
        say(f"  {'param':<13}{param['name']}: {param['type']} = {param['default']}{bounds}")
    for variable in report["state"]:
        say(f"  {'state':<13}{variable['name']}: {variable['type']}")
    for pin in report["pins"]:
        say(f"  {'pin':<13}{pin['name']}: {pin['direction']}")
