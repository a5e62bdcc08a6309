"""A core that knows which functions wait for which: what each costs with everything it calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import unicorn
from unicorn import arm_const as arm

from emulated.core import BareCore, Image, Model

SHARED = "OUTLINED_FUNCTION"
"""How LLVM names instructions that several functions share."""


class ProfilingCore(BareCore):
    """Counts the instructions of functions with those of their callees. What is inlined belongs to its caller."""

    def __init__(self, model: Model, image: Image) -> None:
        super().__init__(model, image, counting=True)
        self.with_callees: Counter[str] = Counter()
        self._open: list[tuple[str, int]] = []
        self._uc.hook_add(unicorn.UC_HOOK_BLOCK, self._follow)

    def clear(self) -> None:
        """Forget what was counted so far."""
        self.counts, self._open = type(self.counts)(), []
        self.with_callees.clear()

    def _follow(self, uc: Any, address: int, size: int, _: Any) -> None:
        block = self._blocks[address, size]
        # After a tail call several functions return to one place; pieces that the compiler shared end in any of them.
        returned = next((depth for depth, (_, back) in enumerate(self._open) if back == address), None)
        if returned is not None:
            del self._open[returned:]
        if block.is_entry and not block.function.startswith(SHARED):
            self._open.append((block.function, uc.reg_read(arm.UC_ARM_REG_LR) & ~1))
        for name in {name for name, _ in self._open}:
            self.with_callees[name] += block.count
