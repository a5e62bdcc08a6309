"""Asks a broker of Kafka whether it is there, and tells the node's own one how much to keep."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from eyeflow.node.io.kafka.library import ck

KEEP_S = 10.0
BROKER = "1"
"""The id of a node's own broker (`broker/properties`)."""


class Asking:
    """A client of one broker; `address` is `host:port`."""

    def __init__(self, address: str) -> None:
        self._client = AdminClient({"bootstrap.servers": address, "log_level": 0})

    def answers(self, within_s: float) -> bool:
        """Say whether it tells what brokers there are; blocks for that long at most."""
        try:
            return bool(self._client.list_topics(timeout=within_s).brokers)
        except ck.KafkaException:
            return False

    def keep(self, partition_bytes: int) -> bool:
        """Let the node's own broker keep so much of each partition from now on; blocks. False when it did not."""
        entry = ConfigEntry("log.retention.bytes", str(partition_bytes), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, BROKER, incremental_configs=[entry])
        try:
            for answer in self._client.incremental_alter_configs([resource], request_timeout=KEEP_S).values():
                answer.result(KEEP_S)
        except (ck.KafkaException, TimeoutError):
            return False
        return True
