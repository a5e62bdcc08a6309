"""Strict JSON, and bodies against the API's schemas: the `jsonschema` library judges, the messages are ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable
from eyeflow.base.reading import parse_json as _parse_json
from eyeflow.coordinator.problem import FieldError, Problem
from eyeflow.coordinator.shapes import SCHEMAS

ERRORS_MAX = 20
Schema = Mapping[str, Any]

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def parse_json(data: bytes) -> Any:
    """Return the JSON value in `data`; refuses duplicate keys, NaN, infinities, lone surrogates and deep nesting."""
    try:
        value = _parse_json(data, unique_names=True)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except Unreadable as error:
        raise Problem("malformed_json", f"The body is {error}.") from error
    except (UnicodeEncodeError, RecursionError) as error:
        raise Problem("malformed_json", "The body is not JSON: a text in it is no Unicode.") from error
    return value


def check(name: str, value: Any) -> list[FieldError]:
    """Return what keeps `value` from fitting the schema `name` of `shapes.SCHEMAS`, ERRORS_MAX places at most."""
    errors = islice(_validator(name).iter_errors(value), ERRORS_MAX)
    return list(dict.fromkeys(found for error in errors for found in _field_errors(error)))


def check_shape(shape: Schema, value: Any) -> list[str]:
    """Return what keeps `value` from fitting a schema that refers to no other, ERRORS_MAX messages at most."""
    errors = islice(_STRICT(shape).iter_errors(value), ERRORS_MAX)
    return list(dict.fromkeys(found.message for error in errors for found in _field_errors(error)))


def _whole_pattern(validator: Any, pattern: str, value: Any, schema: Schema) -> Iterator[ValidationError]:
    """In Python `$` matches before a line break, too, so that a name could end with one."""
    if isinstance(value, str) and re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value) is None:
        yield ValidationError(f"does not match {pattern}")


# JSON Schema takes 1.0 for an integer. A count or a time that was written so is more likely a mistake.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda checker, value: type(value) is int)
_STRICT: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _whole_pattern}, type_checker=_TYPES
)


@cache
def _validator(name: str) -> Any:
    return _STRICT({"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}})


def _field_errors(error: ValidationError) -> list[FieldError]:
    at = "".join(f"/{_escaped(str(part))}" for part in error.absolute_path)
    wanted: Any = error.validator_value
    value: Any = error.instance
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        unknown = [name for name in value if name not in schema["properties"]]
        return [FieldError(f"{at}/{_escaped(name)}", _unknown_member(name, schema["properties"])) for name in unknown]
    if error.validator == "required":
        return [FieldError(at, f"lacks `{name}`") for name in wanted if name not in value]
    return [FieldError(at, TEXTS[str(error.validator)](wanted, value))]


def _unknown_member(name: str, known: Mapping[str, Any]) -> str:
    return "is not known here" + _guessed(near(name, known))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _guessed(guess: str | None) -> str:
    return f"; did you mean `{guess}`?" if guess else ""


def _type(wanted: Any, value: Any) -> str:
    named = [wanted] if isinstance(wanted, str) else wanted
    return f"must be {' or '.join(named)}, not {_KINDS.get(type(value), 'null')}"


def _enum(known: list[Any], value: Any) -> str:
    guess = near(value, known) if isinstance(value, str) else None
    return f"must be one of: {', '.join(map(str, known))}" + _guessed(guess)


TEXTS: dict[str, Callable[[Any, Any], str]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda wanted, value: f"must be {json.dumps(wanted)}",
    "pattern": lambda pattern, value: f"must match {pattern}",
    "minLength": lambda least, value: f"must have at least {least} characters",
    "maxLength": lambda most, value: f"must have at most {most} characters",
    "minimum": lambda least, value: f"must be at least {least}",
    "maximum": lambda most, value: f"must be at most {most}",
    "minItems": lambda least, value: f"must have at least {least} items",
    "maxItems": lambda most, value: f"must have at most {most} items",
    "uniqueItems": lambda wanted, value: "has an item twice",
    "minProperties": lambda least, value: f"must have at least {least} members",
    "maxProperties": lambda most, value: f"must have at most {most} members",
}
"""What each keyword that may fail says; the keyword's value comes first. Two more stand in `_field_errors`."""
