"""Write what comes from the built-in catalog: `python tools/gen_capabilities.py [--check]`.

From `src/eyeflow/compiler/catalog/builtin.toml` it makes `src/eyeflow/compiler/catalog_builtin.py`, which loads without
parsing TOML, and docs/reference/capabilities.md. With `--check` it writes nothing and exits 1 when one is stale.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from pprint import pformat

from eyeflow.compiler import types
from eyeflow.compiler.catalog import ArgRole, Capability, CapabilityArg, Catalog, EventSource, Need
from eyeflow.svm.program import Profile, SiteKind

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/capabilities.md"
TABLE = ROOT / "src/eyeflow/compiler/catalog/builtin.toml"
MODULE = ROOT / "src/eyeflow/compiler/catalog_builtin.py"

_MODULE_HEAD = '''\
"""The built-in catalog. Generated from `catalog/builtin.toml` by `tools/gen_capabilities.py`: do not edit."""
# fmt: off
# ruff: noqa: E501

from __future__ import annotations

CATALOG: dict[str, object] = \
'''

_HEAD = """# Capabilities and event sources

Generated from `src/eyeflow/compiler/catalog/builtin.toml` by `tools/gen_capabilities.py`: do not edit.

What a rule may ask of the world, and what may start it. Everything a program uses is listed in it, and a node runs it only
when its policy grants all of it. On the `mcu` profile every text holds at most 255 bytes.
"""  # noqa: E501
_KINDS = {
    SiteKind.READ: ("Reads", "give a value while the rule runs."),
    SiteKind.ACT: (
        "Actions",
        "happen after the execution has been recorded, in the order in which the rule asked for them.",
    ),
    SiteKind.LLM: ("Language models", "give a value while the rule runs; take `timeout`."),
}
_TAIL = """
## Your own catalog

A file in TOML with the same form adds capabilities for drivers of your own: `eyeflow compile --catalog plant.toml rule.eye`.

```toml
[[enum]]
name = "Valve"
members = ["SHUT", "OPEN"]
doc = "Position of a valve."

[[capability]]
name = "plant.set_valve"             # namespace.name
kind = "act"                         # read, act or llm
args = [
    { name = "number", type = "int" },
    { name = "position", type = "Valve", default = "SHUT" },
]
profiles = ["linux"]                 # linux, mcu
unavailable = { mcu = "the valve bus is on the node" }
resource = "valve/{number}"          # one rule at a time may command it
level = true                         # repeating the same value changes nothing
cost = 50                            # fuel
doc = "Set the position of a valve."
```

| key | meaning |
|---|---|
| `args` | each with `name`, `type` and perhaps `default`. Types: bool, int, float, duration, text(n), an enum, pin.input, pin.output |
| `result` | the type a read or llm capability gives; for an llm also the name of an argument of type `enum`, or `text(size)` with an argument of type `size` |
| `profiles`, `unavailable` | where it can be used, and the reason given elsewhere |
| `delegable` | a board may let its gateway answer it |
| `resource` | the key under which the node keeps rules from commanding the same thing at once; `{argument}` is filled in |
| `level` | a host may leave out an action that repeats the last value |
| `cost` | the fuel a call takes, 0 to 65535 |

An event source (`[[source]]`) has `name`, `address` and `period` (each `none`, `optional` or `required`), `fields` (name to type, when the payload is
fixed), `injected` (fields the source fills in), `profiles`, `unavailable` and `doc`.
"""  # noqa: E501


def page() -> str:
    """Return the whole page."""
    catalog = Catalog().with_toml(TABLE.read_text("utf-8"), name=TABLE.name)
    parts = [_HEAD]
    for kind, (title, text) in _KINDS.items():
        parts.append(f"\n## {title}\n\n{title} {text}\n")
        parts += [_capability(one) for one in catalog.capabilities.values() if one.kind is kind]
    parts.append(
        "\n## Event sources\n\nBesides `every`, `cron` and `gpio` (an edge of an input pin), which need no payload.\n"
    )
    parts += [_source(one) for one in catalog.sources.values()]
    parts.append("\n## Enums\n\n")
    parts += [
        f"* `{name} {{ {', '.join(kind.members)} }}`: {catalog.enum_docs[name]}\n"
        for name, kind in catalog.enums.items()
    ]
    return "".join([*parts, _TAIL])


def _capability(one: Capability) -> str:
    args = ", ".join(_argument(arg) for arg in one.args)
    lines = [f"\n### {one.name}\n\n```\n{one.name}({args}){_result(one)}\n```\n\n{one.doc}\n"]
    lines.append(f"\nProfiles: {_profiles(one.profiles, one.delegable)}. Fuel: {one.cost}.")
    lines.append(f" Resource: `{one.resource}`." if one.resource else "")
    lines.append(" Level: repeating the same value changes nothing." if one.level else "")
    lines += [f" Not on {profile.name.lower()}: {reason}." for profile, reason in one.unavailable.items()]
    return "".join(lines) + "\n"


def _argument(arg: CapabilityArg) -> str:
    if arg.role is ArgRole.ENUM_TYPE:
        return f"{arg.name}: the name of an enum"
    if arg.role is ArgRole.TEXT_SIZE or arg.type is None:
        return f"{arg.name}: a constant number of bytes"
    return f"{arg.name}: {types.show(arg.type)}" + (f" = {arg.default_text}" if arg.default is not None else "")


def _result(one: Capability) -> str:
    if one.result is not None:
        return f" -> {types.show(one.result)}"
    if not one.result_of:
        return ""
    role = next(arg.role for arg in one.args if arg.name == one.result_of)
    return f" -> {one.result_of}" if role is ArgRole.ENUM_TYPE else f" -> text({one.result_of})"


def _profiles(profiles: frozenset[Profile], delegable: bool) -> str:
    names = ", ".join(profile.name.lower() for profile in sorted(profiles))
    return names + (", and mcu where the board delegates it to its gateway" if delegable else "")


def _source(one: EventSource) -> str:
    address = ' "address"' if one.address is not Need.NONE else ""
    period = " every 2s" if one.period is not Need.NONE else ""
    fields = "".join(f"* `{name}: {types.show(kind)}`\n" for name, kind in one.fields or ())
    text = f"\n### {one.name}\n\n```\non {one.name}{address}{period} as reading: Reading\n```\n\n{one.doc}\n"
    return text + (f"\nFields:\n\n{fields}" if fields else "") + f"\nProfiles: {_profiles(one.profiles, False)}.\n"


def module() -> str:
    """Return the catalog as a Python module."""
    data = tomllib.loads(TABLE.read_text("utf-8"))
    return _MODULE_HEAD + pformat(data, sort_dicts=False, width=110) + "\n"


def main() -> int:
    """Write or check the files; return the exit code."""
    code = 0
    for path, text in ((MODULE, module()), (PAGE, page())):
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `python tools/gen_capabilities.py`\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
