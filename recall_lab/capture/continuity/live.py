"""Apply the rule of discontinuities while packets come, in bounded memory."""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.continuity.level_steps import HALF_SAMPLE
from recall_lab.capture.continuity.media_order import media_order
from recall_lab.capture.continuity.rule import CONTEXT, PAGE
from recall_lab.capture.epochs import LEAST
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.wire.pcm import RATE

_NEVER: Final = -(1 << 63)
_BEHIND: Final = 500  # packets: 10 s of 20 ms each
_SETTLED: Final = 64  # packets after which a torn join looks no other, if all follow each other


class Continuity:
    """Counts gaps packet by packet, in the order of arrival.

    Packets are kept until a page of them has come with some more behind it: then what is missing
    among them is counted for good, by the rule that :func:`recall_lab.gaps` has. What packets of
    the page that is still open bring may change: :attr:`undecided` says how many there are.

    Example:
        >>> stream = Continuity()
        >>> for relative in (0.0, 0.2, 0.8):
        ...     stream.add(relative, 3200)
        >>> stream.gaps, round(stream.missing, 6)
        (1, 0.4)
    """

    def __init__(self, page: int = PAGE, context: int = CONTEXT) -> None:
        self._page, self._context = page, context
        self._forget()

    def _forget(self) -> None:
        self._starts, self._samples = array("d"), array("i")
        self._checksums = array("I")
        self._before = 0  # packets at the beginning that are decided, and only looked at
        self._count, self._seconds = 0, 0.0
        self._shift = 0.0  # of the present epoch
        # relative, absolute and arrival of the packet that came last
        self._last = (0.0, _NEVER, _NEVER)
        self._end = float("-inf")  # of the audio that came last
        self._reached = float("-inf")
        self._first = float("inf")
        self._earliest, self._latest = float("inf"), float("-inf")  # of empty packets
        self._since_torn = 0
        self._new = 0  # packets since it was told
        self._scatters = False
        self._before_that = (0, 0.0)
        self._told: tuple[int, float] | None = (0, 0.0)

    def start_over(self, packets: pd.DataFrame) -> None:
        """Know of `packets` only, in the order of arrival; more may be added."""
        self._forget()
        absolute = nanoseconds(packets["absolute"]) if "absolute" in packets else None
        checksums = packets.get("payload_crc")
        arrived = None
        if "monotonic" in packets and len(packets):
            elapsed = arrivals(packets)
            since = np.rint((elapsed - elapsed[-1]) * 1e9).astype(np.int64)
            arrived = since + int(packets["monotonic"].iloc[-1])
        self.extend(
            packets["relative"].to_numpy(),
            packets["samples"].to_numpy(),
            absolute,
            None if checksums is None else checksums.to_numpy(),
            arrived,
        )

    def add(
        self,
        relative: float,
        samples: int,
        absolute: int | None = None,
        checksum: int = 0,
        arrived: int | None = None,
    ) -> None:
        """Take one packet.

        Args:
            relative: its stamp, s.
            samples: how many it has.
            absolute: its stamp by the sender's wall clock, ns since 1970 UTC.
            checksum: CRC-32 of its payload.
            arrived: when it came by our monotonic clock, ns; None where that is not known.
        """
        before, wall, ours = self._last
        if absolute is not None and wall != _NEVER:
            moved, passed = relative - before, (absolute - wall) / 1e9
            came = passed if arrived is None or ours == _NEVER else (arrived - ours) / 1e9
            apart = abs(moved - passed)
            # as in epochs.py: both other clocks have to tell the same
            parted = apart > LEAST and abs(moved - came) > LEAST
            agree = abs(passed - came) <= max(LEAST, apart / 2)
            if parted and agree and not 0 <= moved <= passed:
                self._part(relative, before, passed)
        self._last = (
            relative,
            _NEVER if absolute is None else absolute,
            _NEVER if arrived is None else arrived,
        )
        start = relative + self._shift
        if not samples:
            self._earliest, self._latest = min(self._earliest, start), max(self._latest, start)
            self._told = None
            return
        end = start + samples / RATE
        self._since_torn += 1
        self._new += 1
        if abs(start - self._end) > HALF_SAMPLE:
            self._since_torn = 0
        if self._since_torn < _SETTLED:
            self._told = None
        self._first = min(self._first, start)
        self._reached = max(self._reached, end)
        self._end = end
        self._starts.append(start)
        self._samples.append(samples)
        self._checksums.append(checksum)
        if len(self._starts) >= self._before + self._page + self._context:
            self._decide()

    def extend(
        self,
        relative: npt.NDArray[np.float64],
        samples: npt.NDArray[np.int32],
        absolute: npt.NDArray[np.int64] | None = None,
        checksums: npt.NDArray[np.uint32] | None = None,
        arrived: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Take several packets, in the order of arrival."""
        came = [None] * len(relative) if arrived is None else arrived.tolist()
        walls = [None] * len(relative) if absolute is None else absolute.tolist()
        sums = [0] * len(relative) if checksums is None else checksums.tolist()
        for packet in zip(relative.tolist(), samples.tolist(), walls, sums, came, strict=True):
            self.add(*packet)

    @property
    def gaps(self) -> int:
        """Spans for which there is no audio, so far."""
        return self.total(0)[0]

    @property
    def missing(self) -> float:
        """Seconds for which there is no audio, so far."""
        return self.total(0)[1]

    @property
    def undecided(self) -> int:
        """Packets that came last, among which what is missing may still change."""
        return len(self._starts) - self._before

    def total(self, behind: int = _BEHIND) -> tuple[int, float]:
        """Return both at once, as they cost the same work: gaps and seconds missing.

        Args:
            behind: how many packets the answer may lag behind where stamps scatter: then it takes
                milliseconds.
        """
        if self._told is None and self._scatters and self._new < behind:
            return self._before_that
        if self._told is None:
            count, seconds = self._among(None)
            count, seconds = count + self._count, seconds + self._seconds
            edges = [(self._reached, self._latest), (self._earliest, self._first)]
            if self._first == float("inf"):  # nothing but empty packets
                edges = [(self._earliest, self._latest)]
            for start, end in edges:
                if end - start > HALF_SAMPLE:
                    count += 1
                    seconds += end - start
            self._told = self._before_that = count, seconds
            self._new = 0
        return self._told

    def _part(self, relative: float, before: float, passed: float) -> None:
        """Go on behind what was there, where the media clock begins again or leaps."""
        when = before + self._shift + max(passed, 0.0)
        if relative < before:
            when = max(when, self._reached)
        self._shift = when - relative

    def _decide(self) -> None:
        """Count what is missing in the page that is full, and keep what is needed beside it."""
        count, seconds = self._among(self._before + self._page)
        self._count += count
        self._seconds += seconds
        cut = max(self._before + self._page - self._context, 0)
        self._before = self._before + self._page - cut
        for column in (self._starts, self._samples, self._checksums):
            del column[:cut]
        self._told = None

    def _among(self, until: int | None) -> tuple[int, float]:
        """Return how many gaps there are before the packets not yet decided, and how long."""
        starts = np.frombuffer(self._starts, np.float64).copy()
        samples = np.frombuffer(self._samples, np.int32).copy()
        checksums = np.frombuffer(self._checksums, np.uint32).copy()
        if not len(starts):
            return 0, 0.0
        line = media_order(starts, samples, checksums, head=self._before)
        self._scatters = line.scatter > 0
        lost = line.starts[1:] - line.reached[:-1]
        rows = line.row(np.arange(1, len(line.starts)))
        there = (lost > line.tolerance) & (rows >= self._before)
        if until is not None:
            there &= rows < until
        return int(np.count_nonzero(there)), float(lost[there].sum())
