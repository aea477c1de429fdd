"""Where running receivers are noted, so that a notebook finds its own again.

A folder of the user's own, outside the captures: one ``{id}.json`` and one control socket for
each receiver in a child process. A note is believed only when the control socket answers with
the same id: a pid alone may be a stranger's by now.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from recall_lab.control.settings import Settings
from recall_lab.errors import ReceiverFailed
from recall_lab.store.files import replace_file

RUNTIME_VARIABLE: Final = "RECALL_LAB_RUNTIME"
_ENDED: Final = ".ended"  # no .json: that would be one that runs


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver in a child process.

    Attributes:
        id: of this run.
        pid: its process.
        created: when the process began, in seconds since boot: with the pid, it names one process.
        port: the port it listens on.
        settings: how it was asked to run.
        started: when it began to listen, in ns since 1970 UTC.
    """

    id: str
    pid: int
    created: float
    port: int
    settings: Settings
    started: int

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return runtime_folder() / f"{self.id}.sock"

    @property
    def log(self) -> Path:
        """What it had to say."""
        return log_path(self.id)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver that has ended.

    Attributes:
        id: of its run.
        url: where bots on this machine connected.
        directory: where its captures are.
        ended: when, in ns since 1970 UTC; where it died without a word, when that was noticed.
        why: in words.
        packets: how many it had kept; None where nobody can say.
    """

    id: str
    url: str
    directory: str
    ended: int
    why: str
    packets: int | None = None


def runtime_folder() -> Path:
    """Return the folder of notes and sockets, made for its owner only.

    Raises:
        ReceiverFailed: when somebody else owns it, or may look into it.
    """
    given = os.environ.get(RUNTIME_VARIABLE)
    if given:
        folder = Path(given)
    elif "XDG_RUNTIME_DIR" in os.environ:
        folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "recall-lab"
    else:
        folder = Path(tempfile.gettempdir()) / f"recall-lab-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ReceiverFailed(
            f"{str(folder)!r} is not a folder that only you may look into: remove it, "
            f"or set {RUNTIME_VARIABLE} to one that is"
        )
    return folder


def log_path(receiver: str) -> Path:
    """Return where a receiver's process writes what it has to say."""
    return runtime_folder() / f"{receiver}.log"


def write_state(state: State) -> None:
    """Note that a receiver runs."""
    replace_file(runtime_folder() / f"{state.id}.json", msgspec.json.encode(state))


def states() -> Iterator[State]:
    """Give every note that can be read: of receivers that run, or have died without a word."""
    for path in sorted(runtime_folder().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            state = msgspec.json.decode(path.read_bytes(), type=State)
            if state.id == path.stem and state.id.isalnum() and path.lstat().st_uid == os.getuid():
                yield state


def write_end(state: State, why: str, packets: int | None = None) -> None:
    """Note that a receiver has ended, and why; the newest such notes are kept."""
    ended = Ended(
        id=state.id, url=state.settings.url(state.port), directory=state.settings.directory,
        ended=time.time_ns(), why=why, packets=packets,
    )  # fmt: skip
    with contextlib.suppress(OSError):
        replace_file(runtime_folder() / f"{state.id}{_ENDED}", msgspec.json.encode(ended))
        _keep_newest(f"*{_ENDED}", 20)


def ends() -> list[Ended]:
    """Return what is noted of receivers that have ended, the last first."""
    found = []
    for path in runtime_folder().glob(f"*{_ENDED}"):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if path.lstat().st_uid == os.getuid():
                found.append(msgspec.json.decode(path.read_bytes(), type=Ended))
    return sorted(found, key=lambda one: one.ended, reverse=True)


def remove_state(receiver: str) -> None:
    """Forget a receiver that has ended; a log that says something is kept for a while."""
    with contextlib.suppress(OSError):
        if not log_path(receiver).stat().st_size:
            log_path(receiver).unlink()
    for suffix in (".json", ".sock"):
        with contextlib.suppress(OSError):
            (runtime_folder() / f"{receiver}{suffix}").unlink()


def forget_logs(keep: int = 20) -> None:
    """Remove all but the newest logs."""
    _keep_newest("*.log", keep)


def _keep_newest(pattern: str, keep: int) -> None:
    files = sorted(runtime_folder().glob(pattern), key=lambda path: path.stat().st_mtime)
    for path in files[:-keep]:
        with contextlib.suppress(OSError):
            path.unlink()
