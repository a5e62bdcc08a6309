"""Which level each resource was last told, so that a rule that says `HIGH` twice a second switches a relay once."""

from __future__ import annotations

from collections.abc import Mapping

from eyeflow.node.run_key import RunKey
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
        self._under_way: dict[str, list[RunKey]] = {}
        """Resource to the programs of the commands that were sent and have not ended."""

    def repeats(self, site: Site, named: Mapping[str, Value], key: str, who: RunKey) -> bool:
        """Say whether this command would change nothing; if it would, take it as told.

        Commands of one program end in their order, so the last one counts, also while it waits; which of several
        comes last is not known before they ended.
        """
        if not site.level:
            return False
        command, under_way = (site.capability, tuple(named.items())), self._under_way.get(key, [])
        if self._told.get(key) == command and all(other == who for other in under_way):
            return True
        self._tell(key, command)
        self._under_way.setdefault(key, []).append(who)
        return False

    def done(self, site: Site, named: Mapping[str, Value], key: str, who: RunKey) -> None:
        """Note that the resource has got this command."""
        self._end(key, who)
        if key not in self._under_way:
            self._tell(key, (site.capability, tuple(named.items())))

    def failed(self, key: str, who: RunKey) -> None:
        """Note that a command failed: what the resource does is unknown, the next one is sent."""
        self._end(key, who)
        self._told.pop(key, None)

    def _tell(self, key: str, command: Command) -> None:
        if len(self._told) >= RESOURCES_MAX:
            self._told.clear()
        self._told[key] = command

    def _end(self, key: str, who: RunKey) -> None:
        under_way = self._under_way[key]
        under_way.remove(who)
        if not under_way:
            del self._under_way[key]
