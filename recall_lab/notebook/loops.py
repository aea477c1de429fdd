"""Let event loops nest, only when asked."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from recall_lab.errors import MissingExtra, NestingRefused

_BROKEN: Final = (3, 14)
"""From this Python on, asyncio keeps the current task where nest_asyncio does not put it."""


def allow_nested_loops() -> bool:
    """Let ``asyncio.run(...)`` and ``loop.run_until_complete(...)`` work in a notebook cell.

    A cell runs inside the kernel's event loop, in which Python refuses to run another. A cell can
    simply ``await``, and nothing of recall_lab needs this; it is for code that was written as a
    program. It changes asyncio for the whole process (by nest_asyncio): tasks are Python's own,
    slower ones, and ``asyncio.run`` uses the kernel's loop and takes no ``loop_factory``.

    Calling it again changes nothing, nor does calling it where no loop runs.

    Returns:
        Whether loops nest now: False where no loop runs, and nothing was changed.

    Raises:
        NestingRefused: on Python 3.14 and later, and with a loop such as uvloop's.
        MissingExtra: where nest_asyncio is not installed.

    Example:
        >>> allow_nested_loops()  # doctest: +SKIP
        True
        >>> asyncio.run(simulate_async("data/standup.wav", rx.url))  # doctest: +SKIP
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    instead = "write await in the cell, or use the functions that need none, such as rl.simulate"
    if sys.version_info >= _BROKEN:
        raise NestingRefused(
            f"nest_asyncio breaks asyncio on Python {sys.version_info[0]}.{sys.version_info[1]} "
            f"(asyncio.current_task() would be None): {instead}"
        )
    if not isinstance(loop, asyncio.BaseEventLoop):
        kind = type(loop)
        raise NestingRefused(
            f"the running loop is a {kind.__module__}.{kind.__qualname__}, and only asyncio's own "
            f"can be made to nest: {instead}"
        )
    try:
        import nest_asyncio  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("lab", "nest_asyncio") from error
    nest_asyncio.apply(loop)
    return True
