"""A store with nodes and a deployment, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from components.postgres import Server, running_server
from eyeflow.base.machine import Machine
from eyeflow.coordinator.store.cluster_store import Writing
from eyeflow.coordinator.store.database import Database
from eyeflow.coordinator.store.postgres_connection import Address
from eyeflow.coordinator.store.postgres_database import PostgresDatabase
from eyeflow.coordinator.store.sqlite_file import SqliteFile
from eyeflow.protocol.identity import Identity
from eyeflow.rollout.deployment import Deployment, NodeProgress, Rollback, Target

T = TypeVar("T")
NOW_US = 1_790_000_000_000_000


def deployment(deployment_id: str = "d-1") -> Deployment:
    target = Target("1" * 64, deployment_id, (("limit", 75.5), ("mode", "eco")))
    return Deployment(deployment_id, (("pump", target),), "immediate", Rollback.ON_ERROR, NOW_US, NOW_US + 10**9, "ci")


def names(count: int) -> list[str]:
    return [f"node-{number:04}" for number in range(count)]


IDENTITY = Identity(bytes(range(32)))


class Kept:
    """A store and how to write to it; `do` raises what the step raised. `open` opens the same one again."""

    def __init__(self, opens: Callable[[], Database]) -> None:
        self.opens = opens
        self.file = opens()

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
        """Open the same store once more, as another process would."""
        return type(self)(self.opens)


class Helpers:
    now_us = NOW_US
    deployment = staticmethod(deployment)
    names = staticmethod(names)


@pytest.fixture(scope="session")
def helpers() -> type[Helpers]:
    return Helpers


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def make_kept(request: Any, tmp_path: Path) -> Iterator[Callable[[], Kept]]:
    """Makes empty stores of one kind: whatever holds for one database holds for the other."""
    made: list[Kept] = []

    def make() -> Kept:
        if request.param == "sqlite":
            path = tmp_path / f"store-{len(made)}.sqlite"
            made.append(Kept(lambda: SqliteFile(path, Machine())))
        else:
            address = Address(request.getfixturevalue("server").url())
            made.append(Kept(lambda: PostgresDatabase(address, lambda public_key: IDENTITY)))
        return made[-1]

    yield make
    for one in made:
        one.file.close()


@pytest.fixture
def kept(make_kept: Callable[[], Kept]) -> Kept:
    return make_kept()
