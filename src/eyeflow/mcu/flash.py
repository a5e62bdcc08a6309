"""Puts firmware on a board with probe-rs: finds it, chooses the debug probe, downloads, verifies, explains failures.

The texts and exit codes are those of probe-rs 0.32 (its sources and its output): `list` exits 0 with no probe, failures
exit 1, wrong usage 2, and `verify` exits 0 on a mismatch.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import why
from eyeflow.mcu.chips import Chip

PROGRAM = "probe-rs"
INSTALL = "cargo install probe-rs-tools --locked"
LIST_TIMEOUT_S = 30.0
DOWNLOAD_TIMEOUT_S = 300.0
"""The slowest chip erases and writes its firmware in well under a minute."""

OUTPUT_LINES_MAX = 12
PROBES_MAX = 32
ANY_PROBE = "VID:PID:SERIAL"
"""What a dry run shows where the probe is not known yet."""

PROBE_RS_MISSING, NO_PROBE = "probe_rs_missing", "no_probe"
BOOT_LOADERS = {
    "rp2040": "or without a probe: hold BOOTSEL while you plug the board in, and copy {image}.uf2 to the drive that "
    "appears",
    "stm32f4": "or without a probe, where the board has USB at PA11 and PA12: hold BOOT0 while you press reset, then "
    "dfu-util -a 0 -s {start}:leave -D {image}.bin",
}
"""What a family brings from the factory for those who have no probe."""

_LISTED = re.compile(
    r"^\[\d+\]: (?P<name>.*) -- (?P<selector>[0-9a-f]{4}:[0-9a-f]{4}\S*) \((?P<driver>[^)]*)\)(?P<rest>.*)$"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Probe:
    """A debug probe as probe-rs lists it; `selector` is what `--probe` takes."""

    name: str
    selector: str
    is_accessible: bool = True

    @property
    def serial(self) -> str:
        """Its serial number, empty without one. Where it has a serial port too, that has the same number on USB."""
        return next(iter(self.selector.split(":", 2)[2:]), "")

    def describe(self) -> str:
        """Return one line for people."""
        return f"{self.selector}  {self.name}" + ("" if self.is_accessible else "  (no permission to open it)")


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was done: the probe, and the commands that ran."""

    probe: Probe
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """One known failure of probe-rs: the text that tells it, and what it means for the user."""

    text: str
    code: str
    message: str
    cause: str
    next_step: str


_WIRING = "check SWDIO, SWCLK and GND, and that the board has power; a long cable may need a lower speed"
_UDEV = "on Linux install the udev rules of https://probe.rs/docs/getting-started/probe-setup/ and plug it in again"

