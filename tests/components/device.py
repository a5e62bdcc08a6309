"""The board's own code as a process of this machine: the real link and program store on simulated flash, without a scan."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from eyeflow.board_link.port import Board, Patience
from eyeflow.svm.signing import public_key_of

KEY = bytes(range(32))
"""The private key whose programs it takes: of no use anywhere else."""

QUICK = Patience(answer_s=0.3, slow_answer_s=3.0, tries=8, slow_tries=8)


@dataclass(slots=True)
class Device:
    """The simulated board as a process; its flash lies in a file and outlives it."""

    binary: Path
    flash: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    port: int = 0

    def start(self, *more: str, geometry: str = "f4") -> None:
        trust = public_key_of(KEY).hex()
        command = [str(self.binary), "--listen", "--flash", str(self.flash), "--trust", trust, "--geometry", geometry]
        self.process = subprocess.Popen([*command, *self.options, *more], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> int:
        assert self.process is not None and self.process.stdout is not None
        self.process.kill()
        code = self.process.wait(10)
        self.process.stdout.close()
        return code

    def ended(self) -> int:
        assert self.process is not None and self.process.stdout is not None
        code = self.process.wait(10)
        self.process.stdout.close()
        return code

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self.port}"

    def board(self, patience: Patience = QUICK) -> Board:
        return Board(self.url, patience=patience)
