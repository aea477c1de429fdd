"""One analysis of a capture's time: each thing is computed once, by one set of options."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.axis.axis import FILLS, Timeline
from recall_lab.analysis.axis.placement import Placed, place
from recall_lab.analysis.causes.dropped import dropped_spans
from recall_lab.analysis.clocks.columns import Seconds, Step, steps_of, with_times
from recall_lab.analysis.clocks.delays import Stall, delays_of, running_jitter, stalls_of
from recall_lab.analysis.clocks.media_rate import ClockRate, clock_rate_of
from recall_lab.analysis.clocks.rates import PAIRS, drifts, pace_of
from recall_lab.analysis.time.arguments import call_of
from recall_lab.analysis.time.joins import Found, Stood, find
from recall_lab.analysis.time.tables import epoch_table, gap_table
from recall_lab.arguments import Duration, duration
from recall_lab.capture.capture import Capture
from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.continuity.media_order import MediaOrder, media_order
from recall_lab.capture.epochs import REPLAYED
from recall_lab.capture.frame import arrivals
from recall_lab.errors import InvalidArgument, NotRealTime
from recall_lab.loading import load
from recall_lab.wire.pcm import RATE

MUTE: Final = 1.0
"""Seconds from which a gap within a connection of a participant's stream is silence by design."""

CLOCKS: Final = ("media", "samples")
"""What a timeline can be laid by."""

