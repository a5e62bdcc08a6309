"""The page on which one browses the REST API: plain HTML, made from the OpenAPI document, without a script.

It works where there is no internet, and under a policy that lets a browser load nothing at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

from eyeflow.coordinator.openapi import OPENAPI_PATH, document, example

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 70rem; padding: 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow-x: auto; padding: .7rem; border: 1px solid GrayText; border-radius: .3rem }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid GrayText }
details { margin: .4rem 0; padding: .4rem .7rem; border: 1px solid GrayText; border-radius: .3rem }
summary { cursor: pointer; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem } h3 { margin: 1rem 0 .2rem }
.method { display: inline-block; min-width: 4.5rem; font-weight: bold }
nav ul { columns: 16rem; padding-left: 1.2rem }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
INTRO = f"""
Send `Authorization: Bearer TOKEN`; an admin makes a token with `eyeflow tokens new`. The first start of the coordinator
writes an admin token and tells where. The role admin includes deploy, and deploy includes read. This page is made from
the OpenAPI document, which tools read: `{OPENAPI_PATH}`.
"""
Json = Mapping[str, Any]


@cache
def page() -> str:
    """Return the whole page."""
    whole = document()
    schemas = whole["components"]["schemas"]
    operations = [
        (path, method.upper(), one) for path, methods in whole["paths"].items() for method, one in methods.items()
    ]
    title = escape(f"{whole['info']['title']} {whole['info']['version']}")
    about = f"<p>{_words(whole['info']['description'])}</p><p>{_words(INTRO)}</p>"
    links = "".join(f'<li><a href="#{name}">{name}</a></li>' for name in sorted(schemas))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: REST API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<header><h1>{title}: REST API</h1>{about}</header>"
        f'<nav aria-label="Parts"><a href="#paths">Paths</a> · <a href="#objects">Objects</a></nav><main>'
        f'<h2 id="paths">Paths</h2>{"".join(_operation(*one) for one in operations)}'
        f'<h2 id="objects">Objects</h2><nav aria-label="Objects"><ul>{links}</ul></nav>'
        f"{''.join(_schema(name, schemas[name]) for name in sorted(schemas))}</main></body></html>"
    )


def _words(text: str) -> str:
    """Return a text as HTML; what stands in backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text.strip()))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    shown = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not shown:
        return ""
    return f"<table><thead><tr>{''.join(f'<th>{one}</th>' for one in heads)}</tr></thead><tbody>{shown}</tbody></table>"


def _operation(path: str, method: str, one: Json) -> str:
    role = one.get("description") or ("No token needed." if one.get("security") == [] else "")
    params = _table(
        ("Parameter", "In", "Type", "Meaning"),
        (
            (f"<code>{escape(p['name'])}</code>", p["in"], _kind(p["schema"]), _words(p.get("description", "")))
            for p in one.get("parameters", ())
        ),
    )
    body = "".join(
        f"<h3>Body</h3><p>{escape(media)}: {_kind(content['schema'])}</p>{_example(content.get('example'))}"
        for media, content in one.get("requestBody", {}).get("content", {}).items()
    )
    answers = _table(
        ("Status", "Meaning", "Body"),
        (
            (
                status,
                _words(reply["description"]),
                " ".join(_kind(c["schema"]) for c in reply.get("content", {}).values()),
            )
            for status, reply in one["responses"].items()
        ),
    )
    return (
        f'<details id="{escape(one["operationId"])}"><summary><span class="method">{method}</span> '
        f"<code>{escape(path)}</code> {_words(one['summary'])}</summary>"
        f"<p>{_words(role)}</p>{params}{body}<h3>Answers</h3>{answers}</details>"
    )


def _schema(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    members = _table(
        ("Member", "Type", "Always", "Meaning"),
        (
            (
                f"<code>{escape(member)}</code>",
                _kind(shape),
                "yes" if member in required else "no",
                _words(shape.get("description", "")),
            )
            for member, shape in schema.get("properties", {}).items()
        ),
    )
    return (
        f'<h3 id="{name}">{name}</h3><p>{_words(schema["description"])}.</p>{members}{_example(example(dict(schema)))}'
    )


def _example(value: Any) -> str:
    return "" if value is None else f"<pre>{escape(json.dumps(value, indent=2))}</pre>"


def _kind(shape: Json) -> str:
    if "$ref" in shape:
        name = escape(shape["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    if "enum" in shape:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in shape["enum"])
    kinds = shape.get("type", "any")
    if kinds == "array" and "items" in shape:
        return f"list of {_kind(shape['items'])}"
    named = escape(kinds if isinstance(kinds, str) else " or ".join(kinds))
    limits = [f"from {shape['minimum']}"] if shape.get("minimum") else []
    limits += [f"to {shape['maximum']}"] if "maximum" in shape else []
    limits += [f"default {escape(json.dumps(shape['default']))}"] if "default" in shape else []
    return ", ".join([named, *limits])
