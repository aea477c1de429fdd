"""Capture: one stream's audio with its packets. A frozen value, live or loaded alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.damage import Damage
from recall_lab.capture.epochs import Epochs, epochs_of
from recall_lab.capture.event_times import on_media_clock
from recall_lab.capture.events import no_events
from recall_lab.capture.frame import check_frame, empty_frame, nanoseconds, reach_of
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import Flag
from recall_lab.errors import InvalidArgument
from recall_lab.text import html_table, player_time, printable, shortened
from recall_lab.wire.pcm import RATE, SAMPLE_DTYPE, Samples, seconds_of

_TRIMMED = int(Flag.TRIMMED)
_NS_PER_SAMPLE = 1_000_000_000 // RATE
_SNAP = 1e-3  # of a sample: closer than that to a sample's edge is on it, for float rounding

Moment: TypeAlias = float | str | datetime
"""A time in a call: seconds of the relative clock, or a wall-clock time with a zone."""

MOMENTS: Final = "seconds of the relative clock, or a wall-clock time with a zone"
"""What a time in a call can be, in words."""


class Audio(Protocol):
    """Samples that are fetched when they are read: what a capture in object storage has.

    An int16 array of one dimension is read in the same way.
    """

    @property
    def dtype(self) -> np.dtype[np.int16]:
        """int16."""

    @property
    def nbytes(self) -> int:
        """Two for each sample."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Samples: ...


