"""What a replay answers to the reads of a rule: columns of the recording, constants, or drivers of the node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyeflow.base.duration import parse_duration
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.names import near
from eyeflow.base.reading import Unreadable, parse_json
from eyeflow.base.word import literal
from eyeflow.node.io.ports import Driver
from eyeflow.node.replay.event_files import EventRows, RowFormat
from eyeflow.svm.arguments import named_arguments, readable, slot_value
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Program, SiteKind, Type, TypeTag, Value
from eyeflow.svm.schema import RejectedEvent
from eyeflow.svm.schema_text import cell_decoder
from eyeflow.svm.schema_values import scalar_decoder

_CALL = re.compile(r"\s*([a-z][\w]*(?:\.[a-z][\w]*)+)\s*\((.*)\)\s*", re.DOTALL)
_MAPPING = re.compile(r"(.*\))\s*=\s*(.*)", re.DOTALL)
READ_PIN = "gpio.read_pin"
FAILED_READS_MAX = 100
FAILS = (None, "", "fails")
"""What stands in a column while the read fails: JSON's null, an empty cell, or the word of the tests."""

Key = tuple[int, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class ReadMapping:
    """`adc.read_channel(0)=value`: the read, its arguments as texts, and a column or a constant."""

    capability: str
    args: tuple[str, ...]
    target: str

    @property
    def call(self) -> str:
        """The read as it is written."""
        return f"{self.capability}({', '.join(self.args)})"


def parse_read(text: str) -> ReadMapping:
    """Return the mapping of one `--read` option; raises EyeflowError (USAGE) when it has not the form."""
    found = _MAPPING.fullmatch(text)
    call = _CALL.fullmatch(found[1]) if found else None
    if found is None or call is None or not found[2].strip():
        raise EyeflowError(
            f"`{text}` does not say what answers a read",
            cause="It needs a read, `=`, and a column of the recording or a constant.",
            next_step="Write for example --read 'adc.read_channel(0)=value'.",
            code="bad_read",
            exit_code=ExitCode.USAGE,
        )
    return ReadMapping(call[1], _split(call[2]), found[2].strip())


class Answers:
    """The Host of a replay. `update` takes the columns of a row; `changed_pins` then tells which pins have an edge."""

    def __init__(
        self,
        program: Program,
        events: EventRows,
        mappings: Sequence[ReadMapping],
        drivers: Mapping[str, Driver],
    ) -> None:
        self._program = program
        self._drivers = drivers
        self._json = events.format is RowFormat.JSON
        self._values: dict[Key, Value | None] = {}
        self._columns: dict[str, tuple[Callable[[Any], Value], list[Key]]] = {}
        self._pins: dict[str, int] = {}
        self._levels: dict[int, Value] = {}
        self.changed_pins: list[tuple[int, bool]] = []
        self.failed: dict[str, int] = {}
        for column in events.columns:
            call = _CALL.fullmatch(column)
            if call:
                self._add(ReadMapping(call[1], _split(call[2]), column), events, must=False)
        for mapping in mappings:
            self._add(mapping, events, must=True)
        self._check_all_answered(events)

    @property
    def has_columns(self) -> bool:
        """Whether rows change any answer; JSON lines may."""
        return bool(self._columns)

    def update(self, row: Mapping[str, Any]) -> None:
        """Take the answers out of a row; raises RejectedEvent, with nothing changed, when a cell does not fit."""
        fresh = []
        for column, (decode, keys) in self._columns.items():
            if column not in row:
                continue  # what a JSON line does not say stays as it was
            raw = row[column]
            try:
                fresh.append((column, keys, None if raw in FAILS else decode(raw)))
            except RejectedEvent as error:
                raise RejectedEvent(error.expected, error.got, column) from None
        self.changed_pins = []
        for column, keys, value in fresh:
            for key in keys:
                self._values[key] = value
            if column in self._pins and value is not None:
                self._note_level(self._pins[column], value)

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer LOAD_RESOURCE and LLM_CALL."""
        value = self._values.get((site, args))
        if value is not None:
            return value
        if (site, args) not in self._values:
            asked = self._program.sites[site]
            driver = self._drivers.get(asked.capability.partition(".")[0])
            if driver is not None and asked.result is not None:
                named = named_arguments(asked, args, self._program.pins)
                return slot_value(asked.result, driver.read(asked.capability, named, asked.timeout_us))
        return self._fail(site, args)

    def _fail(self, site: int, args: tuple[Value, ...]) -> Value:
        asked = self._program.sites[site]
        kinds = zip(asked.args, args, strict=True)
        shown_args = (literal(readable(kind, value, self._program.pins)) for (_name, kind), value in kinds)
        shown = (
            f"{asked.capability}({', '.join(text if len(text) <= 40 else f'{text[:37]}...' for text in shown_args)})"
        )
        if shown in self.failed or len(self.failed) < FAILED_READS_MAX:
            self.failed[shown] = self.failed.get(shown, 0) + 1
        raise CapabilityFailure(f"the recording has no answer to {shown}")

    def _note_level(self, pin: int, level: Value) -> None:
        before = self._levels.get(pin)
        self._levels[pin] = level
        if before is not None and before != level:
            self.changed_pins.append((pin, bool(level)))

    # --- building ---

    def _add(self, mapping: ReadMapping, events: EventRows, *, must: bool) -> None:
        keys: list[Key] = []
        result: Type | None = None
        for index, site in enumerate(self._program.sites):
            if site.capability == mapping.capability and site.result is not None:
                keys.append((index, self._slot_args(mapping, [kind for _name, kind in site.args])))
                result = site.result
        pin = self._edge_pin(mapping)
        if result is None and pin is None:
            if must:
                self._refuse_unknown(mapping)
            return
        column = mapping.target
        is_column = column in events.columns or (
            self._json and result is not None and _constant(column, result) is None
        )
        if not is_column:
            self._add_constant(mapping, keys, result, events)
            return
        if pin is not None:
            self._pins[column] = pin
        decode = _decoder(result, json_rows=self._json) if result is not None else _level
        known = self._columns.setdefault(column, (decode, []))
        known[1].extend(keys)
        for key in keys:
            self._values[key] = None

    def _add_constant(self, mapping: ReadMapping, keys: list[Key], result: Type | None, events: EventRows) -> None:
        value = _constant(mapping.target, result) if result is not None else None
        if value is None:
            guess = near(mapping.target, events.columns)
            raise EyeflowError(
                f"`{mapping.target}` answers {mapping.call} with nothing",
                cause="It is neither a column of the recording nor a constant of the read's type.",
                next_step=f"Did you mean the column `{guess}`?" if guess else f"Columns: {', '.join(events.columns)}.",
                code="bad_read",
                exit_code=ExitCode.USAGE,
            )
        for key in keys:
            self._values[key] = value

    def _slot_args(self, mapping: ReadMapping, kinds: Sequence[Type]) -> tuple[Value, ...]:
        if len(mapping.args) != len(kinds):
            self._refuse_arguments(mapping, f"It takes {len(kinds)} arguments.")
        args = []
        for text, kind in zip(mapping.args, kinds, strict=True):
            value = self._pin_index(text) if kind.tag is TypeTag.PIN else _constant(text, kind)
            if value is None:
                self._refuse_arguments(mapping, f"`{text}` does not fit.")
            else:
                args.append(value)
        return tuple(args)

    def _pin_index(self, name: str) -> int | None:
        return next((index for index, pin in enumerate(self._program.pins) if pin.name == name), None)

    def _edge_pin(self, mapping: ReadMapping) -> int | None:
        """Return the pin of `gpio.read_pin(DOOR)`, whose column also makes the edges of `on gpio DOOR`."""
        if mapping.capability != READ_PIN or len(mapping.args) != 1:
            return None
        sources = {t.address.partition(" ")[0] for t in self._program.triggers if t.source == "gpio"}
        return self._pin_index(mapping.args[0]) if mapping.args[0] in sources else None

    def _check_all_answered(self, events: EventRows) -> None:
        served = {self._program.sites[site].capability for site, _args in self._values}
        for site in self._program.sites:
            namespace = site.capability.partition(".")[0]
            if site.kind is SiteKind.READ and site.capability not in served and namespace not in self._drivers:
                arguments = ", ".join("..." for _ in site.args)
                raise EyeflowError(
                    f"nothing answers `{site.capability}({arguments})`, which the rule reads",
                    cause=f"{events.name} has no column of that name, and no --read names one.",
                    next_step=f"Add --read '{site.capability}({arguments})=COLUMN' (or a constant).",
                    code="read_unanswered",
                    exit_code=ExitCode.USAGE,
                )

    def _refuse_unknown(self, mapping: ReadMapping) -> None:
        known = {site.capability for site in self._program.sites if site.kind in (SiteKind.READ, SiteKind.LLM)}
        guess = near(mapping.capability, known)
        listed = f"It reads {', '.join(sorted(known))}." if known else "It reads nothing."
        raise EyeflowError(
            f"the rule does not read `{mapping.capability}`",
            cause=listed,
            next_step=f"Did you mean `{guess}`?" if guess else "Leave out this --read.",
            code="bad_read",
            exit_code=ExitCode.USAGE,
        )

    def _refuse_arguments(self, mapping: ReadMapping, cause: str) -> None:
        raise EyeflowError(
            f"the arguments of `{mapping.call}` do not fit",
            cause=cause,
            next_step="Write it as the rule does: numbers as they are, pins by name.",
            code="bad_read",
            exit_code=ExitCode.USAGE,
        )


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text.strip() else ()


def _decoder(kind: Type, *, json_rows: bool) -> Callable[[Any], Value]:
    return scalar_decoder(kind) if json_rows else cell_decoder(kind)


def _level(raw: object) -> Value:
    levels: dict[object, int] = {"LOW": 0, "HIGH": 1, "0": 0, "1": 1, 0: 0, 1: 1}
    if not isinstance(raw, str | int) or raw not in levels:
        raise RejectedEvent("LOW or HIGH", repr(raw))
    return levels[raw]


def _constant(text: str, kind: Type) -> Value | None:
    """Return a constant as the slot value of a type, or None when it is none."""
    if kind.tag is TypeTag.ENUM:
        return kind.members.index(text) if text in kind.members else None
    if kind.tag is TypeTag.DURATION:
        try:
            return parse_duration(text)
        except ValueError:
            return None
    try:
        value = parse_json(text)
    except Unreadable:
        return None
    try:
        return slot_value(kind, value) if isinstance(value, bool | int | float | str) else None
    except CapabilityFailure:
        return None
