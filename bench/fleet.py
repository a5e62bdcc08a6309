"""300 rules on one stream: eKuiper's published workload, on one core of ours.

The rules are compiled to `.svm` bytes in this process; a fresh one loads them as a node does (decode, verify, build
the fast path), checks each event against each rule's schema and runs it. Run as a script, this file is that process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Report, Row, own_rss_mb, run_process

RULES = 300
EVENTS = 2_000
PUBLISHED_PER_S, PUBLISHED_MB = 150_000, 95


def report() -> Report:
    """Measure in a fresh process."""
    from bench.sources import compiled, stream_rules
    from eyeflow.svm.container import encode

    with tempfile.TemporaryDirectory() as folder:
        for index, source in enumerate(stream_rules(RULES)):
            (Path(folder) / f"{index:03}.svm").write_bytes(encode(compiled(source, f"stream_{index:03}.eye")))
        process = run_process((sys.executable, "-m", "bench.fleet", folder))
    measured = json.loads(process.stdout)
    per_s = measured["evaluations_per_s"]
    rows = (
        Row("evaluations, one core", per_s, "per s", f"{per_s / PUBLISHED_PER_S:.1f} x eKuiper's figure (two cores)"),
        Row("resident memory, peak", process.rss_mb, "MB", f"{process.rss_mb / PUBLISHED_MB:.2f} x eKuiper's figure"),
        Row("resident memory before the rules", measured["empty_mb"], "MB", "interpreter and imports"),
        Row("loading a rule", measured["load_ms"], "ms", "decode, verify, build the fast path"),
        Row("evaluations that acted", measured["acted_percent"], "%"),
    )
    text = f"at least eKuiper's {PUBLISHED_PER_S:,} evaluations/s in at most {PUBLISHED_MB} MB"
    return Report(f"{RULES} rules on one stream", rows, ((text, per_s >= PUBLISHED_PER_S and process.rss_mb <= 95),))


class NoReads:
    """These rules read nothing."""

    def read(self, site: int, args: tuple[object, ...]) -> bool | int | float | str:
        """Never called."""
        raise AssertionError(f"site {site} reads")


def measure(folder: Path) -> dict[str, float]:
    """Load the programs and run them; what the fresh process does."""
    from eyeflow.svm.container import decode
    from eyeflow.svm.instance import Instance
    from eyeflow.svm.schema import PayloadDecoder
    from eyeflow.svm.verify import verify

    empty_mb, start = own_rss_mb(), time.perf_counter()
    loaded = []
    for path in sorted(folder.iterdir()):
        instance = Instance(verify(decode(path.read_bytes()).program))
        loaded.append((PayloadDecoder(instance.program.triggers[0]).from_mapping, instance.step))
    load_ms = (time.perf_counter() - start) / len(loaded) * 1000
    payloads = [
        {"sensor": f"press-{index % 7}", "temp": 60.0 + index * 7 % 31, "pressure": 4.0 + index % 30 / 10, "unit": "C"}
        for index in range(EVENTS)
    ]
    host, acted = NoReads(), 0
    start = time.perf_counter()
    for index, payload in enumerate(payloads):
        for decode_payload, step in loaded:
            if step(0, decode_payload(payload), index * 1000, 0, host).actions:
                acted += 1
    seconds = time.perf_counter() - start
    total = EVENTS * len(loaded)
    return {
        "evaluations_per_s": total / seconds,
        "acted_percent": 100 * acted / total,
        "empty_mb": empty_mb,
        "load_ms": load_ms,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
