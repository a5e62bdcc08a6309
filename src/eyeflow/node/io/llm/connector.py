"""Language models as a connector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from eyeflow.node.config.settings import TIMEOUT_S_MAX, Section, number, path, required, text
from eyeflow.node.config.tables import Table
from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.ports import Driver


@dataclass(frozen=True, slots=True)
class LlmConfig(Section):
    """An OpenAI-compatible endpoint for `llm.*`."""

    SECTION: ClassVar[str] = "llm"

    endpoint: str = required("OpenAI-compatible endpoint, `https://HOST/v1`.")
    model: str = required("Name of the model.")
    key_env: str = text("", "Environment variable with the key of the endpoint.")
    key_file: Path | None = path("File with that key.")
    timeout_s: float = number(30.0, 0.1, TIMEOUT_S_MAX, "Bound of a call whose rule gives no `timeout`.")

    def checked(self, table: Table) -> Self:
        """Take an address of HTTP only, without its last `/`."""
        if not self.endpoint.startswith(("http://", "https://")):
            table.refuse("[llm] endpoint is no URL", f"It is {self.endpoint!r}.", "Write https://HOST/v1.")
        return replace(self, endpoint=self.endpoint.rstrip("/"))


def _driver(site: Site, shared: None) -> Driver:
    from eyeflow.node.io.llm.driver import LlmDriver

    return LlmDriver(site.of(LlmConfig))


CONNECTOR = Connector(
    name="llm",
    sections=(LlmConfig,),
    driver=_driver,
    template="""\
# [llm]
# endpoint = "https://api.example.com/v1"
# model = "small"
# key_env = "LLM_KEY"
""",
    catalog="""\
[[capability]]
name = "llm.classify"
kind = "llm"
args = [
    { name = "text", type = "text(4096)" },
    { name = "label", type = "enum" },
    { name = "instruction", type = "text(1024)" },
]
result = "label"
profiles = ["linux"]
delegable = true
unavailable = { mcu = "a language model needs a network; let the board delegate llm calls to its gateway" }
cost = 1000
doc = "Let a language model choose the member of an enum that fits a text."

[[capability]]
name = "llm.complete"
kind = "llm"
args = [{ name = "prompt", type = "text(4096)" }, { name = "max", type = "size" }]
result = "text(max)"
profiles = ["linux"]
delegable = true
unavailable = { mcu = "a language model needs a network; let the board delegate llm calls to its gateway" }
cost = 1000
doc = "Let a language model answer a prompt with a text of at most `max` bytes."
""",
)
