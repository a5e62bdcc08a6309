"""Where the `eyeflow` command begins: answers at once what a table answers, and loads the rest only when it must."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Answer from the table or run the command. Until that is loaded, Ctrl-C ends the process at once and quietly."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from eyeflow.cli.quick import answer, first_word

    if answer(sys.argv[1:]):
        return
    from eyeflow.cli.main import command_line, run

    app = command_line(first_word(sys.argv[1:]))
    signal.signal(signal.SIGINT, handler)  # not before all is loaded: an import can swallow a KeyboardInterrupt
    run(app)
