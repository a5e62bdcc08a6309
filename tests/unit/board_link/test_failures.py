"""What ends a port is told as its cause and the next step, whatever the library raises."""

from __future__ import annotations

import termios

import pytest
import serial

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.failures import port_lost


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (serial.SerialException("device reports readiness to read but returned no data"), "port_gone"),
        (OSError(5, "Input/output error"), "port_gone"),
        (termios.error(5, "Input/output error"), "port_gone"),
        (serial.SerialTimeoutException("Write timeout"), "port_stuck"),
    ],
    ids=lambda value: type(value).__module__ + "." + type(value).__name__ if isinstance(value, Exception) else value,
)
def test_a_port_that_is_lost_is_named(raised: Exception, code: str) -> None:
    with pytest.raises(EyeflowError) as caught, port_lost("/dev/ttyACM0"):
        raise raised
    assert caught.value.code == code
    assert "/dev/ttyACM0" in caught.value.message
    assert caught.value.next_step
