"""`eyeflow node start`: puts a node together, runs it until it is told to stop, and takes it apart in good order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

from eyeflow.base.dir_lock import DataDirLock
from eyeflow.base.errors import EyeflowError
from eyeflow.base.machine import Machine
from eyeflow.base.reasons import internal, why
from eyeflow.base.stop_signals import stop_signals
from eyeflow.base.subject import SUBJECT
from eyeflow.node.backoff import Backoff
from eyeflow.node.boards.questions import board_answers
from eyeflow.node.clock import Clock, SystemClock
from eyeflow.node.config.config import NodeConfig
from eyeflow.node.control import Link
from eyeflow.node.engine.engine import STOP_GRACE_S
from eyeflow.node.io.connector import PortsConfig
from eyeflow.node.io.ports import Driver, PortStatus, Source
from eyeflow.node.io.world import World, build_world
from eyeflow.node.own_key import load_identity
from eyeflow.node.runtime import NodeRuntime
from eyeflow.node.service.manager import ServiceManager
from eyeflow.node.services import Service, usual_services
from eyeflow.node.status.local_socket import keep_serving_status
from eyeflow.node.status.port_log import PortLog
from eyeflow.node.status.report import as_shown
from eyeflow.node.store.file import storage_error
from eyeflow.node.store.quarantine import finish_move, note_read, salvaged, set_aside, unread
from eyeflow.node.store.store import Store
from eyeflow.node.store.types import StorageError, StoreDamaged
from eyeflow.node.store.writer import ThreadWriter, Writer
from eyeflow.protocol.identity import Identity

_log = logging.getLogger("eyeflow.node")

CLOSE_S = 5.0
"""Bound of closing one driver."""

MakeLink = Callable[[NodeRuntime], Link | None]
OnReady = Callable[[NodeRuntime], None]
MakeWriter = Callable[[Store], Writer]
MakeWorld = Callable[[PortsConfig, str, Callable[[], int]], World]
MakeServices = Callable[[NodeRuntime], Sequence[Service]]


async def run_node(
    config: NodeConfig,
    *,
    make_link: MakeLink | None = None,
    on_ready: OnReady | None = None,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
    machine: Machine | None = None,
    make_world: MakeWorld = build_world,
    make_writer: MakeWriter = ThreadWriter,
    make_services: MakeServices = usual_services,
    manager: ServiceManager | None = None,
) -> None:
    """Run a node until a signal (`STOP_SIGNALS`) or `stop`. Starts and works without a coordinator.

    `make_link` makes the link to the coordinator (None: `joining.open_link`); `on_ready` is called once rules run.
    `clock`, `machine`, `make_world` (sources and drivers), `make_writer` (a store's thread) and `make_services` (what
    runs beside them) are the usual ones unless a simulation hands in its own.

    `manager` is told when the node is ready, lives and stops.

    Raises EyeflowError when the node cannot start: the directory is in use, the store damaged, a secret missing.
    """
    stop, clock = stop or asyncio.Event(), clock or SystemClock()
    async with _open_node(config, clock, machine or Machine(), make_world, make_writer) as node:
        node.link = (make_link or _default_link)(node)
        if node.link is not None:
            _link_boards(node)
        with stop_signals(lambda number: stop.set()):
            await _serve(node, make_services(node), stop, on_ready, manager or ServiceManager())


def _default_link(node: NodeRuntime) -> Link | None:
    from eyeflow.node.cluster.joining import open_link  # late: a node that runs alone needs no WebSocket

    return open_link(node)


def _link_boards(node: NodeRuntime) -> None:
    from eyeflow.node.boards.link import board_link

    node.boards.make_link = partial(board_link, node)


@asynccontextmanager
async def _open_node(
    config: NodeConfig, clock: Clock, machine: Machine, make_world: MakeWorld, make_writer: MakeWriter
) -> AsyncIterator[NodeRuntime]:
    """Open lock, store and world; close them in the opposite order, whatever happens."""
    _make_data_dir(config.data_dir)
    lock = DataDirLock(config.data_dir, "node")
    try:
        identity = load_identity(config.data_dir, machine)
        store = _open_store(config, identity, clock, machine)
        _warn_of_small_disk(store, config)
        writer = make_writer(store)
        clean = False
        try:
            world = make_world(config.ports, config.name, clock.now_us)
            try:
                node = NodeRuntime(config, writer, identity, world, clock, machine)
                node.boards.make_writer = make_writer
                await node.start()
                yield node
                clean = await node.stop("stopped")
            finally:
                await _close_all(world.drivers)
        finally:
            try:
                await writer.run(lambda opened: opened.close(clean=clean))
            except StorageError as error:  # what it took is safe; the next start goes on from there
                _log.warning("the store did not close: %s", error.brief)
            finally:
                writer.stop()
    finally:
        lock.release()


def _open_store(config: NodeConfig, identity: Identity, clock: Clock, machine: Machine) -> Store:
    """Open the store. A damaged one is set aside, and a new one goes on with what can be read of it."""
    data_dir = config.data_dir
    try:
        finish_move(data_dir)
    except OSError as error:
        raise storage_error(error, data_dir) from error
    try:
        store = _whole_store(config, identity, clock, machine)
    except StoreDamaged as damage:
        try:
            folder = set_aside(data_dir, clock.now_us())
        except OSError:
            raise damage from None
        _log.error("%s: %s. It is kept in %s", damage.message, damage.cause, folder)
        store = _whole_store(config, identity, clock, machine)
    # Also where an earlier start was cut short: a store without a record has not run yet.
    if store.head[0] == 0 and (left := unread(data_dir)) is not None:
        _begin_anew(store, left)
    else:
        _tell_lost_store(store)
    return store


def _begin_anew(store: Store, folder: Path) -> None:
    batch = salvaged(folder)
    store.commit(batch)
    note_read(folder)
    _log.error(
        "epoch %d begins: the store before it was damaged. %d of its programs go on, %d with their state. Unfinished "
        "actions are given up. See what still holds with: eyeflow audit verify --data-dir %s",
        *(store.epoch, len(batch.put_slots), len(batch.states), folder),
    )


def _whole_store(config: NodeConfig, identity: Identity, clock: Clock, machine: Machine) -> Store:
    store = _new_store(config, identity, clock, machine)
    try:
        store.restore()  # reads everything that a start needs: damage must show now
    except StoreDamaged:
        with suppress(StorageError):
            store.close(clean=False)
        raise
    return store


def _new_store(config: NodeConfig, identity: Identity, clock: Clock, machine: Machine) -> Store:
    return Store(
        config.data_dir,
        config.name,
        identity,
        config.offline.limits,
        now_us=clock.now_us,
        vfs=machine.vfs,
        free_bytes=machine.free_bytes,
    )


def _warn_of_small_disk(store: Store, config: NodeConfig) -> None:
    set_bytes = config.offline.limits.size_bytes_max
    if store.size_bytes_max < set_bytes:
        _log.warning(
            "the disk of %s has room for a store of %.1f MB, and max_buffer_size_mb allows %.1f MB: the smaller holds",
            config.data_dir,
            store.size_bytes_max / 1e6,
            set_bytes / 1e6,
        )


def _tell_lost_store(store: Store) -> None:
    if store.replaced_epoch and store.head[0] == 0:
        _log.error(
            "the store of this node is gone: node.db was missing or empty. Rules, state and audit of epoch %d "
            "are lost here; epoch %d begins. Restore node.db from a backup, or deploy the rules again",
            store.replaced_epoch,
            store.epoch,
        )


def _make_data_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EyeflowError(
            f"cannot make the node's directory {path}",
            cause=why(error),
            next_step="Set [node] data_dir to a directory that you may write.",
            code="data_dir",
        ) from error


async def _serve(
    node: NodeRuntime,
    services: Sequence[Service],
    stop: asyncio.Event,
    on_ready: OnReady | None,
    manager: ServiceManager,
) -> None:
    """Run engine, sources, link and status socket side by side until `stop`."""
    node.services = {one.name: one.status for one in services}
    tried, rng = asyncio.Event(), node.machine.random
    async with asyncio.TaskGroup() as group:
        engine = group.create_task(node.engine.run())
        ports = [(source.status, _runs(source, node), f"source {name}") for name, source in node.sources.items()]
        ports += [(one.status, one.run, one.name) for one in services]
        ports.append((node.boards.status, node.boards.run, "boards"))
        if node.link is not None:
            ports.append((node.link.status, node.link.run, "link"))
        others = [group.create_task(_supervise(status, run, rng, about, stop)) for status, run, about in ports]
        told = [*(status for status, *_ in ports), *(driver.status for driver in node.world.drivers.values())]
        others.append(group.create_task(PortLog(told).run()))
        others.append(group.create_task(node.revocation.run()))
        others.append(group.create_task(node.trials.run()))
        others.append(
            group.create_task(
                keep_serving_status(
                    node.config.data_dir, lambda: as_shown(node.status()), tried, rng, board_answers(node.boards)
                )
            )
        )
        others.append(group.create_task(manager.keep_alive()))
        await tried.wait()
        manager.tell(READY="1", STATUS=f"node {node.config.name} runs")
        if on_ready is not None:
            on_ready(node)
        await stop.wait()
        manager.tell(STOPPING="1", STATUS="ends what was decided")
        # First the rules, while the connections still are: what was decided is sent, and confirmed to its sender.
        node.engine.finish()
        await asyncio.wait({engine})
        await node.engine.actions.stop(STOP_GRACE_S)
        for task in others:
            task.cancel()
        await asyncio.wait(others)


def _runs(source: Source, node: NodeRuntime) -> Callable[[], Awaitable[None]]:
    return lambda: source.run(node.engine.deliver)


async def _supervise(
    status: PortStatus, run: Callable[[], Awaitable[None]], rng: Random, about: str, stop: asyncio.Event
) -> None:
    """Run a port until `stop`: one that fails in a way it does not mend itself is shown as failed and started again."""
    SUBJECT.set(about)  # of this task alone
    backoff = Backoff(rng)
    while True:
        try:
            await run()
            return
        except EyeflowError as error:
            reason = error.whole
            _log.error("%s: %s", status.name, reason)
        except Exception as error:  # a bug in one source must not stop the rules of the others
            reason = internal(error)
            _log.exception("%s failed in an unforeseen way", status.name)
        status.state, status.detail = "failed", reason
        if stop.is_set():
            return  # a failure in the moment of the stop can hide that it was cancelled
        await asyncio.sleep(backoff.next_s())


async def _close_all(drivers: Mapping[str, Driver]) -> None:
    for name, driver in drivers.items():
        try:
            async with asyncio.timeout(CLOSE_S):
                await driver.close()
        except Exception:
            _log.exception("closing the driver %s failed", name)
