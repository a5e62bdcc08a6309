"""confluent-kafka as this node uses it: what all of its clients are told, and what they say when they fail."""

from __future__ import annotations

from typing import Any

from eyeflow.base.errors import EyeflowError
from eyeflow.base.private import STRANGERS, require_private
from eyeflow.base.reasons import why
from eyeflow.node.config.tables import secret
from eyeflow.node.io.kafka.settings import KafkaConfig, KafkaTlsConfig

try:
    import confluent_kafka as ck
except ImportError as error:
    raise EyeflowError(
        "Kafka needs a package that is not installed",
        cause="confluent-kafka is an extra: not every node needs it.",
        next_step="pip install 'eyeflow[kafka]'",
        code="no_package",
    ) from error

__all__ = ["ck", "refusal_text", "security_of"]

REFRESH_MS = 10_000
"""How often the brokers are asked whether a topic or a partition has come."""


def security_of(config: KafkaConfig, node: str) -> dict[str, Any]:
    """Return where the brokers are, and how to speak to them. Raises EyeflowError: a secret or a key is not there."""
    security = ("SASL_" if config.sasl else "") + ("SSL" if config.tls else "PLAINTEXT")
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.servers),
        "client.id": f"eyeflow-{node}",
        "topic.metadata.refresh.interval.ms": REFRESH_MS,
        "reconnect.backoff.max.ms": 10_000,
        "security.protocol": security,
        # What it would write to stderr comes to `error_cb`, too. A `logger` is no way: confluent-kafka 2.16 ends
        # the process when librdkafka logs outside of a poll.
        "log_level": 0,
    }
    if config.sasl is not None:
        password = secret("kafka.sasl", config.sasl.password_env, config.sasl.password_file)
        settings |= {"sasl.mechanism": config.sasl.mechanism}
        settings |= {"sasl.username": config.sasl.username, "sasl.password": password}
    return settings if config.tls is None else settings | _tls(config.tls)


def _tls(tls: KafkaTlsConfig) -> dict[str, str]:
    key_file = tls.key_file or tls.cert_file  # a certificate's file may hold its key, too
    files = {"ssl.ca.location": tls.ca_file, "ssl.certificate.location": tls.cert_file, "ssl.key.location": key_file}
    try:
        if key_file is not None:
            require_private(key_file, "the key of [kafka.tls]", STRANGERS)
        for path in filter(None, files.values()):
            path.open("rb").close()
    except OSError as error:
        raise EyeflowError(
            "cannot read the TLS files of [kafka.tls]",
            cause=why(error),
            next_step="Check that ca_file, cert_file and key_file are readable PEM files.",
            code="tls_files",
        ) from error
    return {key: str(path) for key, path in files.items() if path is not None}


def is_fatal(refusal: Any) -> bool:
    """Return whether a KafkaException ends its producer: librdkafka has given up its promises for it."""
    return bool(refusal.args[0].fatal())


def refusal_text(refusal: Any) -> str:
    """Return librdkafka's own sentence of a KafkaException."""
    told = refusal.args[0] if refusal.args else None
    return str(told.str()) if isinstance(told, ck.KafkaError) else why(refusal)
