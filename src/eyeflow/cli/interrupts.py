"""Ctrl-C while the command is still being loaded."""

from __future__ import annotations

import signal


class EndsAtOnce:
    """Let Ctrl-C end the process at once and quietly while a block imports what a command needs.

    Python can swallow a KeyboardInterrupt that is raised in the middle of an import (in a callback of a weak reference,
    for example). A daemon would then start although its user wanted it to end.
    """

    def __enter__(self) -> None:
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is not signal.SIG_IGN:  # whoever started us in the background wants it ignored
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._handler)
