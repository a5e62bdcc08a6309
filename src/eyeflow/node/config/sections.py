"""The sections of the node itself; those of sources and drivers stand in `io/*/settings.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar, Self

from eyeflow.node.broker.settings import EmbeddedSection
from eyeflow.node.config.settings import Section, boolean, integer, number, path, paths, required, text, texts
from eyeflow.node.config.tables import Table
from eyeflow.node.store.types import OnFull
from eyeflow.protocol.signer_list import NEEDED_MAX

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SIZE_MB_MIN, SIZE_MB_MAX = 4, 1_048_576
EMBEDDED_MB_MIN = 64
"""The least with a broker of the node's own: of its half, its metadata may take 16 MB, and three topics the rest."""
AGE_HOURS_MAX = 24 * 3650.0
REVOKED_GRACE_S_MAX = 30 * 86_400.0


class Backend(Enum):
    """Where a node hands its records on to, besides its coordinator. Its store is the point of commit in each case."""

    SQLITE = "sqlite"
    KAFKA_EMBEDDED = "kafka_embedded"
    KAFKA = "kafka"


class Durability(Enum):
    """What a node does while its disk refuses to record: nothing, or act without a record (named for what it loses)."""

    FULL = "full"
    NONE_ON_FULL_DISK = "none-on-full-disk"


@dataclass(frozen=True, slots=True)
class NodeSection(Section):
    """The section `[node]`."""

    SECTION: ClassVar[str] = "node"

    name: str = required("Name of the node in the cluster: letters, digits, `-`, `_`, `.`.")
    data_dir: Path = path("Directory of the node's store and key.", Path("data"))
    timezone: str = text("UTC", "Time zone of `cron`, `time_of_day()` and `weekday()`, such as `Europe/Berlin`.")
    resource_lease_s: float = number(
        1.0, 0.0, 3600.0, "How long a rule keeps a physical resource to itself after it commanded it."
    )
    resource_wait_s: float = number(
        5.0, 0.0, 3600.0, "How long an action waits at most for a resource that another rule commands."
    )

    def checked(self, table: Table) -> Self:
        """Refuse a name that cannot stand in a URL or a file name."""
        if not NAME.fullmatch(self.name):
            cause = "At most 63 letters, digits, `-`, `_` and `.`."
            table.refuse(f"[node] name = {self.name!r} is no name", cause, "Choose another name.")
        return self


@dataclass(frozen=True, slots=True)
class CoordinatorConfig(Section):
    """Where the coordinator is and how to join it; `url` empty: none."""

    SECTION: ClassVar[str] = "coordinator"

    url: str = text("", "The coordinator to join, `http://` or `https://`; empty: it has joined or runs alone.")
    others: tuple[str, ...] = texts((), "Other coordinators of the same cluster: dialed in turn when one is away.")
    token_env: str = text("", "Environment variable with the join token.")
    token_file: Path | None = path("File with the join token.")
    ca_file: Path | None = path("CA file that signs the coordinator's certificate; empty: the system's CAs.")

    def checked(self, table: Table) -> Self:
        """Take an address of HTTP only."""
        for key, url in [("url", self.url)] * bool(self.url) + [("others", one) for one in self.others]:
            if not re.match(r"https?://[^/]", url):
                hint = "Write http://HOST:PORT or https://HOST:PORT."
                table.refuse(f"[coordinator] {key} is no address", f"It is {url!r}.", hint)
        return self


@dataclass(frozen=True, slots=True)
class OfflineSection(Section):
    """The section `[offline]`."""

    SECTION: ClassVar[str] = "offline"

    buffer_backend: str = text(
        Backend.SQLITE.value,
        "`sqlite`: records are in the node's store only. `kafka_embedded`: the node runs a Kafka of its own and copies "
        "them there, too. `kafka`: to the cluster of [kafka].",
        (backend.value for backend in Backend),
    )
    max_buffer_size_mb: int = integer(
        512,
        SIZE_MB_MIN,
        SIZE_MB_MAX,
        "Bound of all files of the buffer together, write-ahead log included. With `kafka_embedded` the store and the "
        f"broker have one half each, and it is {EMBEDDED_MB_MIN} MB at least.",
    )
    max_buffer_age_hours: float = number(72.0, 0.01, AGE_HOURS_MAX, "Older audit records are dropped.")
    on_full: str = text(
        OnFull.DROP_OLDEST.value,
        "At the size bound: `drop-oldest` records, `reject-new` events, or `block` sources.",
        (policy.value for policy in OnFull),
    )
    durability: str = text(
        Durability.FULL.value,
        "`full`: what cannot be recorded does not act. `none-on-full-disk`: it acts, unrecorded.",
        (mode.value for mode in Durability),
    )
    reconcile_on_reconnect: bool = boolean(
        True, "Whether the coordinator gets a copy of the audit, as soon as it is connected. If not, records stay here."
    )

    catch_up_kb_per_s: int = integer(
        8192, 1, 1_000_000, "How much of the audit goes to the coordinator in a second at most, before compression."
    )

    def checked(self, table: Table) -> Self:
        """Refuse a buffer that has no room for a broker."""
        if self.buffer_backend == Backend.KAFKA_EMBEDDED.value and self.max_buffer_size_mb < EMBEDDED_MB_MIN:
            table.refuse(
                f"[offline] max_buffer_size_mb = {self.max_buffer_size_mb} is too small for kafka_embedded",
                f"The broker gets one half of it, and needs {EMBEDDED_MB_MIN // 2} MB.",
                f"Set it to {EMBEDDED_MB_MIN} or more, or buffer_backend to sqlite.",
            )
        return self


@dataclass(frozen=True, slots=True)
class GrantsSection(Section):
    """The section `[grants]`."""

    SECTION: ClassVar[str] = "grants"

    allow: tuple[str, ...] = texts(("log.*",), "Capabilities that programs may use; `*` stands for anything: `gpio.*`.")


@dataclass(frozen=True, slots=True)
class TrustSection(Section):
    """The section `[trust]`."""

    SECTION: ClassVar[str] = "trust"

    keys: tuple[str, ...] = texts(
        (), "Ed25519 public keys (64 hex digits) whose programs the node runs, besides its cluster's."
    )
    key_files: tuple[Path, ...] = paths("Files with one such key per line.")
    root_keys: tuple[str, ...] = texts(
        (),
        "Public keys (64 hex digits) of roots. With one, the cluster's signers count only when a list names them that "
        "the root has signed: `eyeflow keys root`.",
    )
    signers_min: int = integer(
        1, 1, NEEDED_MAX, "Trusted keys that sign each program, at least. A root's list can ask for more, not for less."
    )
    labels: tuple[str, ...] = texts(
        (),
        'Labels of this node, `["site=lyon"]`, by which a root\'s list can ask for more signers. '
        "Labels that the coordinator keeps do not count for that.",
    )
    revoked_grace_s: float = number(
        0.0,
        0.0,
        REVOKED_GRACE_S_MAX,
        "How long a running program goes on when its signer's key is revoked; 0 stops it at once. "
        "At a start it does not run, whatever this says.",
    )


SECTIONS: tuple[type[Section], ...] = (
    NodeSection,
    CoordinatorConfig,
    OfflineSection,
    EmbeddedSection,
    GrantsSection,
    TrustSection,
)
"""All of them, in the order of the page."""
