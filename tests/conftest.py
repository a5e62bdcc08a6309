"""Rules for the whole suite: a skipped test is a failure where the caller asks for it."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

FIRMWARE = "tests that build firmware"

# The same examples in every run: a red build must be red again on the next machine. `make fuzz` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("search" if os.environ.get("EYEFLOW_FUZZ") == "full" else "repeatable")


# A suite that is started in the background inherits an ignored SIGINT, and would hand it on to the commands it tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="exit 1 when any test was skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: _unit(item.nodeid) != FIRMWARE)


def _unit(nodeid: str) -> str:
    """Return what stays in one process: a file of tests, or all of those that build firmware."""
    file = nodeid.split("::", 1)[0]
    return FIRMWARE if file.startswith("tests/embassy/") else file


class FirmwareTogether(LoadFileScheduling):
    """Cargo's folder of compiled crates holds one image of each name: tests that build some must not run at once."""

    def _split_scope(self, nodeid: str) -> str:
        return _unit(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Distribute the tests of `make test`."""
    return FirmwareTogether(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and session.config.getoption("--fail-on-skip") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} test(s) were skipped, and a skipped test proves nothing", red=True)
