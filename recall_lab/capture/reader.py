"""A stream being read: load it once, or follow it while it is written. Never writes.

Reading needs no lock. A record is visible once it is whole, and its audio was written before
it, so a follower that looks at the index first and at the ``.bin`` second always finds both.
"""

from __future__ import annotations

import mmap
import os
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from isal.isal_zlib import crc32

from recall_lab.capture.capture import Capture
from recall_lab.capture.damage import Damage
from recall_lab.capture.events import read_events
from recall_lab.capture.frame import (
    COLUMNS,
    INDEX_NAME,
    column_of,
    frame_of,
    frame_of_records,
    storage_dtype,
)
from recall_lab.capture.info import CaptureInfo, parse_stem, read_info
from recall_lab.capture.journal import SUFFIX as JOURNAL
from recall_lab.capture.record import (
    HEADER_BYTES,
    RECORD,
    RECORD_BYTES,
    Flag,
    Records,
    find_damaged,
    good_records,
    header_problem,
)
from recall_lab.errors import CaptureNotFound
from recall_lab.wire.messages import Participant
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, SAMPLE_DTYPE, Samples

_SUFFIXES: Final = (".bin", ".idx", ".json")
_RAW: Final = (".pcm", ".raw", "")  # other names people give to raw PCM
_FAR: Final = np.uint64(2**62)  # beyond the end of any file, and sums with it do not overflow
_BATCH: Final = 1 << 15  # records read at once: 2 MiB


