"""Opens the archive that a coordinator has by itself."""

from __future__ import annotations

from pathlib import Path

from eyeflow.base.machine import Machine
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import Bounds, Cosign
from eyeflow.coordinator.archive.sqlite_archive import SqliteArchive, SqliteReader
from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.protocol.collecting import KeptHead, head_bytes


def usual_archive(path: Path, machine: Machine, cosign: Cosign, bounds: Bounds) -> Archive:
    """Open the SQLite file of the archive, or make it. Raises EyeflowError."""
    database = SqliteArchive(path, machine, cosign, bounds)
    return Archive(database, SqliteReader(path, machine))


def shared_archive(store: ClusterStore, url: str, bounds: Bounds) -> Archive:
    """Open the archive in the PostgreSQL database of coordinators that share a store. Raises EyeflowError."""
    from eyeflow.coordinator.archive.postgres_archive import PostgresArchive, PostgresReader
    from eyeflow.coordinator.store.postgres_connection import Address

    address = Address(url)
    database = PostgresArchive(address, store.own_id, cosigner(store), bounds)
    return Archive(database, PostgresReader(address))


def cosigner(store: ClusterStore) -> Cosign:
    """Return what signs heads with the key of the coordinator whose store this is."""

    def cosign(node: str, kept: KeptHead) -> KeptHead:
        signature = store.identity.sign(head_bytes(store.coordinator_id, node, kept))
        return KeptHead(kept.epoch, kept.seq, kept.hash, kept.time_us, signature)

    return cosign
