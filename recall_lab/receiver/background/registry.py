"""Note running receivers, so that a notebook finds its own again.

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
_LONGEST_SOCKET: Final = 100  # bytes of a socket's path: Linux takes 107, macOS 103
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
        folder: that its note is in.
    """

    id: str
    pid: int
    created: float
    port: int
    settings: Settings
    started: int
    folder: str = ""

    @property
    def note(self) -> Path:
        """The file that this is written in."""
        return (Path(self.folder) if self.folder else runtime_folder()) / f"{self.id}.json"

    @property
    def socket(self) -> Path:
        """Its control socket: beside the note, or in a folder whose name is short enough."""
        path = self.note.with_suffix(".sock")
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else _own(_short()) / path.name


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
    """Return the folder for notes and sockets of receivers that start now, for its owner only.

    Raises:
        ReceiverFailed: when somebody else owns it, or may look into it.
    """
    given = os.environ.get(RUNTIME_VARIABLE)
    if given:
        return _own(Path(given))
    session = _session()
    return _own(session if session is not None else _short(tempfile.gettempdir()))


def runtime_folders() -> list[Path]:
    """Return every folder in which notes of this user's receivers may be.

    A shell may have a session's folder where the notebook that started a receiver had none, or had
    another: what runs is found from either.
    """
    first = runtime_folder()
    if os.environ.get(RUNTIME_VARIABLE):
        return [first]
    others = [_session(), _usual(), _short(tempfile.gettempdir()), _short()]
    found = [first]
    for folder in others:
        if folder is not None and folder not in found and folder.is_dir():
            with contextlib.suppress(OSError, ReceiverFailed):
                found.append(_own(folder))
    return found


def _session() -> Path | None:
    """Return our folder in that of the session; None where there is no such session of ours."""
    told = Path(os.environ.get("XDG_RUNTIME_DIR") or ".")
    try:
        ours = told.is_absolute() and told.stat().st_uid == os.getuid()
    except OSError:  # it ended: somebody has logged out
        return None
    return told / "recall-lab" if ours else None


def _usual() -> Path:
    return Path(f"/run/user/{os.getuid()}/recall-lab")


def _short(folder: str = "/tmp") -> Path:
    return Path(folder) / f"recall-lab-{os.getuid()}"


def _own(folder: Path) -> Path:
    """Make a folder for its owner only, and return it; raise ReceiverFailed if it is none."""
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
    name = f"{receiver}.log"
    found = (folder / name for folder in runtime_folders() if (folder / name).exists())
    return next(found, runtime_folder() / name)


def write_state(state: State) -> None:
    """Note that a receiver runs."""
    replace_file(state.note, msgspec.json.encode(state))


def states() -> Iterator[State]:
    """Give every note that can be read: of receivers that run, or have died without a word."""
    for path in sorted(path for folder in runtime_folders() for path in folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            state = msgspec.json.decode(path.read_bytes(), type=State)
            if state.id == path.stem and state.id.isalnum() and path.lstat().st_uid == os.getuid():
                yield msgspec.structs.replace(state, folder=str(path.parent))


def write_end(state: State, why: str, packets: int | None = None) -> None:
    """Note that a receiver has ended, and why; the newest such notes are kept."""
    ended = Ended(
        id=state.id, url=state.settings.url(state.port), directory=state.settings.directory,
        ended=time.time_ns(), why=why, packets=packets,
    )  # fmt: skip
    with contextlib.suppress(OSError, ReceiverFailed):
        replace_file(runtime_folder() / f"{state.id}{_ENDED}", msgspec.json.encode(ended))
        _keep_newest(f"*{_ENDED}", 20)


def ends() -> list[Ended]:
    """Return what is noted of receivers that have ended, the last first."""
    found = []
    for path in (path for folder in runtime_folders() for path in folder.glob(f"*{_ENDED}")):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if path.lstat().st_uid == os.getuid():
                found.append(msgspec.json.decode(path.read_bytes(), type=Ended))
    return sorted(found, key=lambda one: one.ended, reverse=True)


def remove_state(receiver: str) -> None:
    """Forget a receiver that has ended; a log that says something is kept for a while."""
    with contextlib.suppress(OSError, ReceiverFailed):
        if not log_path(receiver).stat().st_size:
            log_path(receiver).unlink()
    with contextlib.suppress(OSError, ReceiverFailed):
        for folder in {*runtime_folders(), _short()}:
            for suffix in (".json", ".sock"):
                (folder / f"{receiver}{suffix}").unlink(missing_ok=True)


def forget_logs(keep: int = 20) -> None:
    """Remove all but the newest logs."""
    _keep_newest("*.log", keep)


def _keep_newest(pattern: str, keep: int) -> None:
    files = sorted(runtime_folder().glob(pattern), key=lambda path: path.stat().st_mtime)
    for path in files[:-keep]:
        with contextlib.suppress(OSError):
            path.unlink()
