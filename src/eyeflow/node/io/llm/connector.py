"""Language models as a connector."""

from __future__ import annotations

from eyeflow.node.io.connector import Connector, Site
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.node.io.ports import Driver


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
