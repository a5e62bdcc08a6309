"""`llm.classify` and `llm.complete` over an OpenAI-compatible endpoint (`POST {endpoint}/chat/completions`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from eyeflow.base.reading import parse_json
from eyeflow.base.reasons import why
from eyeflow.net.bodies import CLOSING, PLAIN, aread_body
from eyeflow.node.config.tables import secret
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.llm.settings import LlmConfig
from eyeflow.svm.program import Value

ANSWER_BYTES_MAX = 1024 * 1024
CALLS_MAX = 8
"""Questions that the endpoint is asked at the same time, by all rules together. A rule that waits before it asks again
asks nothing meanwhile, and keeps nobody else from asking."""
TOKENS_PER_LABEL = 32
"""An answer of one name needs few tokens; more would be chatter that is refused anyway."""


class LlmDriver(BaseDriver):
    """Answers are typed: what is not exactly one member of the enum, or is too long, is a failure, never a guess."""

    def __init__(self, config: LlmConfig) -> None:
        super().__init__("llm")
        self._config = config
        key = secret("llm", config.key_env, config.key_file)
        self._calls = threading.BoundedSemaphore(CALLS_MAX)
        self._headers = PLAIN | ({"authorization": f"Bearer {key}"} if key else {})
        self._tls = httpx.create_ssl_context()

    def read(self, capability: str, args: Mapping[str, Value], timeout_us: int) -> Value:
        """Answer one call; blocks up to the timeout of the call, or of the configuration when it has none.

        Before, it waits for its turn, while CALLS_MAX others are under way.
        """
        timeout_s = timeout_us / 1e6 if timeout_us else self._config.timeout_s
        if capability == "llm.classify":
            value = self._classify(args, timeout_s)
        elif capability == "llm.complete":
            value = self._complete(args, timeout_s)
        else:
            return super().read(capability, args, timeout_us)
        self.status.counters["reads"] += 1
        return value

    def _classify(self, args: Mapping[str, Value], timeout_s: float) -> str:
        members = str(args["label"]).split(",")
        instruction = str(args.get("instruction", ""))
        system = f"{instruction}\nAnswer with exactly one of these words and nothing else: {', '.join(members)}".strip()
        answer = self._ask(system, str(args["text"]), TOKENS_PER_LABEL, timeout_s).strip()
        if answer not in members:
            raise self.failure(
                f"llm.classify: the model answered {answer[:80]!r}, which is none of {', '.join(members)}"
            )
        return answer

    def _complete(self, args: Mapping[str, Value], timeout_s: float) -> str:
        bytes_max = int(args["max"])
        system = f"Answer in at most {bytes_max} bytes of plain text."
        answer = self._ask(system, str(args["prompt"]), bytes_max, timeout_s).strip()
        if len(answer.encode()) > bytes_max:
            raise self.failure(f"llm.complete: the answer has {len(answer.encode())} bytes, more than {bytes_max}")
        return answer

    def _ask(self, system: str, text: str, tokens_max: int, timeout_s: float) -> str:
        request = {
            "model": self._config.model,
            "temperature": 0,
            "max_tokens": tokens_max,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
        }
        with self._calls:
            body = self._post(request, timeout_s)
        try:
            content = parse_json(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise self.failure("the language model's endpoint sent no chat completion") from error
        if not isinstance(content, str):
            raise self.failure("the language model's endpoint sent an answer without text")
        return content

    def _post(self, request: dict[str, Any], timeout_s: float) -> bytes:
        url = f"{self._config.endpoint}/chat/completions"
        try:
            # A loop of its own, in this call's thread: only so has the whole answer one limit, its head included.
            return asyncio.run(self._exchange(url, request, timeout_s))
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self.failure(f"the language model did not answer within {timeout_s:g}s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.failure(f"cannot reach the language model at {url}: {why(error)}") from error

    async def _exchange(self, url: str, request: dict[str, Any], timeout_s: float) -> bytes:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(
                headers=self._headers, timeout=timeout_s, verify=self._tls, event_hooks=CLOSING
            ) as client,
            client.stream("POST", url, json=request) as response,
        ):
            if response.status_code != 200:
                raise self.failure(f"the language model's endpoint {url} answered {response.status_code}")
            return await aread_body(response, ANSWER_BYTES_MAX)
