"""The coordinator's counters in the Prometheus text format."""

from __future__ import annotations

from collections import Counter

from eyeflow.coordinator.hub import Hub

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(hub: Hub) -> str:
    """Return all metrics; every name starts with `eyeflow_coordinator_`."""
    states = Counter(deployment.state.value for deployment in hub.fleet.open())
    gauges = {
        "nodes": ("Nodes in the cluster", len(hub.registry.nodes())),
        "nodes_connected": ("Nodes with an open link", len(hub.links)),
        "nodes_in_doubt": ("Nodes whose history contradicts itself", hub.fleet.heads.in_doubt()),
        "rules": ("Rules with a program", len(hub.registry.rules())),
        "deployments_open": ("Deployments that have not ended", sum(states.values())),
        "trouble": ("1 while the store fails", int(bool(hub.trouble))),
        "uptime_seconds": ("Seconds since the start", (hub.clock() - hub.started_us) // 1_000_000),
    }
    lines = []
    for name, (text, value) in gauges.items():
        full = f"eyeflow_coordinator_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} gauge", f"{full} {value}"]
    return "\n".join(lines) + "\n"
