"""What a receiver's streams are doing now, gathered from their files once a second or so.

Each look costs what is new: packets are followed, counted and measured as they come. Only the
causes of gaps need the whole frame; they are told a few streams at a time, so that a hundred
streams cost no more than a set share of a second.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.analysis import analyse
from recall_lab.capture.capture import Capture
from recall_lab.capture.follower import Follower, last_samples
from recall_lab.capture.live_continuity import Continuity
from recall_lab.errors import MissingTimestamps
from recall_lab.wire.pcm import FULL_SCALE, RATE

_WINDOW: Final = 5  # looks over which packets a second are taken
_LEVEL: Final = 1.0  # s of audio that the meter shows
_QUIET: Final = 2.0  # s without a packet after which the meter falls
_AT_ONCE: Final = 512  # new packets above which they are counted together
_TELLING: Final = 0.005  # s that telling causes may take of each second
_TRANSIT: Final = ("monotonic", "relative", "samples")
_SMOOTH: Final = 0.9  # of a stream's power is kept from one look to the next


class Receiving(Protocol):
    """What is needed of a receiver: it is known by what it says of itself, and by its files."""

    @property
    def url(self) -> str:
        """Where bots connect."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    @property
    def status(self) -> Health:
        """How it is."""

    def recordings(self) -> pd.DataFrame:
        """One row a stream: recording, participant, name and path among them."""


class Health(Protocol):
    """What a receiver says of itself (:class:`recall_lab.Status` has more)."""

    @property
    def state(self) -> str:
        """``running``, ``stopped`` or ``failed``."""

    @property
    def public_url(self) -> str:
        """Where bots elsewhere connect; ``""`` for nowhere."""

    @property
    def trouble(self) -> str:
        """What is wrong with the tunnel."""

    @property
    def refused(self) -> dict[str, int]:
        """Connections not let in, by reason."""

    @property
    def connections(self) -> int:
        """Sockets open now."""

    @property
    def streams(self) -> int:
        """Streams seen."""

    @property
    def packets(self) -> int:
        """Packets kept."""

    @property
    def packets_per_second(self) -> float:
        """Over the last five seconds."""

    @property
    def rejected(self) -> dict[str, int]:
        """Messages refused, by reason."""

    @property
    def last_error(self) -> str:
        """The last thing that went wrong."""


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
        delay: median of the last second's packets above the fastest packet, s; NaN for none.
        loudness: mean square of late, by which the pictures are chosen.
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


@dataclass(frozen=True, kw_only=True)
class Look:
    """A receiver at one moment.

    Attributes:
        at: when, in ns since 1970 UTC.
        url: where bots connect.
        health: what it says of itself.
        streams: in the order in which they began.
    """

    at: int
    url: str
    health: Health
    streams: list[Stream]


