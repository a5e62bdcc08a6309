"""A cluster with a CA of its own, with real processes: from `init` to a deployment, and through a change of the CA."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Command
from .test_first_path import Cluster, cluster, shown_on_failure, ticker, until

__all__ = ["cluster", "ticker"]


def test_everything_goes_over_tls_and_nodes_follow_to_a_new_ca(
    cluster: Cluster, eyeflow: Command, ticker: Path, home: Path
) -> None:
    plain = cluster.coordinator()
    assert plain.startswith("http://") and eyeflow("status").code == 0
    assert cluster.stop("coordinator") == 0
    refused = eyeflow("coordinator", "start", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 2 and "eyeflow coordinator init --name HOST" in refused.err
    made = eyeflow("coordinator", "init", "--name", "plant.example", "--json").json
    assert made["made"] and made["names"] == ["plant.example", "localhost", "127.0.0.1", "::1"]

    url = cluster.coordinator()
    assert url.startswith("https://")
    assert eyeflow("status").code == 0, "this user's commands go on"
    eyeflow("keys", "new")
    cluster.join("node-a", url)
    with shown_on_failure(cluster.folder / "coordinator.log", cluster.folder / "node-a.log"):
        cluster.node("node-a")
        assert eyeflow("deploy", ticker, "--all").code == 0
        until(lambda: cluster.executions("node-a") > 0, "it runs")

        new = eyeflow("coordinator", "init", "--new-ca", "--json").json
        assert new["fingerprint"] != made["fingerprint"] and new["names"] == made["names"]
        assert eyeflow("coordinator", "init").out.startswith(f"CA  {new['fingerprint']}"), "again, it shows"
        assert cluster.stop("node-a") == 0 and cluster.stop("coordinator") == 0
        url = cluster.coordinator(int(url.rsplit(":", 1)[1]))
        cluster.node("node-a")  # it knows the old CA only
        until(lambda: eyeflow("status", "--json").json["nodes"][0]["connected"], "node-a is back")
        wrong = eyeflow("node", "join", url, "--token", "efj_0_0_0_0", "--config", cluster.config("node-a"))
        assert wrong.code == 1 and "copy it whole" in wrong.err

    log = [one for one in eyeflow("coordinator", "log", "--last", "500", "--json").json if one["action"] == "authority"]
    beside = f"beside {made['fingerprint'][:16]}"
    assert [(one["subject"], one["detail"]) for one in log] == [(made["fingerprint"], ""), (new["fingerprint"], beside)]

    # Another user, who knows the fingerprint and has a token.
    token = {"EYEFLOW_TOKEN": eyeflow("tokens", "new", "anna", "--json").json["token"]}
    other = token | {"XDG_CONFIG_HOME": str(home / "anna")}
    foreign = eyeflow("coordinator", "login", url, env=other)
    assert foreign.code == 3 and "login URL --fingerprint" in foreign.err, foreign.err
    mistaken = eyeflow("coordinator", "login", url, "--fingerprint", made["fingerprint"], env=other)
    assert mistaken.code == 1 and "is not the coordinator that was meant" in mistaken.err
    assert eyeflow("coordinator", "login", url, "--fingerprint", "abc", env=other).code == 2
    assert eyeflow("coordinator", "login", url, "--fingerprint", new["fingerprint"], env=other).code == 0
    assert eyeflow("status", "--json", env={"XDG_CONFIG_HOME": str(home / "anna")}).json["nodes"][0]["name"] == "node-a"
    assert json.loads((cluster.folder / "node-a" / "data" / "cluster.json").read_text())["ca"]


def test_names_of_a_certificate_are_hosts(eyeflow: Command) -> None:
    ran = eyeflow("coordinator", "init", "--name", "https://plant.example")
    assert ran.code == 2 and "--name plant.example" in ran.err
