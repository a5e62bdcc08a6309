"""Whose signatures count on this node, and how many of them a program needs to run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from eyeflow.protocol.signer_list import Threshold, needed_signers
from eyeflow.svm.container import SignedProgram
from eyeflow.svm.failure import ProgramError
from eyeflow.svm.signing import check_signatures, fingerprint


@dataclass(frozen=True, slots=True)
class Trust:
    """`keys` (32 bytes each) may sign programs. `least` of them sign each program; `thresholds` ask for more."""

    keys: frozenset[bytes] = frozenset()
    least: int = 1
    thresholds: tuple[Threshold, ...] = ()

    def needed(self, rule: str) -> int:
        """Return how many trusted keys must sign a program of `rule`."""
        return max(self.least, needed_signers(self.thresholds, rule))

    def holds(self, rule: str, signers: Collection[bytes]) -> bool:
        """Say whether a program of `rule` may run that these keys have signed."""
        return len(self.keys.intersection(signers)) >= self.needed(rule)

    def lack(self, rule: str, signers: Collection[bytes]) -> str:
        """Return, for people, what a program lacks that may not run; follows "it" or "was stopped:"."""
        trusted = sorted(fingerprint(key) for key in self.keys.intersection(signers))
        if not trusted:
            names = ", ".join(fingerprint(key) for key in signers)
            return f"its signer's key {names} was revoked"
        return f"{counted(len(trusted))} signed it ({', '.join(trusted)}), and {self.needed(rule)} must"

    def check(self, signed: SignedProgram) -> None:
        """Raise ProgramError unless every signature is valid and enough of them are by trusted keys."""
        signers, rule = check_signatures(signed, self.keys), signed.program.rule
        if not self.holds(rule, signers):
            raise ProgramError(
                f"`{rule}` has too few trusted signers for this node: {self.lack(rule, signers)}",
                next_step="Let another trusted signer add a signature: `eyeflow sign PROGRAM --key NAME`. "
                "Then deploy it again.",
                code="too_few_signers",
            )


def counted(keys: int) -> str:
    """Return a number of trusted keys as words."""
    return f"{keys} trusted key{'' if keys == 1 else 's'}"
