"""The counted rules of `bench/cores.py`: SVM, hand-written Rust and interpreter decide alike, and counts are exact."""

from __future__ import annotations

import json
from typing import Any

import bench.cores
import pytest
import unicorn
from bench.cores import TASKS, Task, count, image, profile

from emulated.cases import CaseRunner, conformance_image
from emulated.core import ROOT, BareCore, Model

EVENTS = 40


@pytest.mark.parametrize("model", Model, ids=lambda model: str(model.name))
@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.name))
def test_all_decide_alike(task: Task, model: Model) -> None:
    found = count(task, model, events=EVENTS)
    assert 0 < found.native < found.svm <= found.svm_max
    assert found.load > 1000
    assert found.instance_bytes > 0


def test_control_another_decision_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    task = next(task for task in TASKS if task.name == "overheat_relay")
    outputs = bench.cores.expected(task)
    monkeypatch.setattr(bench.cores, "expected", lambda task: [*outputs[:30], bytes(16), *outputs[31:]])
    with pytest.raises(AssertionError, match="svm_step of overheat_relay"):
        count.__wrapped__(task, Model.M0_PLUS, events=EVENTS)


@pytest.mark.parametrize(("model", "skipped_share_max"), [(Model.M0_PLUS, 0.0), (Model.M4F, 0.01)])
def test_counts_are_exact(model: Model, skipped_share_max: float) -> None:
    """Unicorn can also stop at every instruction: slow, and the same number but for what IT skips, which the M0+ has not."""
    core = BareCore(model, conformance_image(model), counting=True)
    stops = [0]

    def stop(uc: Any, address: int, size: int, _: Any) -> None:
        stops[0] += 1

    core._uc.hook_add(unicorn.UC_HOOK_CODE, stop)
    case = json.loads((ROOT / "tests/conformance/cases/time.json").read_text("utf-8"))[0]
    CaseRunner(core).result(case)
    assert stops[0] > 10_000
    assert stops[0] <= core.counts.all <= stops[0] * (1 + skipped_share_max)
    assert sum(core.counts.by_function.values()) == core.counts.all


@pytest.mark.parametrize("model", Model, ids=lambda model: str(model.name))
def test_a_profile_adds_up(model: Model) -> None:
    core, runs = profile(TASKS[0], model, loading=False)
    assert core.with_callees["svm_step"] == core.counts.all
    others = [count for name, count in core.with_callees.items() if name != "svm_step"]
    assert max(others) < core.counts.all, "a function seems never to return"
    assert core.counts.calls["svm_step"] == runs
    assert image(model).addresses.keys() >= core.with_callees.keys()
