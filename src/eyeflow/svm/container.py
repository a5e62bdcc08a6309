"""The `.svm` file: a program and its signatures as bytes, in one encoding only. docs/svm.md, The `.svm` file."""

from __future__ import annotations

from eyeflow.base.record import dataclass
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.opcodes import ABI
from eyeflow.svm.program import Priority, Profile, Program
from eyeflow.svm.sections import SECTIONS, Draft
from eyeflow.svm.structure import check_structure
from eyeflow.svm.wire import Reader, Writer

__all__ = ["ProgramError", "Signature", "SignedProgram", "decode", "encode"]

MAGIC = b"\x7fSVM"
FORMAT = 2
ALIGN_BYTES = 4
SIGNATURES_MAX = 4
KEY_BYTES = 32
SIGNATURE_BYTES = 64
HEADER_BYTES = 20
PROGRAM_BYTES_MAX = 8 * 1024 * 1024
"""No program within the limits of the format is larger; a larger file is refused unread."""

Signature = tuple[bytes, bytes]
"""An Ed25519 public key of 32 bytes and its signature of 64."""


@dataclass(frozen=True, slots=True)
class SignedProgram:
    """A decoded `.svm` file. `program_id` is the SHA-256 of `signed_bytes` in hex; nothing is checked against a key."""

    program: Program
    program_id: str
    signatures: tuple[Signature, ...]
    signed_bytes: bytes


def encode(program: Program, signatures: tuple[Signature, ...] = ()) -> bytes:
    """Return the bytes of a `.svm` file; raises ProgramError for a program that no decoder would take."""
    check_structure(program)
    return attach_signatures(serialize(program), signatures)


def serialize(program: Program) -> bytes:
    """Return the bytes that are signed, without checking that the program's tables fit together."""
    body = Writer()
    body.pack("B3x", len(SECTIONS))
    for number, section in enumerate(SECTIONS, start=1):
        payload = Writer()
        section.write(payload, program)
        body.pack("B3xI", number, len(payload.buffer))
        body.buffer += payload.buffer + bytes(-len(payload.buffer) % ALIGN_BYTES)
    head = Writer()
    head.buffer += MAGIC
    head.pack("4BQI", FORMAT, ABI, program.profile, program.priority, program.sequence, HEADER_BYTES + len(body.buffer))
    return bytes(head.buffer + body.buffer)


def attach_signatures(signed_bytes: bytes, signatures: tuple[Signature, ...]) -> bytes:
    """Return the file of already encoded `signed_bytes` with these signatures, ascending by key."""
    if len(signatures) > SIGNATURES_MAX:
        raise ProgramError(f"{len(signatures)} signatures are more than {SIGNATURES_MAX}")
    ordered = sorted(signatures)
    return signed_bytes + bytes([len(ordered), 0, 0, 0]) + b"".join(key + signature for key, signature in ordered)


def decode(data: bytes) -> SignedProgram:
    """Return the program in `data`; raises ProgramError for anything that `encode` would not have written.

    Signatures are not checked (see `eyeflow.svm.signing`) and the code is not verified (see `eyeflow.svm.verify`).
    """
    if len(data) > PROGRAM_BYTES_MAX:
        raise ProgramError(f"{len(data)} bytes are more than a program can have ({PROGRAM_BYTES_MAX})")
    reader = Reader(data)
    profile, priority, sequence, size_bytes = _read_header(reader)
    draft = Draft(profile, priority, sequence)
    body = Reader(data, start=HEADER_BYTES, end=size_bytes)
    _read_sections(body, data, draft)
    signatures = _read_signatures(Reader(data, start=size_bytes, section="signatures"))
    program = draft.program()
    check_structure(program)
    import hashlib  # loads OpenSSL, which compiling does without

    signed_bytes = data[:size_bytes]
    # The readers refuse most of it already. Bytes that one of them lets pass would be a second id for one program.
    if attach_signatures(serialize(program), signatures) != data:
        raise ProgramError("the bytes are not the one encoding of their content")
    return SignedProgram(program, hashlib.sha256(signed_bytes).hexdigest(), signatures, signed_bytes)


def _read_header(reader: Reader) -> tuple[Profile, Priority, int, int]:
    """Return profile, priority, sequence and the size of the signed bytes."""
    if reader.take(4, "the magic") != MAGIC:
        raise reader.fail("this is no .svm program: the magic is missing", 0)
    for what, known in (("format", FORMAT), ("abi", ABI)):
        at, found = reader.position, reader.number("B", f"the {what}")
        if found != known:
            raise reader.fail(f"{what} {found} is not known, this eyeflow has {what} {known}", at)
    profile = reader.member(Profile, "the profile")
    priority = reader.member(Priority, "the priority")
    sequence, size_bytes = reader.unpack("QI", "sequence and size")
    if not HEADER_BYTES <= size_bytes <= reader.end:
        raise reader.fail(f"truncated: the size says {size_bytes} bytes, the file has {reader.end}", HEADER_BYTES - 4)
    return profile, priority, sequence, size_bytes


def _read_sections(body: Reader, data: bytes, draft: Draft) -> None:
    """Read every section, each once, in order, into the draft."""
    at, count = body.position, body.number("B", "the number of sections")
    if count != len(SECTIONS):
        raise body.fail(f"{count} sections instead of {len(SECTIONS)}", at)
    body.zeros(3, "after the number of sections")
    for number, section in enumerate(SECTIONS, start=1):
        at, found = body.position, body.number("B", "the id of a section")
        if found != number:
            raise body.fail(f"section {found} where section {number} ({section.name}) must stand", at)
        body.zeros(3, "after the id of a section")
        size_bytes = body.number("I", "the length of a section")
        start = body.position
        body.take(size_bytes, f"section {number} ({section.name})")
        payload = Reader(data, start=start, end=start + size_bytes, section=f"section {number}, {section.name}")
        section.read(payload, draft)
        payload.finish()
        body.zeros(-size_bytes % ALIGN_BYTES, f"after section {number}")
    body.finish()


def _read_signatures(reader: Reader) -> tuple[Signature, ...]:
    """Return the signatures: at most 4, ascending by key, nothing behind them."""
    at, count = reader.position, reader.number("B", "the number of signatures")
    if count > SIGNATURES_MAX:
        raise reader.fail(f"{count} signatures are more than {SIGNATURES_MAX}", at)
    reader.zeros(3, "after the number of signatures")
    found: list[Signature] = []
    for _ in range(count):
        at, key = reader.position, reader.take(KEY_BYTES, "a public key")
        if found and key <= found[-1][0]:
            raise reader.fail("signatures are not ascending by key", at)
        found.append((key, reader.take(SIGNATURE_BYTES, "a signature")))
    reader.finish()
    return tuple(found)
