"""`board.set_param(name, value)`: a parameter of a rule on a board behind this node."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from eyeflow.base.errors import EyeflowError
from eyeflow.base.names import near
from eyeflow.node.io.base_driver import BaseDriver
from eyeflow.node.io.board.settings import BoardParam
from eyeflow.svm.program import Value

SetParam = Callable[[str, str, str, float], Awaitable[None]]
"""Sets a value: board, rule, parameter, value. Raises EyeflowError."""


class BoardDriver(BaseDriver):
    """Sets what the configuration names and nothing else. `set_param` is given by the node, which owns the boards."""

    def __init__(self, params: Mapping[str, BoardParam], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("board")
        self.set_param: SetParam | None = None
        self._params, self._clock = params, clock
        self._changed_s: dict[str, float] = {}

    async def act(self, capability: str, args: Mapping[str, Value]) -> None:
        """Set a parameter once; raises CapabilityFailure."""
        if capability != "board.set_param":
            await super().act(capability, args)
        name, value = str(args["name"]), float(args["value"])
        place = self._place(name)
        self._check_time(name, place)
        if self.set_param is None:
            raise self.failure("board.set_param: this node runs without boards")
        # Counted before the board answers: an answer that is lost may be one of a value that was written.
        before, self._changed_s[name] = self._changed_s.get(name), self._clock()
        try:
            await self.set_param(place.board, place.rule, place.param, value)
        except EyeflowError as error:
            if error.code in UNSENT:
                self._forget(name, before)
            raise self.failure(f"board.set_param {name}: {error.brief}") from error
        self.status.counters["actions"] += 1

    def _forget(self, name: str, before: float | None) -> None:
        if before is None:
            del self._changed_s[name]
        else:
            self._changed_s[name] = before

    def _place(self, name: str) -> BoardParam:
        if name not in self._params:
            guess = near(name, self._params)
            hint = f"did you mean {guess}?" if guess else f"add [board.{name}] to the configuration"
            raise self.failure(f"board.set_param: there is no {name}; {hint}")
        return self._params[name]

    def _check_time(self, name: str, place: BoardParam) -> None:
        """Spare the flash of the board."""
        left_s = self._changed_s.get(name, float("-inf")) + place.every_s - self._clock()
        if left_s > 0:
            text = f"board.set_param {name}: it was set less than {place.every_s:g} s ago; again in {left_s:.0f} s"
            raise self.failure(text)


UNSENT = frozenset({"board_away", "no_board", "no_param", "bad_params", "program_lost"})
"""Codes of failures before anything was sent to the board."""
