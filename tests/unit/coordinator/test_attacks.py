"""Attacks on nodes and coordinator, as one table: each fails, and each works once the guard against it is taken out.

What an attacker has is said in each row: a place on the network, old messages, or the coordinator itself with its keys.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from components.node_sim import SIGNER, NodeSim, program
from eyeflow.base.clock import wall_clock_us
from eyeflow.coordinator import challenges as challenges_module
from eyeflow.coordinator import nodes as nodes_module
from eyeflow.coordinator.challenges import CHALLENGE_S, Challenges
from eyeflow.coordinator.store.facts import ApiToken
from eyeflow.coordinator.tls import init_tls
from eyeflow.node.cluster import applying
from eyeflow.node.cluster.link import CoordinatorLink
from eyeflow.node.cluster.membership import Membership
from eyeflow.protocol import messages as m
from eyeflow.protocol import session as session_module
from eyeflow.protocol import signer_list as list_module
from eyeflow.protocol.certificates import Authority, Request
from eyeflow.protocol.identity import Identity
from eyeflow.protocol.messages import link_bytes
from eyeflow.protocol.outputs import Apply, Output, Send
from eyeflow.protocol.session import Accepted, NodeSession
from eyeflow.protocol.signer_list import RootTrust, SignerList, Threshold, make_list
from eyeflow.protocol.versions import VERSIONS
from eyeflow.svm.container import decode
from eyeflow.svm.signing import public_key_of
from unit.protocol.sessions import COORDINATOR, KEY, OTHER, hello, manifest, node_session, ready, welcome

Patch = pytest.MonkeyPatch
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Attack:
    """`works` says whether it did; `unguard` takes the guard out."""

    name: str
    works: Callable[..., bool]
    unguard: Callable[[Patch], object]

    def __str__(self) -> str:
        return self.name


def table(rows: list[Attack]) -> Any:
    """Each row twice: guarded, and as its own control."""
    both = [pytest.param(row, guarded, id=f"{row}{'' if guarded else ' (control)'}") for row in rows for guarded in (True, False)]  # fmt: skip
    return pytest.mark.parametrize(("attack", "guarded"), both)


# --- messages: rollback, freeze, replay, mix and match ----------------------------------------------------------------


def is_taken(outputs: tuple[Output, ...]) -> bool:
    """The node goes on: it fetches programs, or makes it so."""
    return any(
        isinstance(one, Apply) or (isinstance(one, Send) and isinstance(one.message, m.Fetch)) for one in outputs
    )


def accepted(version: int, digits: str = "") -> Accepted:
    return Accepted(version, hashlib.sha256(manifest(version, digits).body).digest())


def older_on_the_link() -> bool:
    session = ready()
    assert is_taken(session.receive(manifest(5)))
    session.applied((), frozenset())
    return is_taken(session.receive(manifest(4, "1")))


def older_at_a_new_link() -> bool:
    """The coordinator is stolen: it signs what it likes."""
    session = node_session(accepted(5))
    return session.receive(welcome(4, hello(session.accepted.version)))[0] == Send(session._head)


def with_other_parameters() -> bool:
    """The signature is of the same deployment with its own parameters."""
    entry = m.ManifestEntry("rule_1", "1" * 64, "d-5", (("limit", 80.0),))
    bodies = [
        VERSIONS[3].encode_manifest(m.WantedManifest(COORDINATOR, "node", 5, 5, (replace(entry, params=params),)))
        for params in ((("limit", 80.0),), (("limit", 8000.0),))
    ]
    return is_taken(ready(5).receive(m.Manifest(bodies[1], KEY.sign(m.manifest_bytes(bodies[0])))))


def replayed_welcome() -> bool:
    """Of a link that the node had before: its nonce was another."""
    old = welcome(1, replace(hello(), nonce=bytes(31) + b"\1"))
    return bool(node_session().receive(old)[0] == Send(node_session()._head))


def no_refusal(patch: Patch) -> None:
    patch.setattr(NodeSession, "_refusal", lambda *_: "")


def no_signature(patch: Patch) -> None:
    patch.setattr(session_module, "verifies", lambda *_: True)


def no_memory(patch: Patch) -> None:
    """The node forgets what it accepted."""
    patch.setitem(globals(), "accepted", lambda *_: Accepted())


MESSAGES = [
    Attack("an older manifest on the same link", older_on_the_link, no_refusal),
    Attack("an older manifest at a new link, by a stolen coordinator", older_at_a_new_link, no_memory),
    Attack("an older manifest behind a fresh WELCOME", lambda: is_taken(ready(7).receive(manifest(6))), no_refusal),
    Attack("other contents of the same version", lambda: is_taken(ready(5, accepted(5)).receive(manifest(5, "1"))), no_refusal),
    Attack("the manifest of another node", lambda: is_taken(ready(5).receive(manifest(5, node="other"))), no_refusal),
    Attack("the manifest of another cluster", lambda: is_taken(ready(5).receive(manifest(5, by="0" * 64))), no_refusal),
    Attack("a manifest by another key", lambda: is_taken(ready(5).receive(manifest(5, key=OTHER))), no_signature),
    Attack("the signature of another manifest", lambda: is_taken(ready(5).receive(m.Manifest(manifest(6).body, manifest(5).signature))), no_signature),
    Attack("the parameters of another deployment", with_other_parameters, no_signature),
    Attack("the WELCOME of another link", replayed_welcome, no_signature),
]  # fmt: skip


@table(MESSAGES)
def test_messages(attack: Attack, guarded: bool, monkeypatch: Patch) -> None:
    if not guarded:
        attack.unguard(monkeypatch)
    assert attack.works() is not guarded


# --- programs: what a node runs, whoever has the network or the coordinator -------------------------------------------

ROOT, OWN_ROOT = Identity(bytes(range(40, 72))), Identity(bytes(range(41, 73)))
ANNA, BEN, THIEF = SIGNER, bytes(range(100, 132)), bytes(range(101, 133))


def rule(name: str, version: int = 1) -> str:
    return f'rule {name} {{\n version "{version}.0.0"\n on every 1s\n log.info("{name}")\n}}\n'


def signers(
    version: int,
    *thresholds: Threshold,
    root: Identity = ROOT,
    keys: tuple[bytes, ...] = (ANNA, BEN),
    expires_us: int = 0,
) -> SignerList:
    return make_list(
        version, 1, expires_us, [public_key_of(key) for key in keys], root.public_key, root.sign, thresholds
    )


async def runs(sim: NodeSim, data: bytes) -> bool:
    await sim.node.install(data, {}, "d", 9)
    return bool(sim.node.engine.core.rules)


def on_a_node(scenario: Callable[[NodeSim], Any], **options: Any) -> Callable[[Path], bool]:
    """Let a scenario say whether the attacker's program runs on a node that knows a root, and its signers."""

    def works(path: Path) -> bool:
        async def test() -> bool:
            sim = await NodeSim.started(path, root_keys=[ROOT.public_key], **options)
            sim.node.trust([public_key_of(key) for key in (ANNA, BEN, THIEF)])
            try:
                return bool(await scenario(sim))
            finally:
                await sim.stop()

        return asyncio.run(test())

    return works


