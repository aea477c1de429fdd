"""Names that mean harm, and things that lie where a recording's files are to be.

Recording and participant ids come from the network and become file names. Here they are paths,
devices, far too long, look-alikes, or our own files' names; and then the captures folder holds
links, pipes, devices and folders under each name that a recording will use, the temporary names
among them. All of it goes through a real receiver, while a stream that does nothing wrong runs.
Nothing outside the folder may change, nothing may wait, every file is its owner's only, and no
file may hold the audio of two. On a disk that takes ABC for abc the same is asked of such ids.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from websockets.sync.client import connect

import recall_lab as rl
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import payload
from benchmarks.torture.steady import Steady
from recall_lab.receiver.background.registry import RUNTIME_VARIABLE

Planter: TypeAlias = Callable[[Path, Path], None]

KINDS: Final[dict[str, Planter]] = {
    "link": lambda path, outside: path.symlink_to(outside / "victim"),
    "dangling": lambda path, outside: path.symlink_to(outside / "made-by-you"),
    "loop": lambda path, outside: path.symlink_to(path.name),
    "neighbour": lambda path, outside: path.symlink_to(f"steady-1{path.suffix}"),
    "hard-link": lambda path, outside: path.hardlink_to(outside / "victim"),
    "pipe": lambda path, outside: os.mkfifo(path),
    "socket": lambda path, outside: os.mknod(path, stat.S_IFSOCK | 0o600),
    "folder": lambda path, outside: path.mkdir(),
}
"""What is planted under a name, given that and the folder outside."""

if os.geteuid() == 0:
    KINDS["device"] = lambda path, _: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))

IDS: Final = [
    "", ".", "..", "../x", "../outside/victim", "a/../b", "a/b", "/etc/passwd", "a\\b", "..\\x",
    "~", "~root", "$HOME", "`id`", "-rf", "--", "*", "?", "|", "a b", " a", "a ", "a.", "a..", ".a",
    ".hidden", "_receiver", "_receiver.events", "x.events", "x.json", "x.bin", "COM1.bin", "NUL.",
    "C:", "C:\\x", "x:stream", "\0", "a\0b", "a\nb", "a\r", "\x1b[2J", "x" * 65, "x" * 255,
    "x" * 256, "x" * 4_096, "\u0430bc", "abc\u0301", "\uff21", "\u212a", "\u202eabc", "\u200b",
    "\ufeffa", "\U0001f600", "\u0660", "\u00b2", "a\u2215b", "a\uff0fb", "\u2024\u2024/x",
    None, -1, 1.5, True, [], {}, ["a"],
]  # fmt: skip
"""Recording ids that may become no file."""

FINE: Final = ["CON", "nul", "COM1", "LPT9", "ABC", "abc", "Abc", "0", "a-", "a--", "x" * 64]
"""Those that are odd, and files like any other here."""

PARTICIPANTS: Final = [
    -1, "1", "../1", 1.5, 2**63, -(2**63), 10**30, None, True, [], {}, "", "1/../2", "0x1",
]  # fmt: skip

_NUMBERED: Final = re.compile(r"a\.\d{1,19}\.(bin|idx|json)|[0-9a-f]{16}\.tape")
"""Files of those, whose own ids stand for none; and what was refused."""

SUFFIXES: Final = (".bin", ".idx", ".json", ".events.jsonl")
TEMPORARY: Final = ".{stem}.json.tmp"
"""What ``replace_file`` writes before it renames."""


def run(scale: Scale) -> Iterator[Figure]:
    """Give the figures."""
    mask = os.umask(0)  # what is made for its owner only is so whatever this says
    scratch = Path(tempfile.mkdtemp(prefix="rl-"))
    os.environ[RUNTIME_VARIABLE] = str(scratch / "run")
    try:
        yield from odd_ids(Ground(scratch / "ids"))
        yield from planted(Ground(scratch / "planted"), scale.pick(1, 20))
        yield from folded(scratch)
    finally:
        for left in rl.receivers():
            left.stop()
        shutil.rmtree(scratch)
        os.umask(mask)


def odd_ids(ground: Ground) -> Iterator[Figure]:
    """Ids that mean harm are refused, those that are merely odd are kept, each by itself."""
    who: list[Any] = [None, 0, 2**63 - 1]
    with ground:
        ground.send([message(id_, form) for id_ in IDS for form in ("audio", "event")])
        ground.send([audio("a", {"id": id_}) for id_ in PARTICIPANTS])
        ground.send([audio(id_, None if n is None else {"id": n}) for id_ in FINE for n in who])
    refused = sum(ground.status.rejected.values())
    stems = {id_ if n is None else f"{id_}.{n}" for id_ in FINE for n in who} | {"steady-1"}
    right = {f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES[:3]}
    right |= {f"{id_}{SUFFIXES[3]}" for id_ in [*FINE, "a", "steady-1", "_receiver"]}
    found = {path.name for path in ground.captures.rglob("*") if path.is_file()}
    names = {name for name in found if not _NUMBERED.fullmatch(name)}
    numbers = {name.split(".")[1] for name in found - names if name.startswith("a.")}
    yield Figure("ids refused that may be no file", refused, "=", len(IDS))
    yield Figure("streams of participants whose ids are no numbers", len(numbers), "=", 11)
    yield Figure("files that are not of a recording", len(names - right), "=", 0)
    yield Figure("files of odd ids missing", len(right - names), "=", 0)
    yield from ground.figures("odd ids")


def planted(ground: Ground, rounds: int) -> Iterator[Figure]:
    """Things lie where files will be; others take the place of files that are being written."""
    names = [f"{{stem}}{suffix}" for suffix in SUFFIXES] + [TEMPORARY]
    both = [(kind, name) for _ in range(rounds) for kind in KINDS for name in names]
    with ground:
        before = [f"{kind}-{n}" for n, (kind, _) in enumerate(both)]
        for (kind, name), stem in zip(both, before, strict=True):
            ground.plant(kind, name.format(stem=stem))
        ground.send([one for stem in before for one in messages(stem)])
        amid = [f"swapped-{stem}" for stem in before]
        ground.send([one for stem in amid for one in messages(stem)])
        for (kind, name), stem in zip(both, amid, strict=True):
            ground.plant(kind, name.format(stem=stem))
        time.sleep(1.5)  # a sync, and a look at what was deleted
        ground.send([one for stem in amid for one in messages(stem)])
        for kind in KINDS:
            ground.plant(kind, f"_receiver{SUFFIXES[3]}")
            ground.send([b"refused", message(None, "event")])
    yield from ground.figures("planted things")
    with ground:  # a new run finds it all there
        ground.send([one for stem in [*before, *amid] for one in messages(stem)])
        ground.rx.recordings()
    yield from ground.figures("planted things found")
    for stem in [*before, *amid]:
        with contextlib.suppress(OSError):  # as long as it does not wait
            assert rl.load(ground.captures / f"{stem}.bin").events is not None


def folded(scratch: Path) -> Iterator[Figure]:
    """On a disk that takes ABC for abc, files of one are never written to for the other."""
    with disk_that_folds(scratch) as (folder, problem):
        ground = Ground(folder)
        with ground:
            ground.send([*messages("abc"), *(messages("ABC") if not problem else [])])
        if problem:  # what a writer of ABC finds there is the same
            for path in list(ground.captures.glob("abc.*")):
                path.rename(path.with_name(path.name.replace("abc", "ABC")))
        with ground:
            ground.send([audio("ABC") for _ in range(3)])
        found = [path for path in ground.captures.glob("*.bin") if path.stem.lower() == "abc"]
        wrong = sum(path.read_bytes() != payload("abc", 0) * 3 for path in found)
        lines = [path.read_text() for path in ground.captures.glob("[Aa]*.jsonl")]
        wrong += "of ABC" in "".join(lines) and not problem
        refused = ground.status.rejected.get("storage", 0)
    note = f"by renaming: {problem}" if problem else "ext4, casefold"
    yield Figure("packets of ABC refused where abc is", refused, "=", 3, note=note)
    yield Figure("files of abc with something of ABC", wrong + (len(found) != 1), "=", 0)


@contextlib.contextmanager
def disk_that_folds(scratch: Path) -> Iterator[tuple[Path, str]]:
    """Give a folder on such a disk, and ``""``; or any folder, and why there is no such disk."""
    image, mount = scratch / "image", scratch / "mount"
    image.touch()
    os.truncate(image, 64 << 20)
    mount.mkdir()
    folder = mount / "folds"
    problem = ""
    if os.geteuid() or not Path("/sys/fs/ext4/features/casefold").exists():
        problem = "no root, or an ext4 without casefold"
    for command in (
        ["mkfs.ext4", "-q", "-O", "casefold", str(image)],
        ["mount", "-o", "loop", str(image), str(mount)],
        ["mkdir", str(folder)],
        ["chattr", "+F", str(folder)],
    ):
        if problem:
            break
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            problem = done.stderr.strip().splitlines()[0] if done.returncode else ""
        except OSError as error:
            problem = str(error)
    try:
        yield (scratch / "folded" if problem else folder / "ground"), problem
    finally:
        subprocess.run(["umount", str(mount)], capture_output=True, timeout=60)


def message(recording: object, form: str) -> bytes:
    """Return a message of mixed audio or an event, whatever its recording's id is."""
    if form == "audio":
        return audio(recording)
    said = {"data": {"words": [{"text": f"of {recording}"}]}, "recording": {"id": recording}}
    return json.dumps({"event": "transcript.data", "data": said}).encode()


