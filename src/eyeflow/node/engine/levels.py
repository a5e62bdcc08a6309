"""Which level each resource was last told, so that a rule that says `HIGH` twice a second switches a relay once."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.svm.program import Site, Value

Command = tuple[str, tuple[tuple[str, Value], ...]]
"""A capability with its arguments by name."""

RESOURCES_MAX = 4096
"""Resources that are remembered; beyond that all are forgotten, which only costs a repetition."""


def resource_key(site: Site, named: Mapping[str, Value]) -> str:
    """Return the key of the physical resource that an action commands, its holes filled; empty: none."""
    key = site.resource
    if "{" in key:
        for name, value in named.items():
            key = key.replace("{" + name + "}", str(value))
    return key


class Levels:
    """The last command of each resource that takes levels. Nothing is known after a start: the first is always sent."""

    def __init__(self) -> None:
        self._told: dict[str, Command] = {}

    def repeats(self, site: Site, named: Mapping[str, Value], key: str) -> bool:
        """Say whether this command would change nothing; if it would, take it as told."""
        if not site.level:
            return False
        command = (site.capability, tuple(named.items()))
        if self._told.get(key) == command:
            return True
        self.told(key, command)
        return False

    def told(self, key: str, command: Command) -> None:
        """Note that the resource has got this command."""
        if len(self._told) >= RESOURCES_MAX:
            self._told.clear()
        self._told[key] = command

    def forget(self, key: str) -> None:
        """A command failed: what the resource does is unknown, the next one is sent."""
        self._told.pop(key, None)
