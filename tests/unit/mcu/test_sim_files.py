"""Files the simulator reads: firmware, ADC recordings, flash images; and the extra that it needs."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeflow.base.errors import EyeflowError
from eyeflow.mcu.sim.firmware import load_firmware, parse_firmware
from eyeflow.mcu.sim.recording import AdcValues, NoChannel, load_recording
from eyeflow.mcu.sim.simulator import Simulator
from eyeflow.mcu.sim.storage import FlashImage
from sim_firmware import BASE, CODE, FIRMWARE, elf_file


def test_an_elf_file_gives_its_segments() -> None:
    firmware = parse_firmware(elf_file(), "a.elf")
    assert [(segment.address, segment.data) for segment in firmware.segments] == [(BASE, CODE)]


@pytest.mark.parametrize(
    "data", [b"", b"no elf", elf_file()[:60], elf_file(machine=62)], ids=["empty", "text", "cut", "x86"]
)
def test_what_is_no_firmware_is_refused(data: bytes) -> None:
    with pytest.raises(EyeflowError, match="no firmware for a microcontroller") as caught:
        parse_firmware(data, "a.elf")
    assert caught.value.cause
    assert "mcu build" in caught.value.next_step


@given(at=st.integers(0, 83), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_read_but_never_a_crash(at: int, value: int) -> None:
    data = bytearray(elf_file())
    data[at] = value
    try:
        parse_firmware(bytes(data), "a.elf")
    except EyeflowError as error:
        assert error.code == "not_firmware"


def test_a_missing_file_says_to_build(tmp_path: Path) -> None:
    with pytest.raises(EyeflowError, match="cannot be read") as caught:
        load_firmware(tmp_path / "none.elf")
    assert "mcu build" in caught.value.next_step


def test_firmware_for_another_chip_is_refused() -> None:
    with pytest.raises(EyeflowError, match="outside the flash") as caught:
        Simulator(parse_firmware(elf_file(address=0x1000_0000), "rp2040.elf"))
    assert caught.value.code == "wrong_chip"


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def refuse(name: str, *args: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(EyeflowError, match="needs the package unicorn") as caught:
        Simulator(FIRMWARE)
    assert "pip install 'eyeflow[sim]'" in caught.value.next_step


def test_the_package_imports_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("unicorn", "elftools"):
            raise AssertionError(f"{name} is imported too early")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    import eyeflow.mcu.sim.serve
    import eyeflow.mcu.sim.start  # noqa: F401


def test_a_recording_holds_each_value_until_the_next(tmp_path: Path) -> None:
    path = tmp_path / "adc.csv"
    path.write_text("time,channel,value\n0,0,100\n0.5,0,200\n0.5,1,7\n\n1.25,0,300\n")
    values = load_recording(path)
    assert [values.sample(time_us, 0) for time_us in (0, 499_999, 500_000, 1_249_999, 9_000_000)] == [
        100,
        100,
        200,
        200,
        300,
    ]
    assert values.sample(499_999, 1) == 0
    assert values.changes(400_000, 1_250_000, 2) == [
        (400_000, 0, 100), (400_000, 1, 0), (500_000, 0, 200), (500_000, 1, 7), (1_250_000, 0, 300),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("", 1, "the first line is empty"),
        ("t,c,v\n", 1, "the first line is t,c,v"),
        ("time,channel,value\n0,0\n", 2, "2 columns"),
        ("time,channel,value\n0,0,1\n1,0,4096\n", 3, "outside 0..4095"),
        ("time,channel,value\n-1,0,1\n", 2, "no time in seconds"),
        ("time,channel,value\nnan,0,1\n", 2, "no number"),
        ("time,channel,value\nx,0,1\n", 2, ""),
        ("time,channel,value\n0,19,1\n", 2, "no ADC channel 19"),
        ("time,channel,value\n5,0,1\n4,0,1\n", 3, "time goes back"),
    ],
)
def test_a_broken_recording_names_its_line(tmp_path: Path, text: str, line: int, cause: str) -> None:
    path = tmp_path / "adc.csv"
    path.write_text(text)
    with pytest.raises(EyeflowError) as caught:
        load_recording(path)
    assert f"adc.csv:{line}" in caught.value.message
    assert cause in caught.value.cause


def test_a_recording_of_eyeflow_run_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "timestamp,room,adc.read_channel(0),adc.read_channel(2)\n"
        "2026-03-02T06:00:00Z,a,612,1\n2026-03-02T06:00:01.5Z,b,,2\n2026-03-02T06:00:02Z,c,614,3\n"
    )
    values = load_recording(path)
    assert [values.sample(second * 500_000, 0) for second in range(5)] == [612, 612, 612, 612, 614]
    assert [values.sample(second * 500_000, 2) for second in range(5)] == [1, 1, 1, 2, 3]
    path.write_text("timestamp,adc.read_channel(0)\n100,7\nsoon,8\n")
    with pytest.raises(EyeflowError, match=r"r\.csv:3"):
        load_recording(path)


def test_channels_move_to_those_of_the_converter(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("time,channel,value\n0,0,11\n0,1,22\n")
    values = load_recording(path).moved([3, 0])
    assert (values.sample(0, 3), values.sample(0, 0), values.sample(0, 1)) == (11, 22, 0)
    with pytest.raises(NoChannel):
        load_recording(path).moved([3])


def test_a_recording_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none.csv", "binary"):
        with pytest.raises(EyeflowError, match="cannot be read"):
            load_recording(tmp_path / name)


def test_a_value_by_hand_holds_until_the_next_recorded_one() -> None:
    values = AdcValues()
    values.record(0, 0, 1)
    values.record(1_000, 0, 2)
    values.set(500, 0, 99)
    assert [values.sample(time_us, 0) for time_us in (500, 999, 1_000)] == [99, 99, 2]


def test_flash_image_keeps_what_is_not_firmware(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    image = FlashImage(BASE, 0x40000, path)
    image.write(BASE + 0x20000, b"slot")
    image.close()
    again = FlashImage(BASE, 0x40000, path)
    again.flash(FIRMWARE)
    again.close()
    data = path.read_bytes()
    assert len(data) == 0x40000
    assert data.startswith(CODE)
    assert data[0x20000:0x20006] == b"slot\xff\xff"


def test_a_flash_image_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(EyeflowError, match="cannot be used as the flash"):
        FlashImage(BASE, 0x40000, path)
    with pytest.raises(EyeflowError, match="cannot be used as the flash"):
        FlashImage(BASE, 0x40000, tmp_path)
