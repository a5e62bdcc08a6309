"""The coordinator's counters in the Prometheus text format."""

from __future__ import annotations

from eyeflow.base.metrics_text import MEDIA_TYPE, Metric, metrics_text
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.lists import NodeSums
from eyeflow.coordinator.trends import point_of, together
from eyeflow.coordinator.views import ClusterFacts

__all__ = ["MEDIA_TYPE", "render"]


def render(hub: Hub, facts: ClusterFacts, sums: NodeSums) -> str:
    """Return all metrics, as the store tells them now; every name starts with `eyeflow_coordinator_`."""
    now = together([point_of(hub.nodes.rates[name]) for name in hub.links if name in hub.nodes.rates])
    gauges = {
        "nodes": ("Nodes in the cluster", facts.nodes),
        "nodes_connected": ("Nodes with an open link", hub.count_linked(facts.links)),
        "links": ("Open links of this coordinator", len(hub.links)),
        "leads": ("1 while this coordinator leads the cluster", int(hub.peers.leads)),
        "nodes_in_doubt": ("Nodes whose history contradicts itself", facts.in_doubt),
        "rules": ("Rules with a program", facts.rules),
        "deployments_open": ("Deployments that have not ended", facts.open_deployments),
        "alarms_open": ("Alarms that last", facts.alarms),
        "alarms_new": ("Alarms that last and nobody has acknowledged", facts.new_alarms),
        "nodes_active": ("Nodes that are heard over a link", sums.active),
        "nodes_failing": ("Nodes on which something fails", sums.failing),
        "programs_pending": ("Programs that nodes have yet to answer for", sums.pending),
        "events_waiting": ("Events in the queues of the nodes", sums.waiting + hub.nodes.standings.waiting(hub.links)),
        "executions_per_minute": ("Executions a minute, of all nodes", sums.executions_a_minute + now.executions),
        "errors_per_minute": ("Errors a minute, of all nodes", sums.errors_a_minute + now.errors),
        "processor_percent": ("Processor in use, mean of the nodes with a link here", now.processor),
        "memory_percent": ("Memory in use, mean of the nodes with a link here", now.memory),
        "trouble": ("1 while the store fails", int(bool(hub.trouble))),
        "uptime_seconds": ("Seconds since the start", hub.up_us // 1_000_000),
    }
    return metrics_text(Metric(f"eyeflow_coordinator_{name}", *told) for name, told in gauges.items())
