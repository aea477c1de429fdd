"""The separate streams of a recording summed on one axis of time, and held against the mixed one.

Each stream stands where its relative times say (see :mod:`recall_lab.analysis.timeline`), and is
worth 0 where nothing of it was received: a muted participant sends nothing. The sum is made of
whole numbers, so where nothing was lost it is that of the sources to the last bit; what int16
can't hold is saturated, and counted.

Hours are gone through in blocks, and the sum of hours is kept in an unnamed temporary file that is
mapped: it takes disk, not memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from isal.isal_zlib import crc32
from scipy.fft import irfft, next_fast_len, rfft

from recall_lab.analysis.axis import LONGEST, Mask, Timeline
from recall_lab.analysis.clocks import seconds_pair, timed
from recall_lab.analysis.people import events_of
from recall_lab.analysis.timeline import timeline
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import frame_of, nanoseconds
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.reader import release
from recall_lab.capture.scratch import Scratch
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, html_table, player_time
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples

_BLOCK: Final = 60 * RATE  # samples summed at once
_FURTHEST: Final = RATE // 2  # samples by which the mixed stream may be off
_PIECES: Final = 20  # of the loudest, from which that is told
_PIECE: Final = 30 * RATE
_ROOM: Final = len("-mix")
_NAME: Final = 64  # characters of a recording's id at most

_VALID: Final = "the streams of one recording, as recall_lab.load_recording gives them"


@dataclass(frozen=True, eq=False, repr=False)
class Mix:
    """The sum of separate streams. Made by :func:`mix`.

    Attributes:
        start, end: of the axis, s on the relative clock.
        samples: int16, read-only, shape ``((end - start) * 16_000,)``: the sum, 0 where nothing
            was received.
        clipped: how many samples were more than int16 holds, and stand at its edge.
        streams: how many were summed.
        capture: the same as a :class:`recall_lab.Capture`, for everything that takes one: where
            no stream had audio, it has a gap. Its times of arrival are none: they are those of
            the sender's clock.
        mixed: the mixed stream of the same recording, for comparison; None if none was given.
    """

    start: float
    end: float
    samples: Samples
    clipped: int
    streams: int
    capture: Capture
    mixed: Capture | None
    _lines: tuple[Timeline, ...]

    def voices(self, start: float | None = None, end: float | None = None) -> npt.NDArray[np.int16]:
        """Return how many streams had audio at each sample.

        Args:
            start, end: s on the relative clock; None for the whole.

        Returns:
            Shape ``(samples,)``, int16.

        Example:
            >>> mix(rl.load_recording("captures/9f3c")).voices(0, 60).max()  # doctest: +SKIP
            np.int16(3)
        """
        low, high = (
            default if time is None else round((time - self.start) * RATE)
            for time, default in ((start, 0), (end, len(self.samples)))
        )
        low = min(max(low, 0), len(self.samples))
        high = min(max(high, low), len(self.samples))
        count = np.zeros(high - low, np.int16)
        for line in self._lines:
            count += line.heard(low, high)
        return count

    @cached_property
    def comparison(self) -> pd.Series[Any] | None:
        """The mix against the recording's own mixed stream; None where there was none.

        See :meth:`against`.
        """
        return None if self.mixed is None else self.against(self.mixed)

    def against(self, mixed: Capture) -> pd.Series[Any]:
        """Hold the mix against a mixed stream, where audio of both was received.

        Args:
            mixed: a capture on the same relative clock.

        Returns:
            A Series:

            - ``lag samples`` (int): how much later the mixed stream has the same sound, by
              cross-correlation of the loudest pieces within half a second; the rest is taken
              with the lag undone
            - ``level difference dB`` (float): the mixed stream's RMS level less the mix's
            - ``similarity`` (float, 0 to 1): normalised correlation
            - ``residual dBFS`` (float): RMS level of what is left when the mix is subtracted, 0
              for a sine of full scale; -inf for nothing
            - ``compared s`` (float)
            - ``exact`` (bool): the samples are identical

            NaN where there is nothing to tell from.

        Raises:
            InvalidArgument: for what is no capture.
            MissingTimestamps: for audio without packets.

        Example:
            >>> mix(rl.load_recording("captures/9f3c")).comparison  # doctest: +SKIP
        """
        if not isinstance(mixed, Capture):
            raise InvalidArgument("mixed", mixed, "a Capture, as recall_lab.load returns it")
        margin = _FURTHEST / RATE
        other = timeline(mixed, call=(self.start - margin, self.end + margin))
        lag = _lag(self.samples, other)
        count, mine, theirs, both, left = 0, 0.0, 0.0, 0.0, 0.0
        for low, high, heard in self._heard():
            shift = _FURTHEST + lag
            heard &= other.heard(low + shift, high + shift)
            # whole numbers, and small enough for a float64 to hold their sums
            x = self.samples[low:high][heard].astype(np.float64)
            y = other.take(low + shift, high + shift)[heard].astype(np.float64)
            count += len(x)
            mine, theirs, both = mine + float(x @ x), theirs + float(y @ y), both + float(x @ y)
            y -= x
            left += float(y @ y)
            release(self.samples)
            other.release()
        exact = count > 0 and left == 0
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = 10 * np.log10(np.float64(theirs) / mine)
            alike = np.clip(both / np.sqrt(np.float64(mine) * theirs), 0, 1)
            residual = 10 * np.log10(2 * np.float64(left) / count / FULL_SCALE**2)
        return pd.Series(
            {
                "lag samples": lag,
                "level difference dB": 0.0 if exact else float(difference),
                "similarity": 1.0 if exact else float(alike),
                "residual dBFS": float(residual),
                "compared s": count / RATE,
                "exact": exact,
            },
            dtype=object,
            name=mixed.info.stem,
        )

    def _heard(self) -> Iterator[tuple[int, int, Mask]]:
        return _heard(self._lines, len(self.samples))

    def _facts(self) -> dict[str, str]:
        return {
            "stream": self.capture.info.stem,
            "audio": player_time(self.end - self.start),
            "streams": f"{self.streams:,}",
            "clipped": counted(self.clipped, "sample"),
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return (
            f"<Mix {facts['stream']}, {facts['audio']}, of {counted(self.streams, 'stream')}, "
            f"clipped: {facts['clipped']}>"
        )

    def _repr_html_(self) -> str:
        return html_table("Mix", self._facts())


def mix(streams: Capture | Sequence[Capture], *, span: tuple[float, float] | None = None) -> Mix:
    """Sum the separate streams of a recording on one axis of time.

    Args:
        streams: of one recording, live or loaded. A mixed stream among them is left out of the
            sum, and kept to be compared with it.
        span: beginning and end of the axis, s on the relative clock; by default from the first
            packet of any stream to the end of the last.

    Returns:
        The sum, with what there is to say of it.

    Raises:
        InvalidArgument: where no stream is a participant's, they are of several recordings, one
            comes twice, or the span can't be.
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        OSError: when the disk has no room for the sum.

    Example:
        >>> sum_of_all = mix(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
        >>> rl.save(sum_of_all.capture, "all.flac")  # doctest: +SKIP
        >>> sum_of_all.comparison["exact"]  # doctest: +SKIP
        True
    """
    separate, mixed = _sorted(streams)
    start, end = seconds_pair(span) or _span(separate)
    if (end - start) * RATE > LONGEST:
        raise InvalidArgument(
            "span", (start, end),
            "a call of days at most: a stamp has gone wrong; give mix() the span of the call",
        )  # fmt: skip
    # where rounding puts a stream's last sample beyond the end, it counts all the same
    beyond = 0.0 if span else 1.0
    lines = tuple(timeline(one, call=(start, end + beyond)) for one in separate)
    length = round((end - start) * RATE) if span else max(map(_reached, lines))
    samples, clipped, packets = _sum(lines, length)
    heard = [one for one in separate if len(timed(one))] or separate
    first = min(heard, key=lambda one: float(timed(one)["relative"].min()))
    capture = Capture(
        samples,
        _frame(packets, start, first),
        CaptureInfo(
            recording=f"{first.info.recording[: _NAME - _ROOM]}-mix", bot=first.info.bot,
            metadata=first.info.metadata,
        ),
        events=lambda: events_of(separate),
    )  # fmt: skip
    ends = start + length / RATE
    return Mix(start, ends, capture.samples, clipped, len(separate), capture, mixed, lines)


def _sorted(streams: Capture | Sequence[Capture]) -> tuple[list[Capture], Capture | None]:
    """Return the participants' streams, and the mixed one."""
    several = [streams] if isinstance(streams, Capture) else list(streams)
    if not all(isinstance(one, Capture) for one in several):
        raise InvalidArgument("streams", streams, _VALID)
    recordings = {one.info.recording for one in several}
    if len(recordings) > 1:
        raise InvalidArgument("streams", sorted(recordings), f"{_VALID}; mix each on its own")
    stems = [one.info.stem for one in several]
    if len(set(stems)) < len(stems):
        raise InvalidArgument("streams", stems, f"{_VALID}, each once")
    separate = [one for one in several if one.info.participant is not None]
    if not separate:
        raise InvalidArgument(
            "streams", stems,
            "at least one participant's stream: the bot has to be asked for audio_separate_raw, "
            "and recall_lab.load_recording gives all streams of a recording",
        )  # fmt: skip
    mixed = [one for one in several if one.info.participant is None]
    return separate, mixed[0] if mixed else None


def _span(streams: Sequence[Capture]) -> tuple[float, float]:
    """Return when the first stream begins and the last one ends; those without packets don't."""
    lines = [timeline(one) for one in streams if len(timed(one))]
    if not lines:
        return 0.0, 0.0
    return min(line.start for line in lines), max(line.end for line in lines)


def _reached(line: Timeline) -> int:
    """Return after which sample of the axis nothing more was received."""
    holes = line.holes
    last = len(holes) and int(holes[-1, 1]) == len(line)
    return int(holes[-1, 0]) if last else len(line)


def _heard(lines: Sequence[Timeline], length: int) -> Iterator[tuple[int, int, Mask]]:
    """Yield blocks of the axis: their bounds, and where any stream had audio."""
    for low in range(0, length, _BLOCK):
        high = min(low + _BLOCK, length)
        heard = np.zeros(high - low, bool)
        for line in lines:
            heard |= line.heard(low, high)
        yield low, high, heard


def _sum(lines: Sequence[Timeline], length: int) -> tuple[Samples, int, list[tuple[int, int, int]]]:
    """Return the sum, how many samples of it were saturated, and its packets.

    A packet is a run of samples of which at least one stream has audio, a block long at most:
    offset, samples and checksum.
    """
    clipped = 0
    packets = []
    lowest, highest = np.iinfo(SAMPLE_DTYPE).min, np.iinfo(SAMPLE_DTYPE).max
    with Scratch() as scratch:
        for low, high, heard in _heard(lines, length):
            total = np.zeros(high - low, np.int32)
            for line in lines:
                total += np.asarray(line.take(low, high), SAMPLE_DTYPE)
                line.release()
            clipped += int(np.count_nonzero((total < lowest) | (total > highest)))
            block = total.clip(lowest, highest).astype(SAMPLE_DTYPE)
            scratch.write(block)
            edges = np.flatnonzero(np.diff(heard, prepend=False, append=False))
            for begin, end in edges.reshape(-1, 2).tolist():
                packets.append((low + begin, end - begin, crc32(block[begin:end].data)))
        return scratch.samples(), clipped, packets


def _frame(packets: Sequence[tuple[int, int, int]], start: float, like: Capture) -> pd.DataFrame:
    """Return the packets frame of a sum: its wall clock is that of the stream that began first."""
    offset, samples, checksum = (
        np.array([packet[at] for packet in packets], np.int64) for at in range(3)
    )
    relative = start + offset / RATE
    stamps = timed(like)
    shift = 0
    if len(stamps):
        at = int(stamps["relative"].to_numpy().argmin())
        shift = int(nanoseconds(stamps["absolute"])[at]) - round(stamps["relative"].iloc[at] * 1e9)
    absolute = np.rint(relative * 1e9).astype(np.int64) + shift
    zeros = np.zeros(len(packets))
    return frame_of(
        {
            "relative": relative,
            "absolute": absolute,
            "received": absolute.copy(),
            "monotonic": np.rint(relative * 1e9).astype(np.int64),
            "offset": offset,
            "samples": samples.astype(np.int32),
            "connection": zeros.astype(np.uint32),
            "sequence": np.arange(len(packets), dtype=np.uint32),
            "flags": zeros.astype(np.uint32),
            "payload_crc": checksum.astype(np.uint32),
        }
    )


def _lag(samples: Samples, other: Timeline) -> int:
    """Return by how many samples `other` comes later, whose axis begins half a second earlier.

    By cross-correlation (Oppenheim and Schafer, Discrete-Time Signal Processing, 2.9) through
    the FFT, of the loudest pieces together.
    """
    begins = range(0, len(samples), _PIECE)
    power = []
    for low in begins:
        piece = samples[low : low + _PIECE].astype(np.float64)
        power.append(float(piece @ piece))
        release(samples)
    loudest = sorted(zip(power, begins, strict=True), reverse=True)[:_PIECES]
    total = np.zeros(2 * _FURTHEST + 1)
    for energy, low in loudest:
        if not energy:
            continue
        x = samples[low : low + _PIECE]
        y = other.take(low, low + len(x) + 2 * _FURTHEST)
        size = next_fast_len(len(x) + 2 * _FURTHEST, real=True)
        spectrum = np.conj(rfft(x.astype(np.float64), size)) * rfft(y.astype(np.float64), size)
        total += irfft(spectrum, size)[: len(total)]
    best = float(total.max())
    if best <= 0:
        return 0
    near = np.flatnonzero(total >= best * (1 - 1e-9)) - _FURTHEST  # of equals the nearest
    return int(near[np.abs(near).argmin()])
