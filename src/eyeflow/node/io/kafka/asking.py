"""Asks a broker of Kafka whether it is there."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from eyeflow.node.io.kafka.library import ck


class Asking:
    """A client of one broker that only asks; `address` is `host:port`."""

    def __init__(self, address: str) -> None:
        self._client = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def answers(self, within_s: float) -> bool:
        """Say whether it tells what brokers there are; blocks for that long at most."""
        try:
            return bool(self._client.list_topics(timeout=within_s).brokers)
        except ck.KafkaException:
            return False