Call: TypeAlias = tuple[Any, Any]

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """What there is to know of a capture's time. Made by :func:`recall_lab.analyse`.

    Every function of time, plot and report takes it in place of the capture: then all of them tell
    of the same options, and nothing is computed twice.

    Attributes:
        capture: what is analysed.
        call: when the call is known to have begun and ended, s on the relative clock; or None.
        mute: seconds from which a gap in a participant's stream counts as silence by design.
        tolerance: seconds by which audio may stand away from its stamp.
        beside: other streams of the recording, which tell whether somebody spoke.
    """

    capture: Capture
    call: tuple[float, float] | None = None
    mute: float = MUTE
    tolerance: float = 0.0
    beside: tuple[Capture, ...] = ()

    @cached_property
    def packets(self) -> pd.DataFrame:
        """The packets that came, in the order of arrival, all with a time."""
        return with_times(self.capture)

    @cached_property
    def standing(self) -> pd.DataFrame:
        """The same with those that were filled in by ``repair``: all that stands on the axis."""
        return with_times(self.capture, repaired=True)

    @cached_property
    def order(self) -> MediaOrder:
        """The packets in the order in which they were spoken, and when that was."""
        packets = self.standing
        return media_order(
            packets["relative"].to_numpy(),
            packets["samples"].to_numpy(),
            packets["payload_crc"].to_numpy(),
            self.tolerance,
        )

    @cached_property
    def placed(self) -> Placed:
        """Where each packet stands on the time axis."""
        return place(self.standing, self.order)

    @cached_property
    def found(self) -> Found:
        """All discontinuities, as arrays."""
        return find(
            self.capture, self.standing, self.order, self.placed,
            call=self.call, mute=self.mute, beside=self.beside, stood=self.stood,
        )  # fmt: skip

    @cached_property
    def discontinuities(self) -> pd.DataFrame:
        """All discontinuities: see :func:`recall_lab.discontinuities`."""
        return gap_table(self.standing, self.found)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """What is missing: see :func:`recall_lab.gaps`."""
        return gap_table(self.standing, self.found.of("gap"))

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """Where the media clock began again: see :func:`recall_lab.epochs`."""
        return epoch_table(self.capture)

    @cached_property
    def extent(self) -> tuple[float, float]:
        """From when to when packets came, s; audio by what can be believed of its stamps."""
        packets, order = self.standing, self.order
        silent = packets["relative"].to_numpy()[packets["samples"].to_numpy() == 0]
        edges = [(float(silent.min()), float(silent.max()))] if len(silent) else []
        if len(order.starts):
            edges.append((float(order.starts[0]), float(order.reached[-1])))
        if not edges:
            return 0.0, 0.0
        return min(low for low, _ in edges), max(high for _, high in edges)

    @cached_property
    def span(self) -> tuple[float, float]:
        """From when to when there is something to tell of, s: the call, where it is known.

        Else what packets tell, those included that came and could not be kept.
        """
        if self.call is not None:
            return self.call
        lost = [(one.start, one.end) for one in dropped_spans(self.capture)]
        spans = [self.extent, *lost] if len(self.standing) else lost
        return (min(spans)[0], max(end for _, end in spans)) if spans else (0.0, 0.0)

    @cached_property
    def stood(self) -> list[Stood]:
        """Where the media clock stood while both wall clocks ran on."""
        numbers = self.standing.index.to_numpy()
        found = []
        for one in self.capture.epochs.breaks:
            if one.kind != "stood":
                continue
            at = int(np.searchsorted(numbers, self.capture.packets.index[one.at]))
            if 0 < at < len(numbers):
                found.append(Stood(at - 1, at, one.seconds))
        return found

    @cached_property
    def missing(self) -> float:
        """Seconds of the call for which there is no audio."""
        return float(self.found.of("gap").duration.sum())

    @cached_property
    def twice(self) -> float:
        """Seconds of audio that are there more than once.

        ``span = audio + missing - twice``, where audio lasts as long as the media clock says.
        """
        order = self.order
        if not len(order.starts):
            return 0.0
        ahead = np.concatenate([order.starts[:1], order.reached[:-1]])
        again = np.minimum(ahead, order.starts + order.lasts) - order.starts
        return float(np.maximum(again, 0.0).sum())

    @cached_property
    def held(self) -> npt.NDArray[np.float64] | None:
        """Return by how much arrival times are to be put back where the media clock stood, s."""
        if not self.stood:
            return None
        held = np.zeros(len(self.standing))
        for one in self.stood:
            held[one.after :] += one.seconds
        place = np.searchsorted(self.standing.index.to_numpy(), self.packets.index.to_numpy())
        return held[place]

    @cached_property
    def unexplained(self) -> float:
        """Seconds that passed by both wall clocks, of which the media clock knows nothing.

        Where it stood; and where it runs slower than both by more than an oscillator does.
        """
        slow = self.clock_rate
        short = 0.0 if slow is None else slow.seconds
        return float(sum(one.seconds for one in self.stood)) + short

    @cached_property
    def clock_rate(self) -> ClockRate | None:
        """How fast the media clock runs against wall clocks, where no oscillator does so."""
        return clock_rate_of(self.packets, self.drift, self.clock_steps, replayed=self.replayed)

    @cached_property
    def pace(self) -> float:
        """How fast the media clock ran against our own: 1.0, or a replay; NaN if unknown."""
        arrived = arrivals(self.packets)
        if self.held is not None:  # time of which the media clock knows nothing is no pace
            arrived = arrived - self.held
        return pace_of(self.packets["relative"].to_numpy(), arrived)

    @property
    def replayed(self) -> bool:
        """Whether packets came at another speed than they were spoken."""
        return abs(self.pace - 1) > REPLAYED

    @cached_property
    def delays(self) -> tuple[Seconds, Seconds]:
        """Delay of each packet and its variation, s.

        Raises:
            NotRealTime: for a replay.
        """
        self.check_real_time()
        return delays_of(self.packets, self.held)

    @cached_property
    def jitter(self) -> tuple[Seconds, Seconds]:
        """Difference and jitter (RFC 3550) at each packet, s.

        Raises:
            NotRealTime: for a replay.
        """
        self.check_real_time()
        return running_jitter(self.packets, self.held)

    @cached_property
    def clock_steps(self) -> list[Step]:
        """Where a wall clock was set."""
        return steps_of(self.packets)

    @cached_property
    def drift(self) -> pd.DataFrame:
        """How fast clocks run against each other: see :func:`recall_lab.drift`."""
        rows = drifts(self.packets, self.clock_steps, self.order, self.held)
        if self.replayed:  # our clock tells nothing then
            for pair, row in zip(PAIRS, rows, strict=True):
                if pair.endswith("received"):
                    row.update(drift=np.nan, low=np.nan, high=np.nan)
        table = pd.DataFrame(rows, index=pd.Index(PAIRS, name="pair"))
        return table.astype({"windows": "int64", "steps": "int64"})

    @cached_property
    def stalls(self) -> list[Stall]:
        """When packets were held up; none for a replay."""
        if self.replayed:
            return []
        return stalls_of(self.capture, self.packets, self.delays[1])

    def timeline(
        self,
        fill: str | float = "silence",
        *,
        start: float | None = None,
        end: float | None = None,
        clock: str = "media",
    ) -> Timeline:
        """Return the samples on the true time axis: see :func:`recall_lab.timeline`."""
        numeric = isinstance(fill, int | float) and bool(np.isfinite(fill))
        if not numeric and fill not in FILLS:
            raise InvalidArgument("fill", fill, "'silence', 'hold', 'nan' or a finite number")
        if clock not in CLOCKS:
            raise InvalidArgument("clock", clock, "'media' or 'samples'")
        placed = self.placed
        if clock == "samples" and self.order.stretched:
            placed = place(self.standing, self.order, resampled=False)
        low, high = self.extent
        begin = low if start is None else start
        moved = placed.since(begin)
        if end is not None:
            length = max(round((end - begin) * RATE), 0)
        elif len(moved.reached) and (
            clock == "samples" or high - self.order.reached[-1] <= HALF_SAMPLE
        ):
            length = int(moved.reached[-1])  # no part of a sample beyond the last
        else:
            length = max([round((high - begin) * RATE), *moved.reached[-1:].tolist()])
        return Timeline(self.capture.audio, moved, (begin, length), fill)

    def once(self, compute: Callable[[Analysis], _T]) -> _T:
        """Return what a function makes of this analysis; it is called once, whoever asks."""
        made: dict[Any, Any] = self.__dict__.setdefault("_made", {})
        if compute not in made:
            made[compute] = compute(self)
        found: _T = made[compute]
        return found

    def check_real_time(self) -> None:
        """Refuse what arrival times can't tell of a replay.

        Raises:
            NotRealTime: where packets came at another speed than they were spoken.
        """
        if self.replayed:
            raise NotRealTime(self.capture.info.stem, self.pace)

    def __repr__(self) -> str:
        options = [f"call={self.call}"] * (self.call is not None)
        options += [f"mute={self.mute:g}"] * (self.mute != MUTE)
        options += [f"tolerance={self.tolerance:g}"] * bool(self.tolerance)
        rest = f", {', '.join(options)}" if options else ""
        return f"<Analysis of {self.capture.info.stem}{rest}>"


