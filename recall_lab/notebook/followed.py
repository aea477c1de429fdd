"""Follow one stream of a receiver: count and measure it as it comes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from recall_lab.analysis.clocks.rates import pace_of
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.analysis.verdict.verdict import findings_of, findings_of_sound, ordered, verdict_of
from recall_lab.capture.continuity.live import Continuity
from recall_lab.capture.epochs import REPLAYED
from recall_lab.errors import MissingTimestamps
from recall_lab.store.follower import Follower, last_samples
from recall_lab.wire.messages import MAX_RELATIVE
from recall_lab.wire.pcm import FULL_SCALE, RATE

Floats = npt.NDArray[np.float64]

_WINDOW: Final = 5  # looks over which packets a second are taken
_LEVEL: Final = 1.0  # s of audio that the meter shows
_QUIET: Final = 2.0  # s without a packet after which the meter falls
_AT_ONCE: Final = 512  # new packets above which they are counted together
_TRANSIT: Final = ("monotonic", "relative", "absolute", "samples")
_PACED: Final = 512  # packets by which the pace is told, at most
_JUDGED: Final = 30.0  # s of audio before it is judged: the first time takes a while
_RECENT: Final = 12.0  # s of it that are looked at: little, beside a cell that computes
_MORE: Final = 1.2  # times as many packets, and it is judged anew
_SMOOTH: Final = 0.9  # of a stream's power is kept from one look to the next


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream at one moment.

    Attributes:
        recording: its id.
        participant: whose it is; None for the mixed stream.
        name: of the participant, as the network told it.
        seconds: audio held.
        end: where the packet that came last ends on the relative clock, s.
        packets: kept so far.
        rate: packets a second, over the last five looks.
        rms: level of the last second, dBFS; -inf for digital silence, NaN while nothing comes.
        peak: the highest sample of it, dBFS, likewise.
        gaps: spans for which there is no audio.
        missing: how long they are together, s.
        causes: seconds missing by cause, as far as told by now.
        delay: median of the last second's packets above the fastest packet, s; NaN for none, and
            for a replay.
        pace: how fast its media clock runs against arrival: 1.0 in a call, else a replay; NaN
            while that is not known.
        loudness: mean square of late, by which the pictures are chosen.
        verdict: what it is called and why, as far as judged by now; "" before that. While it
            runs, by clocks, files and the format of the last 12 s; in the end by all its sound.
    """

    recording: str
    participant: int | None
    name: str | None
    seconds: float
    end: float
    packets: int
    rate: float
    rms: float
    peak: float
    gaps: int
    missing: float
    causes: dict[str, float]
    delay: float
    loudness: float
    pace: float = 1.0
    verdict: str = ""

    @property
    def replayed(self) -> bool:
        """Whether packets come at another speed than they were spoken."""
        return abs(self.pace - 1) > REPLAYED


