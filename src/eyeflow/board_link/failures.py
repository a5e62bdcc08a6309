"""The failures of the port and the line: what happened, why, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reasons import number_of, why
from eyeflow.board_link.frames import Receiver
from eyeflow.board_link.messages import PROTOCOL
from eyeflow.board_link.session import Ask

GARBLED_BYTES_MIN = 4
TEXT_SHARE_MIN = 0.85


@contextmanager
def port_closed(url: str) -> Iterator[None]:
    """Turn the failure to open a port into its cause and the next step."""
    import serial

    try:
        yield
    except (serial.SerialException, OSError, ValueError) as error:
        raise _not_opened(url, error) from error


def _not_opened(url: str, error: Exception) -> EyeflowError:
    message = f"the port {url} cannot be opened"
    number = number_of(error)
    if number in {errno.EBUSY, errno.EWOULDBLOCK}:
        return EyeflowError(
            f"the port {url} is in use",
            cause="another program has it open: a monitor, a node, a second push",
            next_step=f"Close the other program (`fuser {url}` names it) and try again.",
            code="port_busy",
        )
    if number == errno.EACCES:
        return EyeflowError(
            message,
            cause="this user may not open serial ports",
            next_step="Add the user to the group of the port (`sudo usermod -aG dialout $USER`) and log in again.",
            code="port_forbidden",
        )
    if isinstance(error, ValueError):
        return EyeflowError(
            f"{url} is no port",
            cause="pyserial knows no such address",
            next_step="Name a device such as /dev/ttyACM0, or socket://host:port.",
            code="port_unknown",
            exit_code=ExitCode.USAGE,
        )
    if "://" in url:
        return EyeflowError(
            message,
            cause=why(error),
            next_step="Is the simulator or the serial server running, and is this its address?",
            code="port_missing",
        )
    return EyeflowError(
        message,
        cause=why(error),
        next_step="Is the board plugged in? `ls /dev/serial/by-id` shows the serial ports of this machine.",
        code="port_missing",
    )


def _terminal_errors() -> tuple[type[Exception], ...]:
    """Return what pyserial lets through when a terminal goes away while it drains; Windows has no terminals."""
    try:
        import termios
    except ImportError:
        return ()
    return (termios.error,)


@contextmanager
def port_lost(url: str, heard: bool = True) -> Iterator[None]:
    """Turn the end of the port into its cause and the next step; `heard` says whether the board ever answered on it."""
    import serial

    lost: tuple[type[Exception], ...] = (serial.SerialException, OSError, *_terminal_errors())
    try:
        yield
    except serial.SerialTimeoutException as error:
        raise EyeflowError(
            f"the port {url} takes no more bytes",
            cause="what was written before was not sent on",
            next_step="Plug the board in again: its USB side hangs, or it waits for a flow control that is not wired.",
            code="port_stuck",
        ) from error
    except lost as error:
        if "://" in url and not heard:
            raise EyeflowError(
                f"{url} hung up before the board answered",
                cause="it talks to one program at a time, and another one has it: a monitor, a second push",
                next_step="End the other program and try again; or start the simulator or serial server anew.",
                code="port_busy",
            ) from error
        raise EyeflowError(
            f"the port {url} went away",
            cause=why(error),
            next_step="Plug the board in again and repeat the command: the board keeps what it runs, and while it "
            "stays powered an interrupted push goes on where it stopped.",
            code="port_gone",
        ) from error


def silent(url: str, baud: int, receiver: Receiver, ask: Ask) -> EyeflowError:
    """Return why there was no answer, from what was received instead."""
    if receiver.good:
        return EyeflowError(
            f"the board at {url} stopped answering",
            cause=f"{ask.request.name} was not answered; {receiver.good} good, {receiver.bad} damaged frames came",
            next_step="Repeat the command: it goes on where it stopped. A slow line or simulator needs `--timeout`; "
            "when it stays so, reset the board.",
            code="board_stopped",
        )
    stray = receiver.unframed
    if receiver.received_bytes < GARBLED_BYTES_MIN:
        return EyeflowError(
            f"the board at {url} does not answer",
            cause=f"nothing arrived at {baud} baud",
            next_step="Check that this is the port of the board, that it has power, that RX and TX are crossed, that "
            f"`--baud` ({baud}) is the rate of the board file, and that eyeflow firmware is flashed (`mcu flash`).",
            code="board_silent",
        )
    if _is_text(stray):
        shown = _shown(stray)
        return EyeflowError(
            f"what answers at {url} is not eyeflow firmware",
            cause=f"it sends plain text: {shown}",
            next_step="Choose another port, or flash eyeflow firmware: `eyeflow mcu flash`.",
            code="not_eyeflow",
        )
    return EyeflowError(
        f"what arrives from {url} cannot be understood",
        cause=f"{receiver.received_bytes} bytes arrived at {baud} baud and none of them was a frame",
        next_step=f"The baud rate is probably wrong: give the one of the board file with `--baud` (now {baud}). Else "
        "check the ground wire and the cable.",
        code="line_garbled",
    )


def _is_text(data: bytes) -> bool:
    plain = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in data)
    return len(data) > 0 and plain >= TEXT_SHARE_MIN * len(data)


def _shown(data: bytes) -> str:
    """Return the last line of a text for a terminal: what would steer the terminal is left out."""
    lines = data.decode("ascii", "replace").split("\n")
    printed = ["".join(letter for letter in line if letter.isprintable()).strip() for line in lines]
    return next((line for line in reversed(printed) if line), "empty lines")[-60:]


def malformed(url: str, error: Exception) -> EyeflowError:
    """Return the error for an answer with a good CRC and a content that is not of this protocol."""
    return EyeflowError(
        f"the board at {url} answers in another protocol",
        cause=why(error),
        next_step="Build and flash the firmware of this version of eyeflow: `eyeflow mcu build`, `eyeflow mcu flash`.",
        code="protocol",
    )


def other_protocol(url: str, found: int) -> EyeflowError:
    """Return the error for a board that speaks another version of the link."""
    return EyeflowError(
        f"the board at {url} speaks version {found} of the link, this eyeflow speaks {PROTOCOL}",
        cause="firmware and eyeflow are of different versions",
        next_step="Flash firmware of this version: `eyeflow mcu build`, then `eyeflow mcu flash`.",
        code="protocol",
    )


def restarted(url: str) -> EyeflowError:
    """Return the error for a board that was restarted while its records were read."""
    return EyeflowError(
        f"the board at {url} was restarted, so its records were not forgotten",
        cause="it numbers its records from 0 again; those that were shown went with the restart",
        next_step="Read the records again: `eyeflow mcu log`.",
        code="board_restarted",
    )
