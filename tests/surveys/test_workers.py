"""Tasks shared out: to processes that die, to executors, to a cluster."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.cluster import client_of, cluster, ours
from helpers.tasks import (
    deadly,
    deadly_once,
    flat,
    given_up,
    in_a_process,
    slowly,
    squares,
    variable,
)

from recall_lab.errors import InvalidArgument
from recall_lab.surveys import workers
from recall_lab.surveys.workers import at_once, shared_out


def batches(count: int, size: int = 3) -> list[list[int]]:
    return [list(range(at, min(at + size, count))) for at in range(0, count, size)]


def test_processes_do_it_and_stay_warm() -> None:
    assert sorted(flat(shared_out(squares, batches(50), None, given_up))) == [
        number**2 for number in range(50)
    ]
    before = {one.pid for one in ours()}
    assert flat(shared_out(squares, [[3]], None, given_up)) == [9]
    assert before and {one.pid for one in ours()} == before


def test_a_worker_that_dies_is_made_anew(tmp_path: Path) -> None:
    jobs = [[(number, str(tmp_path / "died"))] for number in range(30)]
    found = flat(shared_out(deadly_once, jobs, None, given_up))
    assert sorted(found) == [number**2 for number in range(30)]


def test_the_item_that_kills_is_found_and_given_up() -> None:
    found = flat(shared_out(deadly, batches(20), None, given_up))
    assert ("given up", 13) in found
    found.remove(("given up", 13))
    assert sorted(found) == [number**2 for number in range(20) if number != 13]


def test_processes_that_died_while_idle() -> None:
    flat(shared_out(squares, batches(5), None, given_up))
    for one in ours():
        one.kill()
    assert sorted(flat(shared_out(squares, batches(9), None, given_up))) == [
        number**2 for number in range(9)
    ]


def test_a_worker_dies_between_two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor says so when it is given the next task, and not by a task that was lost."""
    broken = [2]
    submit = workers._Engine.submit

    def dying(self: Any, task: Callable[..., Any], batch: Sequence[Any]) -> Future[Any]:
        broken[0] -= 1
        if broken[0] == 0:
            raise workers.BrokenExecutor("a worker died")
        return submit(self, task, batch)

    monkeypatch.setattr(workers._Engine, "submit", dying)
    for first in (1, 2, 5):
        broken[0] = first
        assert sorted(flat(shared_out(squares, batches(12), None, given_up))) == [
            number**2 for number in range(12)
        ]


def test_what_an_interrupt_leaves() -> None:
    flat(shared_out(squares, batches(5), None, given_up))
    results = shared_out(slowly, [[0.0], *[[30.0]] * 9], None, given_up)
    next(results)
    pids = ours()
    begin = time.monotonic()
    results.close()
    gone, alive = psutil.wait_procs(pids, timeout=5)
    assert time.monotonic() - begin < 5
    assert gone and not alive
    assert flat(shared_out(squares, [[4]], None, given_up)) == [16]


def test_interrupts_at_any_moment_leave_nothing_behind(capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        results = shared_out(slowly, [[0.01]] * 60, None, given_up)
        for _ in range(1 + 3 * number):
            next(results)
        results.close()
        assert flat(shared_out(squares, [[4]], None, given_up)) == [16]
    assert "Error" not in capfd.readouterr().err


@pytest.mark.parametrize("daemon", [False, True])
def test_a_process_of_multiprocessing_does_it_and_ends(daemon: bool) -> None:
    """A daemonic one may start no processes; another would wait for its own until those end."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=in_a_process, args=([2, 3], told), daemon=daemon)
    process.start()
    assert told.get(timeout=40) == [4, 9]
    process.join(10)
    assert process.exitcode == 0


def test_a_cluster_without_workers_is_told() -> None:
    class Empty:
        def get_executor(self, **_: Any) -> None: ...

        def nthreads(self) -> dict[str, int]:
            return {}

    assert at_once(Empty()) == 0  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="no worker yet"):
        assert workers._Engine(Empty()).window > 0  # type: ignore[arg-type]


def test_an_environment_that_changed_reaches_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    flat(shared_out(squares, [[1]], None, given_up))
    monkeypatch.setenv("AWS_PROFILE", "night")
    assert flat(shared_out(variable, [["AWS_PROFILE"]], None, given_up)) == ["night"]
    monkeypatch.delenv("AWS_PROFILE")
    assert flat(shared_out(variable, [["AWS_PROFILE"]], None, given_up)) == [None]


def test_an_executor_is_used_and_left_open() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert at_once(executor) == 2
        found = flat(shared_out(squares, batches(30), executor, given_up))
        assert sorted(found) == [number**2 for number in range(30)]
        assert executor.submit(len, "abc").result() == 3


def test_tasks_are_made_as_they_are_needed() -> None:
    """However many there are, only a window of them is under way."""
    most, made = 0, 0

    def counted() -> Any:
        nonlocal made
        for number in range(1000):
            made += 1
            yield [number]

    with ThreadPoolExecutor(2) as executor:
        for done, _ in enumerate(shared_out(squares, counted(), executor, given_up)):
            most = max(most, made - done)
    assert made == 1000
    assert most <= 65


def test_what_a_task_raises_is_raised() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError):
        flat(shared_out(squares, [[1], ["a"], [2]], executor, given_up))  # type: ignore[list-item]


def test_a_client_that_is_none() -> None:
    class Waiting:
        asynchronous = True
        get_executor = None

    class Closed:
        status = "closed"
        get_executor = None

    for client, valid in (
        ("cluster", r"dask\.distributed\.Client"),
        (Waiting(), "asynchronous"),
        (Closed(), "connected"),
        (ThreadPoolExecutor, "an Executor"),
    ):
        with pytest.raises(InvalidArgument, match=valid):
            flat(shared_out(squares, [[1]], client, given_up))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["0", "-1", "two", "9999", "", "1" * 5000])
def test_how_many_processes_may_be_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.WORKERS, value)
    with pytest.raises(InvalidArgument, match="from 1 to"):
        workers.processes()
    monkeypatch.setenv(workers.WORKERS, "3")
    assert workers.processes() == 3


def test_a_cluster_that_lets_go() -> None:
    class Gone(Executor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(CancelledError, match="scheduler"):
        flat(shared_out(squares, [[1]], Gone(), given_up))


def test_the_item_that_kills_workers_of_a_cluster() -> None:
    """Dask gives up a task that workers died of; which of its items it was is found out."""
    # else four of them die for a batch, and four more for the item
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with cluster(1, **once) as dask, client_of(dask, 1) as client:
        assert at_once(client) == 1
        results = shared_out(deadly, [[1, 2], [12, 13], [3]], client, given_up)
        with ThreadPoolExecutor(1) as thread:
            future = thread.submit(flat, results)
            while not future.done():
                if dask.workers[-1].poll() is not None:
                    dask.workers.append(dask.add())
                time.sleep(0.02)
        assert sorted(future.result(), key=str) == [("given up", 13), 1, 144, 4, 9]
        dask.workers.append(dask.add())  # the last one may have died of it
        assert client.submit(len, "abc").result(timeout=30) == 3
