"""`make demo`: a coordinator and two nodes on this machine, rules on real and recorded input, and a clean end.

Everything lives in ./demo-data and on free loopback ports; nothing of the user's own configuration is read or changed.
Each step shows the command that it runs, so that it can be tried by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / os.environ.get("DEMO_DATA", "demo-data")
EYEFLOW = Path(sys.executable).parent / "eyeflow"
STEP_S = 120.0
"""How long one step may take; a demo that hangs is worse than one that fails."""
POLL_S = 0.2
CONFIG = "eyeflow-svm.toml"

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("EYEFLOW_")} | {
    "XDG_CONFIG_HOME": str(DATA / "config"),
    "XDG_DATA_HOME": str(DATA / "share"),
    "PYTHONUNBUFFERED": "1",
}


class DemoFailed(Exception):  # noqa: N818 - the word of the field
    """A step did not do what it shows."""


def styled(text: str, style: str) -> str:
    """Return a text in an ANSI style (1 bold, 36 cyan) on a terminal; see https://no-color.org."""
    return f"\x1b[{style}m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def title(text: str) -> None:
    """Say what the next step shows."""
    print(styled(f"\n== {text}", "1"), flush=True)


def say_command(arguments: tuple[str, ...], end: str = "") -> None:
    """Show a command before it runs."""
    print(styled(f"$ eyeflow {shown(arguments)}{end}", "36"), flush=True)


def shown(arguments: tuple[str, ...]) -> str:
    """Return a command as a user would type it from the project's root."""
    words = [word.replace(f"{ROOT}/", "") for word in arguments]
    return " ".join(f"'{word}'" if any(c in word for c in " ()*") else word for word in words)


def eyeflow(*arguments: str, quiet: bool = False, code: int = 0) -> str:
    """Run a command that ends with `code`, show it and what it printed, and return its standard output."""
    if not quiet:
        say_command(arguments)
    done = subprocess.run(
        [EYEFLOW, *arguments], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, timeout=STEP_S
    )
    if not quiet or done.returncode != code:
        for line in (done.stdout + done.stderr).splitlines():
            print(f"  {line}".rstrip(), flush=True)
    if done.returncode != code:
        raise DemoFailed(f"eyeflow {shown(arguments)} ended with exit code {done.returncode}")
    return done.stdout


