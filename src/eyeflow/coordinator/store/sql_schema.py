"""The schema of the coordinator's store, as numbered steps forward.

They are written in the words of SQLite. `postgres_schema` turns them into those of PostgreSQL, so a step uses only what
has a counterpart there: the types INTEGER, TEXT, BLOB and REAL, a number as INTEGER PRIMARY KEY, plain and partial
indexes, and whatever both understand alike.
"""

from __future__ import annotations

APPLICATION_ID = 0x45594543
"""`EYEC` in the header of the file (PRAGMA application_id): a coordinator's store, and no other database."""

MIGRATIONS = (
    """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL,
    created_us INTEGER NOT NULL, revoked_us INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE join_tokens(
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,
    used_us INTEGER NOT NULL DEFAULT 0, used_by TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE TABLE signer_keys(
    public_key BLOB PRIMARY KEY, name TEXT NOT NULL, added_us INTEGER NOT NULL,
    revoked_us INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE programs(
    id TEXT PRIMARY KEY, rule TEXT NOT NULL, version TEXT NOT NULL, sequence INTEGER NOT NULL, profile TEXT NOT NULL,
    about TEXT NOT NULL, bytes BLOB NOT NULL, uploaded_us INTEGER NOT NULL, uploaded_by TEXT NOT NULL) STRICT;
CREATE INDEX programs_by_rule ON programs(rule, uploaded_us);

CREATE TABLE nodes(
    name TEXT PRIMARY KEY, public_key BLOB NOT NULL, joined_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL DEFAULT 0, software TEXT NOT NULL DEFAULT '',
    epoch INTEGER NOT NULL DEFAULT 0, next_seq INTEGER NOT NULL DEFAULT 0,
    manifest_version INTEGER NOT NULL DEFAULT 0, applied_version INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '', protocol INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE manifests(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, version INTEGER NOT NULL, body BLOB NOT NULL,
    signature BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE manifest_floors(node TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE wanted(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, rule TEXT NOT NULL,
    slot TEXT NOT NULL DEFAULT 'active', target TEXT NOT NULL, how TEXT NOT NULL,
    PRIMARY KEY(node, rule, slot)) STRICT, WITHOUT ROWID;
CREATE INDEX wanted_by_rule ON wanted(rule, node);
CREATE TABLE known_good(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, rule TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY(node, rule)) STRICT, WITHOUT ROWID;
CREATE TABLE said(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, rule TEXT NOT NULL,
    slot TEXT NOT NULL DEFAULT 'active', program_id TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY(node, rule, slot)) STRICT, WITHOUT ROWID;
CREATE TABLE heads(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    hash BLOB NOT NULL, boots BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE findings(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, kind TEXT NOT NULL, since_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL, evidence TEXT NOT NULL, PRIMARY KEY(node, kind)) STRICT, WITHOUT ROWID;

CREATE TABLE deployments(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, targets TEXT NOT NULL,
    strategy TEXT NOT NULL, rollback TEXT NOT NULL, created_us INTEGER NOT NULL, deadline_us INTEGER NOT NULL,
    created_by TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    updated_us INTEGER NOT NULL, state_deadline_us INTEGER NOT NULL, outcome TEXT NOT NULL, phase INTEGER NOT NULL,
    phase_since_us INTEGER NOT NULL, paused TEXT NOT NULL, waived INTEGER NOT NULL, judgement TEXT NOT NULL,
    judged_us INTEGER NOT NULL, revision INTEGER NOT NULL,
    due_us INTEGER NOT NULL, over INTEGER NOT NULL) STRICT;
CREATE INDEX deployments_due ON deployments(due_us) WHERE over = 0;
CREATE TABLE progress(
    deployment TEXT NOT NULL REFERENCES deployments(id) ON DELETE CASCADE, node TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL, previous TEXT NOT NULL, place TEXT NOT NULL,
    manifest_version INTEGER NOT NULL, due_us INTEGER NOT NULL, touched_us INTEGER NOT NULL,
    revision INTEGER NOT NULL, over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(deployment, node)) STRICT, WITHOUT ROWID;
CREATE INDEX progress_by_state ON progress(deployment, state, node);
CREATE INDEX progress_due ON progress(due_us) WHERE due_us > 0;
CREATE INDEX progress_due_here ON progress(deployment, due_us) WHERE due_us > 0;
CREATE INDEX progress_open ON progress(node) WHERE over = 0;
CREATE TABLE progress_counts(
    deployment TEXT NOT NULL REFERENCES deployments(id) ON DELETE CASCADE, state TEXT NOT NULL, nodes INTEGER NOT NULL,
    PRIMARY KEY(deployment, state)) STRICT, WITHOUT ROWID;

CREATE TABLE evidence(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, rule TEXT NOT NULL, slot TEXT NOT NULL,
    program_id TEXT NOT NULL, deployment TEXT NOT NULL, executions INTEGER NOT NULL, failures INTEGER NOT NULL,
    differing INTEGER NOT NULL, boots INTEGER NOT NULL, standing TEXT NOT NULL, reason TEXT NOT NULL,
    seen_us INTEGER NOT NULL, PRIMARY KEY(node, rule, slot, deployment)) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_of ON evidence(deployment, node);

CREATE TABLE changes(
    number INTEGER PRIMARY KEY AUTOINCREMENT, time_us INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    node TEXT NOT NULL) STRICT;
CREATE TABLE cursors(reader TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log(
    number INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
""",
    """
ALTER TABLE api_tokens ADD COLUMN expires_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_tokens ADD COLUMN used_us INTEGER NOT NULL DEFAULT 0;
""",
    """
ALTER TABLE nodes ADD COLUMN facts TEXT NOT NULL DEFAULT 'null';
""",
    """
ALTER TABLE log ADD COLUMN prev BLOB;
CREATE TABLE log_heads(
    name TEXT PRIMARY KEY, number INTEGER NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE coordinators(id TEXT PRIMARY KEY, started_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE links(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, coordinator TEXT NOT NULL,
    number INTEGER NOT NULL, since_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_coordinator ON links(coordinator, node);
CREATE TABLE healths(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, health TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE lead(role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, coordinator TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE nodes ADD COLUMN drained_us INTEGER NOT NULL DEFAULT 0;
CREATE TABLE labels(
    node TEXT NOT NULL REFERENCES nodes(name) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY(node, name)) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_value ON labels(name, value, node);
""",
    """
ALTER TABLE api_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
CREATE TABLE policies(
    number INTEGER PRIMARY KEY, text TEXT NOT NULL, time_us INTEGER NOT NULL, actor TEXT NOT NULL) STRICT;
""",
    """
ALTER TABLE evidence ADD COLUMN acted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE evidence ADD COLUMN failed_actions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN phase INTEGER NOT NULL DEFAULT -1;
ALTER TABLE progress ADD COLUMN before_executions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN before_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN before_acted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN before_failed_actions INTEGER NOT NULL DEFAULT 0;
UPDATE deployments SET judgement = 'null';
""",
    """
CREATE TABLE ahead(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE nodes ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN executions REAL NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN errors REAL NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
UPDATE nodes SET doubtful = 1 WHERE name IN (SELECT node FROM findings WHERE kind <> 'newEpoch');
UPDATE nodes SET refused = (
    SELECT count(*) FROM said JOIN wanted ON wanted.node = said.node AND wanted.rule = said.rule
    AND wanted.slot = 'active' WHERE said.node = nodes.name AND said.slot = 'active' AND said.state = 'refused'
    AND said.program_id = substr(wanted.target, 3, 64));
UPDATE nodes SET pending = (
    SELECT count(*) FROM wanted WHERE wanted.node = nodes.name AND slot = 'active' AND NOT EXISTS (
    SELECT 1 FROM said WHERE said.node = wanted.node AND said.rule = wanted.rule AND said.slot = 'active'
    AND said.program_id = substr(wanted.target, 3, 64)));
CREATE INDEX deployments_over ON deployments(over, number);
CREATE INDEX progress_by_node ON progress(node, deployment);
CREATE INDEX programs_by_time ON programs(uploaded_us, id);
""",
    """
CREATE TABLE cases(
    number INTEGER PRIMARY KEY, deployment TEXT NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    kind TEXT NOT NULL, node TEXT NOT NULL, time_us INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX cases_of ON cases(deployment, kind);
""",
    """
CREATE TABLE requests(
    caller TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, created_us INTEGER NOT NULL,
    deployment TEXT NOT NULL, PRIMARY KEY(caller, key)) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests(created_us);
""",
    """
ALTER TABLE api_tokens ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_tokens ADD COLUMN person TEXT NOT NULL DEFAULT '';
""",
    """
CREATE TABLE asked(
    id TEXT PRIMARY KEY, node TEXT NOT NULL, coordinator TEXT NOT NULL, question BLOB NOT NULL,
    asked_us INTEGER NOT NULL, answered INTEGER NOT NULL DEFAULT 0, answer BLOB,
    problem TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE INDEX asked_of ON asked(coordinator, answered);
""",
    """
ALTER TABLE changes ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
CREATE TABLE alarms(
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, since_us INTEGER NOT NULL,
    evidence TEXT NOT NULL, ended_us INTEGER NOT NULL DEFAULT 0, ended TEXT NOT NULL DEFAULT '',
    seen_us INTEGER NOT NULL DEFAULT 0, seen_by TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX alarms_open ON alarms(kind, subject) WHERE ended_us = 0;
INSERT INTO alarms(kind, subject, since_us, evidence)
    SELECT 'nodeInDoubt', node, min(since_us), min(evidence) FROM findings WHERE kind <> 'newEpoch' GROUP BY node;
INSERT INTO alarms(kind, subject, since_us, evidence)
    SELECT 'storeLost', node, since_us, evidence FROM findings WHERE kind = 'newEpoch';
INSERT INTO alarms(kind, subject, since_us, evidence)
    SELECT 'lateFailure', id, updated_us, reason FROM deployments WHERE state = 'succeeded' AND reason <> '';
""",
    """
ALTER TABLE heads ADD COLUMN dials TEXT NOT NULL DEFAULT '[]';
ALTER TABLE findings ADD COLUMN proof TEXT NOT NULL DEFAULT '[]';
""",
    """
CREATE TABLE boards(
    node TEXT PRIMARY KEY REFERENCES nodes(name) ON DELETE CASCADE, gateway TEXT NOT NULL, device TEXT NOT NULL,
    told TEXT NOT NULL DEFAULT 'null', file TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE INDEX boards_by_gateway ON boards(gateway, node);
""",
    """
CREATE TABLE trends(
    node TEXT NOT NULL, span TEXT NOT NULL, start_us INTEGER NOT NULL, points BLOB NOT NULL,
    PRIMARY KEY(node, span, start_us)) STRICT, WITHOUT ROWID;
CREATE INDEX trends_by_time ON trends(span, start_us);
""",
    """
CREATE TABLE sessions(
    hash BLOB PRIMARY KEY, token TEXT NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,
    used_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions(token, created_us);
CREATE INDEX sessions_by_expiry ON sessions(expires_us);
CREATE TABLE sign_in_links(
    hash BLOB PRIMARY KEY, token TEXT NOT NULL, expires_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_links_of ON sign_in_links(token, expires_us);
ALTER TABLE nodes ADD COLUMN failing_since_us INTEGER NOT NULL DEFAULT 0;
""",
    """
CREATE TABLE program_sources(
    program TEXT PRIMARY KEY REFERENCES programs(id) ON DELETE CASCADE, source TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
UPDATE deployments SET judgement = 'null';
""",
    """
CREATE TABLE program_tests(
    program TEXT PRIMARY KEY REFERENCES programs(id) ON DELETE CASCADE, told_us INTEGER NOT NULL,
    told_by TEXT NOT NULL, tests TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE evidence ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
""",
)
"""Number n brings a file of version n to version n + 1 (PRAGMA user_version). A released one is never changed.

`progress.over` says that the deployment has ended: without it, what is open of one node could only be found among all
that ever was. AUTOINCREMENT keeps numbers of the feed from coming back after the newest entries were forgotten.
`nodes.failed` and the columns after it say how a node stands, so that thousands are counted and sorted without their
rules being read.
"""
SCHEMA_VERSION = len(MIGRATIONS)
