"""The verbs for tokens, policy, signers and programs as SQL. What the API lists of them, the feed tells of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from eyeflow.coordinator.store import sql_rows as rows
from eyeflow.coordinator.store.facts import ApiToken, AppliedPolicy, ChangeKind, JoinToken, ProgramRecord, TestRun
from eyeflow.coordinator.store.sql_reading import SqlReading

POLICIES_MAX = 100
"""Policies that are kept, with the one that holds; the log names all that ever were."""
ROOT = "root"
"""The subject of a change of the root's list of signers, beside those of single keys."""


class SqlAdministration(SqlReading):
    """The part of `Writing` that is about what admins give and take. Lives as long as one step."""

    def _run(self, sql: str, *values: Any) -> None:
        self._db.run(sql, values)

    def _changed(self, sql: str, *values: Any) -> int:
        return self._db.changed(sql, values)

    def add_change(self, now_us: int, kind: ChangeKind, subject: str, node: str = "") -> None:
        """Append to the feed."""
        self._db.append((now_us, kind.value, subject, node, "[]"))

    def add_api_token(self, token: ApiToken) -> None:
        """Keep a new API token."""
        self._run(
            f"INSERT INTO api_tokens({rows.API_TOKEN}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(token.id, token.name, token.role, token.hash),
            *(token.created_us, token.revoked_us, token.expires_us, token.used_us, token.created_by),
            *(rows.dump(token.labels), token.person),
        )
        self.add_change(token.created_us, ChangeKind.TOKEN, token.id)

    def keep_policy(self, policy: AppliedPolicy) -> None:
        """Make this the policy that holds."""
        number = self._number("SELECT coalesce(max(number), 0) FROM policies")
        self._run(
            "INSERT INTO policies(number, text, time_us, actor) VALUES(?, ?, ?, ?)",
            *(number + 1, policy.text, policy.time_us, policy.actor),
        )
        self._run("DELETE FROM policies WHERE number <= ?", number + 1 - POLICIES_MAX)
        self.add_change(policy.time_us, ChangeKind.POLICY, "")

    def revoke_api_token(self, token_id: str, now_us: int) -> None:
        """Let a token open nothing any more."""
        if self._changed("UPDATE api_tokens SET revoked_us = ? WHERE id = ? AND revoked_us = 0", now_us, token_id):
            self.add_change(now_us, ChangeKind.TOKEN, token_id)

    def record_token_uses(self, used_us: Mapping[str, int]) -> None:
        """Keep when tokens were used last, by id."""
        for token_id, time_us in sorted(used_us.items()):
            self._run("UPDATE api_tokens SET used_us = ? WHERE id = ? AND used_us < ?", time_us, token_id, time_us)

    def add_join_token(self, token: JoinToken) -> None:
        """Keep a new join token."""
        self._run(
            f"INSERT INTO join_tokens({rows.JOIN_TOKEN}) VALUES(?, ?, ?, ?, ?, ?)",
            *(token.id, token.hash, token.created_us, token.expires_us, token.used_us, token.used_by),
        )

    def use_join_token(self, token_id: str, node: str, now_us: int) -> None:
        """Note who used a join token."""
        self._run("UPDATE join_tokens SET used_us = ?, used_by = ? WHERE id = ?", now_us, node, token_id)

    def forget_spent_join_tokens(self, now_us: int) -> None:
        """Forget the join tokens that were used or have expired."""
        self._run("DELETE FROM join_tokens WHERE used_us > 0 OR expires_us <= ?", now_us)

    def trust_signer(self, public_key: bytes, name: str, now_us: int) -> None:
        """Trust a key, also one that was revoked."""
        self._run(
            "INSERT INTO signer_keys(public_key, name, added_us) VALUES(?, ?, ?) "
            "ON CONFLICT(public_key) DO UPDATE SET name = excluded.name, revoked_us = 0",
            *(public_key, name, now_us),
        )
        self.add_change(now_us, ChangeKind.KEY, public_key.hex())

    def keep_signer_list(self, text: bytes, now_us: int) -> None:
        """Keep the root's list of signers."""
        self._run(
            "INSERT INTO meta(key, value) VALUES('signer_list', ?) "
            "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            text,
        )
        self.add_change(now_us, ChangeKind.KEY, ROOT)

    def revoke_signer(self, public_key: bytes, now_us: int) -> None:
        """Trust a key no more."""
        self._run("UPDATE signer_keys SET revoked_us = ? WHERE public_key = ?", now_us, public_key)
        self.add_change(now_us, ChangeKind.KEY, public_key.hex())

    def add_program(self, program: ProgramRecord, data: bytes) -> None:
        """Keep a new program with its bytes."""
        one = program
        self._run(
            "INSERT INTO programs(id, rule, version, sequence, profile, about, bytes, uploaded_us, uploaded_by) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(one.id, one.rule, one.version, one.sequence, one.profile),
            *(json.dumps(one.about), data, one.uploaded_us, one.uploaded_by),
        )
        self.add_change(one.uploaded_us, ChangeKind.PROGRAM, one.id)
        self.add_change(one.uploaded_us, ChangeKind.RULE, one.rule)

    def keep_program_source(self, program_id: str, source: str, now_us: int) -> None:
        """Keep the text of the rule of a program, in place of one before."""
        self._run(
            "INSERT INTO program_sources(program, source) VALUES(?, ?) "
            "ON CONFLICT (program) DO UPDATE SET source = excluded.source",
            *(program_id, source),
        )
        self.add_change(now_us, ChangeKind.PROGRAM, program_id)

    def keep_program_tests(self, program_id: str, run: TestRun) -> None:
        """Keep how the tests of a program's rule went, in place of what was told before."""
        self._run(
            "INSERT INTO program_tests(program, told_us, told_by, tests) VALUES(?, ?, ?, ?) ON CONFLICT (program) "
            "DO UPDATE SET told_us = excluded.told_us, told_by = excluded.told_by, tests = excluded.tests",
            *(program_id, run.told_us, run.told_by, json.dumps(run.tests)),
        )
        self.add_change(run.told_us, ChangeKind.PROGRAM, program_id)

    def resign_program(self, program_id: str, about: Mapping[str, object], data: bytes, now_us: int) -> None:
        """Keep the same program with other signatures."""
        self._run("UPDATE programs SET about = ?, bytes = ? WHERE id = ?", json.dumps(about), data, program_id)
        self.add_change(now_us, ChangeKind.PROGRAM, program_id)