class Capture:
    """The audio of one stream, packet by packet. Immutable.

    Usually made by :func:`recall_lab.load` or ``Receiver.capture()``.

    Args:
        samples: int16, one dimension; all audio in the order of arrival; or an :class:`Audio`.
        packets: the packets frame (see :mod:`recall_lab.capture.frame`), or a function that
            makes it when it is first asked for. None: nothing is known of packets.
        info: ids and metadata.
        damage: what is wrong with the files.
        path: the ``.bin`` it was loaded from.
        url: where it was loaded from, for one in object storage.
        events: a function that reads what happened beside the audio, when it is first asked for.
        encoder_delay: seconds of the beginning that may be an encoder's, at most.

    Raises:
        InvalidFrame: when `packets` breaks the contract.
        InvalidArgument: when `samples` are not int16 in one dimension, or packets point past them.

    Example:
        >>> Capture(np.zeros(16_000, np.int16)).duration
        1.0
    """

    def __init__(
        self,
        samples: Samples | Audio,
        packets: pd.DataFrame | Callable[[], pd.DataFrame] | None = None,
        info: CaptureInfo | None = None,
        damage: Damage | None = None,
        path: Path | None = None,
        events: Callable[[], pd.DataFrame] = no_events,
        *,
        url: str | None = None,
        encoder_delay: float = 0.0,
    ) -> None:
        if isinstance(samples, np.ndarray):
            if samples.dtype != SAMPLE_DTYPE or samples.ndim != 1:
                given = f"{samples.dtype} of shape {samples.shape}"
                raise InvalidArgument("samples", given, "a one-dimensional int16 array")
            samples = samples.view()
            samples.flags.writeable = False
        elif getattr(samples, "dtype", None) != SAMPLE_DTYPE or not hasattr(samples, "__len__"):
            raise InvalidArgument("samples", type(samples), "a one-dimensional int16 array")
        self._audio: Samples | Audio = samples
        self._packets = empty_frame() if packets is None else packets
        if isinstance(self._packets, pd.DataFrame):
            check_frame(self._packets)
            self._packets = self._packets.copy(deep=False)  # the caller's may be written to
            reached = reach_of(self._packets)
            if reached > len(samples):
                raise InvalidArgument(
                    "packets", reached, f"packets within the {len(samples)} samples"
                )
        self._info = info or CaptureInfo(recording="unnamed")
        self._damage = damage or Damage()
        self._path = path
        self._url = url
        self._encoder_delay = encoder_delay
        self._events: pd.DataFrame | Callable[[], pd.DataFrame] = events
        self._epochs: Epochs | None = None

    @property
    def samples(self) -> Samples:
        """All audio in the order of arrival: read-only int16, mapped from disk where it can be.

        Gaps are squeezed out and overlaps stand twice, as they came; the packets say what
        belongs when. Of a capture in object storage they are fetched, all of them and once:
        analyses read :attr:`audio`, piece by piece.
        """
        if not isinstance(self._audio, np.ndarray):
            self._audio = self._audio[:]
        return self._audio

    @property
    def audio(self) -> Samples | Audio:
        """The samples, to be read by slices: those of object storage are fetched when they are."""
        return self._audio

    @property
    def packets(self) -> pd.DataFrame:
        """The packets frame. Writing to it changes your copy only.

        Where ``relative`` begins again, a column ``epoch`` (uint32, 0 for the first) says which
        packets belong together; :attr:`media` has them all on one clock.
        """
        packets = self._frame()
        number = self.epochs.epoch
        if len(number) and number[-1]:
            return packets.assign(epoch=number)
        return packets.copy(deep=False)

    @property
    def epochs(self) -> Epochs:
        """The media clock made one, with where it began again, leapt or stood."""
        if self._epochs is None:
            self._epochs = epochs_of(self._frame())
        return self._epochs

    @property
    def media(self) -> npt.NDArray[np.float64]:
        """When each packet was spoken, s, on one clock: ``relative``, going on where it does not.

        Shape ``(packets,)``; NaN where the packet's time is unknown. Times of all analyses,
        plots, of :attr:`span` and :meth:`slice` are of this clock.
        """
        return self.epochs.media

    def _frame(self) -> pd.DataFrame:
        if not isinstance(self._packets, pd.DataFrame):
            self._packets = self._packets()
        return self._packets

    @property
    def events(self) -> pd.DataFrame:
        """What happened beside the audio (see :mod:`recall_lab.capture.events`).

        Where the media clock begins again or leaps, times are of :attr:`media`, as all others.
        """
        if not isinstance(self._events, pd.DataFrame):
            told = self._events()
            self._events = on_media_clock(told, self._frame(), self.epochs) if len(told) else told
        return self._events.copy(deep=False)

    @property
    def info(self) -> CaptureInfo:
        """Ids and metadata."""
        return self._info

    @property
    def damage(self) -> Damage:
        """What is wrong with the files; false when nothing is."""
        return self._damage

    @property
    def path(self) -> Path | None:
        """The ``.bin``, or None for a capture that is in object storage, in memory, or sliced."""
        return self._path

    @property
    def url(self) -> str | None:
        """Where in object storage it was loaded from; None for all others."""
        return self._url

    @property
    def encoder_delay(self) -> float:
        """By how much its sound may come too late, in seconds at most.

        Encoders such as MP3's put up to a tenth of a second in front; where the audio file does
        not say how much, nobody knows. 0 where nothing was put in front, or it was left out.
        """
        return self._encoder_delay

    @property
    def duration(self) -> float:
        """Audio held, in seconds: samples counted, gaps not included."""
        return seconds_of(self._audio.nbytes)

    @property
    def span(self) -> tuple[float, float]:
        """First and last instant of the relative clock, half-open, in seconds.

        Without packets: ``(0.0, duration)``.
        """
        packets, media = self._frame(), self.media
        if packets.empty:
            return 0.0, self.duration
        if not np.isfinite(media).any():
            return math.nan, math.nan
        ends = media + packets["samples"].to_numpy() / RATE
        return float(np.nanmin(media)), float(np.nanmax(ends))

    def moment(self, time: Moment) -> float:
        """Return a time on the relative clock, s.

        Args:
            time: seconds of the relative clock already; or a wall-clock time with a zone
                (``datetime``, ``Timestamp``, ISO 8601 text), which is read by the packet whose
                wall clock is nearest to it.

        Raises:
            InvalidArgument: for what is no time, for a wall-clock time without a zone, and for
                one where no packet tells the wall clock.

        Example:
            >>> cap.moment("2025-01-01T10:00:05Z")  # doctest: +SKIP
            5.0
        """
        if isinstance(time, int | float | np.integer | np.floating) and not isinstance(time, bool):
            return float(time)
        try:
            stamp = pd.Timestamp(time)
        except (TypeError, ValueError):
            raise InvalidArgument("time", time, MOMENTS) from None
        if pd.isna(stamp) or stamp.tz is None:
            raise InvalidArgument("time", time, MOMENTS)
        known = np.isfinite(self.media)
        walls = nanoseconds(self._frame()["absolute"])[known]
        if not len(walls):
            raise InvalidArgument("time", time, "seconds: no packet tells the wall clock here")
        wanted = stamp.tz_convert("UTC").as_unit("ns").value
        near = int(np.abs(walls - wanted).argmin())
        return float(self.media[known][near] + (wanted - int(walls[near])) / 1e9)

    def slice(self, start: Moment | None = None, end: Moment | None = None) -> Capture:
        """Return the part with ``start <= t < end``, `t` being a sample's relative time.

        Packets that straddle an edge are cut at the sample: their three clocks move along by
        what was cut in front (arrival times do not: the packet arrived when it did) and
        ``Flag.TRIMMED`` is set. Packets keep the order of arrival.

        Args:
            start, end: seconds of the relative clock, or wall-clock times with a zone; None for
                the beginning and the end.

        Raises:
            InvalidArgument: for what is no time, NaN, or an end before the start.

        Example:
            >>> Capture(np.zeros(16_000, np.int16)).slice(0.25, 0.5).duration
            0.25
        """
        low = -math.inf if start is None else self.moment(start)
        high = math.inf if end is None else self.moment(end)
        if not low <= high:  # NaN compares false
            raise InvalidArgument(
                "slice", (start, end), "two numbers, the end not before the start"
            )
        packets, epochs = self._frame(), self.epochs
        if packets.empty:
            first, last = _cut(np.array([0.0]), np.array([len(self._audio)]), low, high)
            return self._part(self._audio[first[0] : last[0]], None)

        media = epochs.media
        first, last = _cut(media, packets["samples"].to_numpy(), low, high)
        # an empty packet has no sample: it stays if its own time is inside
        keep = np.where(packets["samples"] == 0, (media >= low) & (media < high), last > first)
        packets, first, last = packets[keep], first[keep], last[keep]
        epochs = epochs.part(np.flatnonzero(keep), first / RATE)
        trimmed = (first > 0) | (last < packets["samples"])
        starts = packets["offset"].to_numpy() + first
        counts = last - first
        ends = starts + counts
        if np.array_equal(starts[1:], ends[:-1]) and len(starts):
            samples = self._audio[starts[0] : ends[-1]]
        else:
            pieces = [self._audio[a:b] for a, b in zip(starts, ends, strict=True)]
            samples = np.concatenate([self._audio[:0], *pieces])
        packets = packets.assign(
            relative=packets["relative"] + first / RATE,
            absolute=packets["absolute"] + pd.to_timedelta(first * _NS_PER_SAMPLE, unit="ns"),
            offset=np.cumsum(counts) - counts,
            samples=counts.astype(np.int32),
            flags=packets["flags"] | np.where(trimmed, _TRIMMED, 0).astype(np.uint32),
        )
        packets.index = pd.RangeIndex(len(packets), name=packets.index.name)
        part = self._part(samples, packets)
        part._epochs = epochs
        return part

    def _part(self, samples: Samples, packets: pd.DataFrame | None) -> Capture:
        return Capture(
            samples,
            packets,
            self._info,
            events=lambda: self.events,
            encoder_delay=self._encoder_delay,
        )

    def _facts(self) -> dict[str, str]:
        """What a repr shows: cheap, so without the packets where they are not made yet."""
        facts = {"stream": self._info.stem, "audio": player_time(self.duration)}
        participant = self._info.participant
        if participant is not None and participant.name:
            facts["participant"] = shortened(participant.name)
        if isinstance(self._packets, pd.DataFrame):
            bare = self._packets.empty and len(self._audio) > 0
            facts["packets"] = "no index" if bare else f"{len(self._packets):,}"
        if self._damage:
            facts["damage"] = str(self._damage)
        return facts

    def __repr__(self) -> str:
        facts = self._facts()
        rest = [f"{key}: {printable(value)}" for key, value in facts.items() if key != "stream"]
        return f"<Capture {facts['stream']}, {', '.join(rest)}>"

    def _repr_html_(self) -> str:
        facts = self._facts()
        packets = self.packets
        if len(packets):
            start, end = self.span
            facts["packets"] = f"{len(packets):,}"
            facts["relative clock"] = f"{start:.3f} s to {end:.3f} s"
            facts["absolute clock"] = f"{packets['absolute'].min():%Y-%m-%d %H:%M:%S.%f} UTC"
            facts["connections"] = f"{packets['connection'].nunique()}"
        return html_table("Capture", facts)


def _cut(
    relative: np.ndarray, counts: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return each packet's first sample at or after `low`, and at or after `high`."""
    # a packet whose time is unknown lies in no span
    first = np.nan_to_num(np.ceil((low - relative) * RATE - _SNAP), posinf=np.inf, neginf=-np.inf)
    last = np.nan_to_num(np.ceil((high - relative) * RATE - _SNAP), posinf=np.inf, neginf=-np.inf)
    return (
        np.clip(first, 0, counts).astype(np.int64),
        np.clip(last, 0, counts).astype(np.int64),
    )