FAILURES = (
    Failure("No connected probes were found", NO_PROBE, "no debug probe was found",
            "nothing that probe-rs knows is plugged in, or this user may not open it",
            f"plug the probe in (ST-Link, J-Link, CMSIS-DAP); {_UDEV}"),
    Failure("The format of the selector is invalid", "probe_selector", "this is no name of a probe",
            "a probe is named VID:PID or VID:PID:SERIAL", "list them: probe-rs list"),
    Failure("probes were found:", "many_probes", "there is more than one debug probe",
            "probe-rs does not choose for you", "name one with --probe VID:PID:SERIAL"),
    Failure("Probe is already in use", "probe_busy", "the debug probe is in use",
            "another program holds it: an IDE, OpenOCD, or another probe-rs", "end that program, then flash again"),
    Failure("The selected USB device could not be opened", "probe_busy", "the debug probe cannot be opened",
            "another program holds it, or this user has no permission", f"end other debuggers; {_UDEV}"),
    Failure("The selected debug probe was not found", "probe_gone", "the debug probe was not found",
            "it was unplugged, or this user may not open it", f"plug it in; {_UDEV}"),
    Failure("Probe not found", "probe_gone", "the debug probe was not found",
            "no probe with this VID:PID:SERIAL is plugged in", "list them: probe-rs list"),
    Failure("was not found in the database", "probe_rs_chip", "probe-rs does not know this chip",
            "its version may be too old for the chip", f"bring it up to date: {INSTALL}"),
    Failure("was not found in the list of known targets", "probe_rs_chip", "probe-rs does not know this chip",
            "its version may be too old for the chip", f"bring it up to date: {INSTALL}"),
    Failure("required permissions were not given", "chip_locked", "the chip is locked against reading and writing",
            "read protection (APPROTECT, RDP) is on; only erasing the whole chip, programs and keys too, lifts it",
            "if nothing on it is needed: probe-rs erase --chip CHIP --allow-erase-all, then flash again"),
    Failure("lacked the permission to do so", "chip_locked", "the chip is locked against reading and writing",
            "read protection (APPROTECT, RDP) is on; only erasing the whole chip, programs and keys too, lifts it",
            "if nothing on it is needed: probe-rs erase --chip CHIP --allow-erase-all, then flash again"),
    Failure("Flash content verification failed", "verify", "what was written is not what was sent",
            "the flash is worn or protected, or the attached chip is another one",
            "flash again; if it stays so, check the chip's marking against --chip"),
    Failure("Verification failed", "verify", "what was written is not what was sent",
            "the flash is worn or protected, or the attached chip is another one",
            "flash again; if it stays so, check the chip's marking against --chip"),
    Failure("Failed to find or attach to the target", "no_target", "the probe does not reach the chip",
            "the wiring is wrong or the board has no power", _WIRING),
    Failure("No target responded to the debug port", "no_target", "the probe does not reach the chip",
            "the wiring is wrong or the board has no power", _WIRING),
    Failure("Target device did not respond", "no_target", "the chip does not answer the probe",
            "the wiring is wrong, the board has no power, or the firmware has switched the debug pins off",
            f"{_WIRING}; hold the reset button while flashing starts"),
    Failure("Connecting to the chip was unsuccessful", "wrong_chip", "the probe cannot start a session with the chip",
            "another chip may be attached than the one the firmware was built for",
            "read what is attached: probe-rs info; compare with the chip of board.toml"),
    Failure("No flash memory contains the entire requested memory range", "wrong_chip",
            "the firmware does not fit this chip",
            "it was built for another chip", "build it for the attached chip: eyeflow mcu build --chip NAME"),
    Failure("The initialization of the flash algorithm failed", "wrong_chip", "the chip refuses to be programmed",
            "another chip may be attached than the one the firmware was built for, or its flash is write-protected",
            "compare the chip's marking with the chip of board.toml; remove write protection"),
    Failure("The RAM contents did not match", "wrong_chip", "the chip's RAM is not where it should be",
            "another chip may be attached than the one the firmware was built for",
            "compare the chip's marking with the chip of board.toml"),
    Failure("Failed to erase flash sector", "write_protected", "the flash could not be erased",
            "it is write-protected, or power is weak", "remove write protection; feed the board from its own supply"),
    Failure("The page write of the page at address", "write_protected", "the flash could not be written",
            "it is write-protected, or power is weak", "remove write protection; feed the board from its own supply"),
    Failure("USB Communication Error", "probe_usb", "the connection to the probe broke",
            "cable, hub or power", "plug the probe into the computer itself with another cable, then flash again"),
    Failure("A timeout occurred", "probe_usb", "the probe or the chip stopped answering",
            "cable, hub or power", "plug the probe in again, then flash again"),
)  # fmt: skip
"""Known failures, the more telling texts first: probe-rs prints a chain of causes, and the first known one counts."""


def find_probe_rs(program: Path | None = None) -> Path:
    """Return where probe-rs is; raises EyeflowError saying how to get it."""
    found = str(program) if program is not None else shutil.which(PROGRAM) or shutil.which(PROGRAM, path=_cargo_bin())
    if found is None or not Path(found).exists():
        raise EyeflowError(
            "probe-rs, the program that talks to debug probes, is not installed",
            cause=f"{program or PROGRAM} was not found",
            next_step=f"install it: {INSTALL} (takes minutes), or a ready build from https://probe.rs; without a board "
            "there is eyeflow mcu sim",
            code=PROBE_RS_MISSING,
        )
    return Path(found)


def _cargo_bin() -> str:
    home = os.environ.get("CARGO_HOME")
    return str((Path(home) if home else Path.home() / ".cargo") / "bin")


def list_probes(program: Path) -> list[Probe]:
    """Return the probes that are plugged in."""
    output = _run([str(program), "list"], LIST_TIMEOUT_S)
    found = [_LISTED.match(line) for line in output.splitlines()]
    return [
        Probe(match["name"], match["selector"], "inaccessible" not in match["rest"])
        for match in found
        if match is not None
    ][:PROBES_MAX]


def choose_probe(probes: list[Probe], wanted: str | None) -> Probe:
    """Return the wanted probe, or the only one; raises EyeflowError when that is not clear."""
    if not probes:
        raise _explain(FAILURES[0], "")
    if wanted is None:
        if len(probes) > 1:
            raise _unclear("there is more than one debug probe", probes, ExitCode.USAGE)
        return probes[0]
    matching = [p for p in probes if p.selector == wanted.lower() or _starts(p.selector, wanted.lower())]
    exact = [p for p in matching if p.selector.lower() == wanted.lower()]
    chosen = exact or matching
    if not chosen:
        raise _unclear(f"the probe {wanted} is not plugged in", probes, ExitCode.ENVIRONMENT)
    if len(chosen) > 1:
        raise _unclear(f"{wanted} is the name of {len(chosen)} probes", chosen, ExitCode.USAGE)
    return chosen[0]


