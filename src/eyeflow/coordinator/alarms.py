"""Alarms: who takes note of one, and those about certificates, which are in files and not in the store."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import EyeflowError
from eyeflow.base.reading import Unreadable, read_text
from eyeflow.base.reasons import why
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store.alarms import Alarm, AlarmKind
from eyeflow.coordinator.store.cluster_store import ClusterStore, Reading, Writing
from eyeflow.coordinator.store.facts import LogEntry
from eyeflow.protocol import certificates

SOON_S = 14 * 86_400
"""A certificate that holds for less is an alarm. What renews itself does so well before."""
LOOK_S = 600
"""How often certificates are looked at."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that the coordinator shows: the file it is in, and until when it holds."""

    path: Path
    until_us: int


class Alarms:
    """Alarms in the store. One about a certificate begins when that runs out soon, and ends when a newer one is there.

    `find` returns the certificates that are used; it is None until somebody serves with any.
    """

    def __init__(self, store: ClusterStore) -> None:
        self._store = store
        self.find: Callable[[], Sequence[Certificate]] | None = None
        self._looked_us = 0

    def acknowledge(self, identity: str, actor: str, note: str, now_us: int) -> Awaitable[Alarm]:
        """Keep who has taken note of an alarm, with a note for others. The log keeps earlier ones. Raises Problem."""

        def step(writing: Writing) -> Alarm:
            alarm = found_alarm(writing, identity)
            writing.acknowledge_alarm(alarm.number, actor, note, now_us)
            told = f"{alarm.kind.value} of {alarm.subject}" + (f": {note}" if note else "")
            writing.add_log_entry(LogEntry(now_us, actor, "acknowledge_alarm", identity, told))
            return found_alarm(writing, identity)

        return self._store.write(step)

    async def look(self, now_us: int) -> None:
        """Look once in LOOK_S. Raises EyeflowError while the store cannot be written."""
        if self.find is None or 0 <= now_us - self._looked_us < LOOK_S * 1_000_000:
            return
        self._looked_us = now_us
        try:
            found = self.find()
        except EyeflowError:
            return  # the log tells of a file that cannot be read, where it is used
        machine = f"{socket.gethostname()}:"
        soon = {f"{machine}{one.path}": one for one in found if one.until_us - now_us < SOON_S * 1_000_000}
        told = await self._store.read(lambda reading: _told_of(reading, machine))
        if not soon and not told:
            return

        def step(writing: Writing) -> None:
            for subject, one in sorted(soon.items()):
                days = max(0, one.until_us - now_us) // (86_400 * 1_000_000)
                evidence = f"it holds for {days} days more" if one.until_us > now_us else "it has run out"
                writing.raise_alarm(AlarmKind.CERTIFICATE_EXPIRES, subject, evidence, now_us)
            for subject in sorted(told - soon.keys()):
                writing.end_alarm(AlarmKind.CERTIFICATE_EXPIRES, subject, "a newer certificate is there", now_us)

        await self._store.write(step)


def _told_of(reading: Reading, machine: str) -> set[str]:
    lasting = (one for one in reading.open_alarms() if one.kind is AlarmKind.CERTIFICATE_EXPIRES)
    return {one.subject for one in lasting if one.subject.startswith(machine)}


def read_certificate(path: Path, size_bytes_max: int) -> Certificate:
    """Return the certificate in a PEM file, the first if there are several. Raises EyeflowError."""
    try:
        return Certificate(path, certificates.facts(read_text(path, size_bytes_max)).until_us)
    except (OSError, Unreadable, certificates.CertificateError) as error:
        raise EyeflowError(f"cannot read the certificate {path}", cause=why(error), code="tls_file") from error


def found_alarm(reading: Reading, identity: str) -> Alarm:
    """Return one alarm; raises Problem 404."""
    found = reading.alarm(int(identity)) if identity.isdecimal() and len(identity) < 19 else None
    if found is None:
        raise Problem("not_found", f"No alarm has the number `{identity[:64]}`.", "list them: eyeflow alarms list")
    return found
