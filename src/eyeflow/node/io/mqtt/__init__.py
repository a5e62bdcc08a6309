"""The node's connections to its MQTT broker: one to receive, one to publish."""
