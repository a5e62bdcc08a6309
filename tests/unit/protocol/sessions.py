"""Sessions of both sides, and the messages that they exchange in the tests."""

from __future__ import annotations

from msgspec.structs import replace

from eyeflow.protocol import messages as m
from eyeflow.protocol import opening as o
from eyeflow.protocol.identity import Identity, key_fingerprint
from eyeflow.protocol.outputs import Close, Output, Send
from eyeflow.protocol.session import Accepted, Coordinates, NodeSession, Offer, Peer
from eyeflow.protocol.versions import VERSIONS

KEY = Identity(bytes(range(32)))
OTHER = Identity(bytes(range(1, 33)))
COORDINATOR = key_fingerprint(KEY.public_key)
OWN = Coordinates(COORDINATOR, "test", KEY.sign)
PROGRAMS = {digit * 64: f"program {digit}".encode() for digit in "1234"}
RULES = {digit * 64: f"rule_{digit}" for digit in "1234"}


def manifest(
    version: int, digits: str = "", *, node: str = "node", key: Identity = KEY, by: str = COORDINATOR, protocol: int = 3
) -> m.Manifest:
    entries = tuple(m.ManifestEntry(f"rule_{digit}", digit * 64, f"d-{version}") for digit in sorted(digits))
    body = VERSIONS[protocol].encode_manifest(m.WantedManifest(by, node, version, version, entries))
    return m.Manifest(body, key.sign(m.manifest_bytes(body)))


def offer(version: int, digits: str = "") -> Offer:
    return Offer(version, manifest(version, digits), frozenset(digit * 64 for digit in digits))


def head(seq: int = 5, digit: str = "a", epoch: int = 1, boot: bytes = bytes(16)) -> m.Head:
    return m.Head(boot, epoch, seq, bytes.fromhex(digit * 64))


def hello(version: int = 0, speaks: int = 3) -> o.Hello:
    return o.Hello(1, speaks, "test", "node", version, bytes(32))


def welcome(version: int, to: o.Hello | None = None, key: Identity = KEY, protocol: int = 3) -> o.Welcome:
    unsigned = o.Welcome(protocol, "test", COORDINATOR, version, 10)
    return replace(unsigned, signature=key.sign(o.welcome_bytes(to or hello(), unsigned)))


def node_session(accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    accepted = accepted or Accepted()
    held = frozenset(m.InstalledRule(f"rule_{digit}", digit * 64) for digit in installed)
    return NodeSession(hello(accepted.version), Peer(COORDINATOR, KEY.public_key), accepted, head(), held)


def ready(version: int = 1, accepted: Accepted | None = None, installed: str = "") -> NodeSession:
    session = node_session(accepted, installed)
    assert session.receive(welcome(version, hello(session.accepted.version))) == (Send(head()),)
    return session


def closed(outputs: tuple[Output, ...], code: str) -> bool:
    return len(outputs) == 1 and isinstance(outputs[0], Close) and outputs[0].code == code


def install(version: int, digit: str) -> m.Install:
    return m.Install(version, digit * 64, PROGRAMS[digit * 64])
