"""TLS towards the broker."""

from __future__ import annotations

import ssl

from eyeflow.base.errors import EyeflowError
from eyeflow.base.private import STRANGERS, require_private
from eyeflow.base.reasons import why
from eyeflow.node.io.mqtt.settings import TlsConfig


class _TlsSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        """Close the socket of a failed handshake: paho forgets it."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return the client's TLS context: the server is always verified, TLS 1.2 or newer."""
    try:
        context = ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
        context.sslsocket_class = _TlsSocket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.cert_file is not None:
            require_private(config.key_file or config.cert_file, "the key of [mqtt.tls]", STRANGERS)
            context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        raise EyeflowError(
            "cannot load the TLS files of [mqtt.tls]",
            cause=why(error),
            next_step="Check that ca_file, cert_file and key_file are readable PEM files and that the key fits.",
            code="tls_files",
        ) from error
    return context
