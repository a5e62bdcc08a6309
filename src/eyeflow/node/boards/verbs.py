"""The questions about boards that a node answers over its socket, by name."""

from __future__ import annotations

LIST, ADOPT, RENAME, RELEASE = "boards.list", "boards.adopt", "boards.rename", "boards.release"
FIND, EXCHANGE, PUSH, REMOVE = "boards.find", "boards.exchange", "boards.push", "boards.remove"
LOG, SAID, LET_GO, TAKE_BACK = "boards.log", "boards.said", "boards.let_go", "boards.take_back"
