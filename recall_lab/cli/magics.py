"""``%load_ext recall_lab``: three short commands for a notebook, each one call of the API."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import pandas as pd
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class

import recall_lab as rl
from recall_lab.capture.capture import Capture
from recall_lab.receiver.background.handle import Receiver


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Make ``%receive``, ``%gaps`` and ``%capture_status`` known: ``%load_ext recall_lab``."""
    shell.register_magics(CaptureMagics)


class _Parser(argparse.ArgumentParser):
    """Raises what a notebook shows as one line."""

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\n{self.format_help()}")

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        raise UsageError(message or self.format_help())


_RECEIVE = _Parser(prog="%receive", description="Start to receive; see recall_lab.receive.")
_RECEIVE.add_argument("--port", type=int, default=3456, help="0 takes any free one (3456)")
_RECEIVE.add_argument(
    "--directory", help="where captures go (captures, where the kernel was started)"
)
_RECEIVE.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
_RECEIVE.add_argument("--mode", choices=("process", "thread"), default="process")

_GAPS = _Parser(prog="%gaps", description="What is missing from a capture; see recall_lab.gaps.")
_GAPS.add_argument("capture", nargs="?", help="a variable or a path (what is received now)")


@magics_class
class CaptureMagics(Magics):
    """The commands; each returns what the call behind it returns."""

    @line_magic
    def receive(self, line: str) -> Receiver:
        """Start to receive in the background: %receive [--port N] [--directory D]."""
        given = vars(_RECEIVE.parse_args(shlex.split(line)))
        return rl.receive(**given)

    @line_magic
    def gaps(self, line: str) -> pd.DataFrame:
        """Return what is missing: %gaps [VARIABLE or PATH]."""
        name = _GAPS.parse_args(shlex.split(line)).capture
        assert self.shell is not None
        capture = _newest() if name is None else self.shell.user_ns.get(name)
        if isinstance(capture, Receiver):
            capture = capture.capture()
        if not isinstance(capture, Capture):
            capture = rl.load(name)
        return rl.gaps(capture)

    @line_magic
    def capture_status(self, line: str) -> pd.DataFrame:
        """Return every stream that receivers of yours are keeping: %capture_status."""
        if line.strip():
            raise UsageError("%capture_status takes no argument")
        tables = [rx.recordings().assign(receiver=rx.url) for rx in rl.receivers()]
        if not tables:
            raise UsageError("no receiver is running: start one with %receive")
        streams = pd.concat(tables, ignore_index=True)
        return streams[["receiver", "recording", "participant", "name", "packets", "seconds"]]


def _newest() -> Capture:
    receivers = rl.receivers()
    if not receivers:
        raise UsageError("no receiver is running: name a capture, or start one with %receive")
    return receivers[-1].capture()
