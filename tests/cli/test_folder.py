"""A folder of rules as one deployment: what is unchanged is left out, what is gone is pruned, `diff` tells before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eyeflow.base.errors import EyeflowError
from eyeflow.cli import folder as folders

from .conftest import Command
from .test_deployments import started
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure, until

__all__ = ["cluster"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rules"
    (path / "more").mkdir(parents=True)
    for name in ("one", "two", "more/three"):
        (path / f"{name}.eye").write_text(TICKER.replace("rule ticker", f"rule {name.rpartition('/')[2]}"))
    return path


def running(cluster: Cluster) -> list[str]:
    status: Any = cluster.status("node-a")
    return sorted(one["rule"] for one in status["rules"])


def told(ran_json: Any) -> dict[str, str]:
    (node,) = ran_json["nodes"]
    return {row["rule"]: row["change"] for row in node["rules"]}


def test_a_folder_is_deployed_as_one_and_only_what_changed(
    cluster: Cluster, eyeflow: Command, folder: Path, tmp_path: Path
) -> None:
    started(cluster, eyeflow, "node-a")
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        new = eyeflow("diff", folder, "--all", "--json")
        assert (new.code, set(told(new.json).values())) == (1, {"added"})
        first = eyeflow("deploy", folder, "--all", "--json")
        assert first.code == 0, first.out + first.err
        assert [one["rule"] for one in first.lines[-1]["changes"]] == ["one", "three", "two"]
        until(lambda: running(cluster) == ["one", "three", "two"], "all run")
        same = eyeflow("deploy", folder, "--all")
        assert (same.code, same.out) == (0, "nothing to change: 3 rules as wanted\n"), same.err
        assert eyeflow("diff", folder, "--all").out == "node-a: 3 unchanged\n"

        (folder / "one.eye").write_text(TICKER.replace("rule ticker", "rule one").replace("1.0.0", "1.1.0"))
        (folder / "two.eye").unlink()
        difference = eyeflow("diff", folder, "--all", "--param", "three.level=2")
        assert difference.code == 1 and "node-a: 2 changed, 1 kept" in difference.out, difference.out
        assert "1.0.0 " in difference.out and "1.1.0 " in difference.out and "level=2.0" in difference.out
        pruning = eyeflow("diff", folder, "--all", "--prune", "--json")
        assert told(pruning.json) == {"one": "changed", "three": "unchanged", "two": "removed"}
        pruned = eyeflow("deploy", folder, "--all", "--prune", "--json")
        assert pruned.code == 0 and len(pruned.lines[-1]["changes"]) == 2, pruned.out
        until(lambda: running(cluster) == ["one", "three"], "what is gone is taken off")

        (folder / "again.eye").write_text((folder / "one.eye").read_text())
        twice = eyeflow("deploy", folder, "--all")
        assert twice.code == 1 and "two files have a rule one" in twice.err
        (folder / "again.eye").write_text("rule broken {")
        broken = eyeflow("deploy", folder, "--all")
        assert broken.code == 1 and "1 of 3 rules do not compile" in broken.err
        (folder / "again.eye").unlink()
        assert eyeflow("deploy", folder, "--all", "--param", "level=2").code == 2
        assert eyeflow("deploy", folder / "one.eye", "--all", "--prune").code == 2
        assert eyeflow("diff", folder, "--nodes", "node-aa").code == 1


def test_a_text_that_is_not_taken_is_told_and_fails_nothing(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Client:
        def rules(self) -> list[Any]:
            return []

        def upload_programs(self, programs: list[bytes]) -> None:
            assert len(programs) == 1

        def deploy_set(self, changes: list[Any], where: Any) -> dict[str, str]:
            return {"id": "d-1"}

        def upload_source(self, program_id: str, source: str) -> None:
            assert source == rule.read_text()
            raise EyeflowError("the text compiles to another program", code="source_differs")

        def upload_tests(self, program_id: str, tests: list[Any]) -> None:
            raise EyeflowError("the store is full")

    rules = folders.load(rule.parent, None, None)
    assert folders.deploy(Client(), rules, [], {}, {}) == {"id": "d-1"}  # type: ignore[arg-type]
    told = capsys.readouterr().err
    assert f"the lines of {rules[0].name} will not be shown" in told and "compiles to another program" in told
    assert f"the test results of {rules[0].name} will not be shown" in told and "the store is full" in told
    folders.deploy(Client(), rules, [], {}, {}, with_sources=False)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
