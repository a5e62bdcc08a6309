"""The one failure of loading a program: it is not what its bytes claim, or it cannot be proven safe."""

from __future__ import annotations

from eyeflow.base.errors import ExitCode, EyeflowError

RECOMPILE = "Compile the rule again with `eyeflow compile`; if the file came over a network, copy it again."


class ProgramError(EyeflowError):
    """A program is refused. `reason` says what is wrong, `place` where: a byte and section, or an instruction."""

    def __init__(self, reason: str, *, place: str = "", next_step: str = RECOMPILE, code: str = "bad_program") -> None:
        where = f"{place}: " if place else ""
        super().__init__(
            f"program refused: {where}{reason}", next_step=next_step, code=code, exit_code=ExitCode.PROBLEMS
        )
        self.reason = reason
        self.place = place
