"""Nodes, trusted signer keys and programs in the store."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from eyeflow.coordinator.auth import Tokens, check_bound
from eyeflow.coordinator.fleet import Fleet
from eyeflow.coordinator.intake import Intake, describe
from eyeflow.coordinator.problem import Problem
from eyeflow.coordinator.store import Store
from eyeflow.protocol.identity import verifies
from eyeflow.protocol.messages import join_bytes
from eyeflow.protocol.wire import RULES_MAX, SIGNERS_MAX

NODES_MAX = 1024
PROGRAMS_MAX = 100_000
_NEW_TOKEN = "make a new one with `eyeflow coordinator join-token`"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node as the store knows it; `results` is what it said of each rule of `applied_version`."""

    name: str
    public_key: bytes
    joined_us: int
    last_seen_us: int
    software: str
    epoch: int
    next_seq: int
    manifest_version: int
    applied_version: int
    results: list[list[str]]
    problem: str


@dataclass(frozen=True, slots=True)
class ProgramRecord:
    """One program; `about` is what `intake.describe` said."""

    id: str
    rule: str
    version: str
    sequence: int
    profile: str
    about: dict[str, Any]
    uploaded_us: int
    uploaded_by: str
    size_bytes: int

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The public keys that signed it and were trusted when it came."""
        return tuple(bytes.fromhex(key) for key in self.about["signers"])


@dataclass(frozen=True, slots=True)
class SignerKey:
    """One key whose programs the cluster trusts, or trusted once (`revoked_us` > 0)."""

    public_key: bytes
    name: str
    added_us: int
    revoked_us: int


class Registry:
    """Queries and changes; each change is one transaction."""

    def __init__(self, store: Store, fleet: Fleet, tokens: Tokens) -> None:
        self._store = store
        self._fleet = fleet
        self._tokens = tokens

    def nodes(self) -> list[NodeRecord]:
        """Return all nodes, ascending by name."""
        return [_node(row) for row in self._store.rows(f"SELECT {_NODE_COLUMNS} FROM nodes ORDER BY name")]

    def node(self, name: str) -> NodeRecord | None:
        """Return one node."""
        row = self._store.row(f"SELECT {_NODE_COLUMNS} FROM nodes WHERE name = ?", (name,))
        return None if row is None else _node(row)

    def join(self, token: str, name: str, public_key: bytes, signature: bytes, now_us: int) -> None:
        """Register a node's key under a name. The same name with the same key is fine, with another key refused.

        A node whose answer was lost may ask again with its token; the token registers nothing but the key it did.
        """
        if not verifies(public_key, join_bytes(self._store.coordinator_id, name, public_key), signature):
            raise Problem("bad_signature", "The signature does not prove that the node holds its key.")
        with self._store.transaction():
            fresh = self._tokens.use_join(token, name, now_us)
            known = self.node(name)
            if not fresh and (known is None or known.public_key != public_key):
                raise Problem("bad_join_token", "The join token was used, and not by a node with this key.", _NEW_TOKEN)
            if known is not None and known.public_key != public_key:
                raise Problem(
                    "node_exists",
                    f"A node named {name} with another key is in the cluster.",
                    f"choose another name, or remove it first: eyeflow nodes {name} --remove",
                )
            if known is None:
                self._add_node(name, public_key, now_us)
            elif fresh:
                self._fleet.accept(name, now_us, name)  # somebody gave it a new token: what it has now is right
            self._store.log(now_us, name, "join", name)

    def remove_node(self, name: str, now_us: int, actor: str) -> None:
        """Remove a node: its key opens no link any more."""
        with self._store.transaction():
            row = self._store.row("SELECT manifest_version FROM nodes WHERE name = ?", (name,))
            assert row is not None
            self._fleet.node_removed(name, now_us)
            self._store.run(
                "INSERT INTO node_floors VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET "
                "manifest_version = excluded.manifest_version",
                (name, row[0]),
            )
            self._store.run("DELETE FROM nodes WHERE name = ?", (name,))
            self._store.log(now_us, actor, "remove_node", name)

    def signers(self) -> list[SignerKey]:
        """Return all signer keys, revoked ones too, in the order they came."""
        rows = self._store.rows(
            "SELECT public_key, name, added_us, revoked_us FROM signer_keys ORDER BY added_us, name"
        )
        return [SignerKey(bytes(key), name, added_us, revoked_us) for key, name, added_us, revoked_us in rows]

    def trusted(self) -> frozenset[bytes]:
        """Return the keys whose programs are accepted now."""
        return frozenset(key.public_key for key in self.signers() if not key.revoked_us)

    def trust(self, public_key: bytes, name: str, now_us: int, actor: str) -> SignerKey:
        """Trust a signer's key (again); every node learns it with its next manifest."""
        with self._store.transaction():
            if len(self.trusted() | {public_key}) > SIGNERS_MAX:
                raise Problem("limit_reached", f"At most {SIGNERS_MAX} keys can be trusted.", "revoke one first")
            self._store.run(
                "INSERT INTO signer_keys(public_key, name, added_us) VALUES(?, ?, ?) "
                "ON CONFLICT(public_key) DO UPDATE SET name = excluded.name, revoked_us = 0",
                (public_key, name, now_us),
            )
            self._store.log(now_us, actor, "trust_key", public_key.hex(), name)
            self._fleet.signers_changed(now_us)
        return next(key for key in self.signers() if key.public_key == public_key)

    def revoke(self, public_key: bytes, now_us: int, actor: str) -> None:
        """Trust a signer's key no more: its programs are refused from now on."""
        with self._store.transaction():
            self._store.run("UPDATE signer_keys SET revoked_us = ? WHERE public_key = ?", (now_us, public_key))
            self._store.log(now_us, actor, "revoke_key", public_key.hex())
            self._fleet.signers_changed(now_us)

    def add_program(self, intake: Intake, now_us: int, actor: str) -> tuple[ProgramRecord, bool]:
        """Keep a checked program; returns it and whether it is new. The same program again is fine."""
        program = intake.program
        with self._store.transaction():
            self.check_signers(program.rule, intake.signers)  # again: the proof took seconds, a key may be revoked now
            known = self.program(intake.program_id)
            if known is not None:
                return self._signed_again(known, intake, now_us, actor), False
            check_bound(self._store, "programs", PROGRAMS_MAX)
            self._store.run(
                "INSERT INTO programs(id, rule, version, sequence, profile, about, bytes, uploaded_us, uploaded_by) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    intake.program_id,
                    program.rule,
                    program.version,
                    program.sequence,
                    program.profile.name.lower(),
                    json.dumps(describe(intake)),
                    intake.data,
                    now_us,
                    actor,
                ),
            )
            self._store.log(now_us, actor, "add_program", intake.program_id, f"{program.rule} {program.version}")
        made = self.program(intake.program_id)
        assert made is not None
        return made, True

    def _signed_again(self, known: ProgramRecord, intake: Intake, now_us: int, actor: str) -> ProgramRecord:
        """Signatures do not change a program's id: those of a trusted key take the place of a revoked one's."""
        if set(intake.signers) <= set(known.signers):
            return known
        values = (json.dumps(describe(intake)), intake.data, known.id)
        self._store.run("UPDATE programs SET about = ?, bytes = ? WHERE id = ?", values)
        self._store.log(now_us, actor, "sign_program", known.id, f"{known.rule} {known.version}")
        made = self.program(known.id)
        assert made is not None
        return made

    def check_signers(self, rule: str, signers: Collection[bytes]) -> None:
        """Raise Problem 422 unless one of the keys that signed a program of `rule` is trusted now."""
        if self.trusted().isdisjoint(signers):
            raise Problem(
                "untrusted_program",
                f"The program of `{rule}` is signed, but its signer's key is not trusted any more.",
                "sign it with a trusted key and upload it again",
            )

    def program(self, program_id: str) -> ProgramRecord | None:
        """Return one program."""
        row = self._store.row(f"SELECT {_PROGRAM_COLUMNS} FROM programs WHERE id = ?", (program_id,))
        return None if row is None else _program(row)

    def programs_of(self, rule: str) -> list[ProgramRecord]:
        """Return the programs of a rule, the last uploaded first."""
        rows = self._store.rows(
            f"SELECT {_PROGRAM_COLUMNS} FROM programs WHERE rule = ? ORDER BY uploaded_us DESC, rowid DESC", (rule,)
        )
        return [_program(row) for row in rows]

    def rules(self) -> list[str]:
        """Return the rules that have a program, ascending."""
        return [rule for (rule,) in self._store.rows("SELECT DISTINCT rule FROM programs ORDER BY rule")]

    def program_bytes(self, program_id: str) -> bytes:
        """Return a program's bytes, empty when it is not here."""
        row = self._store.row("SELECT bytes FROM programs WHERE id = ?", (program_id,))
        return b"" if row is None else bytes(row[0])

    def _add_node(self, name: str, public_key: bytes, now_us: int) -> None:
        check_bound(self._store, "nodes", NODES_MAX)
        row = self._store.row("SELECT manifest_version FROM node_floors WHERE name = ?", (name,))
        self._store.run(
            "INSERT INTO nodes(name, public_key, joined_us, manifest_version) VALUES(?, ?, ?, ?)",
            (name, public_key, now_us, 0 if row is None else row[0]),
        )
        self._fleet.node_joined(name, now_us)

    def has_room(self, node: str, rule: str) -> bool:
        """Say whether one more rule fits the node's manifest."""
        rules = {name for name, _ in self._fleet.wanted(node)}
        return rule in rules or len(rules) < RULES_MAX


_NODE_COLUMNS = (
    "name, public_key, joined_us, last_seen_us, software, epoch, next_seq, manifest_version, applied_version, "
    "results, problem"
)
_PROGRAM_COLUMNS = "id, rule, version, sequence, profile, about, uploaded_us, uploaded_by, length(bytes)"


def _node(row: tuple[Any, ...]) -> NodeRecord:
    values = list(row)
    values[1], values[9] = bytes(row[1]), json.loads(row[9])
    return NodeRecord(*values)


def _program(row: tuple[Any, ...]) -> ProgramRecord:
    program_id, rule, version, sequence, profile, about, *rest = row
    return ProgramRecord(program_id, rule, version, sequence, profile, json.loads(about), *rest)