def take(sim: NodeSim, *lists: SignerList | str) -> None:
    for one in lists:
        try:
            sim.node.take_signer_list((one if isinstance(one, str) else one.text()).encode())
        except list_module.SignerListError:
            continue


async def by_the_thief(sim: NodeSim) -> bool:
    take(sim, signers(1))
    return await runs(sim, program(rule("pump"), THIEF))


async def with_an_older_list(sim: NodeSim) -> bool:
    """The newer list takes the thief out. The older one, which he was in, is in the store of the coordinator."""
    take(sim, signers(2), signers(1, keys=(ANNA, THIEF)))
    return await runs(sim, program(rule("pump"), THIEF))


async def with_a_list_of_his_own(sim: NodeSim) -> bool:
    take(sim, signers(1), signers(2, root=OWN_ROOT, keys=(THIEF,)))
    return await runs(sim, program(rule("pump"), THIEF))


async def with_an_older_threshold(sim: NodeSim) -> bool:
    take(sim, signers(2, Threshold(2)), signers(1))
    return await runs(sim, program(rule("pump"), ANNA))


async def with_a_threshold_taken_out(sim: NodeSim) -> bool:
    plain = json.loads(signers(3, Threshold(2)).text())
    take(sim, signers(2, Threshold(2)), json.dumps({name: plain[name] for name in plain if name != "thresholds"}))
    return await runs(sim, program(rule("pump"), ANNA))


