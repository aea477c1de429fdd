"""Run a call in a thread of its own and wait for its outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def run_in_thread(
    call: Callable[[], T], *, daemon: bool = False, name: str | None = None
) -> Future[T]:
    """Run a call in a new thread; return its outcome to come.

    An executor would not do: it waits for its threads when Ctrl-C leaves it, and at the end of the
    program.

    Args:
        call: what is done.
        daemon: whether the program may end meanwhile.
        name: of the thread.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=daemon, name=name).start()
    return outcome
