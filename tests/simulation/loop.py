"""An event loop in virtual time, on which several simulated processes run, each of which can die between two steps.

Nothing waits: when no callback is ready, time jumps to the next timer. There are no threads: what the product hands to an
executor runs on the loop, after a delay from the seed, so that it still ends at another moment than it began. Tasks and
futures get a hash from a counter, because sets of them are iterated in the order of their hashes, and the hash of an
object is its address.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

THREAD_S_MAX = 0.003
"""How long a job waits for its thread, and its answer for the loop, at most."""
CLOSES_MAX = 50
"""How often a coroutine of a dead process may wait in a `finally` before the simulation says that it never ends."""
STEPS_MAX = 2_000_000
"""Steps of one run: a loop that never lets time pass is a bug."""

Context = contextvars.Context


class StalledError(Exception):
    """Nothing is left that could ever happen, or time does not pass any more."""


class Process:
    """What lives and dies together. `doomed`: it dies at the end of the present step, and nothing it does now counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive, self.doomed = True, False
        self.steps_left = -1
        """Steps until it dies by itself; negative: it does not."""
        self.effects, self.effects_left = 0, -1
        """What it did that others see: writes to its disk and messages; how many more until it dies in one."""
        self.messages = 0
        self.on_effect: Callable[[], None] = lambda: None
        """Called before each effect."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.on_death: list[Callable[[], None]] = []

    @property
    def works(self) -> bool:
        return self.alive and not self.doomed

    def effect(self, is_message: bool = False) -> None:
        """It is about to write to its disk, or to send: it may die before it does."""
        self.on_effect()
        self.effects += 1
        self.messages += is_message
        if self.effects_left >= 0:
            self.effects_left -= 1
            self.doomed |= self.effects_left < 0

    def end(self) -> None:
        """Kill it: no step of it runs any more. What its coroutines do while they are closed reaches nothing."""
        if not self.alive:
            return
        self.alive = False
        for told in self.on_death:
            told()
        contextvars.copy_context().run(self._close_tasks)

    def _close_tasks(self) -> None:
        CURRENT.set(self)
        for task in self.tasks:  # grows while it is walked: a `finally` may start more
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                REMAINS.extend(_awaited(task.get_coro()))
                _close(task.get_coro())
        self.tasks.clear()


REMAINS: list[Any] = []
"""What is left of dead processes, kept until a run ends. Collected earlier, its `finally` blocks would run inside of the
step of another process, and what they schedule would be that one's."""


def _awaited(coroutine: Any) -> Iterator[Any]:
    """Yield a coroutine and what it waits for, one inside of the other."""
    while coroutine is not None:
        yield coroutine
        coroutine = getattr(coroutine, "cr_await", None)


