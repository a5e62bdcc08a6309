"""What the coordinator keeps of the audit of a node, compared with what the node's disk holds."""

from __future__ import annotations

import base64
from pathlib import Path

from eyeflow.node.store.reader import AuditReader
from eyeflow.protocol.audit import decode_record, record_hash
from simulation.cluster import Cluster
from simulation.disk import Image
from simulation.loop import pass_time
from simulation.records import _laid_out, promise

PAGE_RECORDS = 1000
CATCH_UP_S_MAX, LOOK_S = 600.0, 2.0


def stored_records(image: Image, place: Path) -> list[bytes]:
    """Return the audit records of an image of a node's disk, as stored."""
    if not _laid_out(image, place):
        return []
    with AuditReader(place) as reader:
        return list(reader.records())


async def kept_records(cluster: Cluster, node: str, epoch: int = 0) -> list[bytes]:
    """Return what the coordinator keeps of a chain of a node, of the newest one without `epoch`."""
    found: list[bytes] = []
    cursor = ""
    while True:
        query = f"limit={PAGE_RECORDS}" + (f"&cursor={cursor}" if cursor else "") + (f"&epoch={epoch}" if epoch else "")
        answer = await cluster.surely("GET", f"/api/nodes/{node}/records?{query}")
        found += [base64.b64decode(one["record"]) for one in answer["records"]]
        cursor = answer["nextCursor"]
        if not cursor:
            return found


async def until_copied(cluster: Cluster, node: str) -> None:
    """Wait until the coordinator keeps all that a node has recorded; raise BrokenPromise when it never does."""
    until_s = cluster.loop.time() + CATCH_UP_S_MAX
    while cluster.loop.time() < until_s:
        shown = await cluster.surely("GET", f"/api/nodes/{node}")
        head, copy = shown["head"], shown["copy"]
        if shown["connected"] and head and copy and (copy["epoch"], copy["seq"]) >= (head["epoch"], head["seq"]):
            return
        await pass_time(LOOK_S)
    promise(False, f"35: the copy of {node} never catches up: {shown['copy']}, its head is {head}")


async def check_copy(cluster: Cluster, node: str) -> int:
    """See that every record of a node is kept once, in order, byte for byte; return how many there are."""
    await until_copied(cluster, node)
    shown = await cluster.surely("GET", f"/api/nodes/{node}")  # first: events may still come
    kept = await kept_records(cluster, node)
    stored = stored_records(cluster.nodes[node].disk.after_kill(), cluster.directory / "look")  # type: ignore[union-attr]
    wrong = next((place for place, pair in enumerate(zip(kept, stored, strict=False)) if pair[0] != pair[1]), None)
    promise(wrong is None, f"35: record {(wrong or 0) + 1} of {node} is another one at the coordinator")
    promise(len(kept) <= len(stored), f"35: {node} has {len(stored)} records, and the coordinator keeps {len(kept)}")
    promise(len(kept) >= shown["copy"]["seq"] - 1, f"35: of {shown['copy']['seq']} records {len(kept)} are kept")
    return len(kept)


async def check_dropped(cluster: Cluster, node: str) -> None:
    """See that all that a node dropped without a loss is at the coordinator, byte for byte.

    What a signed gap does not count as lost is copied, it says: the oldest records of its range.
    """
    host, lost_total, epoch_before = cluster.nodes[node], 0, 0
    kept: dict[int, bytes] = {}
    for (epoch, _), gap in sorted(host.gaps.items()):
        if epoch != epoch_before:
            found, epoch_before, lost_total = await kept_records(cluster, node, epoch), epoch, 0
            kept = {decode_record(one).seq: record_hash(one) for one in found}
        lost, lost_total = gap.lost_total - lost_total, gap.lost_total
        for seq in range(gap.first_seq, gap.last_seq - lost + 1):
            what = "has none" if seq not in kept else "has another one"
            holds = kept.get(seq) == host.written[epoch, seq]
            promise(holds, f"35: {node} dropped record {seq} as copied, and the coordinator {what}")
