"""Where the `eyeflow` command begins: loads the rest in such a way that Ctrl-C ends it quietly at any moment."""

from __future__ import annotations

import signal


def main() -> None:
    """Load and run the command. Until it is loaded, Ctrl-C ends the process at once, as it does any other."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from eyeflow.cli.main import main as run

    signal.signal(signal.SIGINT, handler)
    run()