def audio(recording: object, participant: object = None) -> bytes:
    """Return a message of audio that follows from its recording's id."""
    said: dict[str, Any] = {
        "buffer": base64.b64encode(payload(str(recording), 0)).decode(),
        "timestamp": {"relative": 0.0, "absolute": "2025-01-01T00:00:00Z"},
    }
    if participant is not None:
        said["participant"] = participant
    event = "audio_mixed_raw.data" if participant is None else "audio_separate_raw.data"
    data = {"data": said, "recording": {"id": recording}}
    return json.dumps({"event": event, "data": data}).encode()


def messages(stem: str) -> list[bytes]:
    """Return what a bot sends of a recording: three packets and an event."""
    return [*(audio(stem) for _ in range(3)), message(stem, "event")]


class Ground:
    """A receiver with other people's things around its folder, as a context manager.

    It may be entered again: then a new receiver runs into the same folder.

    Args:
        folder: made; the captures and what is outside go into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.captures, self.outside = folder, folder / "captures", folder / "outside"
        self.outside.mkdir(parents=True)
        for name in ("victim", "victim.bin", "victim.events.jsonl"):
            (self.outside / name).write_text("not yours")
        self.runs = 0

    def __enter__(self) -> Self:
        self.given = self.unanswered = 0
        self.rx = rl.receive(0, self.captures)
        self.runs += 1
        self.steady = Steady(self.rx.port, f"steady-{self.runs}")
        self.steady.__enter__()
        self.before = self.look()
        return self

    def __exit__(self, *error: object) -> None:
        self.steady.__exit__(*error)
        self.status = self.rx.stop()
        self.after = self.look()

    def plant(self, kind: str, name: str) -> None:
        """Put a thing into the captures folder, in place of what may be there."""
        path = self.captures / name
        with contextlib.suppress(FileNotFoundError):
            path.rmdir() if stat.S_ISDIR(path.lstat().st_mode) else path.unlink()
        KINDS[kind](path, self.outside)

    def look(self) -> dict[str, tuple[object, ...]]:
        """Return all that is outside the captures, and what it is."""
        found = {}
        for path in self.folder.rglob("*"):
            if path == self.captures or self.captures in path.parents:
                continue
            about = path.lstat()
            held = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (about.st_mode, about.st_size, about.st_mtime_ns, held)
        return found

    def send(self, given: list[bytes]) -> None:
        """Send messages over one connection; the answer to a ping says that all were dealt with."""
        with connect(self.rx.url) as line:
            for one in given:
                line.send(one, text=True)
            self.given += len(given)
            self.unanswered += not line.ping().wait(20)

    def figures(self, what: str) -> Iterator[Figure]:
        """Give what has to hold whatever was done."""
        status, steady = self.status, self.steady
        counted = status.packets + status.events + sum(status.rejected.values())
        both = self.before | self.after
        changed = [path for path in both if self.before.get(path) != self.after.get(path)]
        yield Figure(f"{what}: changes outside the folder", len(changed), "=", 0)
        yield Figure(f"{what}: the receiver hangs", self.unanswered, "=", 0)
        yield Figure(f"{what}: packets lost beside", steady.lost(self.captures), "=", 0)
        yield Figure(f"{what}: its longest pause", steady.pause(self.captures), "<=", 1.0, "s")
        uncounted = abs(self.given + steady.sent - counted)
        yield Figure(f"{what}: messages counted nowhere", uncounted, "=", 0)
        yield Figure(f"{what}: files that others may read", len(self.open_to_others()), "=", 0)
        yield Figure(f"{what}: files with another's audio", self.mixed(), "=", 0)

    def open_to_others(self) -> list[Path]:
        """Return the files made by the receiver that others may touch, or its folder."""
        plain = [path for path in self.captures.iterdir() if stat.S_ISREG(path.lstat().st_mode)]
        ours = [self.captures, *(path for path in plain if path.lstat().st_nlink == 1)]
        return [path for path in ours if path.lstat().st_mode & 0o077]

    def mixed(self) -> int:
        """Return how many files hold audio that is not their recording's."""
        wrong = 0
        for path in self.captures.glob("*.bin"):
            if path.stem.startswith("steady") or not stat.S_ISREG(path.lstat().st_mode):
                continue
            data, own = path.read_bytes(), payload(path.stem.partition(".")[0], 0)
            if path.lstat().st_nlink == 1:
                wrong += data != own * (len(data) // len(own))
        return wrong
