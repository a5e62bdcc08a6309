"""Where a command reads records from: the store of a node, running or not, or the coordinator's copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.node_options import CONFIG_NAME, data_dir_of

if TYPE_CHECKING:
    from eyeflow.node.store.reader import AuditReader
    from eyeflow.protocol.audit_bodies import AuditError
    from eyeflow.svm.program import Program

DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="The node's data_dir, instead of its configuration.")
]


def open_store(config: Path | None, data_dir: Path | None, flags: list[str]) -> AuditReader:
    """Return the records of a node's store. Raises EyeflowError."""
    from eyeflow.node.store.reader import AuditReader

    return AuditReader(data_dir_of(config, data_dir, flags))


def wants_store(config: Path | None, data_dir: Path | None) -> bool:
    """Say whether a node's store is meant: it is named, or no coordinator is known and a configuration lies here."""
    from eyeflow.client.profile import ClientProfile

    if config is not None or data_dir is not None:
        return True
    try:
        ClientProfile.load()
    except EyeflowError as error:
        return error.code == "no_profile" and Path(CONFIG_NAME).exists()
    return False


def programs_of(reader: AuditReader) -> Callable[[bytes], Program | None]:
    """Return a function from a program's id to the program, as long as a slot of the node holds it."""
    from functools import cache

    from eyeflow.svm.container import decode

    @cache
    def find(program_id: bytes) -> Program | None:
        data = reader.program(program_id)
        return decode(data).program if data is not None else None

    return find


def unreadable_record(error: AuditError) -> EyeflowError:
    """Return the failure of a stored record that is none."""
    return EyeflowError(
        "a stored record cannot be read",
        cause=str(error),
        next_step="run `eyeflow audit verify`: it says where the damage begins",
        code="record_damaged",
        exit_code=ExitCode.PROBLEMS,
    )
