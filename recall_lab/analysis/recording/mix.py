"""Sum the separate streams of a recording, and compare the sum with the mixed stream.

Each stream stands where its relative times say (see :mod:`~.time.timeline`), and is
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

from recall_lab.analysis.alignment.lags import lag_between
from recall_lab.analysis.axis.axis import LONGEST, Mask, Timeline
from recall_lab.analysis.clocks.columns import with_times
from recall_lab.analysis.meeting.people import events_of
from recall_lab.analysis.recording.crosstalk import Correlator, Voice, dominant
from recall_lab.analysis.sound.speech import frame_powers
from recall_lab.analysis.time.analysis import Call, analyse
from recall_lab.analysis.time.arguments import call_of
from recall_lab.analysis.time.timeline import timeline
from recall_lab.arrays import runs_of
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import frame_of, nanoseconds
from recall_lab.capture.info import CaptureInfo
from recall_lab.errors import InvalidArgument
from recall_lab.store.reader import release
from recall_lab.store.scratch import Scratch
from recall_lab.text import counted, html_table, player_time
from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, Samples

_BLOCK: Final = 60 * RATE  # samples summed at once
_OFF: Final = 0.02  # s by which a stream stands elsewhere than the others: heard as an echo
_AUDIBLE: Final = 1e-6 / 2  # mean square: -60 dBFS
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
        parts: the streams that were summed.
    """

    start: float
    end: float
    samples: Samples
    clipped: int
    streams: int
    capture: Capture
    mixed: Capture | None
    parts: tuple[Capture, ...]
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

            - ``lag_samples`` (int): how much later the mixed stream has the same sound, however
              far that is; NaN where it has not, or too little of it. The rest is taken with the
              lag undone, and as the two stand where there is none
            - ``level_db`` (float): the mixed stream's RMS level less the mix's
            - ``similarity`` (float, 0 to 1): normalised correlation
            - ``residual_dbfs`` (float): RMS level of what is left when the mix is subtracted, 0
              for a sine of full scale; -inf for nothing
            - ``compared_s`` (float)
            - ``exact`` (bool): the samples are identical
            - ``off`` (tuple of str): the streams that stand elsewhere in the mixed stream than
              the others, by 20 ms to 1 s; see :meth:`offsets`

            NaN where there is nothing to tell from.

        Raises:
            InvalidArgument: for what is no capture.
            MissingTimestamps: for audio without packets.

        Example:
            >>> mix(rl.load_recording("captures/9f3c")).comparison  # doctest: +SKIP
        """
        if not isinstance(mixed, Capture):
            raise InvalidArgument("mixed", mixed, "a Capture, as recall_lab.load returns it")
        lag = lag_between(self.capture, mixed, (self.start, self.end))
        shift = lag or 0
        other = timeline(mixed, call=(self.start + shift / RATE, self.end + shift / RATE))
        count, mine, theirs, both, left = 0, 0.0, 0.0, 0.0, 0.0
        for low, high, heard in self._heard():
            heard &= other.heard(low, high)
            # whole numbers, and small enough for a float64 to hold their sums
            x = self.samples[low:high][heard].astype(np.float64)
            y = other.take(low, high)[heard].astype(np.float64)
            count += len(x)
            mine, theirs, both = mine + float(x @ x), theirs + float(y @ y), both + float(x @ y)
            y -= x
            left += float(y @ y)
            release(self.samples)
            other.release()
        exact = count > 0 and left == 0
        offsets = self.offsets(mixed, lag=shift) if count and not exact else None
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = 10 * np.log10(np.float64(theirs) / mine)
            alike = np.clip(both / np.sqrt(np.float64(mine) * theirs), 0, 1)
            residual = 10 * np.log10(2 * np.float64(left) / count / FULL_SCALE**2)
        return pd.Series(
            {
                "lag_samples": shift if exact or lag is not None else np.nan,
                "level_db": 0.0 if exact else float(difference),
                "similarity": 1.0 if exact else float(alike),
                "residual_dbfs": float(residual),
                "compared_s": count / RATE,
                "exact": exact,
                "off": () if offsets is None else tuple(offsets.index[offsets["off"]]),
            },
            dtype=object,
            name=mixed.info.stem,
        )

    def offsets(self, mixed: Capture, *, lag: int | None = None) -> pd.DataFrame:
        """Tell of each stream how much later the mixed one has the same sound.

        By generalised cross-correlation (see :mod:`~.recording.crosstalk`), where a
        stream is the loudest of all.

        Args:
            mixed: a capture on the same relative clock.
            lag: samples around which it is looked for, 1 s either way; by default that of all.

        Returns:
            One row a stream, by its stem: ``participant`` (int64), ``lag_samples`` (float64, NaN
            where there is nothing to tell from), ``off`` (bool: 20 ms or more from `lag`).

        Raises:
            InvalidArgument: for what is no capture.
            MissingTimestamps: for audio without packets.

        Example:
            >>> found.offsets(mixed)["lag_samples"]  # doctest: +SKIP
        """
        if not isinstance(mixed, Capture):
            raise InvalidArgument("mixed", mixed, "a Capture, as recall_lab.load returns it")
        span = self.start, self.end
        around = lag if lag is not None else lag_between(self.capture, mixed, span) or 0
        voices = [_voice(line) for line in self._lines]
        call = (self.start + around / RATE, self._lines[0].end + around / RATE)
        whole = _voice(timeline(mixed, call=call))
        rows = []
        for one, voice, own in zip(self.parts, voices, dominant(voices), strict=True):
            peak = Correlator(voice, own).peak(whole)
            assert one.info.participant is not None
            found = np.nan if peak is None else float(around + peak.lag)
            off = peak is not None and abs(peak.lag) >= _OFF * RATE
            rows.append((one.info.stem, one.info.participant.id, found, off))
        table = pd.DataFrame(rows, columns=["stream", "participant", "lag_samples", "off"])
        return table.set_index("stream")

    @cached_property
    def holes(self) -> pd.DataFrame:
        """Where single streams have no audio, whatever the others have meanwhile.

        As :func:`recall_lab.gaps` tells it, with ``stream`` (str, the stem) and ``participant``
        (int64) before its columns. :attr:`capture` has them among its events, of the kind
        ``"hole"``.
        """
        return _holes(self.parts)

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


def mix(streams: Capture | Sequence[Capture], *, call: Call | None = None) -> Mix:
    """Sum the separate streams of a recording on one axis of time.

    Args:
        streams: of one recording, live or loaded. A mixed stream among them is left out of the
            sum, and kept to be compared with it.
        call: ``(start, end)``, what the call is known to have lasted: the axis of the sum, by
            seconds of the relative clock or by wall-clock times; by default from the first packet
            of any stream to the end of the last.

    Returns:
        The sum, with what there is to say of it.

    Raises:
        InvalidArgument: where no stream is a participant's, they are of several recordings, one
            comes twice, or the call can't be.
        MissingTimestamps: for audio without packets, such as a bare ``.bin``.
        OSError: when the disk has no room for the sum.

    Example:
        >>> sum_of_all = mix(rl.load_recording("captures/9f3c"))  # doctest: +SKIP
        >>> rl.save(sum_of_all.capture, "all.flac")  # doctest: +SKIP
        >>> sum_of_all.comparison["exact"]  # doctest: +SKIP
        True
    """
    separate, mixed = _sorted(streams)
    start, end = _span(separate) if call is None else call_of(separate[0], call)
    if (end - start) * RATE > LONGEST:
        raise InvalidArgument(
            "call", (start, end),
            "a call of days at most: a stamp has gone wrong; give call=(start, end)",
        )  # fmt: skip
    # where rounding puts a stream's last sample beyond the end, it counts all the same
    beyond = 1.0 if call is None else 0.0
    lines = tuple(timeline(one, call=(start, end + beyond)) for one in separate)
    length = max(map(_reached, lines)) if call is None else round((end - start) * RATE)
    samples, clipped, packets = _sum(lines, length)
    heard = [one for one in separate if len(with_times(one))] or separate
    first = min(heard, key=lambda one: float(with_times(one)["relative"].min()))
    capture = Capture(
        samples,
        _frame(packets, start, first),
        CaptureInfo(
            recording=f"{first.info.recording[: _NAME - _ROOM]}-mix", bot=first.info.bot,
            metadata=first.info.metadata,
        ),
        events=lambda: _with_holes(events_of(separate), _holes(separate)),
    )  # fmt: skip
    ends = start + length / RATE
    return Mix(
        start, ends, capture.samples, clipped, len(separate), capture, mixed, tuple(separate), lines
    )


def _voice(line: Timeline) -> Voice:
    """Return a stream with which frames of it can be heard at all."""
    powers = frame_powers(line)
    return Voice(line, powers, np.nan_to_num(powers) > _AUDIBLE)


def _holes(streams: Sequence[Capture]) -> pd.DataFrame:
    """Return the gaps of all streams in one frame."""
    tables = []
    for one in streams:
        if len(with_times(one)):
            table = analyse(one).gaps.copy()
            table.insert(0, "stream", pd.Series(one.info.stem, table.index, dtype="str"))
            who = one.info.participant
            table.insert(1, "participant", np.int64(-1 if who is None else who.id))
            tables.append(table)
    if not tables:
        return pd.DataFrame({"stream": pd.Series(dtype="str")})
    found = pd.concat(tables, ignore_index=True)
    return found.sort_values("start", kind="stable", ignore_index=True)


def _with_holes(events: pd.DataFrame, holes: pd.DataFrame) -> pd.DataFrame:
    """Return events with a row for each hole, so that they are kept with the sum."""
    if holes.empty:
        return events
    told = pd.DataFrame(
        {
            "kind": "hole", "received": holes["absolute"], "monotonic": 0, "connection": pd.NA,
            "receiver": "", "event": "", "participant": holes["participant"],
            "relative": holes["start"], "seconds": holes["duration"],
            "detail": [
                {"kind": "hole", "stream": stream, "cause": cause}
                for stream, cause in zip(holes["stream"], holes["cause"], strict=True)
            ],
        }
    )[list(events.columns)].astype(events.dtypes.to_dict())  # fmt: skip
    return pd.concat([events, told], ignore_index=True)


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
    lines = [timeline(one) for one in streams if len(with_times(one))]
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
            for begin, end in runs_of(heard).tolist():
                packets.append((low + begin, end - begin, crc32(block[begin:end].data)))
        return scratch.samples(), clipped, packets


def _frame(packets: Sequence[tuple[int, int, int]], start: float, like: Capture) -> pd.DataFrame:
    """Return the packets frame of a sum: its wall clock is that of the stream that began first."""
    offset, samples, checksum = (
        np.array([packet[at] for packet in packets], np.int64) for at in range(3)
    )
    relative = start + offset / RATE
    stamps = with_times(like)
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
