"""The settings of language models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from eyeflow.node.config.settings import TIMEOUT_S_MAX, Section, integer, number, path, required, text
from eyeflow.node.config.tables import Table


@dataclass(frozen=True, slots=True)
class LlmConfig(Section):
    """An OpenAI-compatible endpoint for `llm.*`."""

    SECTION: ClassVar[str] = "llm"

    endpoint: str = required("OpenAI-compatible endpoint, `https://HOST/v1`.")
    model: str = required("Name of the model.")
    key_env: str = text("", "Environment variable with the key of the endpoint.")
    key_file: Path | None = path("File with that key.")
    board_calls_per_minute: int = integer(
        30, 1, 6000, "Questions that one board behind this node may ask in a minute; the rest fails at once."
    )
    timeout_s: float = number(30.0, 0.1, TIMEOUT_S_MAX, "Bound of a call whose rule gives no `timeout`.")

    def checked(self, table: Table) -> Self:
        """Take an address of HTTP only, without its last `/`."""
        if not self.endpoint.startswith(("http://", "https://")):
            table.refuse("[llm] endpoint is no URL", f"It is {self.endpoint!r}.", "Write https://HOST/v1.")
        return replace(self, endpoint=self.endpoint.rstrip("/"))
