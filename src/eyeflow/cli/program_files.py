"""Program files: building one from a compiled rule, signing it, and what the commands report of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eyeflow.cli.files import write_bytes
from eyeflow.cli.keyring import names_by_key, private_key, revoked_keys

if TYPE_CHECKING:
    from eyeflow.svm.container import SignedProgram
    from eyeflow.svm.program import Limits, Program


def limits_json(limits: Limits) -> dict[str, int]:
    """Return what was proven, by the names that users see."""
    return {
        "instructions": limits.fuel_max,
        "stack": limits.stack_max,
        "stateBytes": limits.state_bytes,
        "actions": limits.actions_max,
        "emits": limits.emits_max,
        "reads": limits.reads_max,
        "llmCalls": limits.llm_max,
        "scratchBytes": limits.scratch_bytes,
        "loopDepth": limits.loop_depth_max,
        "blockDepth": limits.block_depth_max,
    }


def sign_bytes(data: bytes, key: str) -> bytes:
    """Return a program with the signature of a key of the keyring added."""
    from eyeflow.svm.signing import sign_program

    return sign_program(data, private_key(key))


def build_program(program: Program, path: Path, key: str) -> dict[str, object]:
    """Encode, sign when a key is named, and write a program; return what the commands report of it."""
    from eyeflow.svm.container import decode, encode

    data = encode(program)
    if key:
        data = sign_bytes(data, key)
    write_bytes(path, data)
    signed = decode(data)
    return {
        "program": str(path),
        "programId": signed.program_id,
        "rule": program.rule,
        "version": program.version,
        "sequence": program.sequence,
        "sizeBytes": len(data),
        "signers": signers(signed),
        "limits": limits_json(program.limits),
    }


def signers(signed: SignedProgram) -> list[str]:
    """Return who signed a program: the names this user gave to the keys, or their fingerprints."""
    from eyeflow.svm.signing import fingerprint

    if not signed.signatures:
        return []
    names, revoked = names_by_key(), revoked_keys()
    keys = [key for key, _signature in signed.signatures]
    return [names.get(key, fingerprint(key)) + (" (revoked)" if key in revoked else "") for key in keys]
