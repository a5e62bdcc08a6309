"""Brings Apache Kafka onto this machine, once: its jars, and an archive of their classes that makes it start faster.

What is fetched are the runtime dependencies of `org.apache.kafka:kafka_2.13`, by Maven, which checks them and knows
the mirrors and proxies of this machine. Without a network they come from a folder.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeflow.base.errors import ExitCode, EyeflowError
from eyeflow.base.reading import Unreadable, parse_json, read_text
from eyeflow.base.reasons import why
from eyeflow.node.broker.properties import properties

VERSION = "4.4.0"
SLF4J = "1.7.36"
JAVA_MIN = 17
MARK = "eyeflow-kafka.json"
ARCHIVE = "classes.jsa"
MAVEN_S = 1800
SHORT_S = 120
FREE_PORTS = (10_000, 32_000)
UNUSED = (
    "commons-beanutils",
    "commons-collections",
    "commons-digester",
    "commons-logging",
    "jackson-dataformat-yaml",
    "jspecify",
    "kafka-tools-api",
    "log4j-core",
    "scala-reflect",
    "snakeyaml",
)
"""What the broker never loads; log4j-core would also need a Java with its desktop."""

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>eyeflow</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{kafka}</version><scope>runtime</scope>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
      <version>{slf4j}</version><scope>runtime</scope>
    </dependency>
  </dependencies>
</project>
"""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KafkaHome:
    """An installed Kafka: its jars in the order of the class path, which the archive of classes depends on."""

    directory: Path
    version: str
    jars: tuple[str, ...]

    def command(self, java: str, heap_mb: int, main: str, *arguments: str) -> list[str]:
        """Return the command that runs a class of it."""
        archive = self.directory / ARCHIVE
        shared = (
            [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if archive.exists() else []
        )
        return [java, *flags(heap_mb), *shared, "-cp", self.class_path, main, *arguments]

    @property
    def class_path(self) -> str:
        """All jars, by absolute path."""
        return ":".join(str(self.directory / "libs" / jar) for jar in self.jars)


def flags(heap_mb: int) -> list[str]:
    """Return the options of a Java that is to be small."""
    small = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k", "-XX:ReservedCodeCacheSize=32m"]
    logged = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showThreadName=false"]
    # Without a crash the broker writes no file outside of its folder.
    return [f"-Xmx{heap_mb}m", *small, *logged, "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData"]


def find_home(directory: Path) -> KafkaHome:
    """Return what was set up there. Raises EyeflowError (code `no_kafka`) when nothing was, or not to the end."""
    try:
        told = parse_json(read_text(directory / MARK))
        home = KafkaHome(directory, str(told["version"]), tuple(map(str, told["jars"])))
        missing = [jar for jar in home.jars if not (directory / "libs" / jar).is_file()]
    except (OSError, Unreadable, KeyError, TypeError, ValueError) as error:
        raise _no_kafka(directory, why(error) if isinstance(error, OSError) else f"{MARK} there is damaged.") from error
    if missing:
        raise _no_kafka(directory, f"{missing[0]} is gone.")
    return home


def _no_kafka(directory: Path, cause: str) -> EyeflowError:
    return EyeflowError(
        f"there is no Kafka in {directory}", cause=cause, next_step="Run: eyeflow node kafka-setup", code="no_kafka"
    )


def java_version(java: str) -> int:
    """Return the feature version of a Java. Raises EyeflowError (code `no_java`) when there is none, or an old one."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=SHORT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_java(java, f"`{java}` does not run: {why(error)}.") from error
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if answer.returncode != 0 or found is None:
        raise _no_java(java, f"`{java} -version` failed.")
    if int(found[1]) < JAVA_MIN:
        raise _no_java(java, f"`{java}` is Java {found[1]}.")
    return int(found[1])


def _no_java(java: str, cause: str) -> EyeflowError:
    return EyeflowError(
        f"the embedded Kafka needs Java {JAVA_MIN} or newer",
        cause=cause,
        next_step="On Debian and Raspberry Pi OS: apt install default-jre-headless. Or set [kafka_embedded] java.",
        code="no_java",
    )


def set_up(directory: Path, java: str, source: Path | None, tell: Tell) -> KafkaHome:
    """Bring Kafka to `directory` from `source`, a folder with jars, or by Maven; nothing to do where it is already.

    `tell` is told each step. Raises EyeflowError: no Java, no Maven, no network, a folder without what is needed, one
    that holds something else, a disk that refuses.
    """
    java_version(java)
    home = _found(directory)
    try:
        if home is None or (home.version != VERSION and source is None):
            _require_own(directory)
            home = _bring(directory, source, tell)
        if not (directory / ARCHIVE).exists():
            tell("making the archive of its classes")
            _archive(home, java)
    except OSError as error:
        raise EyeflowError(
            f"cannot set Kafka up in {directory}",
            cause=why(error),
            next_step="Free space there, or name another folder with --home.",
            code="kafka_home",
        ) from error
    return home


def _require_own(directory: Path) -> None:
    """Refuse a folder with something else in it: what is there is replaced as a whole."""
    if directory.exists() and not (directory / MARK).is_file() and any(directory.iterdir()):
        raise EyeflowError(
            f"{directory} is not empty, and no Kafka of eyeflow",
            cause=f"It has no {MARK}.",
            next_step="Name an empty folder, or one that does not exist yet.",
            code="kafka_home",
            exit_code=ExitCode.USAGE,
        )


def _found(directory: Path) -> KafkaHome | None:
    try:
        return find_home(directory)
    except EyeflowError:
        return None


def _bring(directory: Path, source: Path | None, tell: Tell) -> KafkaHome:
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Beside the place where it is to be, so that it gets there in one step.
    with tempfile.TemporaryDirectory(prefix=".kafka-", dir=directory.parent) as scratch:
        new = Path(scratch) / "home"
        libs = new / "libs"
        libs.mkdir(parents=True)
        if source is None:
            tell(f"fetching Apache Kafka {VERSION} by Maven: about 40 MB")
            _fetch(Path(scratch), libs)
        else:
            tell(f"copying Apache Kafka from {source}")
            for jar in sorted(source.rglob("*.jar")):
                shutil.copyfile(jar, libs / jar.name)
        for jar in libs.glob("*.jar"):
            if jar.name.startswith(UNUSED):
                jar.unlink()
        home = KafkaHome(directory, _version_of(libs, source), tuple(sorted(jar.name for jar in libs.glob("*.jar"))))
        (new / MARK).write_text(json.dumps({"version": home.version, "jars": home.jars}, indent=1) + "\n")
        if directory.exists():
            shutil.rmtree(directory)
        new.rename(directory)
    return home


def _version_of(libs: Path, source: Path | None) -> str:
    found = [match[1] for jar in libs.iterdir() if (match := re.fullmatch(r"kafka_2\.13-(.+)\.jar", jar.name))]
    if len(found) == 1:
        return found[0]
    raise EyeflowError(
        f"{source or 'what Maven fetched'} is not the folder of one Kafka",
        cause=f"It has {len(found)} files kafka_2.13-VERSION.jar, and needs one with all that it depends on.",
        next_step="On a machine with a network run `eyeflow node kafka-setup`, and copy its folder `libs`.",
        code="bad_kafka",
        exit_code=ExitCode.PROBLEMS,
    )


def _fetch(scratch: Path, libs: Path) -> None:
    (scratch / "pom.xml").write_text(_POM.format(kafka=VERSION, slf4j=SLF4J))
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    try:
        run(["mvn", "-q", "-B", "-f", str(scratch / "pom.xml"), *goal], MAVEN_S)
    except FileNotFoundError as error:
        raise EyeflowError(
            "there is no Maven to fetch Kafka with",
            cause="`mvn` is not on the path.",
            next_step="On Debian: apt install maven. Or fetch it on another machine, and name its folder with --from.",
            code="no_maven",
        ) from error
    except Refused as error:
        raise EyeflowError(
            "Maven could not fetch Kafka",
            cause=error.told,
            next_step="Check the network, or fetch it on another machine and name its folder with --from.",
            code="fetch_failed",
        ) from error


def _archive(home: KafkaHome, java: str) -> None:
    """Let Java write down the classes that a start loads: the next starts take a third of the time."""
    with tempfile.TemporaryDirectory(prefix="eyeflow-kafka-") as scratch:
        file, port = Path(scratch) / "server.properties", free_port()
        file.write_text(properties(Path(scratch) / "data", port, 2, 1))
        make = f"-XX:ArchiveClassesAtExit={home.directory / ARCHIVE}"
        java_options = [java, *flags(64), make, "-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-cp", home.class_path]
        try:
            run([java, *flags(64), "-cp", home.class_path, *format_arguments(file)], SHORT_S)
            _run_until(port, [*java_options, "kafka.Kafka", str(file)])
        except Refused as error:
            raise EyeflowError(
                "this Kafka does not start",
                cause=error.told,
                next_step=f"Remove {home.directory}, and run `eyeflow node kafka-setup` again.",
                code="bad_kafka",
            ) from error


def _run_until(port: int, command: Sequence[str]) -> None:
    """Run a broker until it listens, and end it in good order. Raises Refused."""
    ends_s = time.monotonic() + SHORT_S
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None and not _listens(port) and time.monotonic() < ends_s:
                time.sleep(0.1)
            listened = process.poll() is None and _listens(port)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SHORT_S)
        finally:
            process.kill()
            process.wait()
        if not listened:
            told.seek(0)
            raise Refused(telling(told.read()) or "it did not listen in time")


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port on loopback that is free right now, as is the next one: none that the system gives to clients."""
    while True:
        port = secrets.choice(range(*FREE_PORTS, 2))
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port


def format_arguments(file: Path) -> tuple[str, ...]:
    """Return the class and the arguments that make the folder of a new broker."""
    return ("kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(file))


def cluster_id() -> str:
    """Return a new name of a cluster, as Kafka wants it: a UUID in 22 characters."""
    found = "-"
    while found.startswith("-"):  # its tools would take that for an option
        found = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return found


class Refused(Exception):  # noqa: N818 - it is an answer of a program
    """A program ended with an error; `told` is its last line."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


def run(command: Sequence[str], within_s: float) -> None:
    """Run a program to its end. Raises FileNotFoundError, or Refused with what it said last."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Refused(f"it did not end within {within_s:.0f} s") from error
    if done.returncode != 0:
        raise Refused(telling(done.stdout + "\n" + done.stderr) or f"it ended with code {done.returncode}")


def telling(output: str) -> str:
    """Return the line of a program's output that tells best why it failed, empty when there is none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return first_error(output) or "".join(lines[-1:])[:300]


def first_error(output: str) -> str:
    """Return the first line that tells of an error, empty when none does."""
    errors = (line.strip() for line in output.splitlines() if re.search("ERROR|Exception|Error", line))
    # That its logging has no provider is no failure of Kafka.
    return next((line for line in errors if "Log4j API" not in line), "")[:300]