async def with_an_ended_list(sim: NodeSim) -> bool:
    """He holds back the list that takes a signer out: the one before ends."""
    take(sim, signers(1, expires_us=sim.clock.now_us() + 1))
    await sim.advance(1_000_000)
    return await runs(sim, program(rule("pump"), ANNA))


async def unsigned(sim: NodeSim) -> bool:
    take(sim, signers(1))
    return await runs(sim, program(rule("pump"), None))


async def changed(sim: NodeSim) -> bool:
    """One signed program with the signature of another."""
    take(sim, signers(1))
    one, other = (decode(program(rule("pump", version), ANNA)) for version in (1, 2))
    from eyeflow.svm.container import attach_signatures

    return await runs(sim, attach_signatures(other.signed_bytes, one.signatures))


async def another_program(sim: NodeSim) -> bool:
    """Who is on the way puts one signed program in the place of another: the older one had a fault."""
    take(sim, signers(1))
    wanted, old = (program(rule("pump", version), ANNA) for version in (2, 1))
    program_id = decode(wanted).program_id
    entry = m.ManifestEntry("pump", program_id, "d-2")
    link = CoordinatorLink(sim.node, Membership(sim.config.data_dir / "cluster"), lambda _: None)
    output = Apply(m.WantedManifest("c" * 64, "sim", 2, 2, (entry,)), bytes(32), {program_id: old}, frozenset())
    await link._accept(output)
    await link._apply(output)
    return bool(sim.node.engine.core.rules)


def trust_everybody(patch: Patch) -> None:
    patch.setattr(RootTrust, "allowed", lambda self, keys: set(keys))


def any_list_is_newer(patch: Patch) -> None:
    patch.setattr(list_module, "check_newer", lambda new, known: True)


def any_root(patch: Patch) -> None:
    started = RootTrust.__init__

    def init(self: RootTrust, roots: Any) -> None:
        started(self, [*roots, OWN_ROOT.public_key])

    patch.setattr(RootTrust, "__init__", init)


def any_signature(patch: Patch) -> None:
    from eyeflow.node.engine.trust import Trust

    patch.setattr(Trust, "check", lambda self, signed: None)
    patch.setattr(Trust, "holds", lambda *_: True)


PROGRAMS = [
    Attack("a signer that only the coordinator trusts", on_a_node(by_the_thief), trust_everybody),
    Attack("an older list of signers", on_a_node(with_an_older_list), any_list_is_newer),
    Attack("a list of another root", on_a_node(with_a_list_of_his_own), any_root),
    Attack("an older list that asks for fewer signers", on_a_node(with_an_older_threshold), any_list_is_newer),
    Attack("a list without its threshold", on_a_node(with_a_threshold_taken_out), lambda patch: patch.setattr(SignerList, "is_signed", True)),
    Attack("a list that has ended", on_a_node(with_an_ended_list), lambda patch: patch.setattr(RootTrust, "refusal", lambda *_: "")),
    Attack("a program that nobody signed", on_a_node(unsigned), any_signature),
    Attack("a program with the signature of another", on_a_node(changed), any_signature),
    Attack("another signed program than the wanted one", on_a_node(another_program), lambda patch: patch.setattr(applying, "_is_named", lambda *_: True)),
]  # fmt: skip


