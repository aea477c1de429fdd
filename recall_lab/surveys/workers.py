"""Share tasks out to worker processes, a dask cluster, or any executor."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Any, Final, Protocol, TypeVar

from loky import get_reusable_executor
from loky.backend import resource_tracker, spawn
from loky.backend.context import LokyContext
from loky.backend.process import LokyProcess

from recall_lab import children
from recall_lab.errors import InvalidArgument

WORKERS: Final = "RECALL_LAB_WORKERS"
"""Variable of the environment: how many processes of our own, where it is not one for each core."""

MOST: Final = 1024  # processes that anybody can mean
_WINDOW: Final = 64  # tasks under way at least, of a client's: who knows how many workers come
_EACH: Final = 3  # tasks under way for each worker
_IDLE: Final = 60  # s after which a process of ours ends
_LOOK: Final = 0.5  # s between two looks at whether who started a process still lives
_PASSING: Final = {"COLUMNS", "LINES", "OLDPWD", "PWD", "PYTEST_CURRENT_TEST"}
"""Variables of the environment that change under way and mean nothing to a worker."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Client(Protocol):
    """A ``dask.distributed.Client``, as far as it is used here."""

    def get_executor(self, **options: Any) -> Executor:
        """Return an executor that runs on the cluster."""


def processes() -> int:
    """Return how many processes to have: as the environment says, or one for each core."""
    wanted = os.environ.get(WORKERS)
    if wanted is not None:
        # int() itself refuses to read very long numbers
        number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 else 0
        if not 1 <= number <= MOST:
            raise InvalidArgument(WORKERS, wanted, f"a whole number from 1 to {MOST:,}")
        return number
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_once(client: Executor | Client | None) -> int:
    """Return how many tasks can be done at the same time: 0 by a cluster that has no worker yet.

    Raises:
        InvalidArgument: for a client that can do none.
    """
    if client is None:
        return processes()
    if getattr(client, "asynchronous", False):
        raise InvalidArgument("client", client, "a Client made without asynchronous=True")
    if hasattr(client, "get_executor") and getattr(client, "status", "running") != "running":
        raise InvalidArgument("client", client, "a Client that is connected to its cluster")
    able = hasattr(client, "get_executor") or hasattr(client, "submit")
    if not able or isinstance(client, type):
        raise InvalidArgument("client", client, "a dask.distributed.Client, an Executor, or None")
    if hasattr(client, "nthreads"):
        threads: dict[str, int] = client.nthreads()
        return sum(threads.values())
    return max(1, int(getattr(client, "_max_workers", None) or 1))


def shared_out(
    task: Callable[[Sequence[Item]], list[Result]],
    batches: Iterable[Sequence[Item]],
    client: Executor | Client | None,
    given_up: Callable[[Item, Exception], Result],
) -> Generator[list[Result], None, None]:
    """Yield the results of a task for each batch, in the order in which they come.

    A worker that dies takes its batches along: they are done once more; then, if that happens
    again, item by item and one at a time, so that the item that kills workers is found. It is
    given up when it has killed two workers so, alone; a cluster of dask has tried four by itself.

    Args:
        task: a function of a module, which a batch is given to.
        batches: small values; taken one by one as workers get free.
        client: who runs it: a dask client, an executor, or None for processes of our own.
            It is used as it is, and never closed.
        given_up: makes the result of an item that has killed its worker time and again.

    Raises:
        InvalidArgument: for a client that is none.
        CancelledError: when a cluster lets go of tasks, as it does when its scheduler ends.
        Exception: whatever the task raises, and what a client's broken executor does.
    """
    engine = _Engine(client)
    waiting = iter(batches)
    again: deque[tuple[Sequence[Item], int]] = deque()  # with how often they were lost
    under_way: dict[Future[list[Result]], tuple[Sequence[Item], int]] = {}
    try:
        while True:
            while len(under_way) < engine.window:
                # what was lost twice goes alone: whose fault it was is then known
                if again and again[0][1] > 1 and under_way:
                    break
                if any(lost > 1 for _, lost in under_way.values()):
                    break
                batch, lost = again.popleft() if again else (next(waiting, None), 0)
                if batch is None:
                    break
                try:
                    under_way[engine.submit(task, batch)] = (batch, lost)
                except Exception as late:  # a worker has just died: what is under way will tell
                    if not engine.forgives(late):
                        raise
                    again.appendleft((batch, lost))
                    if under_way:
                        break
                    engine.renew()
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                batch, lost = under_way.pop(future)
                error = _error_of(future)
                if error is None:
                    yield future.result()
                elif not engine.forgives(error):
                    raise error
                elif lost > (2 if engine.own else 1):
                    broken = True
                    yield [given_up(batch[0], _death(error))]
                else:
                    broken = True
                    again += _once_more(batch, lost if engine.own else 1)
            if broken and engine.renew():  # the others went down with it
                for batch, lost in under_way.values():
                    again += _once_more(batch, lost)
                under_way.clear()
                again = deque(sorted(again, key=lambda one: one[1]))
    except BaseException as error:
        engine.abandon(under_way, isinstance(error, KeyboardInterrupt | GeneratorExit))
        raise
    finally:
        engine.close()


