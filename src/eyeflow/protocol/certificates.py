"""The cluster's own X.509 certificates (RFC 5280): a CA, its server certificate, and short ones for nodes. No I/O.

Texts are PEM. Keys are ECDSA P-256, which every TLS library takes. A node's certificate names the node as its common
name and may only open connections; the server's may only accept them.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_S = 10 * 365 * 86_400
SERVER_S = 90 * 86_400
NODE_S = 7 * 86_400
BACKDATE_S = 3600
"""A certificate is valid from an hour before it was made: clocks differ a little."""
CERTIFICATES_MAX = 32
"""Certificates in one text."""


class CertificateError(ValueError):
    """A text is no certificate, key or request that can be used; its message is for people."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is asked of a certificate: whom it names, until when, and its fingerprint (SHA-256 of its DER, in hex)."""

    common_name: str
    names: tuple[str, ...]
    from_us: int
    until_us: int
    fingerprint: str

    def is_valid(self, now_us: int) -> bool:
        """Say whether it holds at `now_us`."""
        return self.from_us <= now_us < self.until_us

    def is_due(self, now_us: int, left: float) -> bool:
        """Say whether it does not hold now, or less than `left` (0..1) of its time is left."""
        return not self.is_valid(now_us) or self.until_us - now_us < (self.until_us - self.from_us) * left


def split(pem: str) -> list[str]:
    """Return the certificates of a text, each as PEM, without anything around them. Raises CertificateError."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("it holds no certificate in PEM") from error
    if len(found) > CERTIFICATES_MAX:
        raise CertificateError(f"it holds more than {CERTIFICATES_MAX} certificates")
    return [_pem(one) for one in found]


def facts(pem: str) -> Facts:
    """Return the facts of the first certificate of a text. Raises CertificateError."""
    one = _certificate(pem)
    names = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternatives = tuple(str(name.value) for name in found)
    except x509.ExtensionNotFound:
        alternatives = ()
    return Facts(
        str(names[0].value) if names else "",
        alternatives,
        _us(one.not_valid_before_utc),
        _us(one.not_valid_after_utc),
        hashlib.sha256(one.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


def pem_of(der: bytes) -> str:
    """Return a certificate in DER as PEM. Raises CertificateError."""
    try:
        return _pem(x509.load_der_x509_certificate(der))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("it is no certificate") from error


@dataclass(frozen=True, slots=True)
class Request:
    """A new private key, and the request (RFC 2986) for a certificate of it. Only the request leaves the node."""

    key: str
    request: str

    @classmethod
    def new(cls, name: str) -> Request:
        """Return a request of `name` with a fresh key."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(_name(name)).sign(key, hashes.SHA256())
        return cls(_key_pem(key), request.public_bytes(serialization.Encoding.PEM).decode())


class Authority:
    """A CA: its certificate and key. `new` makes one, `of` reads one."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate, self._key = certificate, key

    @classmethod
    def new(cls, now_us: int, valid_s: int = CA_S) -> Authority:
        """Return a fresh CA. Its name is its own: an old and a new CA of a cluster are told apart by it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"eyeflow CA {x509.random_serial_number():x}"[:24])
        made = _builder(name, name, key.public_key(), now_us, valid_s)
        return cls(_as_authority(made, key.public_key(), key.public_key()).sign(key, hashes.SHA256()), key)

    @classmethod
    def of(cls, certificate: str, key: str) -> Authority:
        """Return the CA of a certificate and its key. Raises CertificateError."""
        try:
            loaded = serialization.load_pem_private_key(key.encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError("it holds no private key in PEM without a passphrase") from error
        found = _certificate(certificate)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != found.public_key():
            raise CertificateError("the key does not belong to the certificate")
        return cls(found, loaded)

    @property
    def certificate(self) -> str:
        """The CA's certificate."""
        return _pem(self._certificate)

    @property
    def key(self) -> str:
        """The CA's private key: whoever has it makes certificates that the whole cluster takes."""
        return _key_pem(self._key)

    def server(self, names: Sequence[str], now_us: int, valid_s: int = SERVER_S) -> tuple[str, str]:
        """Return certificate and key of a server at these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(_name(names[0][:64]), self._certificate.subject, key.public_key(), now_us, valid_s)
        made = made.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        return self._leaf(made, ExtendedKeyUsageOID.SERVER_AUTH, key.public_key()), _key_pem(key)

    def node(self, name: str, request: str, now_us: int, valid_s: int = NODE_S) -> str:
        """Return a certificate for the key of a request; it names `name`, whatever the request names.

        Raises CertificateError for a request that is malformed or was not made with its key.
        """
        try:
            asked = x509.load_pem_x509_csr(request.encode())
            key = asked.public_key()
            is_own = asked.is_signature_valid
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise CertificateError("it is no certificate request in PEM") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or not is_own:
            raise CertificateError("the request is not signed with an ECDSA P-256 key")
        made = _builder(_name(name), self._certificate.subject, key, now_us, valid_s)
        return self._leaf(made, ExtendedKeyUsageOID.CLIENT_AUTH, key)

    def vouch(self, other: Authority, now_us: int) -> str:
        """Return a certificate by this CA of another CA's key: who trusts this one only takes the other's, too."""
        left_s = (_us(self._certificate.not_valid_after_utc) - now_us) // 1_000_000
        other_key = other._key.public_key()
        made = _builder(other._certificate.subject, self._certificate.subject, other_key, now_us, left_s)
        return _pem(_as_authority(made, other_key, self._key.public_key()).sign(self._key, hashes.SHA256()))

    def signed(self, certificate: str) -> bool:
        """Say whether this CA signed a certificate. Raises CertificateError."""
        try:
            _certificate(certificate).verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _leaf(
        self, made: x509.CertificateBuilder, purpose: x509.ObjectIdentifier, key: ec.EllipticCurvePublicKey
    ) -> str:
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(by, critical=False)
        )
        return _pem(made.sign(self._key, hashes.SHA256()))


def is_self_signed(pem: str) -> bool:
    """Say whether a certificate is its own issuer: a CA, not what one CA says of another."""
    one = _certificate(pem)
    return one.subject == one.issuer


def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("it holds no certificate in PEM") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_us: int, valid_s: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(now_us // 1_000_000, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(seconds=BACKDATE_S))
        .not_valid_after(now + datetime.timedelta(seconds=valid_s))
    )


def _as_authority(
    made: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, by: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode())
    except UnicodeError as error:
        raise CertificateError(f"`{name[:80]}` is no host name or address") from error


def _us(time: datetime.datetime) -> int:
    return int(time.timestamp()) * 1_000_000


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()