@table(PROGRAMS)
def test_programs(attack: Attack, guarded: bool, tmp_path: Path, monkeypatch: Patch) -> None:
    if not guarded:
        attack.unguard(monkeypatch)
    assert attack.works(tmp_path) is not guarded


# --- credentials: who gets in at the coordinator ----------------------------------------------------------------------

NODE, STRANGER = Identity(bytes([1]) * 32), Identity(bytes([9]) * 32)


def proof(api: Any, key: Identity, nonce: str) -> dict[str, str]:
    signature = base64.b64encode(
        key.sign(link_bytes(api.store.coordinator_id, "node-a", bytes.fromhex(nonce)))
    ).decode()
    return {"Authorization": f'EyeflowLink node="node-a", nonce="{nonce}", signature="{signature}"'}


def challenge(api: Any) -> str:
    return str(api.client.get("/api/link/challenge").json()["nonce"])


def opens(api: Any, header: dict[str, str]) -> bool:
    return bool(api.client.open_link(header) == 101)


def proof_twice(api: Any) -> bool:
    header = proof(api, NODE, challenge(api))
    assert opens(api, header)
    return opens(api, header)


def old_proof(api: Any) -> bool:
    header = proof(api, NODE, challenge(api))
    api.clock.pass_s(CHALLENGE_S)
    return opens(api, header)


def joins(api: Any, name: str, key: Identity, token: str, signer: Identity | None = None) -> bool:
    body = api.join_body(name, key, token)
    if signer is not None:
        body |= {"signature": api.join_body(name, signer, token)["signature"]}
    return bool(api.client.post("/api/nodes/join", json=body).status_code == 201)


def join_token(api: Any) -> str:
    return str(api.ask("POST", "/api/nodes/join-tokens", json={"validS": 60}).json()["token"])


def used_token(api: Any) -> bool:
    token = join_token(api)
    assert joins(api, "node-b", Identity(bytes([2]) * 32), token)
    return joins(api, "node-c", STRANGER, token)


def late_token(api: Any) -> bool:
    token = join_token(api)
    api.clock.pass_s(60)
    return joins(api, "node-c", STRANGER, token)


def made_up_token(api: Any) -> bool:
    token = join_token(api).split("_")
    return joins(api, "node-c", STRANGER, "_".join([token[0], token[1], "0" * 64, token[3]]))


