"""What the installer answers and reports, in the words of `control`."""

from __future__ import annotations

from datetime import UTC, datetime

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import internal
from eyeflow.node.control import InstallOutcome, InstallResult
from eyeflow.node.engine.admission import Refused
from eyeflow.node.store.types import SlotRow


def unchanged(row: SlotRow) -> InstallResult:
    """Return the answer for a program that runs already."""
    return InstallResult(InstallOutcome.UNCHANGED, row.key.rule, row.program_id.hex(), row.program_id.hex())


def told(error: Exception) -> str:
    """Return why a stored program does not run."""
    if isinstance(error, EyeflowError):
        return error.whole
    return internal(error)


def unforeseen(error: Exception) -> Exception | None:
    """Return what belongs into the log with its traceback: a bug."""
    return None if isinstance(error, EyeflowError) else error


def utc_text(time_us: int) -> str:
    """Return a time in microseconds since 1970 UTC for people."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_CODES = {
    "unsigned": "untrusted",
    "foreign_signature": "untrusted",
    "bad_signature": "untrusted",
    "bad_program": "malformed",
    "bad_value": "bad_params",
    "disk_full": "storage",
    "disk_failed": "storage",
    "disk_in_doubt": "storage_unknown",
}


def refusal_of(error: EyeflowError) -> InstallResult:
    """Return the answer for a program that is refused."""
    missing = error.missing if isinstance(error, Refused) else ()
    code = _CODES.get(error.code, error.code)
    return InstallResult(
        InstallOutcome.REFUSED, code=code, message=error.brief, next_step=error.next_step, missing=missing
    )
