"""Kill -9 while a damaged capture is being repaired: the second half of `kills.py`.

A capture is damaged in a way that a kill, a full disk or a power cut leaves behind, and opened by
a process that is killed: at one line after the other of all that opening executes in `writer.py`,
`info.py` and `files.py`, or at a random moment. What is found then is loaded, opened twice more,
appended to and loaded again. The files have to be, byte for byte, what a repair makes of them that
nobody killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FrameType
from typing import Any, Final

import recall_lab as rl
from benchmarks.torture.figures import Figure, Scale
from benchmarks.torture.live import SIZE, STEP, payload
from benchmarks.torture.served import PROCESSES
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import HEADER_BYTES, RECORD_BYTES
from recall_lab.store import writer as writer_module
from recall_lab.store.info_file import read_info
from recall_lab.store.writer import StreamWriter

NAME: Final = "damaged"
_RECORDS: Final = 50
_OURS: Final = {
    str(Path(writer_module.__file__).with_name(name))
    for name in ("writer.py", "info.py", "files.py")
}
_Packet = tuple[Any, ...]  # a row of the frame, and its audio


def _cut(path: Path, bytes_: int) -> None:
    os.truncate(path, max(path.stat().st_size - bytes_, 0))


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _append_bytes(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _all_at_once(folder: Path) -> None:
    _append_bytes(folder / f"{NAME}.idx", bytes(37))
    _append_bytes(folder / f"{NAME}.bin", b"x" * 333)
    _overwrite(folder / f"{NAME}.idx", HEADER_BYTES + 5 * RECORD_BYTES, b"x" * 10)
    _cut(folder / f"{NAME}.json", 30)


DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    "nothing there yet": _remove,
    "none": lambda folder: None,
    "torn record": lambda folder: _cut(folder / f"{NAME}.idx", 27),
    "orphan audio": lambda folder: _append_bytes(folder / f"{NAME}.bin", b"x" * SIZE),
    "half an orphan": lambda folder: _append_bytes(folder / f"{NAME}.bin", b"x" * 333),
    "half a header": lambda folder: os.truncate(folder / f"{NAME}.idx", 30),
    "header of zeros": lambda folder: _overwrite(folder / f"{NAME}.idx", 0, bytes(HEADER_BYTES)),
    "record of zeros": lambda folder: _overwrite(
        folder / f"{NAME}.idx", HEADER_BYTES + (_RECORDS - 1) * RECORD_BYTES, bytes(RECORD_BYTES)
    ),
    "audio cut": lambda folder: _cut(folder / f"{NAME}.bin", 5 * SIZE + 101),
    "no audio": lambda folder: (folder / f"{NAME}.bin").unlink(),
    "no .json": lambda folder: (folder / f"{NAME}.json").unlink(),
    "half a .json": lambda folder: _cut(folder / f"{NAME}.json", 100),
    "all at once": _all_at_once,
}
"""What may be wrong with a capture: each is told as what is done to its folder."""


def kill_while_repairing(folder: Path, scale: Scale, draw: random.Random) -> Iterator[Figure]:
    """Kill processes that open damaged captures, wherever they are in that."""
    counts: Counter[str] = Counter()
    moments: list[tuple[str, int | float]] = []
    for name, damage in DAMAGES.items():
        last = _open(Trial(folder, damage).folder)
        lines = range(1, last + 1)
        moments += [(name, line) for line in (draw.sample(lines, 3) if scale.short else lines)]
        moments += [(name, draw.random() * 0.003) for _ in range(scale.pick(1, 10))]
    for name, moment in moments:
        trial = Trial(folder, DAMAGES[name])
        trial.open_and_die(moment)
        trial.judge(counts)
    yield Figure(
        "kill -9 while repairing", counts["kills"], ">=", scale.pick(20, 200),
        note=f"{len(DAMAGES)} kinds of damage, {counts['within']} within the opening",
    )  # fmt: skip
    for promise in (
        "captures that can't be opened after that", "committed packets lost by a killed repair",
        "repairs that differ from one that was not killed", "second repairs that change a byte",
        "facts lost from the .json", "captures that could not be gone on with",
    ):  # fmt: skip
        yield Figure(promise, counts[promise], "=", 0)


class Trial:
    """One damaged capture, made anew.

    Attributes:
        folder: where it is.
        before: what can be read of it before anything is repaired.
        undisturbed: the bytes that a repair makes of it when nobody kills it.
    """

    def __init__(self, folder: Path, damage: Callable[[Path], None]) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_capture(folder)
        damage(folder)
        self.before = _committed(folder)
        self.known, _ = read_info(folder / f"{NAME}.json")
        aside = folder / "undisturbed"
        aside.mkdir()
        for file in folder.glob(f"{NAME}.*"):
            shutil.copy(file, aside)
        self.undisturbed = _repaired(aside)

    def open_and_die(self, moment: int | float) -> None:
        """Open it in a process that dies at that line, or after so many seconds."""
        if isinstance(moment, int):
            process = PROCESSES.Process(target=_open, args=(self.folder, moment))
            process.start()
        else:
            began = PROCESSES.Event()
            process = PROCESSES.Process(target=_open_and_wait, args=(self.folder, began))
            process.start()
            began.wait()
            time.sleep(moment)
            process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def judge(self, counts: Counter[str]) -> None:
        """Look at what the kill has left, repair twice, go on; count what is wrong."""
        counts["kills"] += 1
        info, _ = read_info(self.folder / f"{NAME}.json")
        # the .json, which is written last, tells whether the opening was over
        counts["within"] += info is None or info.writer is None or info.writer.receiver != "dying"
        try:
            found = [_committed(self.folder)]
            first = _repaired(self.folder)
            second = _repaired(self.folder)
            found.append(_committed(self.folder))
            went_on = _went_on(self.folder)
        except Exception:
            counts["captures that can't be opened after that"] += 1
            return
        lost = max(len(self.before - each) for each in found)
        counts["committed packets lost by a killed repair"] += lost
        counts["repairs that differ from one that was not killed"] += first != self.undisturbed
        counts["second repairs that change a byte"] += second != first
        counts["captures that could not be gone on with"] += not went_on
        info, _ = read_info(self.folder / f"{NAME}.json")
        kept = info is not None and (
            self.known is None
            or (info.created, info.metadata) == (self.known.created, self.known.metadata)
        )
        counts["facts lost from the .json"] += not kept


def _open(folder: Path, fatal: int = 0) -> int:
    """Open a capture; return how many lines of ours that executed, or die at one of them."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in _OURS:
            return None
        if event == "line":
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        writer = StreamWriter(folder, CaptureInfo(recording=NAME), "dying")
    finally:
        sys.settrace(None)
    writer.close()
    return count