def load(path: str | os.PathLike[str]) -> Capture:
    """Load a capture from disk: complete, still being written, torn, damaged, or a bare ``.bin``.

    The audio is mapped, not read, so a day of it opens at once. Loading never changes a file and
    never fails for damage: what is wrong is in ``Capture.damage``.

    Args:
        path: the ``.bin``, the ``.idx``, the ``.json``, or their common name without a suffix.

    Raises:
        CaptureNotFound: when there is neither audio nor an index.

    Example:
        >>> load("captures/9f3c.bin").duration  # doctest: +SKIP
        3600.0
    """
    audio_path = _audio_path(Path(path))
    index_path = audio_path.with_suffix(".idx")
    info, info_problem = _info_of(audio_path)
    notes = [info_problem] if info_problem else []
    events = partial(read_events, audio_path)
    try:
        data = _map_bytes(index_path)
    except FileNotFoundError:
        samples, odd = map_samples(audio_path)
        damage = Damage(odd_byte=odd, notes=tuple(notes))
        return Capture(samples, None, info, damage, audio_path, events)

    problem = header_problem(bytes(data[:HEADER_BYTES]))
    if problem:
        notes.append(problem)
    body = data[HEADER_BYTES:]
    records, damaged = good_records(body)
    samples, odd = map_samples(audio_path)
    # in samples; copied out of the records once, whose fields lie 64 bytes apart
    starts = np.minimum(records["offset"] // SAMPLE_BYTES, _FAR).astype(np.int64)
    ends = starts + records["length"] // SAMPLE_BYTES
    missing = 0
    if ends.max(initial=0) > len(samples):
        within = ends <= len(samples)
        missing = len(records) - int(np.count_nonzero(within))
        records, starts, ends = records[within], starts[within], ends[within]
    damage = Damage(
        torn_bytes=len(body) % RECORD_BYTES,
        damaged_records=damaged,
        missing_payloads=missing,
        orphan_spans=_orphans(starts, ends, len(samples)),
        odd_byte=odd,
        notes=tuple(notes),
    )
    return Capture(samples, lambda: frame_of_records(records), info, damage, audio_path, events)


def load_recording(path: str | os.PathLike[str]) -> list[Capture]:
    """Load every stream of a recording: the mixed one first, then each participant's.

    Args:
        path: any file of the recording, or the common name: ``folder/recording``.

    Raises:
        CaptureNotFound: when there is none.

    Example:
        >>> [cap.info.stem for cap in load_recording("captures/9f3c")]  # doctest: +SKIP
        ['9f3c', '9f3c.100', '9f3c.101']
    """
    given = Path(path)
    name = given.name.removesuffix(JOURNAL)
    parsed = parse_stem(Path(name).stem if Path(name).suffix in _SUFFIXES else name)
    if parsed is None:
        raise CaptureNotFound(given, "name a recording, as folder/recording, or one of its files")
    found = {}
    for suffix in (".bin", ".idx"):
        for file in given.parent.glob(f"{parsed[0]}.*{suffix}"):
            found[parse_stem(file.stem)] = file
        file = given.parent / f"{parsed[0]}{suffix}"
        if file.is_file():
            found[parsed[0], None] = file
    streams = [stream for stream in found if stream is not None and stream[0] == parsed[0]]
    if not streams:
        load(given.parent / parsed[0])  # says what there is instead
    return [
        load(found[stream]) for stream in sorted(streams, key=lambda x: (x[1] is not None, x[1]))
    ]


class Follower:
    """Follows a capture that is being written, in this process or another.

    Each :meth:`poll` reads only what is new, and the frame grows in place, so that asking every
    second all day costs what the new second costs.

    Args:
        path: as for :func:`load`; the files need not be there yet.

    Attributes:
        packets: packets seen so far.
        damaged: records skipped because their checksum is wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.audio_path = _audio_path(Path(path), must_exist=False)
        self.index_path = self.audio_path.with_suffix(".idx")
        self._first = b""  # the first record
        self._start_over()

    def _start_over(self) -> None:
        """Know of no packet."""
        self.packets = 0
        self.damaged = 0
        self._read = 0  # records read, damaged ones included
        self._columns = {name: np.empty(0, storage_dtype(name)) for name in COLUMNS}
        self._whole: pd.DataFrame | None = None

    def poll(self) -> int:
        """Read what has been committed since the last call; return the number of new packets.

        A damaged record is skipped once a good one follows it: at the very end it might be one
        that is just being written.
        """
        before = self.packets
        try:
            descriptor = os.open(self.index_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            self._start_over_if_replaced(descriptor)
            while data := self._read_batch(descriptor):
                records: Records = np.frombuffer(data, RECORD)
                usable = len(records)
                damaged = find_damaged(data)
                if len(damaged):
                    good = np.delete(np.arange(usable), damaged)
                    usable = int(good[-1]) + 1 if len(good) else 0
                    if not usable and len(records) == _BATCH:  # nobody writes that much at once
                        usable = _BATCH
                    self.damaged += usable - len(good)
                    records = records[good]
                self._read += usable
                self._extend(records)
                if not usable or len(data) < _BATCH * RECORD_BYTES:
                    break
        finally:
            os.close(descriptor)
        return self.packets - before

    def frame(self) -> pd.DataFrame:
        """Return the packets frame so far, without reading anything new."""
        if self._whole is None:
            self._whole = frame_of(self._columns)
        # a share of the frame that is kept: writing to it copies, whatever has arrived since
        return self._whole.iloc[: self.packets]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column of the frame so far, without the cost of a frame; times in ns.

        Not to be written to: it is the memory that all frames of this follower share.
        """
        return self._columns[name][: self.packets]

    def last(self, seconds: float) -> Capture:
        """Return the packets that brought the last `seconds` of audio, as a capture of their own.

        Costs what they cost, however long the capture is.
        """
        samples, _ = map_samples(self.audio_path)
        info, _ = _info_of(self.audio_path)
        offsets, counts = self.column("offset"), self.column("samples")
        end = int(offsets[-1]) + int(counts[-1]) if self.packets else 0
        if not end or end > len(samples):  # cut from outside, or gone
            return Capture(samples[:0], None, info)
        # audio is appended, so packets lie in the file as they arrived
        first = max(int(np.searchsorted(offsets, end - seconds * RATE, "right")) - 1, 0)
        begin = int(offsets[first])
        columns = {name: self.column(name)[first:] for name in COLUMNS}
        columns["offset"] = offsets[first:] - begin
        return Capture(samples[begin:end], frame_of(columns), info)

    def capture(self) -> Capture:
        """Return the capture so far; later packets do not change it."""
        frame = self.frame()
        samples, odd = map_samples(self.audio_path)
        info, problem = _info_of(self.audio_path)
        ends = (frame["offset"] + frame["samples"]).to_numpy()
        missing = int(np.count_nonzero(ends > len(samples)))
        if missing:
            frame = frame[ends <= len(samples)]
            frame.index = pd.RangeIndex(len(frame), name=INDEX_NAME)
        damage = Damage(
            damaged_records=self.damaged,
            missing_payloads=missing,
            odd_byte=odd,
            notes=(problem,) if problem else (),
        )
        if len(frame):
            samples = samples[: int((frame["offset"] + frame["samples"]).max())]
        events = partial(read_events, self.audio_path)
        return Capture(samples, frame, info, damage, self.audio_path, events)

    def _start_over_if_replaced(self, descriptor: int) -> None:
        """Forget what was read if this is another capture now, or less of it."""
        known, self._first = self._first, os.pread(descriptor, RECORD_BYTES, HEADER_BYTES)
        shrunk = os.fstat(descriptor).st_size < HEADER_BYTES + self._read * RECORD_BYTES
        if self._read and (known != self._first or shrunk):
            self._start_over()

    def _read_batch(self, descriptor: int) -> bytes:
        start = HEADER_BYTES + self._read * RECORD_BYTES
        data = os.pread(descriptor, _BATCH * RECORD_BYTES, start)
        return data[: len(data) // RECORD_BYTES * RECORD_BYTES]

    def _extend(self, records: Records) -> None:
        if not len(records):
            return
        size = self.packets + len(records)
        for name, array in self._columns.items():
            if size > len(array):
                grown = _room_for(max(1_024, size + size // 2), array.dtype)
                grown[: self.packets] = array[: self.packets]
                self._columns[name] = array = grown
                self._whole = None
            array[self.packets : size] = column_of(records, name)
        self.packets = size


def _room_for(count: int, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Return an array straight from the system, to which it goes back when it is outgrown.

    malloc keeps what arrays of up to 32 MiB leave behind: over a day, a tenth of the whole.
    Pages that are not written to take no memory, so there can be room to spare.
    """
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype)


def _map_bytes(path: Path) -> memoryview:
    """Return a file's bytes, mapped: twice as fast as reading them when there are millions."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def last_connection(index_path: Path) -> int:
    """Return the highest connection number in an index; 0 where there is none."""
    try:
        records, _ = good_records(_map_bytes(index_path)[HEADER_BYTES:])
    except OSError:
        return 0
    return int(records["connection"].max(initial=0))


def verify(capture: Capture) -> pd.DataFrame:
    """Read all audio of a capture and return the packets whose payload checksum is wrong.

    Loading does not read the audio; this does. Packets cut by ``Capture.slice`` are passed over.

    Returns:
        The rows of ``capture.packets`` that are damaged: empty when all is well.
    """
    packets = capture.packets
    audio = capture.samples
    begins = packets["offset"].tolist()
    counts = packets["samples"].tolist()
    found = [crc32(audio[at : at + count].data) for at, count in zip(begins, counts, strict=True)]
    wrong = packets["payload_crc"].to_numpy() != np.array(found, np.uint32)
    trimmed = (packets["flags"].to_numpy() & int(Flag.TRIMMED)) != 0
    damaged: pd.DataFrame = packets.loc[wrong & ~trimmed]
    return damaged


def map_samples(path: Path) -> tuple[Samples, bool]:
    """Return the samples of a ``.bin``, mapped read-only, and whether half a sample is left over.

    A file that is not there counts as empty.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    if size < SAMPLE_BYTES:
        return np.empty(0, SAMPLE_DTYPE), bool(size)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, SAMPLE_DTYPE, size // SAMPLE_BYTES), bool(size % SAMPLE_BYTES)


def release(samples: npt.NDArray[Any]) -> None:
    """Give back the memory of what has been read of mapped samples; they can be read again.

    Whoever goes through hours of audio calls it now and then: else all of it stays in memory
    until someone else needs the room.
    """
    owner: object = samples
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _orphans(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], samples: int
) -> tuple[tuple[int, int], ...]:
    """Return the spans of samples that no record claims."""
    starts = np.append(starts, samples)
    reached = np.maximum.accumulate(np.concatenate([[0], ends]))
    holes = np.flatnonzero(starts > reached)
    return tuple((int(reached[i]), int(starts[i])) for i in holes)


def _audio_path(path: Path, *, must_exist: bool = True) -> Path:
    if not path.name:  # "." or "/": a folder, whose name can't be one of ours
        raise CaptureNotFound(path, "that is a folder; name one of the .bin files in it")
    stem = path.with_suffix("") if path.suffix in _SUFFIXES else path
    audio = stem.with_name(f"{stem.name}.bin")
    if path.suffix not in _SUFFIXES and path.is_file():
        if path.suffix not in _RAW:
            hint = "name a .bin, or its stem; rl.read_audio reads WAV, FLAC and the like"
            raise CaptureNotFound(path, f"that is no capture; {hint}")
        audio = path
    if must_exist and not audio.is_file() and not audio.with_suffix(".idx").is_file():
        if path.is_dir():
            raise CaptureNotFound(path, "that is a folder; name one of the .bin files in it")
        near = (
            sorted(p.name for p in audio.parent.glob("*.bin"))[:5] if stem.parent.is_dir() else []
        )
        hint = f"the folder has {', '.join(near)}" if near else "the folder has no .bin files"
        raise CaptureNotFound(path, hint)
    return audio


def _info_of(audio_path: Path) -> tuple[CaptureInfo | None, str | None]:
    """Return what the ``.json`` says, or failing that what the file's name says."""
    info, problem = read_info(audio_path.with_suffix(".json"))
    if info is not None:
        return info, None
    parsed = parse_stem(audio_path.stem)
    recording, participant = parsed or ("unnamed", None)
    return CaptureInfo(
        recording=recording,
        participant=None if participant is None else Participant(participant),
    ), problem
