"""Receivers as child processes: started on a core of their own, timed, ended by their process id.

Measures nothing by itself; ``ingest.py`` and ``realtime.py`` use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

import psutil

HERE: Final = Path(__file__).resolve().parent
NODE: Final = HERE / "node"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 60.0


class Child:
    """A receiver in a process of its own, as a context manager.

    Args:
        command: what to run; it must write its port to stderr as its first line.
        scratch: an existing folder for what it prints.
        log: let stdout go to /dev/null instead of being kept.
    """

    def __init__(self, command: Sequence[str], scratch: Path, *, log: bool = False) -> None:
        self.command = command
        self._out = Path(os.devnull) if log else scratch / "stdout"
        self._err = scratch / "stderr"
        self.port = 0

    def __enter__(self) -> Self:
        # The child inherits our core, its threads inherit the child's: pin ourselves, start it,
        # go back. Pinning it once it runs would leave out the threads it already has.
        with open(self._out, "wb") as out, open(self._err, "wb") as err, pinned(0):
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        deadline = time.monotonic() + START_SECONDS
        while not (said := re.match(r"(\d+)\n", self._err.read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{' '.join(self.command)}: {self._err.read_text()[-2000:]}")
            time.sleep(0.01)
        self.port = int(said[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """Return what it wrote to stdout."""
        return self._out.read_text()

    def complained(self) -> str:
        """Return what it wrote to stderr after its port."""
        return self._err.read_text().partition("\n")[2]

    def cpu(self) -> float:
        """Return the CPU seconds that all its threads have used."""
        try:
            tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
            found = [int(task.read_text().split()[0]) for task in tasks]
        except (OSError, ValueError, IndexError):
            found = []
        if found:
            return sum(found) / 1e9
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


def cores() -> tuple[int, int] | None:
    """Return the cores of the receiver and of the generator; None where there are no two."""
    try:
        usable = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return None
    return (usable[0], usable[1]) if len(usable) > 1 else None


_CORES: Final = cores()


@contextlib.contextmanager
def pinned(which: int) -> Iterator[None]:
    """Run on the receiver's core (0) or the generator's (1), where the system can do that."""
    if _CORES is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_CORES[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says infinity and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def cpu_of_all() -> float:
    """Return the CPU seconds used on this machine by everybody, the kernel included.

    Less those of the receiver and of ourselves: how disturbed a measurement was.
    """
    times = psutil.cpu_times()
    idle = ("idle", "iowait", "guest", "guest_nice", "steal")
    return float(sum(used for name, used in times._asdict().items() if name not in idle))


def machine() -> str:
    """Return one line on the machine and the versions that matter."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else model
    parts = [
        f"{os.cpu_count()} cores",
        model,
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"Node {node_version()}",
        f"ws {ws_version()}",
        *(f"{name} {version(name)}" for name in ("websockets", "msgspec", "pybase64")),
    ]
    return ", ".join(parts)


def node_version() -> str:
    """Return the version of Node, without the v."""
    node = shutil.which("node")
    if node is None:
        return "not there"
    return subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip("v\n")


def ws_version() -> str:
    """Return the version of the installed ws."""
    try:
        package = json.loads((NODE / "node_modules/ws/package.json").read_text())
    except OSError:
        return "not there"
    return str(package["version"])


def prepare_node() -> str | None:
    """Install ws where it is not; return why the Node receivers can't run, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if (NODE / "node_modules" / "ws").is_dir():
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed, and benchmarks/node has no node_modules"
    print("npm install in benchmarks/node", file=sys.stderr)
    try:
        subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"],
            cwd=NODE, check=True, timeout=120, capture_output=True, text=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm install failed: {getattr(error, 'stderr', '') or error}"
    return None
