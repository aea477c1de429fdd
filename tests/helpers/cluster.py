"""A dask cluster of real processes on loopback, and the processes of our own pool."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from helpers.bucket import free_port


class Cluster:
    """A scheduler and workers, each a process.

    Attributes:
        address: of the scheduler.
        workers: the processes of the workers.
    """

    def __init__(self, folder: str, workers: int, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._scheduler = self._start(
            "scheduler", "--port", self.address.rpartition(":")[2], "--host", "127.0.0.1",
            "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip
        self.workers = [self.add() for _ in range(workers)]

    def add(self) -> subprocess.Popen[bytes]:
        """Start one more worker, without a nanny: it stays dead when it is killed."""
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--local-directory", self._folder, "--memory-limit", "0", "--host", "127.0.0.1",
        )  # fmt: skip

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (Path(self._folder) / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env=os.environ
                # what a nanny sets, too
                | {"MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
                | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # tasks of tests
                # a result on a worker that died: its scheduler asks there for 30 s, if not told so
                | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
                | self._environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
            )

    def close(self) -> None:
        """End all of them."""
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """Run a cluster; its processes have these variables in their environment."""
    with tempfile.TemporaryDirectory() as folder:
        one = Cluster(folder, workers, environment)
        try:
            yield one
        finally:
            one.close()


@contextlib.contextmanager
def client_of(one: Cluster, workers: int = 2):  # type: ignore[no-untyped-def]
    """Connect to a cluster, and wait for its workers."""
    import distributed

    deadline = time.monotonic() + 30
    client = distributed.Client(one.address, timeout=30, set_as_default=False)
    try:
        client.wait_for_workers(workers, timeout=max(deadline - time.monotonic(), 1))
        yield client
    finally:
        client.close()


def ours() -> list[psutil.Process]:
    """Return the workers among the children of this process."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "loky.backend.popen" in " ".join(one.cmdline()):
                found.append(one)
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Return what a condition gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found
