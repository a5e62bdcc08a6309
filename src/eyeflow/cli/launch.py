"""Where the `eyeflow` command begins: answers at once what a table answers, and loads the rest only when it must."""

from __future__ import annotations

import sys

from eyeflow.cli.interrupts import EndsAtOnce


def main() -> None:
    """Answer from the table or run the command."""
    with EndsAtOnce():
        from eyeflow.cli.quick import answer, first_word

        if answer(sys.argv[1:]):
            return
        from eyeflow.cli.main import command_line, run

        app = command_line(first_word(sys.argv[1:]))
    run(app)
