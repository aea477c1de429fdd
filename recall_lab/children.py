"""Start child processes that import nothing from the working folder.

Python puts the working folder first on ``sys.path`` for ``-m`` and ``-c``. A folder of captures
that somebody sent may hold a ``queue.py``, and a student's notebook may lie beside a
``random.py``: neither is meant for a receiver, nor for the workers of a survey. Imports nothing
that the interpreter has not loaded before any folder could be searched.
"""

# pathlib would have to be looked for
# ruff: noqa: PTH100, PTH109, PTH112, PTH117

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

SAFE: Final = "PYTHONSAFEPATH"
"""Variable of the environment that keeps the working folder off a new interpreter's path."""

ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that this package lies in."""


def command(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a Python file of ours, given by its path."""
    return [sys.executable, "-P", program, *arguments]


def environment() -> dict[str, str]:
    """Return our environment for a child, and for its own children.

    An empty or relative entry of PYTHONPATH, such as ``:/lib`` begins with, is the working folder
    again: it is left out. An absolute one is what somebody wants, wherever it leads.
    """
    told = dict(os.environ) | {SAFE: "1"}
    folders = [one for one in told.pop("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(one)]
    if folders:
        told["PYTHONPATH"] = os.pathsep.join(folders)
    return told


def import_path(
    folders: Iterable[str], working: str | None = None, package: str = ROOT
) -> list[str]:
    """Return `folders`, an import path, without the working folder and what is relative to it.

    Where this package itself lies there, in a checkout that is worked in, that folder comes as
    late as can be, before another that has a package of this name: only what is found nowhere
    else is taken from it.

    Args:
        folders: as ``sys.path`` has them.
        working: the folder that a child begins in; by default ours.
        package: the folder that this package lies in.
    """
    here = os.path.realpath(working or os.getcwd())
    kept = [one for one in folders if os.path.isabs(one) and os.path.realpath(one) != here]
    if os.path.realpath(package) == here:
        others = [os.path.isdir(os.path.join(one, "recall_lab")) for one in kept]
        kept.insert((*others, True).index(True), package)
    return kept


def leave_working_folder() -> None:
    """Take the working folder off our own import path, when ``python -m`` has put it first.

    To be called while Python looks for the module to run: ``sys.argv[0]`` is ``-m`` until then.
    """
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
        sys.path[:] = import_path(sys.path)


@contextmanager
def safe_path() -> Iterator[None]:
    """Have every interpreter that is started meanwhile keep the working folder off its path."""
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE, None)
        else:
            os.environ[SAFE] = before
