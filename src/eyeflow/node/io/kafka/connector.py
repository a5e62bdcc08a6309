"""Kafka as a connector: records of topics are events."""

from __future__ import annotations

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.kafka.settings import KafkaConfig
from eyeflow.node.io.ports import Source


def _source(site: Site, shared: None) -> Source:
    from eyeflow.node.io.kafka.source import KafkaSource

    return KafkaSource(site.of(KafkaConfig), site.node, site.streams, site.clock)


CONNECTOR = Connector(
    name="kafka",
    sections=(KafkaConfig,),
    source=_source,
    template="""\
# [kafka]                        # needs: pip install 'eyeflow[kafka]'
# bootstrap_servers = "localhost:9092"
""",
    catalog="""\
[[source]]
name = "kafka"
address = "required"
form = "kafka-topic"
profiles = ["linux"]
unavailable = { mcu = "a microcontroller has no network; listen on its gateway" }
injected = { record_key = "text" }
doc = "A record of a Kafka topic: a JSON object. The field `record_key`, if declared, gets the record's key."
""",
)
