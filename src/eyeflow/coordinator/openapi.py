"""The OpenAPI 3.1 document, made from the table of endpoints and the schemas."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from eyeflow import __version__
from eyeflow.coordinator import metrics
from eyeflow.coordinator.credentials import REQUEST_HEADER, REQUEST_VALUE, cookie_name
from eyeflow.coordinator.endpoints import ENDPOINTS, PROGRAM_MEDIA_TYPE, Endpoint
from eyeflow.coordinator.problem import CODES, MEDIA_TYPE
from eyeflow.coordinator.requests import HEADER, KEY_PATTERN
from eyeflow.coordinator.shape_words import ref
from eyeflow.coordinator.shapes import SCHEMAS

OPENAPI_PATH = "/api/openapi.json"
DOCS_PATH = "/api/docs"

IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "sent again with the same key, a request has its effect once; a key is known for a day",
    "schema": {"type": "string", "pattern": f'^("{KEY_PATTERN}"|{KEY_PATTERN})$', "examples": ['"8e03978e-40d5"']},
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for endpoint in ENDPOINTS:
        paths[endpoint.path][endpoint.method.lower()] = _operation(endpoint)
    paths[OPENAPI_PATH]["get"] = {
        "operationId": "openapi",
        "summary": "Return this document.",
        "security": [],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}},
    }
    paths[DOCS_PATH]["get"] = {
        "operationId": "docs",
        "summary": "Return this document as a page for people.",
        "security": [],
        "responses": {"200": {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "eyeflow coordinator",
            "version": __version__,
            "description": "Deploy rules to nodes and look at the cluster. Errors are problem details (RFC 9457) "
            "with a stable `code`. Times are microseconds since 1970 UTC.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": dict(paths),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "an API token: eft_..."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie_name(False),
                    "description": f"a browser's session; over TLS the cookie is `{cookie_name(True)}`. What changes "
                    f"something needs `{REQUEST_HEADER}: {REQUEST_VALUE}`, too",
                },
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": endpoint.handler.__name__, "summary": endpoint.summary}
    if endpoint.role is None:
        made["security"] = []
    else:
        made["description"] = f"Needs a token with the role `{endpoint.role.value}` or a higher one."
    names = re.findall(r"{(\w+)}", endpoint.path)
    params = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    params += [
        {"name": one.name, "in": "query", "description": one.description, "schema": one.schema}
        for one in endpoint.query
    ]
    params += [IDEMPOTENCY_KEY] if endpoint.has_key else []
    if params:
        made["parameters"] = params
    if endpoint.body:
        made["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    made["responses"] = _replies(endpoint) | _problems(endpoint)
    return made


def _content(body: str) -> dict[str, Any]:
    if body == PROGRAM_MEDIA_TYPE:
        return {PROGRAM_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    if body == "text":
        return {metrics.MEDIA_TYPE.partition(";")[0]: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": ref(body), "example": example(SCHEMAS[body])}}


def _replies(endpoint: Endpoint) -> dict[str, Any]:
    made = {}
    for status, body in endpoint.replies.items():
        reply: dict[str, Any] = {
            "description": {200: "OK", 201: "Made", 202: "Accepted", 204: "Done"}.get(status, "No")
        }
        if body:
            reply["content"] = _content(body)
        made[str(status)] = reply
    return made


def _problems(endpoint: Endpoint) -> dict[str, Any]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in endpoint.codes:
        by_status[CODES[code][0]].append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
        for status, codes in sorted(by_status.items())
        if status not in endpoint.replies
    }


def example(schema: dict[str, Any]) -> Any:
    """Return a value that fits a schema, from the examples of its parts."""
    if "$ref" in schema:
        return example(SCHEMAS[schema["$ref"].rsplit("/", 1)[1]])
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [example(schema["items"])]
    return {name: example(member) for name, member in schema.get("properties", {}).items()}
