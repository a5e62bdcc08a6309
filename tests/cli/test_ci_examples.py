"""The examples for GitHub Actions and GitLab CI: their own lines, run by a shell on a repository and a real cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Command
from .test_deployments import started
from .test_first_path import TICKER, Cluster, cluster, shown_on_failure

__all__ = ["cluster"]

EXAMPLES = Path(__file__).parents[2] / "examples" / "ci"


def lines(name: str) -> Iterator[str]:
    """Yield the shell lines of an example: `- run: ...` of GitHub, and the items of `script` of GitLab."""
    inside = False
    for line in (EXAMPLES / name).read_text().splitlines():
        if found := re.fullmatch(r"\s*- run: (.*)", line):
            yield found[1]
        elif re.fullmatch(r"\s*(before_)?script:", line):
            inside = True
        elif inside and (found := re.fullmatch(r"\s+- (.*)", line)):
            yield found[1]
        else:
            inside = False


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_lines_of_an_example_roll_a_repository_out(
    cluster: Cluster, eyeflow: Command, environment: dict[str, str], home: Path, tmp_path: Path, name: str
) -> None:
    started(cluster, eyeflow, "node-a")
    key = home / ".config" / "eyeflow" / "keys" / "default.pem"
    public = eyeflow("keys", "show", "--json").json["publicKey"]
    assert eyeflow("keys", "trust", public, "--name", "ci", "--cluster").code == 0
    token = eyeflow("tokens", "new", "ci-main", "--role", "deploy", "--json").json["token"]
    repository = tmp_path / "repository"
    (repository / "rules").mkdir(parents=True)
    (repository / "rules" / "ticker.eye").write_text(TICKER)
    (repository / "ci").mkdir()
    (repository / "ci" / "deploy.sh").write_bytes((EXAMPLES / "deploy.sh").read_bytes())
    (repository / "ci" / "deploy.sh").chmod(0o755)
    (repository / "ci" / "default.pub").write_bytes(key.with_suffix(".pub").read_bytes())
    job = environment | {
        "HOME": str(tmp_path / "runner"),
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "EYEFLOW_COORDINATOR": cluster.url,
        "EYEFLOW_TOKEN": token,
        "EYEFLOW_KEYS": str(repository / ".keys"),
        "KEY": key.read_text(),
        "EYEFLOW_SIGNING_KEY": str(key),
        "STRATEGY": "--strategy rolling --observe 2s --samples 3",
    }
    commands = [line for line in lines(name) if not line.startswith("pip install")]
    assert [line.split()[-1] for line in commands if "deploy.sh" in line] == ["check", "diff", "deploy"]
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        for command in commands:
            ran = subprocess.run(
                ["sh", "-ec", command],
                env=job,
                cwd=repository,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=300,
            )
            assert ran.returncode == 0, (command, ran.stdout.decode(), ran.stderr.decode())
        assert "succeeded" in ran.stdout.decode()
        assert [one["rule"] for one in eyeflow("nodes", "show", "node-a", "--json").json["rules"]] == ["ticker"]
        (repository / "rules" / "ticker.eye").write_text(TICKER.replace("ticks % 2", "ticks % 0"))
        ran = subprocess.run(
            ["sh", "-ec", "ci/deploy.sh deploy"],
            env=job,
            cwd=repository,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        assert ran.returncode == 1, "the control: what fails, fails the job"
