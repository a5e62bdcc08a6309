"""Strict JSON and the part of JSON Schema 2020-12 that the API's schemas use, checked with precise messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable
from eyeflow.base.reading import parse_json as _parse_json
from eyeflow.coordinator.problem import FieldError, Problem

ERRORS_MAX = 20
NESTING_MAX = 32
Schema = Mapping[str, Any]
KEYWORDS = {
    *("$ref", "type", "properties", "required", "additionalProperties", "propertyNames", "items", "minItems"),
    *("maxItems", "uniqueItems", "pattern", "minLength", "maxLength", "minimum", "maximum", "enum", "const"),
    *("maxProperties", "description", "title", "examples", "default", "format"),
}
"""Every keyword a schema may use; the last line's only describe."""

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


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


def check(schema: Schema, value: Any, schemas: Mapping[str, Schema]) -> list[FieldError]:
    """Return what keeps `value` from fitting `schema`; `$ref` names one of `schemas`."""
    errors: list[FieldError] = []
    _check(schema, value, "", schemas, errors)
    return errors[:ERRORS_MAX]


def _check(schema: Schema, value: Any, at: str, schemas: Mapping[str, Schema], errors: list[FieldError]) -> None:
    if "$ref" in schema:
        _check(schemas[schema["$ref"].rsplit("/", 1)[1]], value, at, schemas, errors)
        return
    if len(errors) >= ERRORS_MAX:
        return
    kinds = schema.get("type", [])
    named = [kinds] if isinstance(kinds, str) else list(kinds)
    if named and not any(_is(kind, value) for kind in named):
        errors.append(FieldError(at, f"must be {' or '.join(named)}, not {_kind_of(value)}"))
        return
    errors.extend(FieldError(at, message) for message in _scalar_errors(schema, value))
    if isinstance(value, dict):
        _check_object(schema, value, at, schemas, errors)
    elif isinstance(value, list):
        _check_array(schema, value, at, schemas, errors)


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _kind_of(value: Any) -> str:
    return next(kind for kind in ("boolean", "integer", *_KINDS) if _is(kind, value))


def _scalar_errors(schema: Schema, value: Any) -> list[str]:
    errors = []
    if "const" in schema and value != schema["const"]:
        errors.append(f"must be {json.dumps(schema['const'])}")
    if "enum" in schema and value not in schema["enum"]:
        guess = near(value, schema["enum"]) if isinstance(value, str) else None
        known = ", ".join(str(one) for one in schema["enum"])
        errors.append(f"must be one of: {known}" + (f"; did you mean `{guess}`?" if guess else ""))
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            errors.append(f"must have {schema.get('minLength', 0)} to {schema.get('maxLength', 'any')} characters")
        elif "pattern" in schema and re.fullmatch(schema["pattern"].strip("^$"), value) is None:
            errors.append(f"must match {schema['pattern']}")
    elif _is("number", value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        errors.append(f"must lie from {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}")
    return errors


def _check_object(
    schema: Schema, value: dict[str, Any], at: str, schemas: Mapping[str, Schema], errors: list[FieldError]
) -> None:
    known: Mapping[str, Schema] = schema.get("properties", {})
    errors.extend(FieldError(at, f"lacks `{name}`") for name in schema.get("required", ()) if name not in value)
    if len(value) > schema.get("maxProperties", len(value)):
        errors.append(FieldError(at, f"must have at most {schema['maxProperties']} members"))
    for name, member in value.items():
        place = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        if "propertyNames" in schema:
            _check(schema["propertyNames"], name, place, schemas, errors)
        more = schema.get("additionalProperties", True)
        if name in known:
            _check(known[name], member, place, schemas, errors)
        elif more is False:
            guess = near(name, known)
            errors.append(FieldError(place, "is not known here" + (f"; did you mean `{guess}`?" if guess else "")))
        elif more is not True:
            _check(more, member, place, schemas, errors)


def _check_array(
    schema: Schema, value: list[Any], at: str, schemas: Mapping[str, Schema], errors: list[FieldError]
) -> None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        errors.append(FieldError(at, f"must have {schema.get('minItems', 0)} to {schema.get('maxItems', 'any')} items"))
        return
    if schema.get("uniqueItems") and len({json.dumps(one, sort_keys=True) for one in value}) != len(value):
        errors.append(FieldError(at, "has an item twice"))
    for index, item in enumerate(value):
        _check(schema.get("items", {}), item, f"{at}/{index}", schemas, errors)
