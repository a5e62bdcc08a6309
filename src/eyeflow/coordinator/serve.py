"""`eyeflow coordinator start`: the store, the first token, the socket and the server, until a signal or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from eyeflow.base.clock import NowUs, steady_clock_us, wall_clock_us
from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.private import STRANGERS, WRITERS, require_private
from eyeflow.base.reasons import why
from eyeflow.client.profile import ClientProfile, write_secret
from eyeflow.coordinator.alarms import Certificate, read_certificate
from eyeflow.coordinator.app import make_app
from eyeflow.coordinator.archive.archive import Archive
from eyeflow.coordinator.archive.database import FOREIGN, Bounds, Cosign
from eyeflow.coordinator.archive.sqlite_archive import ARCHIVE_FILE, DAMAGED_FILE, USUAL_BOUNDS
from eyeflow.coordinator.archive.usual import cosigner, shared_archive, usual_archive
from eyeflow.coordinator.cluster_key import KEY_FILE, ClusterKey
from eyeflow.coordinator.hub import Hub
from eyeflow.coordinator.store.cluster_store import ClusterStore
from eyeflow.coordinator.store.facts import Kept
from eyeflow.coordinator.store.sqlite_store import SqliteStore
from eyeflow.coordinator.tls import FILE_BYTES_MAX, OwnTls, open_tls
from eyeflow.coordinator.tokens import COORDINATOR, Role
from eyeflow.net.listener import tcp_socket
from eyeflow.net.places import Limits
from eyeflow.net.server import Server, link_config
from eyeflow.protocol.certificates import Facts
from eyeflow.protocol.wire import MESSAGE_BYTES_MAX
from eyeflow.rollout.deployment import NODES_MAX

_log = logging.getLogger("eyeflow.coordinator")

PORT = 7700
PING_S = 15.0
"""WebSocket pings on node links; a node that does not answer in this time again is gone."""
STOP_S = 5
"""How long a stop waits for open requests."""
LIMITS = Limits(connections_max=NODES_MAX + 2_048, per_address_max=256)
"""Connections: a link of each node, and what commands, browsers and nodes that join need beside them.

Links of nodes do not count against their address: a whole plant may stand behind one."""
STORE_FILE = "coordinator.sqlite"
TOKEN_FILE = "admin-token"
FIRST_TOKEN = "first-admin"
GOODBYE_S = 1.0
"""How long a stop waits for those who watch the changes to hear of it."""
HELP_TEXT = (
    "make a CA and a certificate with `eyeflow coordinator init --name HOST`; or use --tls-cert and --tls-key, or "
    "--insecure when another layer protects the network"
)
FRESH_S = 10.0
"""How often the coordinator looks whether its certificate is due or was changed."""


class Exposure(Enum):
    """Whether plain HTTP beyond loopback is allowed: only on the user's explicit word."""

    SAFE = "safe"
    INSECURE = "insecure"


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. `profile_path` None: write no client profile. `trusted` are signer keys to trust, by name."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = PORT
    exposure: Exposure = Exposure.SAFE
    tls_cert: Path | None = None
    tls_key: Path | None = None
    profile_path: Path | None = None
    trusted: tuple[tuple[str, bytes], ...] = ()
    archive: Bounds = USUAL_BOUNDS
    limits: Limits = LIMITS
    store: str = ""
    """Address of a PostgreSQL database that several coordinators share; empty: a SQLite file in `data_dir`."""


@dataclass(frozen=True, slots=True)
class Started:
    """What the CLI tells once the coordinator listens. `first` carries what only the first start has."""

    url: str
    coordinator_id: str
    token_path: Path
    first_start: bool
    profile_written: bool
    nodes: int


async def serve(
    options: ServeOptions,
    on_started: Callable[[Started], None],
    stop: asyncio.Event | None = None,
    *,
    clock: NowUs = wall_clock_us,
    steady: NowUs = steady_clock_us,
    machine: Machine | None = None,
    listen: Callable[[str, int], socket.socket] | None = None,
    open_store: Callable[[Path, Machine], ClusterStore] | None = None,
    open_archive: Callable[[Path, Machine, Cosign, Bounds], Archive] = usual_archive,
) -> None:
    """Serve until a signal of `STOP_SIGNALS` or `stop`; raises EyeflowError when port, store or options refuse.

    `clock`, `steady`, `machine`, `listen` (see `bind`), `open_store` and `open_archive` are the usual ones unless a
    simulation hands in its own.
    """
    machine = machine or Machine()
    tls = open_tls(options.data_dir) if options.tls_cert is None and options.tls_key is None else None
    check_exposure(options, tls)
    check_certificate(options)
    with contextlib.closing((listen or bind)(options.host, options.port)) as listener, _locked(options.data_dir):
        path = options.data_dir / STORE_FILE
        store = open_store(path, machine) if open_store is not None else usual_store(options, machine)
        archive = None
        try:
            archive, missing = _archive(store, options, machine, open_archive)
            hub = await Hub.started(store, clock, steady, machine.random, archive)
            hub.tls, hub.copies.missing = tls, missing
            if tls is not None:
                tls.prepare(hub.clock())
                await hub.authorities.note(tls, hub.clock())
            hub.alarms.find = lambda: _certificates(options, tls)
            hub.archive_alarms.evidence = options.data_dir / DAMAGED_FILE
            url = _url(options, listener.getsockname()[1], is_tls=options.tls_cert is not None or tls is not None)
            started = await prepare(hub, options, url)
            server = _TellingServer(hub, options, lambda: on_started(started))
            await _until(server, listener, stop or asyncio.Event())
            await hub.leave()
        finally:
            if archive is not None:
                archive.close()
            store.close()


