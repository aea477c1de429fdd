"""Tasks for worker processes, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recall_lab.surveys.workers import shared_out


def squares(numbers: Sequence[int]) -> list[int]:
    return [number**2 for number in numbers]


def deadly(numbers: Sequence[int]) -> list[int]:
    """Squares; 13 kills the process that it is given to."""
    if 13 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(numbers)


def deadly_once(jobs: Sequence[tuple[int, str]]) -> list[int]:
    """Squares; the process that is given 13 dies, but the first time only."""
    for number, marker in jobs:
        if number == 13 and not os.path.exists(marker):
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return squares([number for number, _ in jobs])


def slowly(seconds: Sequence[float]) -> list[int]:
    for one in seconds:
        time.sleep(one)
    return [os.getpid()]


def variable(names: Sequence[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def given_up(item: Any, error: Exception) -> Any:
    assert "worker died each time" in str(error)
    return ("given up", item)


def flat(results: Any) -> list[Any]:
    return [value for some in results for value in some]


def in_a_process(numbers: Sequence[int], told: Any) -> None:
    told.put(sorted(flat(shared_out(squares, [numbers], None, given_up))))
