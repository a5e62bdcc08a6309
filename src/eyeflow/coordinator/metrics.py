"""The coordinator's counters in the Prometheus text format."""

from __future__ import annotations

from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.views import ClusterFacts

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(hub: Hub, facts: ClusterFacts) -> str:
    """Return all metrics; every name starts with `eyeflow_coordinator_`."""
    gauges = {
        "nodes": ("Nodes in the cluster", facts.nodes),
        "nodes_connected": ("Nodes with an open link", len(hub.links)),
        "nodes_in_doubt": ("Nodes whose history contradicts itself", facts.in_doubt),
        "rules": ("Rules with a program", facts.rules),
        "deployments_open": ("Deployments that have not ended", facts.open_deployments),
        "trouble": ("1 while the store fails", int(bool(hub.trouble))),
        "uptime_seconds": ("Seconds since the start", hub.up_us // 1_000_000),
    }
    lines = []
    for name, (text, value) in gauges.items():
        full = f"eyeflow_coordinator_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} gauge", f"{full} {value}"]
    return "\n".join(lines) + "\n"