def until(what: str, condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    ends = time.monotonic() + STEP_S
    while not condition():
        if time.monotonic() > ends:
            raise DemoFailed(f"waited {STEP_S:.0f} s in vain: {what}")
        time.sleep(POLL_S)


@contextmanager
def service(name: str, *arguments: str) -> Iterator[Path]:
    """Run a daemon in the background; gives its log file, ends it with SIGTERM."""
    say_command(arguments, " &")
    log = DATA / f"{name}.log"
    with log.open("w") as out:
        process = subprocess.Popen([EYEFLOW, *arguments], stdout=out, stderr=out, env=ENVIRONMENT, cwd=ROOT)
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STEP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def follow(log: Path, marker: str, count: int, note: str) -> None:
    """Show the lines of a log that hold `marker`, until there were `count`."""
    print(f"  {note}", flush=True)
    seen = 0

    def more() -> bool:
        nonlocal seen
        lines = [line for line in log.read_text().splitlines() if marker in line]
        for line in lines[seen:count]:
            print(f"  | {line}", flush=True)
        seen = len(lines)
        return seen >= count

    until(f"{count} lines with {marker} in {log.name}", more)


def start_coordinator(stack: ExitStack) -> str:
    """Start the coordinator on a free port and return its URL."""
    log = stack.enter_context(service("coordinator", "coordinator", "start", "--port", "0", "--json"))
    until("the coordinator listens", lambda: log.read_text().startswith("{") and "\n" in log.read_text())
    url = str(json.loads(log.read_text().splitlines()[0])["url"])
    print(f"  it listens on {url}")
    return url


def add_node(name: str, url: str) -> Path:
    """Set up a node and let it join; returns its folder."""
    folder = DATA / name
    folder.mkdir()
    (folder / "adc0").write_text("400\n")
    config = folder / CONFIG
    eyeflow("node", "init", name, "--out", str(config), quiet=True)
    config.write_text(config.read_text() + f'\n[adc.channels]\n0 = "{folder / "adc0"}"\n')
    token = eyeflow("coordinator", "join-token", quiet=True).strip()
    eyeflow("node", "join", url, "--token", token, "--config", str(config), quiet=True)
    print(f"  {name} was set up and has joined, with a key of its own: {config.relative_to(ROOT)}")
    return folder


def heat(folder: Path, counts: int) -> None:
    """Set the simulated analog input of a node: what a probe would do."""
    draft = folder / "adc0.new"
    draft.write_text(f"{counts}\n")
    draft.replace(folder / "adc0")


def tour() -> None:
    """Run the whole demonstration, or its first six steps where the cluster stays."""
    title("1. Rules are programs: check them, play their tests on a virtual clock")
    eyeflow("check", "examples")
    eyeflow("test", "examples/overheat_relay", "examples/host_monitor")
    title("2. What would a rule have done? A recording of a machine on its way to a failure")
    example = "examples/machine_failure_warning"
    eyeflow("run", f"{example}/machine_failure_warning.eye", "--events", f"{example}/recording.csv")
    with ExitStack() as stack:
        title("3. A cluster: one coordinator that knows what shall run where, two nodes that run it")
        eyeflow("keys", "new", quiet=True)
        with ExitStack() as coordinator:
            url = start_coordinator(coordinator)
            folders = {name: add_node(name, url) for name in ("node-a", "node-b")}
            logs = {
                name: stack.enter_context(service(name, "node", "start", "--config", str(folder / CONFIG)))
                for name, folder in folders.items()
            }
            for log in logs.values():
                until("the node runs", lambda log=log: "runs:" in log.read_text())  # type: ignore[misc]
            show_cluster(folders["node-a"], logs["node-a"])
            show_dashboard()
            if os.environ.get("KEEP"):
                stay()
                return
        title("7. The coordinator was stopped. The nodes run on, and so do their records")
        heat(folders["node-a"], 400)
        follow(logs["node-a"], "relay off", 1, "the probe of node-a cools down again:")
    eyeflow("audit", "verify", "--data-dir", "demo-data/node-a/data")


def show_cluster(folder: Path, log: Path) -> None:
    """Deploy, watch real input act, and look at the cluster and its audit."""
    title("4. Compile: what a rule can at most do is proven before it runs. Sign, and deploy")
    relay = "examples/overheat_relay/overheat_relay.eye"
    eyeflow("compile", relay, "--sign", "default", "--out", "demo-data/overheat_relay.svm")
    eyeflow("deploy", "examples/host_monitor/host_monitor.eye", "--all", "--param", "heartbeat=2s")
    eyeflow("deploy", relay, "--nodes", "node-a")
    title("5. They act: only signed programs, and each action only after its record is on the disk")
    follow(
        log,
        "rule host_monitor: cpu",
        2,
        "host_monitor on node-a reads this machine's processor, memory and temperature:",
    )
    heat(folder, 912)
    follow(
        log, "relay on", 1, "overheat_relay: the probe of node-a now shows 91.2 degrees; nothing for two seconds, then:"
    )
    title("6. What runs where, and why the relay switched: inputs, branches, state, and the same decision again")
    eyeflow("status")
    which = ("executions", "--rule", "overheat_relay", "--action", "log.warn", "-n", "1")
    until("the coordinator has copied it", lambda: bool(eyeflow(*which, "--json", quiet=True)))
    eyeflow(*which)
    found = json.loads(eyeflow(*which, "--json", quiet=True))
    eyeflow("why", found["id"])


def show_dashboard() -> None:
    """Print a link that signs a browser in once."""
    title(
        "   The same in a browser: the coordinator serves its dashboard itself. This link works once, for five minutes"
    )
    eyeflow("coordinator", "sign-in")
    if not os.environ.get("KEEP"):
        print("  This demo ends in a moment. `make demo KEEP=1` leaves the cluster running to look around")


def stay() -> None:
    """Leave the cluster running until somebody stops it."""
    config = DATA.relative_to(ROOT) / "config"
    print(
        f"\nThe cluster runs until you press Ctrl-C. In another terminal, in this folder:\n"
        f"  XDG_CONFIG_HOME={config} .venv/bin/eyeflow coordinator sign-in    another link\n"
        f"  XDG_CONFIG_HOME={config} .venv/bin/eyeflow status    the cluster in a terminal\n"
        "  echo 400 >demo-data/node-a/adc0    cool the probe of node-a down, and 950 heats it: its relay switches",
        flush=True,
    )
    with suppress(KeyboardInterrupt):
        signal.pause()
    print("\nstopping ...", flush=True)


def run(steps: Callable[[], None], what: str, try_next: str) -> int:
    """Say `what` comes, run its steps from a clean state, and say what to try next. No process stays behind."""
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    started_s = time.monotonic()
    print(what)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        steps()
    except (DemoFailed, subprocess.TimeoutExpired) as error:
        print(f"\nthe demo failed: {error}\nthe logs are in {DATA}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything was shut down", file=sys.stderr)
        return 130
    print(
        f"\nDone in {time.monotonic() - started_s:.0f} s, and everything was shut down. What to try next:\n{try_next}"
    )
    return 0


def main() -> int:
    """Run the tour."""
    return run(
        tour,
        "eyeflow in seven steps, about half a minute. Everything happens on this machine, in demo-data.",
        "  . .venv/bin/activate                      then `eyeflow --help` (or call .venv/bin/eyeflow)\n"
        "  docs/tutorial.md                          your own tested, deployed rule in ten minutes\n"
        "  eyeflow test examples --cov               rules for many tasks with their tests and branch coverage\n"
        "  eyeflow compile examples/overheat_relay/overheat_relay.eye --emit asm   what a rule becomes\n"
        "  rm -r demo-data                           forget this demo",
    )


if __name__ == "__main__":
    sys.exit(main())
