"""Save a capture as an audio file: WAV, FLAC, OGG or MP3."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from tqdm import tqdm

from recall_lab.analysis.axis.axis import Array, Timeline
from recall_lab.analysis.clocks.columns import with_times
from recall_lab.analysis.time.analysis import Analysis
from recall_lab.analysis.time.arguments import crop_of
from recall_lab.analysis.time.timeline import as_timeline, known_of
from recall_lab.capture.capture import Capture, Moment
from recall_lab.capture.frame import nanoseconds
from recall_lab.errors import InvalidArgument
from recall_lab.store.files import sync_path
from recall_lab.text import printable
from recall_lab.version import __version__
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples

FORMATS: Final = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Format and coding of each suffix. WAV and FLAC keep every bit."""

_BLOCK = 10 * RATE  # samples written at once: libsndfile crashes on minutes of OGG in one call
_LONG = 600  # s: so much takes long enough to want to see it move
_WAV_MOST = (2**32 - 2**16) // 2  # samples: the size of a WAV is a 32-bit number of bytes


def save(
    source: Any,
    path: str | os.PathLike[str],
    *,
    aligned: bool = True,
    start: Moment | None = None,
    end: Moment | None = None,
    progress: bool | None = None,
) -> Path:
    """Save as an audio file, its format by the suffix: ``.wav``, ``.flac``, ``.ogg``, ``.mp3``.

    WAV and FLAC hold the very samples. The file takes its name only when it is complete, and a
    file that has the name already stays until then. Title, date and comment say what it is.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        path: the file; its folder has to be there.
        aligned: True: on the true time axis, silence for what was not received. False:
            what arrived, packet after packet, as in the ``.bin``.
        start, end: seconds of the relative clock, or wall-clock times; None for the whole.
        progress: show a bar; by default for more than ten minutes.

    Returns:
        The path.

    Raises:
        InvalidArgument: for another suffix, a span that can't be, or one without any audio.
        OSError: when the file can't be written; nothing is left of it then.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> save(rl.load("captures/9f3c.bin"), "standup.flac")  # doctest: +SKIP
        PosixPath('standup.flac')
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InvalidArgument("path", str(path), f"a name that ends in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InvalidArgument("path", str(path), "a file in a folder that is there: make it first")
    if path.is_dir():
        raise InvalidArgument("path", str(path), "a file, not a folder")
    known = known_of(source)
    capture = known.capture if isinstance(known, Analysis) else None
    if capture is not None and not aligned:
        part = capture if start is None and end is None else capture.slice(start, end)
        line = as_timeline(Capture(part.audio))  # without packets: one sample after another
    else:
        line = as_timeline(known, start, end)
    if not len(line):
        raise InvalidArgument("start, end", (start, end), "a span that has some audio")
    if path.suffix.lower() == ".wav" and len(line) > _WAV_MOST:
        raise InvalidArgument("path", str(path), ".flac: a WAV holds 37 hours at most")
    tags = _tags(capture, line, crop_of(capture, start, end)[0]) if capture is not None else {}
    shown = len(line) > _LONG * RATE if progress is None else progress
    with (
        whole_or_nothing(path) as temporary,
        tqdm(
            total=len(line) // RATE,
            unit=" s of audio",
            desc=path.name,
            mininterval=1,
            disable=not shown,
        ) as bar,
    ):
        kind, coding = FORMATS[path.suffix.lower()]
        with soundfile.SoundFile(temporary, "x", RATE, 1, format=kind, subtype=coding) as file:
            for name, text in tags.items():
                # libsndfile writes MP3's tags as Latin-1, whatever they are
                plain = text.encode("ascii", "replace").decode() if kind == "MP3" else text
                setattr(file, name, plain)
            for low in range(0, len(line), _BLOCK):
                file.write(as_int16(line.take(low, low + _BLOCK)))
                bar.update(min(_BLOCK, len(line) - low) // RATE)
                line.release()
    return path


def as_int16(samples: Array) -> Samples:
    """Return samples as int16: floats of full scale 1 are rounded, and clipped beyond it."""
    if samples.dtype == SAMPLE_DTYPE:
        return np.ascontiguousarray(samples, SAMPLE_DTYPE)
    scaled = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    whole: Samples = np.nan_to_num(scaled).astype(SAMPLE_DTYPE)
    return whole


def _tags(capture: Capture, line: Timeline, start: float | None) -> dict[str, str]:
    """Return what the file says of itself. Names come from the network: cut, and printable."""
    info = capture.info
    begin = capture.span[0] if start is None else max(start, capture.span[0])
    comment = [f"recording {info.recording}"]
    if info.participant is not None:
        name = printable((info.participant.name or "")[:80])
        comment.append(f"participant {info.participant.id} {name}".rstrip())
    comment += [f"relative time {begin:.3f} s", f"recall_lab {__version__}"]
    tags = {"title": info.stem, "comment": ", ".join(comment)}
    if not capture.packets.empty:
        packets = with_times(capture)
        first = int(packets["relative"].to_numpy().argmin())
        shift = begin - float(packets["relative"].iloc[first])
        absolute = np.datetime64(int(nanoseconds(packets["absolute"])[first]), "ns")
        date = absolute + np.timedelta64(round(shift * 1e9), "ns")
        tags["date"] = f"{np.datetime_as_string(date, 'ms')}Z"
    return tags


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Give a name to write to, that becomes `path` if all goes well, and else is removed."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        sync_path(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_path(path.parent)
