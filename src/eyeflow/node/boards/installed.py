"""What the audit of a board says of its programs: a record whenever the board says that it runs another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eyeflow.base.errors import EyeflowError
from eyeflow.board_link.messages import Installed
from eyeflow.node.boards.wanted import Wanted
from eyeflow.protocol.audit_bodies import Body, InstallBody, RemoveBody
from eyeflow.svm.container import decode
from eyeflow.svm.failure import ProgramError

INSTALLED_KEY = "board_installed"
"""The name, in the store of the board's audit, of which programs its records say that it runs."""


@dataclass(frozen=True, slots=True)
class Installs:
    """Makes the records. `program_of` returns the bytes of a program that the gateway has, and raises EyeflowError.

    `wanted_of` returns what the cluster wants to run of a rule.
    """

    program_of: Callable[[str], bytes]
    wanted_of: Callable[[str], Wanted | None]

    def bodies(self, before: Mapping[str, str], now: Mapping[str, Installed]) -> tuple[Body, ...]:
        """Return the records of what changed; `before` is program ids by rule. It reads files."""
        gone = (RemoveBody(rule, bytes.fromhex(before[rule])) for rule in sorted(before.keys() - now.keys()))
        came = (
            self._install(one, before.get(rule))
            for rule, one in sorted(now.items())
            if before.get(rule) != one.program_id
        )
        return (*gone, *came)

    def _install(self, one: Installed, previous: str | None) -> InstallBody:
        wanted = self.wanted_of(one.rule)
        is_wanted = wanted is not None and wanted.program_id == one.program_id
        return InstallBody(
            one.rule,
            bytes.fromhex(one.program_id),
            one.version,
            wanted.deployment_id if wanted is not None and is_wanted else "",
            wanted.manifest_version if wanted is not None and is_wanted else 0,
            wanted.params if wanted is not None and is_wanted else (),
            bytes.fromhex(previous) if previous else None,
            signers=self._signers(one.program_id),
        )

    def _signers(self, program_id: str) -> tuple[bytes, ...]:
        """Return who signed a program; nobody is known for one that came there past this gateway."""
        try:
            return tuple(key for key, _ in decode(self.program_of(program_id)).signatures)
        except (EyeflowError, ProgramError):
            return ()