def _close(coroutine: Any) -> None:
    for _ in range(CLOSES_MAX):
        try:
            coroutine.close()
            return
        except BaseException:  # it waits in a `finally`, or fails there: it is dead all the same
            if coroutine.cr_frame is None:
                return
    raise StalledError(f"{coroutine!r} cannot be ended")


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    _numbers = count(1)

    def __init__(self, *args: Any, **more: Any) -> None:
        self._number, self.process = next(self._numbers), CURRENT.get()
        super().__init__(*args, **more)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimFuture(asyncio.Future):  # type: ignore[type-arg]
    _numbers = count(1)

    def __init__(self, **more: Any) -> None:
        self._number = next(self._numbers)
        super().__init__(**more)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Idle:
    """In the place of a selector: to wait is to let time jump."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StalledError("every task waits, and nothing is due")
        if timeout > 0:
            self._loop.jump()
        return []


class _Server(asyncio.AbstractServer):
    def close(self) -> None:
        return None

    async def wait_closed(self) -> None:
        return None


class SimLoop(BaseEventLoop):
    """`network` has `connect` and `accepted`; set it before anything connects."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng, self._now_s, self._steps, self.steps_max = rng, 0.0, 0, STEPS_MAX
        self._selector = _Idle(self)
        self._busy_until_s: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self.network: Any = None
        self.beside: Callable[[float], float] = lambda until_s: until_s
        """Lets what has a time of its own beside the loop, a chip say, go on to a moment; returns how far it went."""
        self.stalled = ""
        self.faults: list[str] = []
        """What no process may do: exceptions that nobody caught."""
        self.slow_disk: Callable[[], float] = lambda: 0.0
        self.lasted_s = 0.0
        """How long the present job takes beside what it computes: who answers it late sets it."""
        SimTask._numbers, SimFuture._numbers = count(1), count(1)
        self.set_task_factory(_make_task)
        self.set_exception_handler(_uncaught)

    def time(self) -> float:
        return self._now_s

    def begin_at(self, time_s: float) -> None:
        """Begin at a later time than 0."""
        self._now_s = time_s

    def jump(self) -> None:
        self._now_s = max(self._now_s, self.beside(self._scheduled[0]._when))  # type: ignore[attr-defined]

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        REMAINS.append(agen)
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]

    def _process_events(self, event_list: list[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def create_future(self) -> SimFuture:
        return SimFuture(loop=self)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        process = CURRENT.get() if context is None else context.get(CURRENT)
        if process is None:  # the simulation's own steps, which name their context
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(self._step, process, callback, args, context=context)

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        process = CURRENT.get() if context is None else context.get(CURRENT)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, self._step, process, callback, args, context=context)

    def _step(self, process: Process, callback: Any, args: Any) -> None:
        """Run one step of a process: what lies between two of its awaits."""
        if not process.alive:
            return
        self._steps += 1
        if self._steps > self.steps_max:
            self.stalled = f"{process.name} makes steps for ever, the last one {callback!r}"
            self.stop()
        if process.steps_left >= 0:
            process.steps_left -= 1
            process.doomed |= process.steps_left < 0
        if not process.doomed:
            callback(*args)
        if process.doomed:
            process.end()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run a job at a later moment. The jobs of one executor keep their order: the product has those of one thread."""
        now_s, answer = self._now_s, self.create_future()
        key = executor if executor is not None else answer
        starts_s = max(now_s, self._busy_until_s.get(key, now_s)) + self._rng.uniform(1e-6, THREAD_S_MAX)
        ends_s = starts_s + self._rng.uniform(1e-6, THREAD_S_MAX) + self.slow_disk()
        self._busy_until_s[key] = ends_s
        self.call_at(starts_s, self._work, answer, func, args, ends_s)
        return answer

    def _work(self, answer: SimFuture, func: Any, args: Any, ends_s: float) -> None:
        if answer.cancelled():
            return  # as a thread pool, which drops a job that has not begun
        self.lasted_s = 0.0
        try:
            done = (answer.set_result, func(*args))
        except (Exception, asyncio.CancelledError) as error:
            done = (answer.set_exception, error)
        self.call_at(ends_s + self.lasted_s, _answer, answer, *done)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        return None

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        raise NotImplementedError  # signals are for the process that runs the simulation

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        fd.when_readable(callback, contextvars.copy_context())

    def remove_reader(self, fd: Any) -> bool:  # type: ignore[override]
        fd.when_readable(None, None)
        return True

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:  # type: ignore[override]
        return await self.network.connect(protocol_factory, host, port)

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **more: Any) -> Any:  # type: ignore[override]
        return self.network.accepted(protocol_factory, sock)

    async def create_unix_server(self, protocol_factory: Any, path: Any = None, **more: Any) -> _Server:  # type: ignore[override]
        Path(path).touch(0o600)  # nobody asks a simulated node for its status
        return _Server()


def _answer(answer: SimFuture, settle: Callable[[Any], None], value: Any) -> None:
    if not answer.done():
        settle(value)


def _make_task(loop: Any, coroutine: Coroutine[Any, Any, Any], **more: Any) -> SimTask:
    task = SimTask(coroutine, loop=loop, **more)
    process = task.process
    if process is not None:
        process.tasks.append(task)
        if len(process.tasks) % 256 == 0:
            process.tasks[:] = [one for one in process.tasks if not one.done()]
    return task


def _uncaught(loop: Any, context: dict[str, Any]) -> None:
    process = getattr(context.get("task") or context.get("future"), "process", None) or CURRENT.get()
    if process is None or process.works:
        loop.faults.append(f"{process.name if process else '?'}: {context.get('message')} {context.get('exception')!r}")


async def pass_time(duration_s: float) -> None:
    """Let virtual time pass. Nobody waits: the test for sleeping tests is right about all others."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    passed = loop.create_future()
    timer = loop.call_later(duration_s, _answer, passed, passed.set_result, None)
    try:
        await passed
    finally:
        timer.cancel()


@contextmanager
def as_process(process: Process) -> Iterator[None]:
    """What is started in the block belongs to `process`."""
    token = CURRENT.set(process)
    try:
        yield
    finally:
        CURRENT.reset(token)