def _archive(
    store: ClusterStore,
    options: ServeOptions,
    machine: Machine,
    open_archive: Callable[[Path, Machine, Cosign, Bounds], Archive],
) -> tuple[Archive | None, str]:
    """Return the archive, or why there is none: deployments must not wait for somebody to look at a damaged file."""
    try:
        if store.is_shared:
            return shared_archive(store, options.store, options.archive), ""
        return open_archive(options.data_dir / ARCHIVE_FILE, machine, cosigner(store), options.archive), ""
    except EyeflowError as error:
        if error.code != FOREIGN:
            raise
        _log.warning("the audit of nodes is not collected: %s", error.whole)
        return None, error.whole


def usual_store(options: ServeOptions, machine: Machine) -> ClusterStore:
    """Open the store that the options name; raises EyeflowError when it, or the library for it, cannot be used."""
    if not options.store:
        return SqliteStore(options.data_dir / STORE_FILE, machine)
    try:
        from eyeflow.coordinator.store.postgres_store import PostgresStore
    except ImportError as error:
        raise EyeflowError(
            "this eyeflow cannot talk to PostgreSQL",
            cause="the package psycopg is not installed, or its library libpq is missing",
            next_step="install it with the extra: pip install 'eyeflow[postgres]'",
            code="postgres_missing",
        ) from error
    key = ClusterKey(options.data_dir / KEY_FILE, machine.random)
    return PostgresStore(options.store, key, machine.random)


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep a second coordinator off the store: each would send its own idea of what the nodes shall run."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EyeflowError(
            f"cannot make the coordinator's directory {data_dir}",
            cause=why(error),
            next_step="choose a --data-dir that you may write",
            code="data_dir",
        ) from error
    require_private(data_dir, "the coordinator's data directory", WRITERS)
    for name in (STORE_FILE, TOKEN_FILE, KEY_FILE):
        require_private(data_dir / name, f"the coordinator's {name}")
    lock = DataDirLock(data_dir, "coordinator")
    try:
        yield
    finally:
        lock.release()


