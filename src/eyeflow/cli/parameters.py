"""Values that a user gives to the parameters of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eyeflow.cli.files import usage_error

if TYPE_CHECKING:
    from eyeflow.svm.program import Program, Value


def parse_params(program: Program, texts: list[str] | None) -> dict[str, Value]:
    """Return the values of `--param name=value` options, by the types of the rule's parameters."""
    from eyeflow.base.names import near
    from eyeflow.svm.schema import RejectedEvent
    from eyeflow.svm.schema_text import cell_decoder

    known = {param.name: param for param in program.params}
    values: dict[str, Value] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise usage_error(f"--param {text} has no value", "write --param name=value")
        if name not in known:
            guess = near(name, known)
            hint = f"did you mean {guess}?" if guess else f"it has: {', '.join(known) or 'none'}"
            raise usage_error(f"the rule {program.rule} has no parameter {name}", hint)
        try:
            values[name] = cell_decoder(known[name].type)(value)
        except RejectedEvent as error:
            raise usage_error(
                f"--param {name}: expected {error.expected}, got {error.got}", "give a value of the parameter's type"
            ) from None
    return values
