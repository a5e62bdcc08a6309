"""The fast path: a verified program as Python functions, written and compiled once, when the program is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from eyeflow.svm import fast_windows, numbers
from eyeflow.svm.execution import (
    Action,
    CapabilityFailure,
    Execution,
    HandlerFunction,
    Host,
    Machine,
    Outcome,
    answers_of,
)
from eyeflow.svm.fast_code import Pool
from eyeflow.svm.fast_flow import Handler
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.program import Trigger, Value
from eyeflow.svm.verify import Verified

HANDLER_INSTRUCTIONS_MAX = 20_000
"""A longer handler stays on the interpreter: compiling it takes longer than a node may take to swap a program."""


class FastMachine:
    """A `Machine` whose results equal the interpreter's, bit for bit."""

    def __init__(self, verified: Verified) -> None:
        self._interpreter = Interpreter(verified)
        program = verified.program
        self._handlers = [self._build(verified, index, trigger) for index, trigger in enumerate(program.triggers)]

    def run(
        self,
        trigger: int,
        time_us: int,
        utc_offset_us: int,
        params: Sequence[Value],
        inputs: Sequence[Value],
        state: list[Value],
        host: Host,
    ) -> Execution:
        """Run one execution, as `Machine` says."""
        return self._handlers[trigger](time_us, utc_offset_us, params, inputs, state, host)

    def handler(self, trigger: int) -> HandlerFunction:
        """Return the function behind `run` for one trigger, for a caller that runs it often."""
        return self._handlers[trigger]

    def _build(self, verified: Verified, index: int, trigger: Trigger) -> HandlerFunction:
        if trigger.end - trigger.entry > HANDLER_INSTRUCTIONS_MAX:
            return partial(self._interpreter.run, index)
        pool = Pool()
        writer = Handler(verified, trigger, pool)
        source = writer.source()
        names = {
            **_NAMES,
            **pool.names,
            "LOCALS": writer.memory.local_zeros(),
            "R": partial(_repeat, self._interpreter, index),
        }
        exec(compile(source, "<fast path of a rule>", "exec"), names)
        handler: HandlerFunction = names["handler"]  # type: ignore[assignment]
        return handler


class MadeExecution(Execution):
    """An execution whose fields the generated code sets one by one: half the time of a call of `__init__`."""

    __slots__ = ()
    __init__ = object.__init__


class _Answers:
    """A host that gives the recorded answers again."""

    def __init__(self, asked: Sequence[Any]) -> None:
        self._answers = iter(answers_of(asked))

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer as the host did."""
        answer = next(self._answers)
        if (answer.site, answer.args) != (site, args):
            raise AssertionError(f"the interpreter asks site {site}, the fast path asked site {answer.site}")
        if answer.value is None:
            raise CapabilityFailure("as recorded")
        return answer.value


def _repeat(
    machine: Machine,
    trigger: int,
    time_us: int,
    utc_offset_us: int,
    params: Sequence[Value],
    inputs: Sequence[Value],
    state: list[Value],
    asked: Sequence[Any],
) -> Execution:
    """Run an execution that did not end well again on the interpreter, which knows where and why."""
    return machine.run(trigger, time_us, utc_offset_us, params, inputs, state, _Answers(asked))


def _text_fits(text: str, size_bytes_max: int) -> bool:
    """Say whether a text is valid UTF-8 and short enough."""
    if text.isascii():
        return len(text) <= size_bytes_max
    try:
        return len(text.encode()) <= size_bytes_max
    except UnicodeEncodeError:
        return False


_NAMES: dict[str, object] = {
    "__builtins__": {},
    "abs": abs,
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "range": range,
    "str": str,
    "type": type,
    "new": tuple.__new__,
    "Action": Action,
    "CapabilityFailure": CapabilityFailure,
    "MadeExecution": MadeExecution,
    "NAN": numbers.NAN,
    "OK": Outcome.OK,
    "commit": fast_windows.commit,
    "text_fits": _text_fits,
    **{f"window_{kind.name.lower()}": function for kind, function in fast_windows.WINDOWS.items()},
    **{
        function.__name__: function
        for function in (
            numbers.ceil_float,
            numbers.cut_text,
            numbers.div_float,
            numbers.floor_float,
            numbers.round_float,
            numbers.sqrt_float,
            numbers.text_of_duration,
            numbers.text_of_float,
        )
    },
}
"""All that a generated function can name beside its own constants: nothing that reaches further."""