async def _until(server: _TellingServer, listener: socket.socket, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:

        async def watch() -> None:
            await stop.wait()
            server.should_exit = True

        working = [tasks.create_task(watch()), tasks.create_task(server.keep_tls_fresh())]
        await server.serve(sockets=[listener])
        for task in working:
            task.cancel()


def check_exposure(options: ServeOptions, own: OwnTls | None = None) -> None:
    """Refuse to listen beyond loopback without TLS, unless forced."""
    tls = options.tls_cert is not None
    if tls != (options.tls_key is not None):
        raise EyeflowError(
            "TLS needs a certificate and its key",
            cause="only one of the two was given",
            next_step="give both --tls-cert and --tls-key",
            code="tls_incomplete",
            exit_code=ExitCode.USAGE,
        )
    for path in (options.tls_cert, options.tls_key):
        if path is not None and not path.is_file():
            raise EyeflowError(
                f"the TLS file {path} is not there", cause="no such file", next_step=HELP_TEXT, code="tls_file"
            )
    if not tls and own is None and options.exposure is Exposure.SAFE and not _is_loopback(options.host):
        raise EyeflowError(
            f"refusing to listen on {options.host} without TLS",
            cause="tokens and programs would cross the network in the clear",
            next_step=HELP_TEXT,
            code="insecure_bind",
            exit_code=ExitCode.USAGE,
        )


def check_certificate(options: ServeOptions) -> None:
    """Refuse a certificate or key that no TLS server can use."""
    if options.tls_cert is None or options.tls_key is None:
        return
    require_private(options.tls_key, "the key of the certificate", STRANGERS)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (OSError, ValueError) as error:
        raise EyeflowError(
            f"the certificate {options.tls_cert} with the key {options.tls_key} cannot be used",
            cause=why(error),
            next_step="give PEM files: the certificate with its chain, and its private key without a passphrase",
            code="tls_file",
        ) from error


def _certificates(options: ServeOptions, own: OwnTls | None) -> list[Certificate]:
    """Return the certificates that are shown, and the CA. Raises EyeflowError."""
    if options.tls_cert is not None:
        return [read_certificate(options.tls_cert, FILE_BYTES_MAX)]
    return [read_certificate(path, FILE_BYTES_MAX) for path in (own.server_file, own.ca_file)] if own else []


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; raises EyeflowError `port_in_use` or `bind` with the next step."""
    try:
        return tcp_socket(host, port)
    except OSError as error:
        in_use = error.errno == 98
        raise EyeflowError(
            f"cannot listen on {host}:{port}",
            cause="another process uses this port" if in_use else (why(error)),
            next_step="is a coordinator running already? see `eyeflow status`; or choose another --port",
            code="port_in_use" if in_use else "bind",
        ) from error


async def prepare(hub: Hub, options: ServeOptions, url: str) -> Started:
    """Make an admin token when none works, and then the local client profile if there is none; trust the given keys.

    Whoever may write the data directory may do anything, so nobody is locked out by tokens that have expired.
    """
    first, profile = not await hub.tokens.has_admin(), False
    token_path = options.data_dir / TOKEN_FILE
    if first:
        token = (await hub.tokens.create(FIRST_TOKEN, Role.ADMIN, hub.clock(), COORDINATOR, 0)).secret
        write_secret(token_path, token + "\n")
    if options.profile_path is not None:
        ca_file = str(hub.tls.ca_file if hub.tls is not None else options.tls_cert or "")
        profile = _keep_profile(options.profile_path, token_path, url, ca_file, is_first=first)
    await _trust(hub, options.trusted)
    nodes = await hub.store.read(lambda reading: reading.count(Kept.NODES))
    return Started(url, hub.store.coordinator_id, token_path, first, profile, nodes)


def _keep_profile(path: Path, token_path: Path, url: str, ca_file: str, *, is_first: bool) -> bool:
    """Write the client profile when there is none, or when it is the one of this coordinator as it was reached before.

    So the commands of this user go on after the coordinator got a CA or another port.
    """
    try:
        token = token_path.read_text().strip()
    except OSError:
        return False
    if not path.exists():
        if is_first:
            ClientProfile(url, token, ca_file).write(path)
        return is_first
    try:
        known = ClientProfile.load(path, {})
    except EyeflowError:
        return False
    wanted = ClientProfile(url, token, ca_file)
    if known.token != token or known == wanted or not _is_loopback(urlsplit(known.url).hostname or ""):
        return False
    wanted.write(path)
    return True


async def _trust(hub: Hub, keys: Iterable[tuple[str, bytes]]) -> None:
    """Keys that were revoked here stay revoked: only the API trusts them again."""
    known = {key.public_key for key in await hub.store.read(lambda reading: reading.signers())}
    for name, public_key in keys:
        if public_key not in known:
            await hub.programs.trust(public_key, name, hub.clock(), COORDINATOR)


def _url(options: ServeOptions, port: int, *, is_tls: bool) -> str:
    scheme = "https" if is_tls else "http"
    host = options.host if options.host not in {"0.0.0.0", "::"} else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _TellingServer(Server):
    """Tells when it listens, and renews its certificate while it runs."""

    def __init__(self, hub: Hub, options: ServeOptions, on_started: Callable[[], None]) -> None:
        config = link_config(
            make_app(hub),
            MESSAGE_BYTES_MAX,
            PING_S,
            timeout_graceful_shutdown=STOP_S,
            ssl_certfile=os.fspath(options.tls_cert) if options.tls_cert else None,
            ssl_keyfile=os.fspath(options.tls_key) if options.tls_key else None,
            ssl_context_factory=(lambda *_: tls.context()) if (tls := hub.tls) is not None else None,
        )
        self._hub = hub
        super().__init__(config, "coordinator", options.limits, obeys_signals=True)
        self._on_started = on_started

    async def keep_tls_fresh(self) -> None:
        """Renew the own certificate, and use what a command has changed, until cancelled."""
        tls = self._hub.tls
        while tls is not None:
            await asyncio.sleep(FRESH_S)
            try:
                context = await asyncio.to_thread(tls.refreshed, self._hub.clock())
                if context is not None and self.listener is not None:
                    self.listener.use_tls(context)
                    _log.info("new connections use the certificate that is valid until %s", _day(tls.server_facts()))
                await self._hub.authorities.note(tls, self._hub.clock())
            except EyeflowError as error:
                _log.error("%s", error.whole)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say why before uvicorn closes the connections without a word; see `uvicorn.Server`."""
        self._hub.close_links()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._hub.feed.left.wait()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def _day(facts: Facts) -> str:
    return datetime.fromtimestamp(facts.until_us // 1_000_000, UTC).strftime("%Y-%m-%d")
