"""Compiles a rule and runs it on both machines at once: what they give must be the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eyeflow.compiler.compile import CompileOptions, compile_rule
from eyeflow.svm.execution import CapabilityFailure, Execution, Machine
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.program import Program, SiteKind, Value
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import verify
from generators.compare import exact_all, exact_execution

SECOND_US = 1_000_000


def wrapped(body: str) -> str:
    indented = "".join(f"    {line}\n" if line else "\n" for line in body.strip("\n").split("\n"))
    return f'rule example {{\n    version "1.0.0"\n\n{indented}}}\n'


def compiled(body: str, options: CompileOptions | None = None) -> Program:
    result = compile_rule(wrapped(body), name="example.eye", options=options)
    errors = [f"{found.code} {found.message}" for found in result.diagnostics if found.severity.value == "error"]
    assert result.program is not None, errors
    return result.program


class Reads:
    """Answers reads by capability name; None fails, what is missing is 0.0."""

    def __init__(self, program: Program, answers: Mapping[str, Value | None]) -> None:
        self._program = program
        self._answers = answers

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        value = self._answers.get(self._program.sites[site].capability, 0.0)
        if value is None:
            raise CapabilityFailure("it did not answer")
        return value


class Runner:
    """One rule on the interpreter and on the fast path."""

    def __init__(self, body: str, **params: Value) -> None:
        self.program = compiled(body)
        verified = verify(self.program)
        self._machines: tuple[Machine, ...] = (Interpreter(verified), FastMachine(verified))
        self._states = (initial_state(self.program), initial_state(self.program))
        self.params = [params.get(param.name, param.default) for param in self.program.params]

    def step(
        self,
        time_us: int = 0,
        *inputs: Value,
        trigger: int = 0,
        utc_offset_us: int = 0,
        reads: Mapping[str, Value | None] | None = None,
    ) -> Execution:
        """Run one execution on both machines."""
        first, second = (
            machine.run(trigger, time_us, utc_offset_us, self.params, inputs, state, Reads(self.program, reads or {}))
            for machine, state in zip(self._machines, self._states, strict=True)
        )
        assert exact_execution(first) == exact_execution(second)
        assert exact_all(self._states[0]) == exact_all(self._states[1])
        assert first.fuel <= self.program.limits.fuel_max
        return first

    def state(self, name: str) -> Any:
        """Return the value of a scalar state variable, or the tuple of its slots."""
        base = self.program.regions.params + self.program.regions.inputs
        variable = next(found for found in self.program.state if found.name == name)
        values = tuple(self._states[0][variable.base - base + number] for number in range(len(variable.initial)))
        return values[0] if len(values) == 1 else values

    def acted(self, execution: Execution) -> list[tuple[Any, ...]]:
        """Return actions and events as (name, arguments...)."""
        sites = self.program.sites
        return [(sites[action.site].capability, *action.args) for action in execution.actions]

    def emitted(self, execution: Execution) -> list[tuple[Any, ...]]:
        """Return the emitted events only."""
        sites = self.program.sites
        return [
            (sites[action.site].capability, *action.args)
            for action in execution.actions
            if sites[action.site].kind is SiteKind.EMIT
        ]
