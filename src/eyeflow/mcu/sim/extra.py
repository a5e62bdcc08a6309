"""The packages of the extra `eyeflow[sim]`, imported only when a simulator is really wanted."""

from __future__ import annotations

import importlib
from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reasons import why

PACKAGES = {"unicorn": "unicorn", "unicorn.arm_const": "unicorn", "elftools": "pyelftools"}
"""Modules of the extra and the packages that hold them."""


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES[module.split(".")[0]]
        raise EyeflowError(
            f"the simulator needs the package {package}, which is not installed",
            cause=why(error),
            next_step="install it: pip install 'eyeflow[sim]'",
            code="sim_missing",
        ) from error


def import_unicorn() -> tuple[Any, Any]:
    """Return the modules `unicorn` and `unicorn.arm_const`; raises EyeflowError where they are absent."""
    return _import("unicorn"), _import("unicorn.arm_const")


def import_elftools() -> tuple[Any, type[Exception]]:
    """Return `ELFFile` and the error it raises; raises EyeflowError where pyelftools is absent."""
    _import("elftools")
    return (
        importlib.import_module("elftools.elf.elffile").ELFFile,
        importlib.import_module("elftools.common.exceptions").ELFError,
    )
