"""Compiling 1,000 generated rules of 40 lines, from source text to the bytes of a verified program."""

from __future__ import annotations

import time

from bench.measure import Report, Row
from bench.sources import compiled, long_rules

RULES = 1_000


def report() -> Report:
    """Measure in this process, imports done."""
    from eyeflow.svm.container import encode
    from eyeflow.svm.fast import FastMachine
    from eyeflow.svm.verify import verify

    sources = long_rules(RULES)
    lines = sources[0].count("\n")
    compiled(sources[0], "warm.eye")
    start = time.perf_counter()
    programs = [compiled(source, f"tank_{index:04}.eye") for index, source in enumerate(sources)]
    compile_s = time.perf_counter() - start
    start = time.perf_counter()
    verified = [verify(program) for program in programs]
    verify_s = time.perf_counter() - start
    start = time.perf_counter()
    size_bytes = sum(len(encode(program)) for program in programs) / RULES
    encode_s = time.perf_counter() - start
    start = time.perf_counter()
    for each in verified:
        FastMachine(each)
    fast_s = time.perf_counter() - start
    rows = (
        Row(f"compiling {RULES:,} rules", compile_s, "s", f"{compile_s:.2f} ms a rule of {lines} lines"),
        Row("verifying them again", verify_s, "s", f"{verify_s:.2f} ms a rule"),
        Row("encoding them", encode_s, "s", f"{encode_s:.2f} ms a rule, {size_bytes:.0f} bytes each"),
        Row("building the fast path", fast_s, "s", f"{fast_s:.2f} ms a rule"),
    )
    return Report(f"Compiling {RULES:,} rules of {lines} lines", rows)
