"""Read a stream from disk, whole or damaged; never writes, needs no lock."""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recall_lab.capture.assembly import assemble, events_alone
from recall_lab.capture.capture import Audio, Capture
from recall_lab.capture.info import CaptureInfo, info_by_name, parse_stem
from recall_lab.capture.record import HEADER_BYTES, good_records
from recall_lab.errors import CaptureNotFound, InvalidAudio
from recall_lab.store.files import open_plain
from recall_lab.store.flac import FlacAudio
from recall_lab.store.info_file import read_info
from recall_lab.store.journal import SUFFIX as JOURNAL
from recall_lab.store.journal import read_events
from recall_lab.wire.pcm import SAMPLE_BYTES, SAMPLE_DTYPE, Samples

_SUFFIXES: Final = (".bin", ".flac", ".idx", ".json")
_RAW: Final = (".pcm", ".raw", "")  # other names people give to raw PCM


def load_file(path: Path) -> Capture:
    """Load a capture from files of this machine; see :func:`recall_lab.load`."""
    audio_path = audio_path_of(path)
    info, problem = info_of(audio_path)
    events = partial(read_events, audio_path)
    try:
        index = _map_bytes(audio_path.with_suffix(".idx"))  # first: its records' audio is there
    except FileNotFoundError:
        index = None
    samples: Samples | Audio
    samples, odd = map_samples(audio_path)
    flac = audio_path.with_suffix(".flac")
    if not audio_path.is_file() and flac.is_file():
        audio_path = flac
        file = open(_opened(flac), "rb")  # noqa: SIM115 - it is read for as long as there is audio
        try:
            samples = FlacAudio(file, str(flac))
            odd = bool(samples.odd)
            weakref.finalize(samples, file.close)
        except InvalidAudio as error:
            file.close()
            problem = "; ".join(filter(None, [problem, str(error)]))
    return assemble(index, samples, odd, info, problem, events=events, path=audio_path)


def load_recording_files(path: Path) -> list[Capture]:
    """Load every stream of a recording in a folder; see :func:`recall_lab.load_recording`."""
    name = path.name.removesuffix(JOURNAL)
    parsed = parse_stem(Path(name).stem if Path(name).suffix in _SUFFIXES else name)
    if parsed is None:
        raise CaptureNotFound(path, "name a recording, as folder/recording, or one of its files")
    found = {}
    for suffix in (".bin", ".flac", ".idx"):
        for file in path.parent.glob(f"{parsed[0]}.*{suffix}"):
            found[parse_stem(file.stem)] = file
        file = path.parent / f"{parsed[0]}{suffix}"
        if file.is_file():
            found[parsed[0], None] = file
    streams = [stream for stream in found if stream is not None and stream[0] == parsed[0]]
    if not streams:
        audio_path = path.parent / f"{parsed[0]}.bin"
        if (path.parent / f"{parsed[0]}{JOURNAL}").is_file():
            return [events_alone(parsed[0], partial(read_events, audio_path))]
        load_file(audio_path)  # says what there is instead
    return [
        load_file(found[stream])
        for stream in sorted(streams, key=lambda x: (x[1] is not None, x[1]))
    ]


def _map_bytes(path: Path) -> memoryview:
    """Return a file's bytes, mapped: twice as fast as reading them when there are millions."""
    with open(_opened(path), "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _opened(path: Path) -> int:
    """Open a file of a capture; one that is a folder, or a link to itself, is not there."""
    try:
        return open_plain(path)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ELOOP):
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
        raise


def last_connection(index_path: Path) -> int:
    """Return the highest connection number in an index; 0 where there is none."""
    try:
        records, _ = good_records(_map_bytes(index_path)[HEADER_BYTES:])
    except OSError:
        return 0
    return int(records["connection"].max(initial=0))


def map_samples(path: Path) -> tuple[Samples, bool]:
    """Return the samples of a ``.bin``, mapped read-only, and whether half a sample is left over.

    A file that is not there counts as empty.
    """
    try:
        descriptor = _opened(path)
    except FileNotFoundError:
        return np.empty(0, SAMPLE_DTYPE), False
    with open(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < SAMPLE_BYTES:
            return np.empty(0, SAMPLE_DTYPE), bool(size)
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, SAMPLE_DTYPE, size // SAMPLE_BYTES), bool(size % SAMPLE_BYTES)


def release(samples: npt.NDArray[Any] | Audio) -> None:
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


def audio_path_of(path: Path, *, must_exist: bool = True) -> Path:
    """Return the ``.bin`` that is meant by its path, a file beside it, or their common name."""
    if not path.name:  # "." or "/": a folder, whose name can't be one of ours
        raise CaptureNotFound(path, "that is a folder; name one of the .bin files in it")
    stem = path.with_suffix("") if path.suffix in _SUFFIXES else path
    audio = stem.with_name(f"{stem.name}.bin")
    if path.suffix not in _SUFFIXES and path.is_file():
        if path.suffix not in _RAW:
            hint = "name a .bin, or its stem; rl.read_audio reads WAV, FLAC and the like"
            raise CaptureNotFound(path, f"that is no capture; {hint}")
        audio = path
    if must_exist and not any(
        audio.with_suffix(suffix).is_file() for suffix in (audio.suffix, ".flac", ".idx")
    ):
        if path.is_dir():
            raise CaptureNotFound(path, "that is a folder; name one of the .bin files in it")
        near = (
            sorted(p.name for p in audio.parent.glob("*.bin"))[:5] if stem.parent.is_dir() else []
        )
        hint = f"the folder has {', '.join(near)}" if near else "the folder has no .bin files"
        raise CaptureNotFound(path, hint)
    return audio


def info_of(audio_path: Path) -> tuple[CaptureInfo | None, str | None]:
    """Return what the ``.json`` says, or failing that what the file's name says."""
    info, problem = read_info(audio_path.with_suffix(".json"))
    if info is not None:
        return info, None
    return info_by_name(audio_path.stem), problem