def asks(api: Any, token: str) -> bool:
    return bool(api.client.get("/api/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200)


def late_api_token(api: Any) -> bool:
    made = api.ask("POST", "/api/tokens", json={"name": "late", "role": "read", "validS": 1}).json()
    api.clock.pass_s(1)
    return asks(api, made["token"])


def guessed_api_token(api: Any) -> bool:
    return asks(api, api.tokens["admin"][:-1] + ("0" if api.tokens["admin"][-1] != "0" else "1"))


def any_nonce(patch: Patch) -> None:
    patch.setattr(Challenges, "is_ours", lambda *_: True)


def any_join_token(patch: Patch) -> None:
    patch.setattr(nodes_module, "check_join_token", lambda *_: None)
    patch.setattr(nodes_module, "use_join_token", lambda *_: True)


CREDENTIALS = [
    Attack("the proof of a link that was opened before", proof_twice, lambda patch: patch.setattr(Challenges, "use", lambda *_: True)),
    Attack("a proof that is too old", old_proof, any_nonce),
    Attack("a nonce of another coordinator", lambda api: opens(api, proof(api, NODE, Challenges().issue(api.clock()).hex())), any_nonce),
    Attack("the name of a node with another key", lambda api: opens(api, proof(api, STRANGER, challenge(api))), lambda patch: patch.setattr(challenges_module, "verifies", lambda *_: True)),
    Attack("a join token that another node used", used_token, any_join_token),
    Attack("a join token that has expired", late_token, any_join_token),
    Attack("a join token that nobody made", made_up_token, any_join_token),
    Attack("the name of a node that has joined", lambda api: joins(api, "node-a", STRANGER, join_token(api)), lambda patch: patch.setattr(nodes_module, "_check_key", lambda *_: None)),
    Attack("the public key of somebody else", lambda api: joins(api, "node-c", NODE, join_token(api), STRANGER), lambda patch: patch.setattr(nodes_module, "verifies", lambda *_: True)),
    Attack("an API token that has expired", late_api_token, lambda patch: patch.setattr(ApiToken, "works", lambda *_: True)),
    Attack("an API token with another secret", guessed_api_token, lambda patch: patch.setattr(hmac, "compare_digest", lambda *_: True)),
]  # fmt: skip


@table(CREDENTIALS)
def test_credentials(attack: Attack, guarded: bool, api: Any, monkeypatch: Patch) -> None:
    api.join("node-a", NODE)
    if not guarded:
        attack.unguard(monkeypatch)
    assert attack.works(api) is not guarded


# --- certificates: who is at the other end ----------------------------------------------------------------------------


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether both sides are content; in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname="plant.example")
    try:
        for _ in range(4):
            for side in (here, there):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLError:
        return False
    return True


def shown(path: Path, authority: Authority, now_us: int) -> bool:
    """Show a coordinator a node's certificate of this CA, made at this time."""
    tls = init_tls(path / "coordinator", ["plant.example"], wall_clock_us())
    asked = Request.new("node-a")
    (path / "link.pem").write_text(asked.key + (authority or tls.authority).node("node-a", asked.request, now_us))
    client = ssl.create_default_context(cadata=tls.ca)
    client.load_cert_chain(path / "link.pem")
    return handshake(tls.context(), client)


def of_the_cluster(path: Path, shift_us: int) -> bool:
    return shown(path, None, wall_clock_us() + shift_us)  # type: ignore[arg-type]


def another_coordinator(path: Path) -> bool:
    mine, his = (init_tls(path / name, ["plant.example"], wall_clock_us()) for name in ("mine", "his"))
    return handshake(his.context(), ssl.create_default_context(cadata=mine.ca))


def any_client(patch: Patch) -> None:
    from eyeflow.coordinator.tls import OwnTls

    made = OwnTls.context

    def context(self: OwnTls) -> ssl.SSLContext:
        found = made(self)
        found.verify_mode = ssl.CERT_NONE
        return found

    patch.setattr(OwnTls, "context", context)


def any_server(patch: Patch) -> None:
    made = ssl.create_default_context

    def context(**options: Any) -> ssl.SSLContext:
        found = made(**options)
        found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
        return found

    patch.setattr(ssl, "create_default_context", context)


CERTIFICATES = [
    Attack("a node's certificate of another CA", lambda path: shown(path, Authority.new(wall_clock_us()), wall_clock_us()), any_client),
    Attack("a node's certificate that has expired", lambda path: of_the_cluster(path, -30 * DAY_US), any_client),
    Attack("a node's certificate of the future", lambda path: of_the_cluster(path, 30 * DAY_US), any_client),
    Attack("a coordinator of another CA", another_coordinator, any_server),
]  # fmt: skip


@table(CERTIFICATES)
def test_certificates(attack: Attack, guarded: bool, tmp_path: Path, monkeypatch: Patch) -> None:
    if not guarded:
        attack.unguard(monkeypatch)
    assert attack.works(tmp_path) is not guarded


def test_a_certificate_of_the_cluster_is_taken(tmp_path: Path) -> None:
    assert of_the_cluster(tmp_path, 0)