def _once_more(batch: Sequence[Item], lost: int) -> list[tuple[Sequence[Item], int]]:
    """Return what is to be done again; a cluster has tried a batch on several workers before."""
    return [(batch, 1)] if not lost else [([item], lost + 1) for item in batch]


def _error_of(future: Future[Any]) -> BaseException | None:
    if future.cancelled():
        return CancelledError("the cluster let go of a task: has its scheduler ended?")
    return future.exception()


def _death(error: BaseException) -> Exception:
    return RuntimeError(
        f"its worker died each time it was measured ({type(error).__name__}): out of memory, "
        "or killed; look at this capture by itself"
    )


class _Engine:
    """What tasks are given to, and what is to be done when it breaks."""

    def __init__(self, client: Executor | Client | None) -> None:
        able = at_once(client)
        if not able:
            told = "the cluster has no worker yet: what is asked of it waits until one comes"
            warnings.warn(told, stacklevel=2)
        self.window = max(_EACH * able, 0 if client is None else _WINDOW)
        self._lent = client is not None
        self._executor: Executor
        if client is not None:
            cluster: Any = client
            lent = hasattr(client, "get_executor")
            self._executor = cluster.get_executor(pure=False) if lent else cluster
        elif multiprocessing.current_process().daemon or None in (sys.stdout, sys.stderr):
            # it may have no processes of its own, or they could not be started
            self._executor = ThreadPoolExecutor(processes())
        else:
            self._executor = _pool()
        self.own = not self._lent and not isinstance(self._executor, ThreadPoolExecutor)

    def submit(self, task: Callable[..., Any], batch: Sequence[Any]) -> Future[Any]:
        """Have a task done."""
        return self._executor.submit(task, batch)

    def forgives(self, error: BaseException) -> bool:
        """Return whether a worker died, and there will be others."""
        if self.own:
            return isinstance(error, BrokenExecutor)
        return type(error).__name__ == "KilledWorker"  # dask's, which has tried several

    def renew(self) -> bool:
        """Make processes of our own anew; return whether what was under way is lost."""
        if self.own:
            self._executor = _pool()
        return self.own

    def abandon(self, under_way: Iterable[Future[Any]], at_once: bool) -> None:
        """Leave: what is under way is of no use any more."""
        if self.own and at_once:
            # and cancel nothing: the processes' manager would trip over it
            self._executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]
            return
        for future in under_way:
            future.cancel()

    def close(self) -> None:
        """End what nobody would use again."""
        if self._lent:
            return
        if not self.own:
            self._executor.shutdown(wait=False)
        elif multiprocessing.parent_process() is not None:
            # a process of multiprocessing waits for its own at its end: until they have been idle
            self._executor.shutdown(wait=False, kill_workers=True)  # type: ignore[call-arg]


def _pool() -> Executor:
    """Return processes of our own: kept for the next survey, ended when idle.

    They need no guard in the script that asks for them, as the standard library's do. Where the
    environment has changed since, others take their place: a bucket's keys may be in it.
    """
    told = children.environment().items()
    environment = {name: value for name, value in told if name not in _PASSING}
    with children.safe_path():  # they are started once, and stay
        resource_tracker.ensure_running()
        multiprocessing.resource_tracker.ensure_running()
    pool: Executor = get_reusable_executor(
        processes(),
        context=_CONTEXT,
        timeout=_IDLE,
        initializer=_begin,
        initargs=(os.getpid(),),
        env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return pool


class _Process(LokyProcess):  # type: ignore[misc]
    """A worker that is told an import path without the working folder."""

    @staticmethod
    def _Popen(process: LokyProcess) -> Any:
        _starting.ours = True
        try:
            with children.safe_path():
                return LokyProcess._Popen(process)
        finally:
            _starting.ours = False


class _Context(LokyContext):  # type: ignore[misc]
    """Starts such workers."""

    Process = _Process


_CONTEXT: Final = _Context()
_starting: Final = threading.local()
_told: Final = spawn.get_preparation_data


def _preparation_data(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return what loky tells a worker as it begins; to workers of others, what it always does."""
    told: dict[str, Any] = _told(*arguments, **options)
    if getattr(_starting, "ours", False):
        told["sys_path"] = children.import_path(told["sys_path"])
    return told


spawn.get_preparation_data = _preparation_data


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when the one that started it was killed: nobody waits for results then."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