def _starts(selector: str, wanted: str) -> bool:
    return selector.lower().startswith((wanted + ":", wanted + "-"))


def _unclear(message: str, probes: list[Probe], exit_code: ExitCode) -> EyeflowError:
    listed = "; ".join(probe.describe() for probe in probes)
    return EyeflowError(
        message,
        cause=f"plugged in: {listed}",
        next_step="name one with --probe VID:PID:SERIAL",
        code="many_probes" if exit_code is ExitCode.USAGE else "probe_gone",
        exit_code=exit_code,
    )


def flash_commands(elf: Path, chip: Chip, probe: str, program: str = PROGRAM) -> list[list[str]]:
    """Return the commands that flash: download with verification, then a reset that starts the firmware.

    `--allow-erase-all` is never among them: it would erase a locked chip with all that is on it.
    """
    common = ["--chip", chip.probe, "--probe", probe, "--non-interactive"]
    return [
        [program, "download", *common, "--disable-progressbars", "--verify", str(elf)],
        [program, "reset", *common],
    ]


def dry_run(elf: Path, chip: Chip, probe: str | None = None) -> list[str]:
    """Return the commands as a user would type them; needs neither probe-rs nor a probe."""
    return [shlex.join(command) for command in flash_commands(elf, chip, probe or ANY_PROBE)]


@dataclass(frozen=True, slots=True)
class Ready:
    """What is about to be done: by which probe, with which commands."""

    probe: Probe
    commands: tuple[tuple[str, ...], ...]


def prepare(elf: Path, chip: Chip, *, probe: str | None = None, program: Path | None = None) -> Ready:
    """Find firmware, probe-rs and probe; raises EyeflowError with cause and next step. Nothing is sent to the board."""
    if not elf.is_file():
        raise EyeflowError(
            f"there is no firmware {elf}",
            cause="it has not been built, or lies elsewhere",
            next_step=f"build it: eyeflow mcu build --chip {chip.name}",
            code="firmware_missing",
        )
    try:
        tool = find_probe_rs(program)
        chosen = choose_probe(list_probes(tool), probe)
    except EyeflowError as error:
        hint = BOOT_LOADERS.get(chip.family, "")
        if error.code not in (PROBE_RS_MISSING, NO_PROBE) or not hint:
            raise
        text = hint.format(image=elf.with_suffix(""), start=f"0x{chip.memory.flash_start:08X}")
        raise EyeflowError(
            error.message, cause=error.cause, next_step=f"{error.next_step}; {text}", code=error.code
        ) from error
    return Ready(chosen, tuple(map(tuple, flash_commands(elf, chip, chosen.selector, str(tool)))))


def write(ready: Ready, chip: Chip) -> Flashed:
    """Write the firmware to the board, verify it and start it; raises EyeflowError with cause and next step."""
    for command in ready.commands:
        _run(list(command), DOWNLOAD_TIMEOUT_S, chip)
    return Flashed(ready.probe, tuple(shlex.join(command) for command in ready.commands))


def _run(command: list[str], timeout_s: float, chip: Chip | None = None) -> str:
    quiet = {"PROBE_RS_DISABLE_SETUP_HINTS": "1", "NO_COLOR": "1", "RUST_BACKTRACE": "0", "RUST_LOG": "error"}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **quiet},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise EyeflowError(
            "probe-rs cannot be started",
            cause=why(error),
            next_step=f"install it anew: {INSTALL}",
            code=PROBE_RS_MISSING,
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EyeflowError(
            f"probe-rs did not end within {timeout_s:.0f} s",
            cause="the probe or the chip hangs",
            next_step="plug the probe in again and press the board's reset button, then flash again",
            code="probe_timeout",
        ) from error
    output = _ESCAPES.sub("", done.stdout + done.stderr)
    if done.returncode != 0 or "Verification failed" in output:
        raise explain_failure(output, chip)
    return output


def explain_failure(output: str, chip: Chip | None = None) -> EyeflowError:
    """Return the error for what probe-rs said: known texts with cause and next step, else its last lines."""
    for failure in FAILURES:
        if failure.text in output:
            return _explain(failure, chip.probe if chip is not None else "")
    lines = [line for line in output.splitlines() if line.strip()][-OUTPUT_LINES_MAX:]
    return EyeflowError(
        "probe-rs could not flash the board",
        cause="\n".join(lines) or "it said nothing",
        next_step="look for this text at https://probe.rs/docs, or run by hand what eyeflow mcu flash --dry-run shows",
        code="probe_rs_failed",
    )


def _explain(failure: Failure, chip: str) -> EyeflowError:
    next_step = failure.next_step.replace("--chip CHIP", f"--chip {chip}" if chip else "--chip CHIP")
    return EyeflowError(failure.message, cause=failure.cause, next_step=next_step, code=failure.code)
