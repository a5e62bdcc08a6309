"""The buffer of a node as Prometheus reads it."""

from __future__ import annotations

from eyeflow.base.metrics_text import metrics_text
from eyeflow.node.status.buffer_metrics import buffer_metrics

KAFKA = {"name": "kafka", "seq": 90, "behind": 10, "missed": 3, "recordsPerS": 12.5, "leftS": 0.8}
AWAY = {"name": "coordinator", "seq": 0, "behind": 80, "missed": 20, "recordsPerS": None, "leftS": None}
FOUND = {
    "node": "n1",
    "running": True,
    "actionsWaiting": 2,
    "records": 80,
    "firstSeq": 21,
    "lastSeq": 100,
    "sizeBytes": 4096,
    "sizeBytesSet": 8192,
    "brokerBytes": 0,
    "oldestAgeUs": 90_000_000,
    "ageUsMax": 3_600_000_000,
    "dropped": {"copied": 5, "size": 15},
    "lost": 15,
    "destinations": [AWAY, KAFKA],
}


def lines(found: dict[str, object]) -> set[str]:
    return {line for line in metrics_text(buffer_metrics(found)).splitlines() if not line.startswith("#")}


def test_each_figure_is_a_metric_with_its_unit_and_what_is_not_known_is_left_out() -> None:
    assert lines(FOUND) == {
        'eyeflow_node_running{node="n1"} 1.0',
        'eyeflow_node_actions_waiting{node="n1"} 2.0',
        'eyeflow_buffer_records{node="n1"} 80.0',
        'eyeflow_buffer_last_seq{node="n1"} 100.0',
        'eyeflow_buffer_size_bytes{node="n1"} 4096.0',
        'eyeflow_buffer_size_bytes_max{node="n1"} 8192.0',
        'eyeflow_buffer_broker_bytes{node="n1"} 0.0',
        'eyeflow_buffer_oldest_age_seconds{node="n1"} 90.0',
        'eyeflow_buffer_age_seconds_max{node="n1"} 3600.0',
        'eyeflow_buffer_lost_records{node="n1"} 15.0',
        'eyeflow_buffer_dropped_records{node="n1",reason="copied"} 5.0',
        'eyeflow_buffer_dropped_records{node="n1",reason="size"} 15.0',
        'eyeflow_buffer_destination_seq{destination="coordinator",node="n1"} 0.0',
        'eyeflow_buffer_destination_behind{destination="coordinator",node="n1"} 80.0',
        'eyeflow_buffer_destination_missed{destination="coordinator",node="n1"} 20.0',
        'eyeflow_buffer_destination_seq{destination="kafka",node="n1"} 90.0',
        'eyeflow_buffer_destination_behind{destination="kafka",node="n1"} 10.0',
        'eyeflow_buffer_destination_missed{destination="kafka",node="n1"} 3.0',
        'eyeflow_buffer_destination_records_per_second{destination="kafka",node="n1"} 12.5',
        'eyeflow_buffer_destination_left_seconds{destination="kafka",node="n1"} 0.8',
    }


def test_of_a_node_whose_settings_are_not_known_there_are_no_bounds() -> None:
    found = {name: value for name, value in FOUND.items() if name not in ("sizeBytesSet", "ageUsMax")}
    assert not [line for line in lines(found) if "_max" in line]


def test_each_metric_says_once_what_it_is() -> None:
    told = [line for line in metrics_text(buffer_metrics(FOUND)).splitlines() if line.startswith("# HELP ")]
    assert len(told) == len(set(told)) == 16