@dataclass(eq=False)
class Followed:
    """A stream while it is followed.

    Attributes:
        follower: of its files.
        recording, participant, name: whose it is.
    """

    follower: Follower
    recording: str
    participant: int | None
    name: str | None
    continuity: Continuity = field(default_factory=Continuity)
    counts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW + 1))
    came: float = -np.inf  # monotonic seconds of the last look that found something new
    begun: int = 1  # how often the follower has begun
    end: float = 0.0  # of the packet that came last, s
    fastest: Floats = field(default_factory=lambda: np.full(2, np.inf))  # s, of transit
    delay: float = np.nan
    pace: float = np.nan
    paced: int = 0  # packets when the pace was told
    rms: float = np.nan
    peak: float = np.nan
    loudness: float = 0.0
    causes: dict[str, float] = field(default_factory=dict)
    total: tuple[int, float] = (0, 0.0)  # gaps, and seconds missing
    told: tuple[int, float] = (0, 0.0)  # gaps and seconds when their causes were told
    told_at: float = -np.inf
    verdict: str = ""
    judged: int = 0  # packets when it was judged

    @property
    def due(self) -> bool:
        """Whether there is something new to tell."""
        more = self.follower.packets > _MORE * self.judged and self._held() >= _JUDGED
        return more or self.total != self.told

    def look(self, now: float) -> None:
        follower, before = self.follower, self.follower.packets
        follower.poll()
        if follower.begun != self.begun:  # the files are others now
            self.begun, self.continuity = follower.begun, Continuity()
            self.fastest, self.paced = np.full(2, np.inf), 0
            before = 0
        if follower.packets > before:
            self.came = now
            self._count(before)
        quiet = now - self.came > _QUIET
        self.rms, self.peak = (np.nan, np.nan) if quiet else self._level()
        power = 10 ** (self.rms / 10) if self.rms > -200 else 0.0
        self.loudness = _SMOOTH * self.loudness + (1 - _SMOOTH) * power
        self.counts.append((now, follower.packets))

    def tell(self, now: float, *, last: bool = False) -> None:
        """Tell why audio is missing and what else is wrong: so far, or the `last` time of all."""
        self.judged, self.told, self.told_at = self.follower.packets, self.total, now
        known = analyse(self.follower.capture())
        try:
            by_cause = known.gaps.groupby("cause")["duration"].sum()
            self.causes = {str(cause): float(lost) for cause, lost in by_cause.items()}
        except MissingTimestamps:  # a damaged index
            pass
        if last:
            self.verdict = verdict_of(findings_of(known))
        elif self._held() >= _JUDGED:
            self.verdict = verdict_of(self._so_far(known), sound=False)

    def _so_far(self, known: Analysis) -> list[Finding]:
        """Return what clocks and files tell, and whether the format of what came last is wrong."""
        recent = findings_of_sound(analyse(self.follower.last(_RECENT)))
        told = {one.finding: one for one in recent if CATALOGUE[one.finding].about == "format"}
        told |= {one.finding: one for one in findings_of(known, sound=False)}
        told.pop("open_capture", None)  # it is, as everybody sees
        return ordered(list(told.values()))

    def _held(self) -> float:
        """Return the seconds of audio that are held."""
        offsets, counts = self.follower.column("offset"), self.follower.column("samples")
        return (int(offsets[-1]) + int(counts[-1])) / RATE if len(offsets) else 0.0

    def stream(self) -> Stream:
        (then, before), (now, packets) = self.counts[0], self.counts[-1]
        count, missing = self.total
        return Stream(
            recording=self.recording,
            participant=self.participant,
            name=self.name,
            seconds=self._held(),
            end=self.end,
            packets=packets,
            rate=(packets - before) / (now - then) if now > then else 0.0,
            rms=self.rms,
            peak=self.peak,
            gaps=count,
            missing=missing,
            causes=dict(self.causes),
            delay=np.nan if abs(self.pace - 1) > REPLAYED else self.delay,
            pace=self.pace,
            loudness=self.loudness,
            verdict=self.verdict,
        )

    def _count(self, before: int) -> None:
        """Take in the packets that are new."""
        relative = self.follower.column("relative")[before:]
        samples = self.follower.column("samples")[before:]
        if before == 0 and len(relative) > _AT_ONCE:
            self.continuity.start_over(self.follower.frame())
        else:
            absolute, sums = (
                self.follower.column(name)[before:] for name in ("absolute", "payload_crc")
            )
            arrived = self.follower.column("monotonic")[before:]
            self.continuity.extend(relative, samples, absolute, sums, arrived)
        known = np.flatnonzero(np.abs(relative) <= MAX_RELATIVE)  # NaN compares false
        if len(known):
            self.end = float(relative[known[-1]] + samples[known[-1]] / RATE)
        self.fastest = np.minimum(self.fastest, self._transit(before).min(axis=1, initial=np.inf))
        arrived = self.follower.column("monotonic")
        recent = int(np.searchsorted(arrived, arrived[-1] - 1_000_000_000, "right"))
        late = np.sort(self._transit(recent))  # np.median takes ten times as long
        # a media clock that began again or stood, or a wall clock that was set, is no delay: that
        # is seen by both
        self.delay = np.nan
        if late.shape[1]:
            self.delay = float(np.min(late[:, late.shape[1] // 2] - self.fastest))
        self._tell_pace()
        self.total = self.continuity.total()

    def _transit(self, first: int) -> Floats:
        """Return arrival less media time and less the sender's wall clock, s, shape (2, packets).

        Of the packets from `first` on that have audio and a time.
        """
        arrived, relative, absolute, samples = (
            self.follower.column(name)[first:] for name in _TRANSIT
        )
        ended = arrived / 1e9 - samples / RATE
        transit: Floats = np.stack([ended - relative, ended - absolute / 1e9])
        return transit[:, (samples > 0) & (np.abs(relative) <= MAX_RELATIVE)]

    def _tell_pace(self) -> None:
        """Tell the pace anew when a tenth more packets have come: by some of them."""
        packets = self.follower.packets
        if packets <= self.paced * 1.1:
            return
        some = np.unique(np.linspace(0, packets - 1, _PACED).astype(np.int64))
        media, arrived = (self.follower.column(name)[some] for name in ("relative", "monotonic"))
        known = np.abs(media) <= MAX_RELATIVE
        media, arrived = media[known], arrived[known] / 1e9
        # where a clock began again or stood, half of what lies far apart is off: not what is near
        paces = [pace_of(media, arrived), _pace_near(media, arrived)]
        self.pace, self.paced = min(paces, key=lambda pace: abs(pace - 1)), packets

    def _level(self) -> tuple[float, float]:
        """Return RMS and peak of the last second, dBFS."""
        values = last_samples(self.follower.audio_path, int(_LEVEL * RATE))
        if not len(values):
            return np.nan, np.nan
        floats = values.astype(np.float32)
        peak = max(int(values.max()), -int(values.min())) / FULL_SCALE
        with np.errstate(divide="ignore"):
            # a sine of full scale is 0
            square = 2 * float(np.dot(floats, floats)) / len(floats) / FULL_SCALE**2
            return float(10 * np.log10(square)), float(20 * np.log10(peak))


def _pace_near(media: Floats, arrived: Floats) -> float:
    """Return how fast media time ran against arrival, by stretches beside one another."""
    heads = np.unique(np.linspace(0, len(media), 33).astype(np.int64)[:-1])
    sizes = np.diff(heads, append=len(media))
    if len(heads) < 2:
        return np.nan
    passed, took = (np.diff(np.add.reduceat(times, heads) / sizes) for times in (media, arrived))
    some = passed > 0
    slower = float(np.median(took[some] / passed[some])) if some.any() else np.nan
    return 1 / slower if slower > 1e-9 else np.inf
