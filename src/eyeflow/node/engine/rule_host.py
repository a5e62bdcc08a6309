"""The world as one running program sees it: reads and language models, through the node's drivers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from eyeflow.base.reasons import internal
from eyeflow.base.subject import Subject
from eyeflow.node.clock import Clock
from eyeflow.node.engine.rule_health import RuleHealth
from eyeflow.node.io.ports import Driver
from eyeflow.node.run_key import RunKey
from eyeflow.protocol.node_facts import namespace_of
from eyeflow.svm.arguments import named_arguments, slot_value
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Program, Site, Value

_log = logging.getLogger("eyeflow.node")

BACKOFF_S_MAX = 3600.0
"""Longest wait between two attempts, however often the declared backoff has doubled."""


def named_failure(capability: str, error: str) -> str:
    """Return an error that names its capability; most drivers say it themselves."""
    return error if error.startswith(capability) else f"{capability}: {error}"


def backoff_s(site: Site, retry: int) -> float:
    """Return the wait before retry number `retry` (from 1): the declared backoff, doubled at each further one."""
    return min(site.backoff_us / 1e6 * float(2 ** min(retry - 1, 40)), BACKOFF_S_MAX)


class RuleHost:
    """Answers the reads of one program; every attempt that fails is counted in `health`."""

    def __init__(
        self,
        key: RunKey,
        program: Program,
        drivers: Mapping[str, Driver],
        health: RuleHealth,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`pause` waits between two attempts of a language model call; such executions have a thread of their own."""
        self._subject = f"rule {key}"
        self._program, self._drivers, self._health = program, drivers, health
        self._clock, self._pause = clock, pause

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer LOAD_RESOURCE and LLM_CALL; raises CapabilityFailure after the site's retries."""
        with Subject(self._subject):
            return self._read(self._program.sites[site], args)

    def _read(self, declared: Site, args: tuple[Value, ...]) -> Value:
        for retry in range(declared.retries + 1):
            if retry and declared.backoff_us:
                self._pause(backoff_s(declared, retry))
            try:
                return self._once(declared, args)
            except CapabilityFailure as error:
                self._health.fail(named_failure(declared.capability, str(error)), self._clock.now_us())
                failure = error
        self._health.capability_failures += 1
        raise failure

    def _once(self, site: Site, args: tuple[Value, ...]) -> Value:
        assert site.result is not None, "the verifier refuses a read without a result"
        named = named_arguments(site, args, self._program.pins)
        driver = self._drivers[namespace_of(site.capability)]
        try:
            answer = driver.read(site.capability, named, site.timeout_us)
        except CapabilityFailure:
            raise
        except Exception as error:  # a driver's bug must not end the node; the rule has an answer for a failure
            _log.exception("driver of %s failed in an unforeseen way", site.capability)
            raise CapabilityFailure(f"in the driver: {internal(error)}") from error
        return slot_value(site.result, answer)
