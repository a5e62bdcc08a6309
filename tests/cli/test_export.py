"""`eyeflow audit export`, and the program of the page that checks a file: what it takes, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from components.node_sim import NODE_KEY, NodeSim
from eyeflow.audit.export import Exported, export_lines
from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import ZERO_HASH, Record, decode_record, encode_record, record_hash, verify_copy
from eyeflow.protocol.audit_bodies import GapBody
from eyeflow.protocol.collecting import KeptHead, head_bytes
from eyeflow.protocol.identity import Identity, key_fingerprint

from .conftest import Command

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "audit.md"
COORDINATOR = Identity(bytes(range(2, 34)))
RULE = 'rule r {\n version "1.0.0"\n record E { temp: int }\n on mqtt "t" as e: E\n log.warn("{e.temp}")\n}\n'
KEY = NODE_KEY.public_key.hex()
OTHER = Identity(bytes(range(3, 35))).public_key.hex()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (found,) = re.findall(r"^```python verify\.py\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found.splitlines()) <= 100
    assert set(re.findall(r"^(?:import|from) (\w+)", found, re.MULTILINE)) == {"base64", "cbor2", "cryptography"}
    path = tmp_path_factory.mktemp("outsider") / "verify.py"
    path.write_text(found)
    return path


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("node")

    async def live() -> None:
        sim = await NodeSim.started(path, RULE)
        for temp in range(40):
            await sim.send("t", temp=temp)
            await sim.turns()
        await sim.stop()

    asyncio.run(live())
    with AuditReader(path) as reader:
        return list(reader.records())


Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(program: Path, tmp_path: Path) -> Check:
    """Run the program as an outsider does: without eyeflow on its path."""

    def run(
        data: bytes, *more: object, node_key: str = KEY, key: str = COORDINATOR.public_key.hex()
    ) -> tuple[int, str]:
        (tmp_path / "x.audit").write_bytes(data)
        command = [sys.executable, str(program), "x.audit", node_key, key, *map(str, more)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return run


def exported(records: list[bytes], head_seq: int = 0, node_key: Identity = NODE_KEY) -> bytes:
    first = decode_record(records[0])
    seq = head_seq or decode_record(records[-1]).seq
    data = next(one for one in records if decode_record(one).seq == seq)
    head = KeptHead(first.epoch, seq, record_hash(data), 1_700_000_000_000_000)
    signature = COORDINATOR.sign(head_bytes(key_fingerprint(COORDINATOR.public_key), first.node, head))
    head = KeptHead(head.epoch, seq, head.hash, head.time_us, signature)
    what = Exported(first.node, first.epoch, node_key.public_key, COORDINATOR.public_key, head)
    return b"".join(export_lines(what, records))


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def test_a_real_export_holds_whole_and_in_part(check: Check, records: list[bytes]) -> None:
    code, said = check(exported(records))
    assert (code, said.startswith(f"holds: {len(records)} records")) == (0, True), said
    assert check(exported(records, 30))[0] == 0, "what came after the head is there, too"
    part = exported(records)
    part = b"".join([lines(part)[0], *lines(part)[11:21], json.dumps({"records": 10}).encode()])
    assert check(part, 11, 20)[0] == 0
    assert "no gap accounts" in check(part)[1], "the control: nobody said that it is a part"
    assert "was cut off after record 20" in check(part, 11)[1]


@pytest.mark.parametrize("data", [b"", b"{}\n", b"[]\n", b"\xff", b'{"format": "eyeflow audit export 1"}\n'])
def test_what_is_no_export_is_refused(check: Check, data: bytes) -> None:
    """`check` looks for a traceback."""
    code, said = check(data, key="-")
    assert code == 1 and said.startswith("REFUSED: ") and not said.rstrip().endswith(":"), said


def test_what_was_changed_is_refused(check: Check, records: list[bytes]) -> None:
    whole = lines(exported(records))

    def text(data: bytes) -> bytes:
        return b'"' + base64.b64encode(data) + b'"\n'

    altered = records[9].replace(bytes([9]), bytes([8]), 1) if bytes([9]) in records[9] else records[9][:-1] + b"\x01"
    assert altered != records[9]
    for place, changed, why in (
        ("edit", [*whole[:10], text(altered), *whole[11:]], ""),
        ("delete", [*whole[:10], *whole[11:]], "no gap accounts"),
        ("delete the first", [whole[0], *whole[2:]], "no gap accounts"),
        ("reorder", [*whole[:10], whole[11], whole[10], *whole[12:]], ""),
        ("twice", [*whole[:10], whole[10], *whole[10:]], "follows record 10"),
        ("cut off", whole[:-1], "should have"),
        ("cut off well", [*whole[:-4], json.dumps({"records": len(records) - 3}).encode()], "was cut off after record"),
        ("another head", [whole[0].replace(b'"seq": ', b'"seq": 1'), *whole[1:]], "the head"),
        ("no head", [re.sub(rb'"head": \{.*?\}', b'"head": null', whole[0]), *whole[1:]], "no coordinator"),
        ("of another node", [whole[0].replace(b'"sim"', b'"sam"'), *whole[1:]], ""),
    ):
        code, said = check(b"".join(changed))
        assert code == 1 and said.startswith("REFUSED") and why in said, (place, said)
    assert check(b"".join(whole), node_key=OTHER)[1].endswith("names another key\n")
    assert "the head" in check(b"".join(whole), key=OTHER)[1]


def test_who_writes_a_chain_anew_cannot_sign_it(check: Check, records: list[bytes]) -> None:
    """Only the head of the coordinator tells; its key and that of the node are what an outsider trusts."""
    forged, digest = [], ZERO_HASH
    for data in [*records[:9], *records[10:]]:
        old = decode_record(data)
        record = encode_record(Record(old.node, old.epoch, len(forged) + 1, digest, old.time_us, old.body), COORDINATOR)
        digest = record_hash(record)
        forged.append(record)
    code, said = check(exported(forged))
    assert code == 1 and "signature of record" in said
    honest = [one for one in forged if decode_record(one).signature == b""]
    assert check(exported(honest), key="-")[0] == 0, "the control: without a signature to check, it looks whole"


def test_what_a_node_dropped_is_accounted_for(check: Check, records: list[bytes]) -> None:
    last = decode_record(records[-1])
    gone = decode_record(records[14])
    body = GapBody(1, 15, 15, "size", record_hash(records[14]), 1, 2, 15, NODE_KEY.public_key)
    data = Record(last.node, last.epoch, last.seq + 1, record_hash(records[-1]), last.time_us, body)
    gap = encode_record(data, NODE_KEY)
    assert gone.seq == 15 and check(exported([*records[15:], gap]))[0] == 0
    assert check(exported([*records[:5], *records[15:], gap]))[0] == 0, "those that were copied before are there"
    assert check(exported([*records[16:], gap]))[0] == 1, "the gap is of fewer"


@pytest.mark.parametrize(("reason", "lost"), [("copied", 0), ("size", 9)])
def test_what_others_held_when_the_node_dropped_it_must_be_there(
    check: Check, records: list[bytes], reason: str, lost: int
) -> None:
    """A signed gap of what was copied, or of less than is missing, excuses nobody who takes records out."""
    last = decode_record(records[-1])
    body = GapBody(1, 15, 15, reason, record_hash(records[14]), 1, 2, lost, NODE_KEY.public_key)
    data = Record(last.node, last.epoch, last.seq + 1, record_hash(records[-1]), last.time_us, body)
    gap = encode_record(data, NODE_KEY)
    assert check(exported([*records, gap]))[0] == 0
    code, said = check(exported([*records[:5], *records[15:], gap]))
    assert code == 1 and f"10 records are missing between others, and the node lost {lost}" in said
    report = verify_copy([*records[:5], *records[15:], gap], NODE_KEY.public_key)
    assert report.problem is not None and "10 records are missing between others" in report.problem.message
    assert verify_copy([*records, gap], NODE_KEY.public_key).holds


@pytest.mark.parametrize("arguments", [[], ["x.audit"], ["gone.audit", KEY, "-"], ["x.audit", "no key", "-"]], ids=len)
def test_the_program_says_what_is_wrong_with_its_call(program: Path, tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("REFUSED: ") and "Traceback" not in done.stderr
    assert len(arguments) == 3 or "verify.py FILE NODE_KEY" in done.stderr


def test_the_store_of_a_node_is_exported_whole_or_not_at_all(
    eyeflow: Command, check: Check, tmp_path: Path, records: list[bytes]
) -> None:
    path = tmp_path / "data"
    path.mkdir()

    async def live() -> None:
        sim = await NodeSim.started(path, RULE)
        await sim.send("t", temp=1)
        await sim.turns()
        await sim.stop()

    asyncio.run(live())
    ran = eyeflow("audit", "export", "r.audit", "--data-dir", path, "--json")
    assert ran.code == 0 and ran.json["nodeKey"] == KEY and ran.json["records"] == 5
    file = tmp_path / "r.audit"
    assert check(file.read_bytes(), key="-")[0] == 0 and "no coordinator" in check(file.read_bytes())[1]
    assert eyeflow("audit", "export", "r.audit", "--data-dir", path).code == 2
    assert eyeflow("audit", "export", "p.audit", "--data-dir", path, "--from", "3", "--to", "4").code == 0
    assert check((tmp_path / "p.audit").read_bytes(), 3, 4, key="-")[0] == 0
    assert eyeflow("audit", "export", "none/r.audit", "--data-dir", path).code == 3
    before, names = file.read_bytes(), sorted(one.name for one in tmp_path.iterdir())
    db = apsw.Connection(str(path / "node.db"))
    db.execute("DROP TABLE audit")
    db.close()
    assert eyeflow("audit", "export", "r.audit", "--data-dir", path, "--force").code != 0
    assert file.read_bytes() == before and sorted(one.name for one in tmp_path.iterdir()) == names, "no half file"
