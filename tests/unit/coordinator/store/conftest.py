"""A store with nodes and a deployment, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from eyeflow.base.machine import Machine
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.rollout.deployment import Deployment, NodeProgress, Rollback, Target

T = TypeVar("T")
NOW_US = 1_790_000_000_000_000


def deployment(deployment_id: str = "d-1") -> Deployment:
    target = Target("1" * 64, deployment_id, (("limit", 75.5), ("mode", "eco")))
    return Deployment(deployment_id, (("pump", target),), "immediate", Rollback.ON_ERROR, NOW_US, NOW_US + 10**9, "ci")


def names(count: int) -> list[str]:
    return [f"node-{number:04}" for number in range(count)]


class Kept:
    """A store file and how to write to it; `do` raises what the step raised."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = SqliteFile(path, Machine())

    def do(self, step: Callable[[Writing], T]) -> T:
        outcome = self.file.commit([step])[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def deployed(self, nodes: list[str]) -> Deployment:
        def step(writing: Writing) -> None:
            for name in nodes:
                writing.register_node(name, bytes(32), NOW_US)
            writing.add_deployment(deployment(), [NodeProgress(name) for name in nodes])

        self.do(step)
        return deployment()

    def another(self) -> Kept:
        """Open the same file once more, as another process would."""
        return type(self)(self.path)


class Helpers:
    now_us = NOW_US
    kept = Kept
    deployment = staticmethod(deployment)
    names = staticmethod(names)


@pytest.fixture(scope="session")
def helpers() -> type[Helpers]:
    return Helpers


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "store.sqlite")
    yield made
    made.file.close()