def _open_and_wait(folder: Path, began: Event) -> None:
    """Open a capture and hold it."""
    began.set()
    writer = StreamWriter(folder, CaptureInfo(recording=NAME), "dying")
    time.sleep(60)
    writer.close()


def _write_capture(folder: Path) -> None:
    """Write what is to be damaged: some packets of one connection."""
    info = CaptureInfo(recording=NAME, metadata={"of": "the first writer"})
    writer = StreamWriter(folder, info, "first")
    for number in range(_RECORDS):
        _append(writer, number)
    writer.close()


def _append(writer: StreamWriter, number: int) -> None:
    writer.append(
        payload(NAME, number), relative=number * STEP, absolute=number, received=number,
        monotonic=number, connection=1, sequence=number,
    )  # fmt: skip


def _committed(folder: Path) -> set[_Packet]:
    """Return the packets that can be read, with their audio; none where there are no files."""
    try:
        capture = rl.load(folder / NAME)
    except rl.errors.CaptureNotFound:
        return set()
    samples = capture.samples
    return {
        (*row, samples[row.offset : row.offset + row.samples].tobytes())
        for row in capture.packets.itertuples(index=False)
    }


def _repaired(folder: Path) -> tuple[bytes, bytes]:
    """Open, which repairs, and close; return audio and index."""
    StreamWriter(folder, CaptureInfo(recording=NAME), "again").close()
    return (folder / f"{NAME}.bin").read_bytes(), (folder / f"{NAME}.idx").read_bytes()


def _went_on(folder: Path) -> bool:
    """Append one packet as the next receiver does; tell whether it is found, and all before it."""
    before = _committed(folder)
    writer = StreamWriter(folder, CaptureInfo(recording=NAME), "next")
    _append(writer, _RECORDS)
    writer.close()
    after = _committed(folder)
    return before < after and any(
        packet[-1] == payload(NAME, _RECORDS) and packet[0] == _RECORDS * STEP
        for packet in after - before
    )
