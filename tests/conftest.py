"""Rules for the whole suite: a skipped test is a failure where the caller asks for it."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

NO_FIRMWARE = ("tests/embassy/test_probe_rs.py",)

# The same examples in every run: a red build must be red again on the next machine. `make fuzz` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("search" if os.environ.get("EYEFLOW_FUZZ") == "full" else "repeatable")


# A suite that is started in the background inherits an ignored SIGINT, and would hand it on to the commands it tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="exit 1 when any test was skipped")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Give each process of `make test` whole files of tests, and one of them all files that build firmware."""
    return FirmwareTogether(config, log)


class FirmwareTogether(LoadFileScheduling):
    """Cargo's folder of compiled crates holds one image of each name: tests that build some must not run at once."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "firmware" if file.startswith("tests/embassy/") and file not in NO_FIRMWARE else file


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and session.config.getoption("--fail-on-skip") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} test(s) were skipped, and a skipped test proves nothing", red=True)
