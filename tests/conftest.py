"""Rules for the whole suite: a skipped test is a failure where the caller asks for it."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import Phase, settings

FIRST = (
    "tests/embassy/test_firmware_builds.py",
    "tests/cli/test_rollouts.py",
    "tests/embassy/test_crates.py",
    "tests/simulation/",
    "tests/cli/test_copies.py",
    "tests/cli/test_deployments.py",
    "tests/embassy/",
)
"""What takes longest. One process builds the images of firmware: those that need them would stand still meanwhile."""

# The same examples in every run: a red build must be red again on the next machine. `make fuzz` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
# `make mutants` asks only whether a test fails: to look for the smallest example would take minutes for each mutant.
settings.register_profile(
    "mutants", derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate]
)
FUZZ_OR_NOT = "search" if os.environ.get("EYEFLOW_FUZZ") == "full" else "repeatable"
settings.load_profile("mutants" if os.environ.get("EYEFLOW_MUTANTS") else FUZZ_OR_NOT)


# A suite that is started in the background inherits an ignored SIGINT, and would hand it on to the commands it tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="exit 1 when any test was skipped")


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: some tests wait for another process, or for a period to pass."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it at the end."""
    items.sort(key=lambda item: next((at for at, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST)))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and session.config.getoption("--fail-on-skip") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} test(s) were skipped, and a skipped test proves nothing", red=True)
