"""The coordinator's own CA and server certificate, as files in `tls/` of its data directory.

`authority.pem` (0600) holds the CA's key and certificate, then what earlier CAs say of it and those CAs themselves;
`server.pem` (0600) the server's key and its chain; `ca.pem` what clients trust. Each is written whole: a crash between
two of them is mended by the next start.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.private import require_private
from eyeflow.base.reading import Unreadable, read_text
from eyeflow.base.reasons import why
from eyeflow.base.whole_file import write_whole
from eyeflow.protocol import certificates
from eyeflow.protocol.certificates import Authority, CertificateError, Facts

TLS_DIR = "tls"
AUTHORITY_FILE, SERVER_FILE, CA_FILE = "authority.pem", "server.pem", "ca.pem"
FILE_BYTES_MAX = 256 * 1024
PIN_CHARACTERS = 32
"""How much of the CA's fingerprint a join token carries: 128 bit, as nobody finds another certificate with it."""
SERVER_LEFT = 1 / 3
"""The server's certificate is renewed when less than this share of its time is left."""
NAMES_MAX = 64
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]{0,252}[A-Za-z0-9])?|::1?")
_KEY = re.compile(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CA that signs now, what earlier ones say of it (`vouched`), and those (`earlier`), the newest first."""

    current: Authority
    vouched: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    def dump(self) -> str:
        """Return the text of `authority.pem`."""
        return self.current.key + self.current.certificate + "".join(self.vouched) + "".join(self.earlier)

    @classmethod
    def load(cls, text: str) -> Authorities:
        """Return what `dump` wrote. Raises CertificateError."""
        key = _KEY.search(text)
        if key is None:
            raise CertificateError("it holds no private key")
        first, *others = certificates.split(text)
        earlier = tuple(one for one in others if certificates.is_self_signed(one))
        vouched = tuple(one for one in others if one not in earlier)
        return cls(Authority.of(first, key[0]), vouched, earlier)

    def replaced(self, now_us: int) -> Authorities:
        """Return the same with a new CA. Who trusts an earlier one takes the new one's certificates, too.

        An earlier CA that has expired is left out: nobody takes it any more.
        """
        new = Authority.new(now_us)
        before = (self.current.certificate, *self.earlier)
        earlier = tuple(one for one in before if certificates.facts(one).is_valid(now_us))
        return Authorities(new, (self.current.vouch(new, now_us), *self.vouched), earlier)

    def forgotten(self) -> Authorities:
        """Return the same without the earlier CAs."""
        return Authorities(self.current)


class OwnTls:
    """The files in `directory`, read when it is made and again by `refresh`. Raises EyeflowError `tls_file`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read()

    def _read(self) -> None:
        path = self._directory / AUTHORITY_FILE
        require_private(path, "the key of the cluster's CA")
        self._seen = _stamp(path), _stamp(self.server_file)
        try:
            self._all = Authorities.load(read_text(path, FILE_BYTES_MAX))
        except (OSError, Unreadable, CertificateError) as error:
            raise _unusable(path, error) from error
        self.authority = self._all.current
        self.fingerprint = certificates.facts(self.authority.certificate).fingerprint

    @property
    def pin(self) -> str:
        """What a join token carries of the CA."""
        return self.fingerprint[:PIN_CHARACTERS]

    @property
    def ca(self) -> str:
        """The CA that clients and nodes shall trust."""
        return self.authority.certificate

    @property
    def earlier(self) -> tuple[str, ...]:
        """The CAs before this one whose certificates are taken, too; the newest first."""
        return self._all.earlier

    @property
    def client_cas(self) -> str:
        """The CAs whose certificates of nodes are taken: those of earlier ones run out within days."""
        return self.authority.certificate + "".join(self._all.earlier)

    @property
    def ca_file(self) -> Path:
        """The file for `--ca-file` and client profiles."""
        return self._directory / CA_FILE

    @property
    def server_file(self) -> Path:
        """Key and chain of the server."""
        return self._directory / SERVER_FILE

    def server_facts(self) -> Facts:
        """Return the facts of the server's certificate. Raises EyeflowError."""
        try:
            return certificates.facts(read_text(self.server_file, FILE_BYTES_MAX))
        except (OSError, Unreadable, CertificateError) as error:
            raise _unusable(self.server_file, error) from error

    def prepare(self, now_us: int) -> None:
        """Mend what a crash or an earlier CA left, and renew the server's certificate when it is time.

        Raises EyeflowError when a file cannot be read or written.
        """
        if not self.ca_file.exists() or self.ca_file.read_text() != self.ca:
            _write(self.ca_file, self.ca, 0o644)
        names: Sequence[str] = DEFAULT_NAMES
        if self.server_file.exists():
            known = self.server_facts()
            names = known.names or names
            if not known.is_due(now_us, SERVER_LEFT) and self._is_signed_now():
                return
        self.make_server(names, now_us)

    def _is_signed_now(self) -> bool:
        try:
            chain = certificates.split(read_text(self.server_file, FILE_BYTES_MAX))
        except (OSError, Unreadable, CertificateError):
            return False
        return chain[1:] == self._chain() and self.authority.signed(chain[0])

    def _chain(self) -> list[str]:
        """What follows the server's certificate: what earlier CAs say of this one, for those who know only them."""
        return list(self._all.vouched)

    def make_server(self, names: Sequence[str], now_us: int) -> None:
        """Write a new server certificate for these names. Raises EyeflowError."""
        try:
            certificate, key = self.authority.server(names, now_us)
        except CertificateError as error:
            raise _bad_name(str(error)) from error
        _write(self.server_file, key + certificate + "".join(self._chain()), 0o600)
        self._seen = _stamp(self._directory / AUTHORITY_FILE), _stamp(self.server_file)

    def replace_authority(self, now_us: int) -> None:
        """Make a new CA; the server's certificate is then of that one. Raises EyeflowError."""
        names = self.server_facts().names
        self._keep(self._all.replaced(now_us))
        self.make_server(names, now_us)

    def forget_earlier(self, now_us: int) -> None:
        """Take no certificate of an earlier CA any more. Raises EyeflowError."""
        names = self.server_facts().names
        self._keep(self._all.forgotten())
        self.make_server(names, now_us)

    def _keep(self, authorities: Authorities) -> None:
        _write(self._directory / AUTHORITY_FILE, authorities.dump(), 0o600)
        self._read()
        _write(self.ca_file, self.ca, 0o644)

    def context(self) -> ssl.SSLContext:
        """Return the server's context: a client may show a certificate, and then it must be one of this cluster.

        Raises EyeflowError.
        """
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.verify_mode = ssl.CERT_OPTIONAL
        try:
            made.load_cert_chain(self.server_file)
            made.load_verify_locations(cadata=self.client_cas)
        except (OSError, ValueError) as error:
            raise _unusable(self.server_file, error) from error
        return made

    def refreshed(self, now_us: int) -> ssl.SSLContext | None:
        """Renew what is due, read again what a command has changed, and return the context that holds from now on.

        None: the one before still does. Raises EyeflowError.
        """
        before = self._seen
        if before != (_stamp(self._directory / AUTHORITY_FILE), _stamp(self.server_file)):
            self._read()
        self.prepare(now_us)
        return None if self._seen == before else self.context()


DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")
"""A server certificate always holds these: commands on the coordinator's machine use them."""


def open_tls(data_dir: Path) -> OwnTls | None:
    """Return the CA in a data directory, None when `init` has made none. Raises EyeflowError `tls_file`."""
    directory = data_dir / TLS_DIR
    return OwnTls(directory) if (directory / AUTHORITY_FILE).exists() else None


def init_tls(data_dir: Path, names: Sequence[str], now_us: int) -> OwnTls:
    """Make a CA and a server certificate for `names`. Raises EyeflowError."""
    directory = data_dir / TLS_DIR
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(directory, error) from error
    _write(directory / AUTHORITY_FILE, Authorities(Authority.new(now_us)).dump(), 0o600)
    made = OwnTls(directory)
    made.make_server(names, now_us)
    made.prepare(now_us)
    return made


def server_names(given: Sequence[str]) -> tuple[str, ...]:
    """Return the names for a server certificate: those given or the machine's, and DEFAULT_NAMES.

    Raises EyeflowError `usage`.
    """
    own = socket.gethostname()
    first = given or ([own] if _HOST.fullmatch(own) else [])
    names = tuple(dict.fromkeys((*first, *DEFAULT_NAMES)))
    for name in names:
        if _HOST.fullmatch(name) is None:
            raise _bad_name(f"`{name[:80]}` is no host name or address")
    if len(names) > NAMES_MAX:
        raise _bad_name(f"{len(names)} names are more than {NAMES_MAX}")
    return names


def _bad_name(cause: str) -> EyeflowError:
    return EyeflowError(
        "the server certificate cannot be made for these names",
        cause=cause,
        next_step="give names and addresses without scheme and port: --name plant.example --name 192.168.1.10",
        code="usage",
        exit_code=ExitCode.USAGE,
    )


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written again."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_ino


def _write(path: Path, text: str, mode: int) -> None:
    try:
        write_whole(path, text.encode(), mode)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> EyeflowError:
    return EyeflowError(
        f"cannot write {path}",
        cause=why(error),
        next_step="check that the disk is not full and that you may write there",
        code="cannot_write",
    )


def _unusable(path: Path, error: Exception) -> EyeflowError:
    return EyeflowError(
        f"{path} cannot be used",
        cause=why(error),
        next_step="bring it back from a backup; or move the folder tls away, run `eyeflow coordinator init`, and let "
        "the nodes join again",
        code="tls_file",
    )
