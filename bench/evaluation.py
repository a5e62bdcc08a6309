"""One evaluation of the overheat rule: our machines, hand-written Python, and the engines that people use instead.

All decide the same: is the scaled reading above the limit, and has it been for two seconds? Those that keep state
count the trips. Each is fed the same readings in turn; the answers are compared before anything is timed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

from bench.measure import Report, Row, interleaved
from eyeflow.compiler.compile import compile_rule
from eyeflow.svm.execution import TIME_UNSET, Execution, Machine
from eyeflow.svm.fast import FastMachine
from eyeflow.svm.instance import Instance
from eyeflow.svm.interpreter import Interpreter
from eyeflow.svm.program import Value
from eyeflow.svm.timers import initial_state
from eyeflow.svm.verify import Verified, verify

RULE = Path(__file__).parent / "overheat.eye"
LIMIT, SPAN_US, PERIOD_US = 80.0, 2_000_000, 500_000
READINGS = tuple(float(value) for value in (*range(700, 900, 10), *[850] * 12, *range(900, 700, -10)))
"""One pass of readings: cold, warming up, hot for longer than the hold, cooling down."""
ROUNDS = 15


def overheat() -> Verified:
    """Return the rule, compiled and verified."""
    result = compile_rule(RULE.read_text(), name=RULE.name)
    if result.program is None:
        raise RuntimeError(f"{RULE} does not compile: {result.diagnostics}")
    return verify(result.program)


class Bench:
    """The world of all candidates: a channel that gives the readings."""

    def __init__(self) -> None:
        self.reading = 0.0

    def read(self, site: int, args: tuple[Value, ...]) -> Value:
        """Answer as `Host`."""
        return self.reading

    def read_channel(self, channel: int) -> float:
        """Answer as a driver that Python code calls."""
        return self.reading


class HandWritten:
    """What a careful engineer writes instead of the rule: same state, same decision, the actions returned."""

    def __init__(self, adc: Bench, limit: float) -> None:
        self.adc = adc
        self.limit = limit
        self.since: int | None = None
        self.trips = 0

    def evaluate(self, now_us: int) -> list[tuple[str, int, int]]:
        """Decide once."""
        temp = self.adc.read_channel(0) * 0.1
        if temp > self.limit:
            if self.since is None:
                self.since = now_us
            held = now_us - self.since >= SPAN_US
        else:
            self.since = None
            held = False
        if held:
            self.trips += 1
            return [("gpio.set_pin", 0, 1)]
        return [("gpio.set_pin", 0, 0)]


Repeat = Callable[[int], None]


def machine_loop(machine: Machine, verified: Verified) -> Repeat:
    """Return the loop over `Machine.run`."""
    world, state, clock = Bench(), initial_state(verified.program), [0]

    def loop(count: int) -> None:
        run, now_us, params = machine.run, clock[0], [LIMIT]
        for reading in islice(cycle(READINGS), count):
            world.reading = reading
            now_us += PERIOD_US
            run(0, now_us, 0, params, (), state, world)
        clock[0] = now_us

    return loop


def handler_loop(verified: Verified) -> Repeat:
    """Return the loop over the fast path's function of the one trigger."""
    world, state, clock = Bench(), initial_state(verified.program), [0]
    run = FastMachine(verified).handler(0)

    def loop(count: int) -> None:
        now_us, params = clock[0], [LIMIT]
        for reading in islice(cycle(READINGS), count):
            world.reading = reading
            now_us += PERIOD_US
            run(now_us, 0, params, (), state, world)
        clock[0] = now_us

    return loop


def instance_loop(verified: Verified) -> Repeat:
    """Return the loop over `Instance.step`, which nodes and replays call: it also keeps time from going back."""
    world, clock = Bench(), [0]
    instance = Instance(verified)

    def loop(count: int) -> None:
        step, now_us = instance.step, clock[0]
        for reading in islice(cycle(READINGS), count):
            world.reading = reading
            now_us += PERIOD_US
            step(0, (), now_us, 0, world)
        clock[0] = now_us

    return loop


