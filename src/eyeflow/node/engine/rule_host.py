"""The world as one running program sees it: reads and language models, through the node's drivers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from threading import Thread

from eyeflow.base.reasons import internal
from eyeflow.base.subject import Subject
from eyeflow.node.clock import Clock
from eyeflow.node.engine.rule_health import RuleHealth
from eyeflow.node.io.ports import Driver
from eyeflow.node.run_key import RunKey
from eyeflow.protocol.node_facts import namespace_of
from eyeflow.svm.arguments import named_arguments, slot_value
from eyeflow.svm.execution import CapabilityFailure
from eyeflow.svm.program import Program, Site, SiteKind, Value

_log = logging.getLogger("eyeflow.node")

SLOW_READ_S_MAX = 10.0
"""Longest wait for a slow read; a declared `timeout` may be shorter.

A bus that hangs costs its rule the answer, and neither its swap nor a thread more.
"""
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
        self.is_slow = program.limits.llm_max > 0 or any(_is_slow(site, drivers) for site in program.sites)
        self._late: Thread | None = None
        """The last slow read, which may not have come back."""
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
        read = partial(driver.read, site.capability, named, site.timeout_us)
        try:
            answer = self._in_time(site, read) if _is_slow(site, self._drivers) else read()
        except CapabilityFailure:
            raise
        except Exception as error:  # a driver's bug must not end the node; the rule has an answer for a failure
            _log.exception("driver of %s failed in an unforeseen way", site.capability)
            raise CapabilityFailure(f"in the driver: {internal(error)}") from error
        return slot_value(site.result, answer)

    def _in_time(self, site: Site, read: Callable[[], Value]) -> Value:
        """Return what a slow read answers. A thread that does not come back cannot be ended: it is left alone."""
        if self._late is not None and self._late.is_alive():
            raise CapabilityFailure("the read before it has not come back yet")
        answer: Future[Value] = Future()
        self._late = Thread(target=_answer, args=(answer, read), name="eyeflow-read", daemon=True)
        self._late.start()
        limit_s = min(site.timeout_us / 1e6 or SLOW_READ_S_MAX, SLOW_READ_S_MAX)
        wait([answer], limit_s)
        if not answer.done():
            raise CapabilityFailure(f"no answer within {limit_s:g} s")
        return answer.result()


def _answer(answer: Future[Value], read: Callable[[], Value]) -> None:
    try:
        answer.set_result(read())
    except BaseException as error:
        answer.set_exception(error)


def _is_slow(site: Site, drivers: Mapping[str, Driver]) -> bool:
    """Whether a site is a read that may take long. LLM calls have bounds of their own."""
    if site.kind is not SiteKind.READ:
        return False
    driver = drivers.get(namespace_of(site.capability))
    return driver is not None and site.capability in driver.slow_reads
