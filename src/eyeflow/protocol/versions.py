"""The protocol versions that this eyeflow speaks, and how each writes messages and manifest bodies.

A new version is a new row. The structs in `messages` become those of the new version, and a module such as `version_2`
keeps what the version before had otherwise. The oldest row goes when two newer ones stand: both sides speak the last
two. `tests/unit/coordinator/sessions` holds recorded sessions of each (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eyeflow.protocol import messages as m
from eyeflow.protocol import version_2, wire

_MESSAGE, _BODY = "a message", "a manifest's body"


@dataclass(frozen=True, slots=True)
class ProtocolVersion:
    """One version: codecs of its own structs, and what turns them into those of `messages` and back."""

    number: int
    _messages: wire.Codec[Any]
    _bodies: wire.Codec[Any]
    _message_to: Callable[[m.Message], Any] = lambda message: message
    _message_from: Callable[[Any], m.Message] = lambda message: message
    _body_to: Callable[[m.WantedManifest], Any] = lambda manifest: manifest
    _body_from: Callable[[Any], m.WantedManifest] = lambda manifest: manifest

    def encode(self, message: m.Message) -> bytes:
        """Return the bytes of a message. Raises ProtocolError when a field is out of its bounds."""
        return self._messages.encode(self._message_to(message))

    def decode(self, data: bytes) -> m.Message:
        """Return the message that this version writes as exactly `data`. Raises ProtocolError with the reason."""
        return self._message_from(self._messages.decode(data))

    def encode_manifest(self, manifest: m.WantedManifest) -> bytes:
        """Return the body that the coordinator signs. Raises ProtocolError when a field is out of its bounds."""
        return self._bodies.encode(self._body_to(manifest))

    def decode_manifest(self, body: bytes) -> m.WantedManifest:
        """Return the manifest that this version writes as exactly `body`. Raises ProtocolError with the reason."""
        return self._body_from(self._bodies.decode(body))

    def wrote(self, body: bytes) -> bool:
        """Return whether a body has the form of this version: a node that speaks it can read no other."""
        try:
            self._bodies.decode(body)
        except wire.ProtocolError:
            return False
        return True


VERSIONS: Mapping[int, ProtocolVersion] = {
    2: ProtocolVersion(
        2,
        wire.Codec(version_2.Message, _MESSAGE),
        wire.Codec(version_2.WantedManifest, _BODY, m.MANIFEST_BYTES_MAX),
        version_2.message_to_2,
        version_2.message_from_2,
        version_2.manifest_to_2,
        version_2.manifest_from_2,
    ),
    3: ProtocolVersion(3, wire.Codec(m.Message, _MESSAGE), wire.Codec(m.WantedManifest, _BODY, m.MANIFEST_BYTES_MAX)),
}
PROTOCOL_VERSION_MIN = min(VERSIONS)
PROTOCOL_VERSION_MAX = max(VERSIONS)
