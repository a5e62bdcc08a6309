"""Where `eyeflow audit` reads a chain: a node's store, or the copy that the coordinator keeps."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.cli.files import usage_error, writing

if TYPE_CHECKING:
    from eyeflow.audit.export import Exported
    from eyeflow.client.rest import CoordinatorClient
    from eyeflow.node.store.reader import AuditReader
    from eyeflow.protocol.collecting import KeptHead

Json = dict[str, Any]
PAGE_RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class Copy:
    """One chain at the coordinator: `first_seq` to `head.seq` are there; `coordinator_key` has signed the head."""

    client: CoordinatorClient
    node: str
    branch: int
    first_seq: int
    head: KeptHead
    node_fingerprint: str
    coordinator_key: bytes

    def rows(self, from_seq: int, to_seq: int, *, texts: bool = False) -> Iterator[tuple[bytes, str]]:
        """Yield records with the line of each execution, ascending."""
        asked: Json = {"epoch": self.head.epoch, "branch": self.branch} | ({"texts": "true"} if texts else {})
        after = max(0, from_seq - 1)
        while after < to_seq:
            page = self.client.records(self.node, after, min(PAGE_RECORDS, to_seq - after), **asked)
            for one in page:
                if one["seq"] <= to_seq:
                    yield base64.b64decode(one["record"]), one["text"]
            if not page:
                return
            after = page[-1]["seq"]

    def records(self, from_seq: int, to_seq: int) -> Iterator[bytes]:
        """Yield records, ascending."""
        return (data for data, _ in self.rows(from_seq, to_seq))


@contextmanager
def open_copy(node: str, epoch: int | None, branch: int) -> Iterator[Copy]:
    """Give a chain of a node at the coordinator; `epoch` None: the newest. Raises EyeflowError when there is none."""
    from eyeflow.cli.cluster import connect
    from eyeflow.protocol.collecting import KeptHead

    with connect() as client:
        found = [one for one in client.copies(node) if one["branch"] == branch and epoch in (None, one["epoch"])]
        if not found:
            raise EyeflowError(
                f"the coordinator keeps no such copy of {node}",
                cause="nothing of this epoch and branch has been copied",
                next_step=f"`eyeflow nodes show {node}` says which copies there are",
                code="no_copy",
                exit_code=ExitCode.PROBLEMS,
            )
        one, log = found[0], client.log()
        kept = (one["epoch"], one["seq"], bytes.fromhex(one["hash"]), one["keptUs"], bytes.fromhex(one["signature"]))
        fingerprint = client.node(node)["fingerprint"]
        key = bytes.fromhex(log["publicKey"])
        yield Copy(client, node, branch, one["firstSeq"], KeptHead(*kept), fingerprint, key)


def refuse_copy_options(node: str, epoch: int | None, branch: int) -> None:
    """Refuse --epoch and --branch without --node: they are of copies."""
    if not node and (epoch is not None or branch):
        raise usage_error("--epoch and --branch are of the coordinator's copies", "name the node with --node")


def refuse_store_options(config: Path | None, data_dir: Path | None, flags: list[str]) -> None:
    """Refuse --config and --data-dir beside --node."""
    if config is not None or data_dir is not None or flags:
        raise usage_error("--node asks the coordinator", "leave out --config, --data-dir and settings, or --node")


def store_key(given: str, reader: AuditReader) -> tuple[bytes, str]:
    """Return the key that signatures must be of, and where it comes from: a store that names its own proves nothing."""
    from eyeflow.node.own_key import KEY_NAME, load_identity

    if given:
        return named_key(given, reader.public_key), "option"
    if (reader.path.parent / KEY_NAME).exists():
        return load_identity(reader.path.parent).public_key, "node.key"
    return reader.public_key, "store"


def named_key(given: str, likely: bytes) -> bytes:
    """Return the key that a user names: in hex, by a file, or by the fingerprint of the likely one."""
    from eyeflow.client.keyring import read_public_key
    from eyeflow.protocol.identity import key_fingerprint

    return likely if key_fingerprint(likely) == given.strip().lower() else read_public_key(given)


def copied_key(copy: Copy) -> bytes:
    """Return the key that the chain names, when it is the one with which the node joined. Raises EyeflowError."""
    from eyeflow.protocol.audit import decode_record
    from eyeflow.protocol.audit_bodies import AuditError, CheckpointBody, GapBody, StartBody
    from eyeflow.protocol.identity import key_fingerprint

    try:
        for data in copy.records(copy.first_seq, copy.head.seq):
            body = decode_record(data).body
            if isinstance(body, StartBody | CheckpointBody | GapBody):
                if key_fingerprint(body.public_key) == copy.node_fingerprint:
                    return body.public_key
                break
    except AuditError:
        pass
    raise EyeflowError(
        f"no record of {copy.node} names the key with which it joined",
        cause=f"its fingerprint is {copy.node_fingerprint}",
        next_step="give the node's public key with --key",
        code="no_key",
        exit_code=ExitCode.PROBLEMS,
    )


def of_copy(copy: Copy, from_seq: int, to_seq: int | None) -> Exported:
    """Return what an export of a copy is about. Raises EyeflowError when nothing of the range is there."""
    from eyeflow.audit.export import Exported

    if from_seq > copy.head.seq or (to_seq is not None and to_seq < max(from_seq, copy.first_seq)):
        raise _no_records(f"{copy.first_seq} to {copy.head.seq}")
    return Exported(copy.node, copy.head.epoch, copied_key(copy), copy.coordinator_key, copy.head)


def of_store(reader: AuditReader, from_seq: int, to_seq: int | None) -> tuple[Exported, int]:
    """Return what an export of a store is about, and its last record: a node that runs goes on writing.

    Raises EyeflowError when nothing of the range is there.
    """
    from eyeflow.audit.export import Exported
    from eyeflow.node.cluster.membership import Membership
    from eyeflow.node.store.cursors import COORDINATOR

    joined = Membership(reader.path.parent).joined()
    head = reader.kept().get(COORDINATOR)
    coordinator_key = joined.coordinator_key if joined is not None else b""
    first, last = reader.range
    last = last if to_seq is None else min(to_seq, last)
    if not last or last < max(from_seq, first):
        raise _no_records(f"{first} to {reader.range[1]}" if reader.range[1] else "nothing")
    key, _ = store_key("", reader)
    is_signed = head is not None and head.seq > 0 and coordinator_key
    return Exported(reader.node, reader.epoch, key, coordinator_key, head if is_signed else None), last


def last_of(to_seq: int | None, what: Exported) -> int:
    """Return the last record of an export of a copy: where its signed head is, or before that."""
    assert what.head is not None, "a copy has a head"
    return what.head.seq if to_seq is None else min(to_seq, what.head.seq)


def write_export(file: Path, what: Exported, records: Iterator[bytes], tell: Callable[[int], None]) -> int:
    """Write the file, whole or not at all; return the number of records."""
    from eyeflow.audit.export import export_lines

    count = -2
    with writing(file) as out:
        for line in export_lines(what, told_often(records, tell)):
            out.write(line)
            count += 1
    return count


def _no_records(there: str) -> EyeflowError:
    return EyeflowError(
        "no record of this range is here",
        cause=f"what is here: {there}",
        next_step="choose --from and --to within that",
        code="no_records",
        exit_code=ExitCode.PROBLEMS,
    )


def told_often(records: Iterator[bytes], tell: Callable[[int], None], each: int = 10_000) -> Iterator[bytes]:
    """Yield records and tell of progress."""
    for number, data in enumerate(records, start=1):
        yield data
        if number % each == 0:
            tell(number)
