"""A notebook's process that does as it is told: runs cells, and can be stopped and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Self

_MARK = "\0"  # begins an answer: whatever else is printed does not


class Kernel:
    """A process with a namespace, as a context manager; killed when it is left."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def begin(self, cell: str) -> None:
        """Run a cell, without waiting for it."""
        self.say(json.dumps(cell))

    def say(self, line: str) -> None:
        """Give a line to whatever reads there: the next cell, or a debugger."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """Wait for the cell; return what it set `out` to, or the error that it raised."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            _, mark, told = line.partition(_MARK)
            if mark:
                return str(json.loads(told))
        raise RuntimeError("the kernel has ended")

    def run(self, cell: str) -> str:
        """Run a cell, wait for it."""
        self.begin(cell)
        return self.end()

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def halted(pid: int, seconds: float) -> Iterator[float]:
    """Stop a process for so long, do what is to be done meanwhile, let it go on."""
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield began
        time.sleep(max(0.0, began + seconds - time.monotonic()))
    finally:
        os.kill(pid, signal.SIGCONT)


def main() -> None:
    """Be the kernel: read cells, say what they gave."""
    names: dict[str, object] = {}
    for line in sys.stdin:
        names["out"] = ""
        try:
            exec(json.loads(line), names)
        except Exception as error:
            names["out"] = f"{type(error).__name__}: {error}"
        print(f"{_MARK}{json.dumps(str(names['out']))}", flush=True)


if __name__ == "__main__":
    main()
