"""The page of all settings, docs/reference/node-settings.md, made from the table of settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from eyeflow.node.boards.settings import BoardSection
from eyeflow.node.config.config import settings
from eyeflow.node.config.settings import Kind, NamedTables, Setting
from eyeflow.node.io.connector import Connector
from eyeflow.node.io.connectors import CONNECTORS

_HEAD = """# Settings of a node

Generated from the sections in `src/eyeflow/node/config/sections.py` and `src/eyeflow/node/io/*/settings.py` by
`tools/gen_settings.py`; do not edit.

A setting stands in its section of `eyeflow-svm.toml`. Its environment variable overrides the file, and its
flag overrides both: `--offline-max-buffer-size-mb 64` sets `max_buffer_size_mb` of `[offline]`. In a variable or flag,
a list is written with commas. A relative path starts at the directory of the configuration file. An unknown section or
key is an error.
"""

_NAMED_HEAD = """
## Sections with names of your own

These are set in the file only.
"""


def settings_page(connectors: Sequence[Connector] = CONNECTORS) -> str:
    """Return the whole page, as Markdown."""
    rows = settings(connectors)
    parts = [_HEAD]
    for section in dict.fromkeys(setting.section for setting in rows):
        parts += [f"\n## [{section}]\n\n", *_table([one for one in rows if one.section == section], variables=True)]
    return "".join([*parts, *_boards(), _NAMED_HEAD, *_named(connectors)])


def _boards() -> Iterator[str]:
    yield f"\n## [[boards]]\n\n{BoardSection.__doc__} Once for each board; set in the file only.\n\n"
    yield from _table(BoardSection.settings(), variables=False)


def _table(rows: Iterable[Setting], *, variables: bool) -> Iterator[str]:
    columns = ("key", "type", "default", *(["variable"] if variables else []), "")
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n".replace("|  |", "| |")
    for one in rows:
        default = f"`{one.toml}`" if one.toml else "needed" if one.is_required else "none"
        cells = [f"`{one.key}`", _type(one), default, *([f"`{one.variable}`"] if variables else []), one.doc]
        yield "| " + " | ".join(cells) + " |\n"


def _type(one: Setting) -> str:
    bounds = "" if one.low is None or one.high is None else f" {_plain(one.low)}..{_plain(one.high)}"
    return f"{one.kind.value}{bounds}{' ' + one.unit if one.unit and one.kind is not Kind.TEXT else ''}"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _named(connectors: Iterable[Connector]) -> Iterator[str]:
    for connector in connectors:
        for section in connector.sections:
            for held in section.named_tables():
                if isinstance(held, NamedTables):
                    inside, name = held.section, ".".join(filter(None, (section.SECTION, held.key, "NAME")))
                    yield f"\n### [{name}]\n\n{inside.__doc__}{_short(held, connector)}\n\n"
                    yield from _table(inside.settings(), variables=False)
                else:
                    yield f"\n### [{section.SECTION}.{held.key}]\n\n{held.doc}\n"


def _short(held: NamedTables, connector: Connector) -> str:
    if not held.short:
        return ""
    sections = "".join(f" `[{short}]` is a short way to write `[{long}]`." for short, long in connector.short.items())
    return f" `NAME = VALUE` sets `{held.short}` only.{sections}"
