"""What the engine is told besides its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from eyeflow.base.threads import InThread, in_thread
from eyeflow.node.config.sections import Durability
from eyeflow.node.io.ports import Subscription
from eyeflow.node.store.types import BufferLimits


@dataclass(slots=True)
class EngineOptions:
    """What the engine is told besides its parts."""

    limits: BufferLimits
    durability: Durability = Durability.FULL
    on_subscriptions: Callable[[Mapping[str, set[Subscription]]], None] = field(default=lambda wanted: None)
    random: Random | None = None
    in_thread: InThread = in_thread
