"""A capture of small packets to be spoilt, and the ways in which that is done.

Measures nothing by itself.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import RECORD_BYTES
from recall_lab.store.journal import Journal
from recall_lab.store.writer import StreamWriter

NAME: Final = "mangled"
SUFFIXES: Final = (".idx", ".bin", ".json", ".events.jsonl")
MOST: Final = 6  # faults at once
_BEGIN: Final = 1_700_000_000_000_000_000  # ns since 1970


class Whole:
    """The capture as it was written, and a place to spoil it.

    Args:
        folder: an empty one.
        packets: how many it has.

    Attributes:
        files: bytes of each file, by suffix.
        packets: its frame.
        lines: how many its journal has.
        path: the name, without suffix, under which it is spoilt.
    """

    def __init__(self, folder: Path, packets: int) -> None:
        self.path = folder / NAME
        _write(folder, packets)
        self.files = {suffix: self._file(suffix).read_bytes() for suffix in SUFFIXES}
        capture = rl.load(self.path)
        assert len(capture.packets) == packets and not capture.damage
        self.packets = capture.packets
        self.lines = len(capture.events)
        self._rows = {name: _plain(self.packets, name) for name in self.packets.columns}

    def put(self, files: dict[str, bytes | None]) -> None:
        """Put files in place, None for none; those not named come whole."""
        for suffix, data in {**self.files, **files}.items():
            if data is None:
                self._file(suffix).unlink(missing_ok=True)
            else:
                self._file(suffix).write_bytes(data)

    def truncate(self, suffix: str, size: int) -> None:
        """Cut one file off."""
        os.truncate(self._file(suffix), size)

    def invented(self, packets: pd.DataFrame) -> int:
        """Count the rows that are not those of a packet that was written."""
        which = _plain(packets, "monotonic") - 1
        known = (which >= 0) & (which < len(self.packets))
        same = known.copy()
        which = np.where(known, which, 0)
        for name, rows in self._rows.items():
            same &= _plain(packets, name) == rows[which]
        return len(packets) - int(np.count_nonzero(same))

    def goes_on(self) -> bool:
        """Append a packet as the next receiver does; tell whether it is there."""
        payload = b"a packet that came after"
        writer = StreamWriter(self.path.parent, CaptureInfo(recording=NAME), "next")
        try:
            writer.append(
                payload, relative=1e6, absolute=_BEGIN, received=_BEGIN, monotonic=2**40,
                connection=99, sequence=0,
            )  # fmt: skip
        finally:
            writer.close()
        capture = rl.load(self.path)
        row = capture.packets.iloc[-1]
        held = capture.samples[row["offset"] : row["offset"] + row["samples"]].tobytes()
        return row["connection"] == 99 and held == payload

    def _file(self, suffix: str) -> Path:
        return self.path.with_name(NAME + suffix)


def _plain(packets: pd.DataFrame, column: str) -> npt.NDArray[Any]:
    """Return a column as plain numbers: times in nanoseconds."""
    times = isinstance(packets[column].dtype, pd.DatetimeTZDtype)
    return packets[column].astype("int64").to_numpy() if times else packets[column].to_numpy()


def _write(folder: Path, packets: int) -> None:
    """Write packets of a few samples each, and a line in the journal for each tenth."""
    rng = np.random.default_rng(0)
    journal = Journal(folder)
    writer = StreamWriter(folder, CaptureInfo(recording=NAME, metadata={"of": "the trial"}))
    for number in range(packets):
        writer.append(
            rng.bytes(2 * int(rng.integers(1, 20))), relative=number * 0.02,
            absolute=_BEGIN + number * 20_000_000, received=_BEGIN + number * 20_000_000 + 5,
            monotonic=number + 1, connection=1 + number // 100, sequence=number % 100,
        )  # fmt: skip
        if number % 10 == 0:
            journal.write(NAME, "event", event="chat", message={"data": {"data": {"n": number}}})
    writer.close()


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """Return bytes of which one bit is another."""
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


@dataclass(frozen=True)
class Fault:
    """One thing that is done to one file.

    Attributes:
        suffix: of the file.
        kind: what is done.
        at, to: where, as parts of the file's length.
        size: of the piece that is concerned, in bytes.
        fill: for what is put there.
    """

    suffix: str
    kind: str
    at: float
    to: float
    size: int
    fill: int

    def done(self, data: bytes | None) -> bytes | None:
        """Return what the file holds after that; None for a file that is not there."""
        if data is None or self.kind == "missing":
            return None
        at, to = (int(part * len(data)) for part in (self.at, self.to))
        size = self.size * RECORD_BYTES if self.fill & 1 else self.size  # records, or any bytes
        if self.fill & 2:  # whole records move to where records are
            at, to = (x // RECORD_BYTES * RECORD_BYTES for x in (at, to))
        piece = data[at : at + size]
        match self.kind:
            case "flip":
                return flipped(data, min(at, len(data) - 1), self.fill % 8) if data else data
            case "cut":
                return data[:at]
            case "zeros":
                return data[:at] + bytes(len(piece)) + data[at + size :]
            case "swap":
                first, second = sorted((at, to))
                if second - first < size:
                    return data
                a, b = data[first : first + size], data[second : second + size]
                return data[:first] + b + data[first + size : second] + a + data[second + size :]
            case "double":
                return data[:to] + piece + data[to:]
            case "overwrite":
                return data[:to] + piece + data[to + len(piece) :]
            case "drop":
                return data[:at] + data[at + size :]
            case "rubbish":
                return data + random.Random(self.fill).randbytes(size)
            case _:
                return b""


KINDS: Final = (
    "flip", "cut", "zeros", "swap", "double", "overwrite", "drop", "rubbish", "missing", "empty",
)  # fmt: skip
_PARTS: Final = st.floats(0, 1)
FAULTS: Final = st.lists(
    st.builds(
        Fault, st.sampled_from(SUFFIXES), st.sampled_from(KINDS), _PARTS, _PARTS,
        st.integers(1, 200), st.integers(0, 255),
    ),
    min_size=1, max_size=MOST,
)  # fmt: skip
