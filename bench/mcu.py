"""Instructions, flash and RAM on emulated Cortex-M4F and Cortex-M0+ cores: the SVM, rules by hand, embive."""

from __future__ import annotations

from bench import embive
from bench.cores import MANIFEST, ROOT, TASKS, Counted, Task, compiled, count, signature
from bench.measure import Report, Row
from emulated.core import Image, Model, build, load
from eyeflow.svm.container import encode

TIMES_NATIVE_MAX = 10.0
FAST = "3"
"""What a firmware with flash to spare would be compiled with."""
SCAN = 4
"""So many rules run in one scan of a board."""


def report() -> Report:
    """Count every rule on every core; the last rows are sizes."""
    rows: list[Row] = []
    bars: list[tuple[str, bool]] = []
    for model in Model:
        found = {task.name: count(task, model) for task in TASKS}
        other = {task.name: embive.count(task, model) for task in TASKS}
        for task in TASKS:
            rows += _rows(model, task, found[task.name], other[task.name])
        rows += _scan(model, [found[task.name] for task in TASKS[:SCAN]], [other[task.name] for task in TASKS[:SCAN]])
        rows.append(Row(f"{model.name} check of an Ed25519 signature", signature(model), "instructions"))
        bars += _bars(model, found, other)
    for model in Model:
        rows += _sizes(model)
    return Report("Instructions of one execution on emulated cores", tuple(rows), tuple(bars))


def _rows(model: Model, task: Task, found: Counted, other: float) -> list[Row]:
    unit, name = "instructions", f"{model.name} {task.name}"
    fast, other_fast = count(task, model, FAST), embive.count(task, model, FAST)
    return [
        Row(f"{name}, SVM", found.svm, unit, f"{found.times:.1f} times by hand, at most {found.svm_max}"),
        Row(f"{name}, by hand", found.native, unit, task.what),
        Row(f"{name}, embive", other, unit, f"{other / found.svm:.1f} times the SVM"),
        Row(f"{name}, SVM at opt-level 3", fast.svm, unit, f"{fast.times:.1f} times by hand at opt-level 3"),
        Row(f"{name}, by hand at opt-level 3", fast.native, unit),
        Row(f"{name}, embive at opt-level 3", other_fast, unit, f"{other_fast / fast.svm:.1f} times the SVM"),
        Row(f"{name}, decode and verify", found.load, unit),
        Row(
            f"{name}, RAM of its own", found.instance_bytes, "bytes", f"{found.workspace_bytes} shared with the others"
        ),
        Row(f"{name}, program", len(encode(compiled(task.name))), "bytes", f"embive {len(embive.guests()[task.name])}"),
    ]


def _scan(model: Model, found: list[Counted], other: list[float]) -> list[Row]:
    svm, native = sum(one.svm for one in found), sum(one.native for one in found)
    name = f"{model.name} scan of the first {SCAN}"
    return [
        Row(f"{name}, SVM", svm, "instructions", f"{svm / native:.1f} times by hand"),
        Row(f"{name}, by hand", native, "instructions"),
        Row(f"{name}, embive", sum(other), "instructions", f"{sum(other) / svm:.1f} times the SVM"),
    ]


def _bars(model: Model, found: dict[str, Counted], other: dict[str, float]) -> list[tuple[str, bool]]:
    worst = max(found, key=lambda name: found[name].times)
    times = found[worst].times
    closest = min(found, key=lambda name: other[name] / found[name].svm)
    ahead = other[closest] / found[closest].svm
    return [
        (
            f"{model.name}: at most {TIMES_NATIVE_MAX:.0f} times by hand ({times:.1f}: {worst})",
            times <= TIMES_NATIVE_MAX,
        ),
        (f"{model.name}: ahead of embive (its best: {ahead:.1f} times the SVM, {closest})", ahead > 1),
    ]


def _sizes(model: Model) -> list[Row]:
    svm, other = _bytes(svm_image(model)), _bytes(embive.image(model))
    return [
        Row(f"{model.name} flash of the SVM", svm, "bytes", "strict decoder, verifier and software floats included"),
        Row(f"{model.name} flash of embive", other, "bytes", "floats and 64-bit division are in each guest"),
        Row(f"{model.name} RAM of a guest of embive", embive.RAM_BYTES, "bytes", "all of it stack"),
    ]


def _bytes(image: Image) -> int:
    return sum(len(data) for _, data in image.segments)


def svm_image(model: Model) -> Image:
    """Build what a firmware links of the SVM and nothing else."""
    flags = [f"-Clink-arg=-T{MANIFEST.parent / 'layout.x'}", "-Clink-arg=--gc-sections"]
    flags += [f"-Clink-arg=--undefined={name}" for name in ("load", "step")]
    listed = ", ".join(f'"{flag}"' for flag in flags)
    options = ("--config", f"target.{model.target}.rustflags=[{listed}]")
    return load(build(ROOT / "embassy/svm/size/Cargo.toml", "eyeflow-svm-size", model, *options))
