"""The Ed25519 key of a node, or of a board that a node speaks for."""

from __future__ import annotations

from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.private import WRITERS, require_private
from eyeflow.base.reading import read_at_once
from eyeflow.base.reasons import why
from eyeflow.protocol.identity import KEY_BYTES, Identity

KEY_NAME = "node.key"


def load_identity(data_dir: Path, machine: Machine | None = None) -> Identity:
    """Return the node's key, made at the first start (`node.key`, 32 bytes, readable by its owner only)."""
    path, machine = data_dir / KEY_NAME, machine or Machine()
    try:
        require_private(data_dir, "the node's data_dir", WRITERS)
        if not path.exists():
            machine.write_whole(path, Identity.generate(machine.random).private_bytes(), 0o600)
        require_private(path, "the node's key")
        return Identity(read_at_once(path, KEY_BYTES))
    except (OSError, ValueError) as error:
        raise EyeflowError(
            f"cannot use the node's key {path}",
            cause=why(error),
            next_step="Restore it from a backup, or remove the whole data_dir to start as a new node.",
            code="node_key",
        ) from error