def analyse(
    source: Any,
    *,
    call: Call | None = None,
    mute: Duration | None = None,
    tolerance: Duration | None = None,
    beside: Sequence[Capture] = (),
) -> Analysis:
    """Analyse a capture's time, once for all that is asked of it.

    Args:
        source: a capture, live or loaded; a path or URL of one; a receiver, of which it is the
            newest capture; or an :class:`Analysis`, of which options that are not given are kept.
        call: when the call is known to have begun and ended: s on the relative clock, or
            wall-clock times with a zone (``datetime``, ``Timestamp``, ISO 8601 text). What is
            missing at either end is a gap too.
        mute: a gap within a connection of a participant's stream that lasts so long counts as
            silence by design, a shorter one as loss; 1 s by default.
        tolerance: seconds by which audio may stand away from its stamp before that is a
            discontinuity. By default none, but what stamps are seen to scatter by
            (:mod:`recall_lab.capture.continuity.rule`).
        beside: other streams of the recording: audio in them proves that somebody spoke.

    Raises:
        InvalidArgument: for what is none of these, or options that can't be.

    Example:
        >>> found = rl.analyse("data/standup-lossy.bin", mute=0.5)  # doctest: +SKIP
        >>> found.gaps["duration"].sum(), rl.quality(found)["verdict"]  # doctest: +SKIP
    """
    if isinstance(source, Analysis):
        if call is None and mute is None and tolerance is None and not beside:
            return source
        before = source
        source = before.capture
        mute = before.mute if mute is None else mute
        tolerance = before.tolerance if tolerance is None else tolerance
        beside = beside or before.beside
        call = before.call if call is None else call
    capture = capture_of(source)
    others = [beside] if isinstance(beside, Capture) else beside
    if not all(isinstance(one, Capture) for one in others):
        raise InvalidArgument("beside", beside, "captures of the same recording")
    return Analysis(
        capture,
        None if call is None else call_of(capture, call),
        MUTE if mute is None else duration("mute", mute),
        0.0 if tolerance is None else duration("tolerance", tolerance),
        tuple(others),
    )


def capture_of(source: Any) -> Capture:
    """Return the capture that is meant by a capture, an analysis, a path, a URL or a receiver.

    Raises:
        InvalidArgument: for anything else.
    """
    if isinstance(source, Capture):
        return source
    if isinstance(source, Analysis):
        return source.capture
    if isinstance(source, str | os.PathLike):
        return load(os.fspath(source))
    newest = getattr(source, "newest", None)  # a receiver: it is known by what it can do
    if callable(newest):
        found = newest()
        if isinstance(found, Capture):
            return found
    raise InvalidArgument("source", source, SOURCES)


SOURCES: Final = (
    "a capture, what analyse() returned, the path or URL of a capture, or a receiver "
    "(its newest capture)"
)


def each_of(source: Any) -> list[Any] | None:
    """Return the sources in a list or tuple; None for a single source.

    Raises:
        InvalidArgument: for an empty list.
    """
    if isinstance(source, str | os.PathLike | Capture | Analysis) or not isinstance(
        source, Sequence
    ):
        return None
    if not len(source):
        raise InvalidArgument("source", source, f"at least one of: {SOURCES}")
    return list(source)


def analyses_of(source: Any, **options: Any) -> list[Analysis] | None:
    """Analyse each of a list; None for a single source.

    Of the streams of one recording, the separate ones tell of the mixed one whether somebody
    spoke.

    Args:
        source: as for :func:`analyse`, or a list of such.
        options: likewise.
    """
    several = each_of(source)
    if several is None:
        return None
    found = [analyse(one, **options) for one in several]
    recordings = [one.capture.info.recording for one in found]
    for at, one in enumerate(found):
        if one.beside or one.capture.info.participant is not None:
            continue
        beside = [
            other.capture
            for other, recording in zip(found, recordings, strict=True)
            if recording == recordings[at] and other.capture.info.participant is not None
        ]
        if beside:
            found[at] = analyse(one, beside=beside)
    return found
