"""`deploy` says at once whom it cannot wait for: a wait for what cannot come would last the whole hour here."""

from __future__ import annotations

from pathlib import Path

from .conftest import Command
from .test_first_path import Cluster, cluster, ticker, until

__all__ = ["cluster", "ticker"]


def test_a_deployment_does_not_wait_for_offline_nodes(cluster: Cluster, eyeflow: Command, ticker: Path) -> None:
    eyeflow("keys", "new")
    url = cluster.coordinator()
    for node in ("node-a", "node-b"):
        cluster.join(node, url)
    nobody = eyeflow("deploy", ticker, "--all", "--timeout", "3600")
    assert nobody.code == 0, nobody.err
    assert "node-a: offline, gets it as soon as it connects" in nobody.err
    assert "waits for node-a, node-b: they get it as soon as they connect" in nobody.out
    assert "eyeflow deployments show d-" in nobody.out
    cluster.node("node-a")
    until(lambda: cluster.executions("node-a") > 0, "it gets it when it connects")
    mixed = eyeflow("deploy", ticker, "--all", "--param", "level=2", "--timeout", "3600")
    assert mixed.code == 0 and "node-a: installed" in mixed.err and "waits for node-b: they get it" in mixed.out, (
        mixed.out
    )