def hand_loop() -> Repeat:
    """Return the loop over the hand-written function."""
    world, clock = Bench(), [0]
    rule = HandWritten(world, LIMIT)

    def loop(count: int) -> None:
        run, now_us = rule.evaluate, clock[0]
        for reading in islice(cycle(READINGS), count):
            world.reading = reading
            now_us += PERIOD_US
            run(now_us)
        clock[0] = now_us

    return loop


def empty_loop(count: int) -> None:
    """What every loop above does beside the evaluation; it is taken off."""
    world, now_us = Bench(), 0
    for reading in islice(cycle(READINGS), count):
        world.reading = reading
        now_us += PERIOD_US


# --- the others --------------------------------------------------------------------------------------------------


def zen_table() -> Callable[[float, int, int, int], tuple[int, int, int]]:
    """zen-engine's decision table: from reading, time, since and trips to level, since and trips."""
    import zen

    decision = zen.ZenEngine().create_decision(json.dumps(ZEN_GRAPH))

    def decide(reading: float, now_us: int, since: int, trips: int) -> tuple[int, int, int]:
        context = {"raw": reading, "limit": LIMIT, "now": now_us, "since": since, "trips": trips}
        result = decision.evaluate(context)["result"]
        return result["level"], result["since"], result["trips"]

    return decide


def zen_expression() -> Callable[[float, int, int], int]:
    """zen-engine's compiled expression: the decision alone, without hold memory or counter."""
    import zen

    compiled = zen.compile_expression(f"raw * 0.1 > limit and since >= 0 and now - since >= {SPAN_US} ? 1 : 0")

    def decide(reading: float, now_us: int, since: int) -> int:
        return int(compiled.evaluate({"raw": reading, "limit": LIMIT, "now": now_us, "since": since}))

    return decide


def cel() -> Callable[[float, int, int], int]:
    """cel-python: the decision alone, without hold memory or counter."""
    import celpy
    from celpy.celtypes import DoubleType, IntType

    environment = celpy.Environment()
    source = f"raw * 0.1 > limit && since >= 0 && now - since >= {SPAN_US} ? 1 : 0"
    program = environment.program(environment.compile(source))
    limit = DoubleType(LIMIT)

    def decide(reading: float, now_us: int, since: int) -> int:
        context = {"raw": DoubleType(reading), "limit": limit, "now": IntType(now_us), "since": IntType(since)}
        return int(program.evaluate(context))

    return decide


ZEN_TABLE = {
    "hitPolicy": "first",
    "inputs": [
        {"id": "temp", "name": "temp", "field": "raw * 0.1"},
        {"id": "held", "name": "held", "field": "since < 0 ? 0 : now - since"},
    ],
    "outputs": [{"id": f"o_{name}", "name": name, "field": name} for name in ("level", "since", "trips")],
    "rules": [
        {"_id": "hot", "temp": "> limit", "held": f">= {SPAN_US}"}
        | {"o_level": "1", "o_since": "since", "o_trips": "trips + 1"},
        {"_id": "warming", "temp": "> limit", "held": ""}
        | {"o_level": "0", "o_since": "since < 0 ? now : since", "o_trips": "trips"},
        {"_id": "cold", "temp": "", "held": "", "o_level": "0", "o_since": "-1", "o_trips": "trips"},
    ],
}
_PLACE = {"position": {"x": 0, "y": 0}}
ZEN_GRAPH = {
    "contentType": "application/vnd.gorules.decision",
    "nodes": [
        {"id": "in", "type": "inputNode", "name": "in", **_PLACE},
        {"id": "table", "type": "decisionTableNode", "name": "table", "content": ZEN_TABLE, **_PLACE},
        {"id": "out", "type": "outputNode", "name": "out", **_PLACE},
    ],
    "edges": [
        {"id": "e1", "type": "edge", "sourceId": "in", "targetId": "table"},
        {"id": "e2", "type": "edge", "sourceId": "table", "targetId": "out"},
    ],
}


