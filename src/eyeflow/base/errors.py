"""The failures that are not about the user's source: the environment refused something."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `eyeflow` command."""

    OK = 0
    PROBLEMS = 1
    USAGE = 2
    ENVIRONMENT = 3
    BUG = 70


class EyeflowError(Exception):
    """Something outside the rule went wrong: says what, why and what to do next.

    `code` is a stable word for scripts (`port_in_use`); `exit_code` is PROBLEMS for what is wrong in
    a file (a rule, a configuration, a foreign program) and for a failed deployment, USAGE for wrong arguments, and
    ENVIRONMENT (the default) for files that cannot be read, disk, network and the like (`reading.exit_code`).
    """

    def __init__(
        self,
        message: str,
        *,
        cause: str = "",
        next_step: str = "",
        code: str = "environment",
        exit_code: ExitCode = ExitCode.ENVIRONMENT,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.next_step = next_step
        self.code = code
        self.exit_code = exit_code

    @property
    def brief(self) -> str:
        """What went wrong and why, as one line: for a log or a status, which have no lines for each part."""
        return f"{self.message}: {self.cause.removesuffix('.')}" if self.cause else self.message

    @property
    def whole(self) -> str:
        """That, and what to do next, as one line."""
        return f"{self.brief}. {self.next_step.removesuffix('.')}" if self.next_step else self.brief
