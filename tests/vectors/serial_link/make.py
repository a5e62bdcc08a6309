"""Write the vectors of the serial link: `python tests/vectors/serial_link/make.py`, then the answers by the Rust side:
`EYEFLOW_UPDATE_GOLDEN=1 cargo test -p eyeflow-link vectors`. Both sides are tested against what is written here.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from pathlib import Path

from eyeflow.board_link.codec import compress
from eyeflow.board_link.dictionary import DICTIONARIES
from eyeflow.board_link.frames import Frame, encode_frame
from eyeflow.board_link.messages import Request, push_begin, text

HERE = Path(__file__).parent
VERSION = max(DICTIONARIES)


def write(name: str, content: object) -> None:
    (HERE / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def frame_of(frame: Frame) -> dict[str, object]:
    return {"kind": frame.kind, "sequence": frame.sequence, "payload": frame.payload.hex()}


def frames() -> dict[str, object]:
    known = {
        "hello": Frame(0x01, 0x01),
        "zeros": Frame(0x00, 0x00, bytes(8)),
        "log line": Frame(0xC0, 0x00, b"\x01relay on"),
        "longest": Frame(0x11, 0xFF, bytes(range(128))),
        "longest zeros": Frame(0x11, 0x7F, bytes(128)),
        "no zero": Frame(0x91, 0x05, bytes([255] * 128)),
    }
    hello = encode_frame(known["hello"])
    log = encode_frame(known["log line"])
    damaged = bytes([*log[:5], log[5] ^ 0x10, *log[6:]])
    streams = [
        ("two frames share a delimiter", hello + log[1:], ["hello", "log line"], 0),
        ("delimiters alone are silence", bytes(9) + hello + bytes(9), ["hello"], 0),
        ("plain text before a frame", b"boot ok\r\n" + hello, ["hello"], 1),
        ("a damaged frame", damaged + hello, ["hello"], 1),
        ("a cut frame", log[:7] + hello, ["hello"], 1),
        ("a frame whose end is missing swallows nothing", log[:-1] + hello, ["log line", "hello"], 0),
        ("an endless stretch", b"\x55" * 5000 + hello, ["hello"], 1),
        ("a code that points outside", b"\0\x09abc\0" + hello, ["hello"], 1),
        ("too short for a frame", b"\0\x03ab\0" + hello, ["hello"], 1),
        ("a payload too long", long_frame() + hello, ["hello"], 1),
    ]
    return {
        "frames": [
            {"name": name, **frame_of(frame), "wire": encode_frame(frame).hex()} for name, frame in known.items()
        ],
        "streams": [
            {"name": name, "wire": wire.hex(), "frames": [frame_of(known[each]) for each in found], "bad": bad}
            for name, wire, found, bad in streams
        ],
    }


def long_frame() -> bytes:
    """A frame with one byte more than is allowed, and a good CRC."""
    import zlib

    from eyeflow.board_link.frames import cobs

    content = bytes([0x11, 1]) + bytes([7]) * 129
    return b"\0" + cobs(content + zlib.crc32(content).to_bytes(4, "little")) + b"\0"


def codec() -> dict[str, object]:
    rng = random.Random(6)
    noise = rng.randbytes(40)
    plains = {
        "one byte": b"x",
        "a run": b"a" * 200,
        "a short period": b"abc" * 30,
        "nothing repeats": noise,
        "far matches": noise + bytes(range(100)) + noise,
        "across the longest distance": noise + rng.randbytes(4096 - 40) + noise,
        "from the dictionary": DICTIONARIES[VERSION][100:160] + b"!" + DICTIONARIES[VERSION][-9:],
    }
    good = [
        {
            "name": f"{name}{' with dictionary' if version else ''}",
            "size": len(plain),
            "dictionary": version,
            "compressed": compress(plain, DICTIONARIES[version] if version else b"").hex(),
            "plain": plain.hex(),
        }
        for name, plain in plains.items()
        for version in (0, VERSION)
    ]
    run = compress(b"a" * 200)
    broken = [
        ("ends inside a token", 200, run[:-1]),
        ("a byte left over", 200, run + b"\0"),
        ("a bit left over", 1, bytes([0x80 | 0x30, 0x80 | 1])),
        ("a match before the first byte", 4, bytes([0x00, 0xFF])),
        ("a match beyond the size", 100, run),
        ("a length of too many zeros", 100, bytes([0xB0, 0x80 >> 2, 0, 0, 0])),
        ("shorter than announced", 201, run),
    ]
    return {
        "good": good,
        "broken": [
            {"name": name, "size": size, "dictionary": 0, "compressed": data.hex()} for name, size, data in broken
        ],
    }


def program(rule: str, sequence: int, content: bytes) -> bytes:
    """A program of the fixture in embassy/link/tests/link/fixture.rs."""
    return text(rule) + struct.pack("<Q", sequence) + content


def session() -> dict[str, object]:
    pump = program("pump", 3, b"the program of the pump, of the pump, of the pump")
    fan = program("fan", 1, bytes(range(200)))
    newer, fast = program("pump", 4, b"the newer program of the pump"), program("fan", 2, b"the faster fan")
    steps = [
        ("hello", Request.HELLO, b""),
        ("ping", Request.PING, b"abc"),
        ("time", Request.TIME, struct.pack("<Qi", 1_790_000_000_000_000, 7200)),
        ("nothing in place 0", Request.INFO, b"\0"),
        *push_steps("pump", 3, pump, compressed=True),
        ("the pump is there already", Request.PUSH_BEGIN, announcement("pump", 3, pump, 0, len(pump))),
        *push_steps("fan", 1, fan, compressed=False),
        ("the pump in place 0", Request.INFO, b"\0"),
        ("the fan in place 1", Request.INFO, b"\1"),
        ("counters of place 1", Request.COUNTERS, b"\1"),
        ("health", Request.HEALTH, b""),
        ("set a parameter", Request.SET_PARAM, text("fan") + struct.pack("<BQ", 0, 42)),
        ("a value out of range", Request.SET_PARAM, text("fan") + struct.pack("<BQ", 0, 1000)),
        ("an unknown parameter", Request.SET_PARAM, text("fan") + struct.pack("<BQ", 9, 1)),
        *push_steps("pump", 4, newer, compressed=False, begin=Request.STAGE_BEGIN),
        ("the newer pump waits", Request.INFO, b"\0\2"),
        ("it is staged already", Request.STAGE_BEGIN, announcement("pump", 4, newer, 0, len(newer))),
        ("run the newer pump", Request.SWITCH, hashlib.sha256(newer).digest()),
        ("run it once more", Request.SWITCH, hashlib.sha256(newer).digest()),
        ("the pump before it", Request.INFO, b"\0\1"),
        ("back to the pump before", Request.BACK, hashlib.sha256(pump).digest()),
        ("back to what the board does not keep", Request.BACK, bytes(32)),
        *push_steps("fan", 2, fast, compressed=False, begin=Request.STAGE_BEGIN),
        ("give the staged fan up", Request.DROP, hashlib.sha256(fast).digest()),
        ("give it up again", Request.DROP, hashlib.sha256(fast).digest()),
        ("no whole id", Request.SWITCH, bytes(31)),
        ("the pump is good", Request.GOOD, hashlib.sha256(pump).digest()),
        ("what does not run is not", Request.GOOD, hashlib.sha256(newer).digest()),
        ("which records", Request.RECORDS_INFO, b""),
        ("read records", Request.RECORDS_READ, struct.pack("<I", 1)),
        ("acknowledge records", Request.RECORDS_ACK, struct.pack("<I", 2)),
        ("records that are left", Request.RECORDS_READ, struct.pack("<I", 0)),
        ("answer an LLM request", Request.LLM_ANSWER, b"\x03\x00yes"),
        ("remove the pump", Request.REMOVE, text("pump")),
        ("remove it again", Request.REMOVE, text("pump")),
        ("an older pump", Request.PUSH_BEGIN, announcement("pump", 2, pump, 0, len(pump))),
        ("data without a transfer", Request.PUSH_DATA, struct.pack("<I", 0) + b"x"),
        ("end without a transfer", Request.PUSH_END, bytes(32)),
        ("a request that nobody knows", 0x7E, b""),
        ("a malformed request", Request.INFO, b""),
    ]
    return {
        "steps": [{"name": name, "kind": int(kind), "payload": data.hex(), "answer": ""} for name, kind, data in steps]
    }


def announcement(rule: str, sequence: int, data: bytes, encoding: int, size: int) -> bytes:
    return push_begin(hashlib.sha256(data).hexdigest(), sequence, len(data), (size, encoding, 0), 1, rule)


def push_steps(
    rule: str, sequence: int, data: bytes, *, compressed: bool, begin: Request = Request.PUSH_BEGIN
) -> list[tuple[str, int, bytes]]:
    sent = compress(data) if compressed else data
    announced = announcement(rule, sequence, data, int(compressed), len(sent))
    is_first = sequence == 3  # of all programs
    name = f"begin the {rule}: the flash is cleaned first" if is_first else f"{begin.name} of the {rule}"
    steps: list[tuple[str, int, bytes]] = [(name, begin, announced)] * (3 if is_first else 1)
    for at in range(0, len(sent), 112):
        piece = struct.pack("<I", at) + sent[at : at + 112]
        steps.append((f"data of the {rule} from {at}", Request.PUSH_DATA, piece))
    steps.append((f"data of the {rule} again", Request.PUSH_DATA, struct.pack("<I", 0) + sent[:112]))
    steps.append((f"end of the {rule}", Request.PUSH_END, hashlib.sha256(data).digest()))
    return steps


if __name__ == "__main__":
    write("frames.json", frames())
    write("codec.json", codec())
    write("session.json", session())
