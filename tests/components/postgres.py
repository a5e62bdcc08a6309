"""A real PostgreSQL server, as an unprivileged user, on a socket of its own: nothing of it is left after the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from components.ports import free_port
from components.waiting import wait_until

NOBODY = 65534
_numbers = count(1)


class Server:
    """A server process. `url` names one schema of its own for each call, so that tests share one server."""

    def __init__(self, directory: Path, fsync: bool) -> None:
        self.directory, self.fsync = directory, fsync
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        run(directory, "initdb", "-D", str(directory / "data"), "-A", "trust", "-U", "eye", "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the process. It dies with the calling thread, so call it in one that lasts."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "shared_buffers": "16MB",
            "max_connections": "200",
            "fsync": "on" if self.fsync else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = _as_nobody(self.directory, "postgres", "-D", str(self.directory / "data"), *options)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait(self) -> None:
        wait_until(self._answers, f"a server, see {self.directory / 'log'}")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "log").read_text()
        try:
            psycopg.connect(self.admin_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop as an administrator does who does not wait: connections are cut (fast shutdown)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    @property
    def admin_url(self) -> str:
        return f"postgresql://eye@127.0.0.1:{self.port}/postgres"

    def url(self) -> str:
        """Return the address of an empty store."""
        schema = f"s{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        return f"{self.admin_url}?options=-csearch_path%3D{schema}"


@contextmanager
def running_server(fsync: bool = False) -> Iterator[Server]:
    # Below /tmp itself: the path of a socket has 107 characters at most, and each parent must let nobody through.
    directory = Path(tempfile.mkdtemp(prefix="eye-pg-"))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    try:
        server = Server(directory, fsync)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(directory: Path, program: str, *arguments: str) -> None:
    subprocess.run(_as_nobody(directory, program, *arguments), check=True, capture_output=True, cwd=directory)


def _as_nobody(directory: Path, program: str, *arguments: str) -> list[str]:
    """PostgreSQL refuses to run as root. It is killed with the thread that started it: no server outlives the tests."""
    command = ["setpriv", "--pdeathsig", "KILL", "env", f"HOME={directory}", str(_bin() / program), *arguments]
    if os.geteuid() != 0:
        return command
    # Before the signal is set: a process that becomes another user loses it.
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def _bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    assert on_path, "PostgreSQL is not installed: run scripts/install-test-deps.sh"
    return Path(on_path).parent