def table_loop() -> Repeat:
    """Return the loop over the decision table; the state goes round through its answer."""
    decide, memory = zen_table(), [0, -1, 0]

    def loop(count: int) -> None:
        now_us, since, trips = memory
        for reading in islice(cycle(READINGS), count):
            now_us += PERIOD_US
            _, since, trips = decide(reading, now_us, since, trips)
        memory[:] = now_us, since, trips

    return loop


def decision_loop(decide: Callable[[float, int, int], int]) -> Repeat:
    """Return the loop over a decision that keeps nothing: `since` is given to it."""

    def loop(count: int) -> None:
        now_us = 0
        for reading in islice(cycle(READINGS), count):
            now_us += PERIOD_US
            decide(reading, now_us, 0)

    return loop


# --- the same decision -------------------------------------------------------------------------------------------


def check_same_decisions(verified: Verified) -> None:
    """Raise when the candidates do not decide alike over one pass of the readings."""
    world, state = Bench(), initial_state(verified.program)
    hand, fast, table = HandWritten(world, LIMIT), FastMachine(verified), zen_table()
    expression, cel_decide = zen_expression(), cel()
    since, trips = -1, 0
    for index, reading in enumerate(READINGS):
        world.reading, now_us = reading, (index + 1) * PERIOD_US
        level = hand.evaluate(now_us)[0][2]
        execution = fast.run(0, now_us, 0, [LIMIT], (), state, world)
        table_level, since, trips = table(reading, now_us, since, trips)
        known = -1 if hand.since is None else hand.since
        levels = (
            _level(execution),
            table_level,
            expression(reading, now_us, known),
            cel_decide(reading, now_us, known),
        )
        if any(other != level for other in levels):
            raise RuntimeError(f"reading {reading}: by hand {level}, the others {levels}")
    if not hand.trips == trips == state[0] > 0 or TIME_UNSET not in state:
        raise RuntimeError(f"trips: by hand {hand.trips}, table {trips}, rule {state}")


def _level(execution: Execution) -> Value:
    return execution.actions[0].args[1]


def report() -> Report:
    """Measure and compare."""
    verified = overheat()
    check_same_decisions(verified)
    calls: dict[str, Repeat] = {
        "loop": empty_loop,
        "fast path, bound handler": handler_loop(verified),
        "fast path, Machine.run": machine_loop(FastMachine(verified), verified),
        "fast path, Instance.step": instance_loop(verified),
        "hand-written Python": hand_loop(),
        "interpreter (reference)": machine_loop(Interpreter(verified), verified),
        "zen-engine decision table": table_loop(),
        "zen-engine compiled expression": decision_loop(zen_expression()),
        "cel-python": decision_loop(cel()),
    }
    slow = {"interpreter (reference)": 2_000, "zen-engine decision table": 300, "cel-python": 200}
    seconds = interleaved(calls, {name: slow.get(name, 20_000) for name in calls}, ROUNDS)
    loop_s = seconds.pop("loop")
    return _compare({name: value - loop_s for name, value in seconds.items()})


def _compare(seconds: dict[str, float]) -> Report:
    ours = seconds["fast path, bound handler"]
    rows = tuple(Row(name, value * 1e9, "ns", f"{value / ours:.2f} x the fast path") for name, value in seconds.items())
    to_hand = ours / seconds["hand-written Python"]
    to_table = seconds["zen-engine decision table"] / ours
    to_cel = seconds["cel-python"] / ours
    to_expression = seconds["zen-engine compiled expression"] / ours
    stepped = seconds["fast path, Instance.step"] / seconds["hand-written Python"]
    bars = (
        (f"at most 3 x the hand-written function: {to_hand:.2f} x", to_hand <= 3),
        (f"the same through Instance.step, as nodes call it: {stepped:.2f} x", stepped <= 3),
        (f"at least 20 x faster than zen-engine's decision table: {to_table:.0f} x", to_table >= 20),
        (f"at least 10 x faster than cel-python: {to_cel:.0f} x", to_cel >= 10),
        (f"stretch: faster than zen-engine's compiled expression: {to_expression:.1f} x", to_expression > 1),
    )
    return Report("One evaluation of the overheat rule", rows, bars)
