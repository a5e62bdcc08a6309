"""Tables of the node's SQLite file and how older ones become the present ones."""

from __future__ import annotations

import apsw

from eyeflow.base.errors import EyeflowError
from eyeflow.node.store.transaction import transaction

APPLICATION_ID = 0x45594E31
"""`EYN1`: marks the file as a node's store (PRAGMA application_id)."""

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE slots (
        rule TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('active', 'candidate', 'previous')),
        program_id BLOB NOT NULL CHECK (length(program_id) = 32),
        program BLOB NOT NULL,
        params BLOB NOT NULL,
        deployment TEXT NOT NULL,
        manifest_version INTEGER NOT NULL,
        installed_us INTEGER NOT NULL,
        PRIMARY KEY (rule, slot)
    ) STRICT;
    CREATE TABLE state (
        rule TEXT PRIMARY KEY,
        program_id BLOB NOT NULL,
        state BLOB NOT NULL
    ) STRICT;
    CREATE TABLE audit (seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
    CREATE TABLE pending (
        seq INTEGER NOT NULL,
        idx INTEGER NOT NULL,
        rule TEXT NOT NULL,
        program_id BLOB NOT NULL,
        site INTEGER NOT NULL,
        args BLOB NOT NULL,
        PRIMARY KEY (seq, idx)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE pending ADD COLUMN time_us INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pending ADD COLUMN hops INTEGER NOT NULL DEFAULT 1;
    """,
    """
    CREATE TABLE kept_programs (program_id BLOB PRIMARY KEY, program BLOB NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE programs (
        program_id BLOB NOT NULL PRIMARY KEY CHECK (length(program_id) = 32),
        program BLOB NOT NULL
    ) STRICT;
    INSERT OR IGNORE INTO programs SELECT program_id, program FROM slots ORDER BY slot;
    INSERT OR IGNORE INTO programs SELECT program_id, program FROM kept_programs;
    DROP TABLE kept_programs;

    ALTER TABLE slots RENAME TO old_slots;
    CREATE TABLE slots (
        rule TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('active', 'candidate', 'previous')),
        program_id BLOB NOT NULL,
        params BLOB NOT NULL,
        deployment TEXT NOT NULL,
        manifest_version INTEGER NOT NULL,
        installed_us INTEGER NOT NULL,
        standing TEXT NOT NULL CHECK (standing IN ('on-trial', 'passed')),
        actuation TEXT NOT NULL CHECK (actuation IN ('perform', 'withhold')),
        PRIMARY KEY (rule, slot)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO slots
        SELECT rule, slot, program_id, params, deployment, manifest_version, installed_us, 'passed', 'perform'
        FROM old_slots;
    DROP TABLE old_slots;

    ALTER TABLE state RENAME TO old_state;
    CREATE TABLE state (
        rule TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('active', 'candidate', 'previous')),
        program_id BLOB NOT NULL,
        state BLOB NOT NULL,
        PRIMARY KEY (rule, slot)
    ) STRICT;
    INSERT INTO state SELECT rule, 'active', program_id, state FROM old_state;
    DROP TABLE old_state;

    ALTER TABLE pending ADD COLUMN slot TEXT NOT NULL DEFAULT 'active';

    CREATE TABLE rejected (
        rule TEXT NOT NULL PRIMARY KEY,
        slot TEXT NOT NULL,
        program_id BLOB NOT NULL,
        params BLOB NOT NULL,
        deployment TEXT NOT NULL,
        manifest_version INTEGER NOT NULL,
        installed_us INTEGER NOT NULL,
        standing TEXT NOT NULL,
        actuation TEXT NOT NULL,
        state BLOB NOT NULL,
        reason TEXT NOT NULL,
        rejected_us INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE slots ADD COLUMN wanted_before BLOB NOT NULL DEFAULT x'80';
    ALTER TABLE rejected ADD COLUMN wanted_before BLOB NOT NULL DEFAULT x'80';
    """,
    """
    ALTER TABLE slots ADD COLUMN trial BLOB NOT NULL DEFAULT x'80';
    ALTER TABLE rejected ADD COLUMN trial BLOB NOT NULL DEFAULT x'80';
    ALTER TABLE rejected ADD COLUMN evidence BLOB NOT NULL DEFAULT x'80';
    ALTER TABLE rejected ADD COLUMN taken_back INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE evidence (
        rule TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('active', 'candidate', 'previous')),
        program_id BLOB NOT NULL,
        deployment TEXT NOT NULL,
        counts BLOB NOT NULL,
        PRIMARY KEY (rule, slot)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE slots ADD COLUMN share INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE slots ADD COLUMN keyless INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rejected ADD COLUMN share INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rejected ADD COLUMN keyless INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pending ADD COLUMN event_key TEXT;
    """,
    """
    CREATE TABLE cursors (
        destination TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL,
        time_us INTEGER NOT NULL,
        signature BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE streams (stream TEXT NOT NULL PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE stream_runs (
        stream TEXT NOT NULL,
        number INTEGER NOT NULL,
        rule TEXT NOT NULL,
        slot TEXT NOT NULL,
        PRIMARY KEY (stream, number, rule, slot)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE pending ADD COLUMN ends INTEGER NOT NULL DEFAULT 0;
    """,
)
"""Number n brings a file of version n to version n + 1 (PRAGMA user_version)."""

VERSION = len(MIGRATIONS)

PROGRAMS_SINCE = 4
"""Programs have a table of their own from this version on; before, each slot held the bytes of its program."""


def migrate(db: apsw.Connection) -> None:
    """Bring the file to VERSION in one transaction. Raises EyeflowError for a foreign or a newer file."""
    version = known_version(db)
    if version < VERSION:
        with transaction(db):
            for number in range(version, VERSION):
                db.execute(MIGRATIONS[number])
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}")


def require_store(db: apsw.Connection) -> None:
    """Refuse a file that is no store of VERSION: where nothing can be written, an older one stays what it is."""
    version = known_version(db)
    if version != VERSION:
        raise EyeflowError(
            f"the node's store {db.filename} has schema version {version}, and its disk cannot be written",
            cause=f"This eyeflow brings it to version {VERSION} at its first start.",
            next_step="Make the disk writable and free space on it, then start the node again.",
            code="store_version",
        )


def known_version(db: apsw.Connection) -> int:
    """Return the schema version, 0 of an empty file. It changes nothing. Raises EyeflowError: foreign, or newer."""
    version, application = int(db.pragma("user_version")), int(db.pragma("application_id"))
    is_new = application == 0 and version == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").get
    if application != APPLICATION_ID and not is_new:
        raise EyeflowError(
            f"{db.filename} is not the store of a node",
            cause=f"Another program wrote it: its application id is {application:#x}.",
            next_step="Name the data_dir of a node, or give the node one of its own.",
            code="store_foreign",
        )
    if version > VERSION:
        raise EyeflowError(
            f"the node's store {db.filename} has schema version {version}, this eyeflow knows {VERSION}",
            cause="A newer eyeflow wrote it.",
            next_step="Install that version or newer, or give the node another data_dir.",
            code="store_version",
        )
    return version
