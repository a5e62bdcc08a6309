"""The words of which the schemas of the REST API are made."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

NODE_NAME: Shape = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "examples": ["node-prod-01"]}
RULE: Shape = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$", "examples": ["overheat_relay"]}
HEX32: Shape = {"type": "string", "pattern": "^[0-9a-f]{64}$", "examples": ["9f" * 32]}
TIME_US: Shape = {
    "type": "integer",
    "minimum": 0,
    "description": "microseconds since 1970 UTC, 0 for never",
    "examples": [1790000000000000],
}
COUNT: Shape = {"type": "integer", "minimum": 0, "examples": [1]}
TEXT: Shape = {"type": "string", "examples": [""]}
PEM: Shape = {"type": "string", "examples": ["-----BEGIN CERTIFICATE-----..."]}
NAME: Shape = {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["ci"]}
SCALAR: Shape = {"type": ["boolean", "number", "string"], "examples": [75.5]}
NEXT_CURSOR: Shape = {
    "type": "string",
    "description": "`cursor` of the next page; empty: this is the last",
    "examples": [""],
}


def ref(name: str) -> Shape:
    """Return a reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Shape) -> Shape:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def closed(description: str, properties: Shape, required: tuple[str, ...] | None = None) -> Shape:
    """Return the schema of an object with these members and no others; all required unless `required` says which."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties if required is None else required),
        "additionalProperties": False,
    }


def page_of(description: str, name: str, of: str, more: Shape | None = None) -> Shape:
    """Return the schema of a page of a list."""
    return closed(description, {name: array(ref(of)), "nextCursor": NEXT_CURSOR, **(more or {})})


def names(members: Any) -> Shape:
    """Return the schema of the values of an enum."""
    values = [member.value for member in members]
    return {"type": "string", "enum": values, "examples": values[:1]}
