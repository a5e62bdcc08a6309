"""An Apache Kafka of the node's own: one broker on loopback, for gateways that have the memory."""