@dataclass(eq=False)
class _Followed:
    """A stream while it is followed."""

    follower: Follower
    recording: str
    participant: int | None
    name: str | None
    continuity: Continuity = field(default_factory=Continuity)
    counts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW + 1))
    came: float = -np.inf  # monotonic seconds of the last look that found something new
    begun: int = 1  # how often the follower has begun
    end: float = 0.0  # of the packet that came last, s
    fastest: float = np.inf  # s, of transit
    delay: float = np.nan
    rms: float = np.nan
    peak: float = np.nan
    loudness: float = 0.0
    causes: dict[str, float] = field(default_factory=dict)
    total: tuple[int, float] = (0, 0.0)  # gaps, and seconds missing
    told: tuple[int, float] = (0, 0.0)  # gaps and seconds when their causes were told
    told_at: float = -np.inf

    def look(self, now: float) -> None:
        follower, before = self.follower, self.follower.packets
        follower.poll()
        if follower.begun != self.begun:  # the files are others now
            self.begun, self.continuity, self.fastest = follower.begun, Continuity(), np.inf
            before = 0
        if follower.packets > before:
            self.came = now
            self._count(before)
        quiet = now - self.came > _QUIET
        self.rms, self.peak = (np.nan, np.nan) if quiet else self._level()
        power = 10 ** (self.rms / 10) if self.rms > -200 else 0.0
        self.loudness = _SMOOTH * self.loudness + (1 - _SMOOTH) * power
        self.counts.append((now, follower.packets))

    def tell_causes(self, now: float) -> None:
        """Tell why audio is missing so far."""
        try:
            found = analyse(self.follower.capture()).gaps
        except MissingTimestamps:  # a damaged index
            found = None
        if found is not None:
            by_cause = found.groupby("cause")["duration"].sum()
            self.causes = {str(cause): float(lost) for cause, lost in by_cause.items()}
        self.told, self.told_at = self.total, now

    def stream(self) -> Stream:
        offsets, counts = self.follower.column("offset"), self.follower.column("samples")
        held = (int(offsets[-1]) + int(counts[-1])) / RATE if len(offsets) else 0.0
        (then, before), (now, packets) = self.counts[0], self.counts[-1]
        count, missing = self.total
        return Stream(
            recording=self.recording,
            participant=self.participant,
            name=self.name,
            seconds=held,
            end=self.end,
            packets=packets,
            rate=(packets - before) / (now - then) if now > then else 0.0,
            rms=self.rms,
            peak=self.peak,
            gaps=count,
            missing=missing,
            causes=dict(self.causes),
            delay=self.delay,
            loudness=self.loudness,
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
            self.continuity.extend(relative, samples, absolute, sums)
        self.end = float(relative[-1] + samples[-1] / RATE)
        self.fastest = min(self.fastest, float(self._transit(before).min(initial=np.inf)))
        arrived = self.follower.column("monotonic")
        recent = int(np.searchsorted(arrived, arrived[-1] - 1_000_000_000, "right"))
        late = np.sort(self._transit(recent))  # np.median takes ten times as long
        self.delay = float(late[len(late) // 2]) - self.fastest if len(late) else np.nan
        self.total = self.continuity.total()

    def _transit(self, first: int) -> npt.NDArray[np.float64]:
        """Return arrival less media time, s, of the packets from `first` on that have audio."""
        arrived, relative, samples = (self.follower.column(name)[first:] for name in _TRANSIT)
        transit: npt.NDArray[np.float64] = arrived / 1e9 - relative - samples / RATE
        return transit[samples > 0]

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


class Live:
    """Looks at a receiver again and again.

    Args:
        receiver: a :class:`recall_lab.Receiver`.
    """

    def __init__(self, receiver: Receiving) -> None:
        self._receiver = receiver
        self._followed: dict[str, _Followed] = {}
        self._known = -1  # streams that the receiver spoke of when they were looked for
        self._spare = _TELLING  # s that may be spent on telling causes; may be owed
        self._looked = time.monotonic()

    def look(self) -> Look:
        """Return how things are now."""
        now = time.monotonic()
        health = self._receiver.status
        if health.streams != self._known or health.state != "running":
            self._find()
            self._known = health.streams
        for followed in self._followed.values():
            followed.look(now)
        self._tell(now)
        return Look(
            at=time.time_ns(),
            url=self._receiver.url,
            health=health,
            streams=[followed.stream() for followed in self._followed.values()],
        )

    def last(self, stream: Stream, seconds: float) -> Capture:
        """Return the packets of the last seconds of a stream."""
        for followed in self._followed.values():
            if (followed.recording, followed.participant) == (stream.recording, stream.participant):
                return followed.follower.last(seconds)
        raise KeyError(stream)

    def tell_all(self) -> None:
        """Tell every cause, whatever it costs: for the last picture."""
        for followed in self._followed.values():
            if followed.total != followed.told:
                followed.tell_causes(time.monotonic())

    def _find(self) -> None:
        for row in self._receiver.recordings().to_dict("records"):
            if row["path"] not in self._followed:
                whose, name = row["participant"], row["name"]
                self._followed[row["path"]] = _Followed(
                    Follower(Path(row["path"])),
                    row["recording"],
                    None if pd.isna(whose) else int(whose),
                    name if isinstance(name, str) else None,
                )

    def _tell(self, now: float) -> None:
        """Tell the causes of those that wait longest, as many as there is time for."""
        self._spare = min(self._spare + (now - self._looked) * _TELLING, 1.0)
        self._looked = now
        waiting = [x for x in self._followed.values() if x.total != x.told]
        for followed in sorted(waiting, key=lambda x: x.told_at):
            if self._spare <= 0:
                break
            begin = time.thread_time()
            followed.tell_causes(now)
            self._spare -= time.thread_time() - begin
