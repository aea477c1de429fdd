"""The result of comparing a capture with its recording, as a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.text import html_table

Floats = npt.NDArray[np.float64]

_SAME: Final = 0.15e-3  # s between two lines that are one


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Where a capture lies in a recording, and how alike they are. Made by :func:`compare`.

    Attributes:
        stem: the capture's stream.
        span: the capture's beginning and end, s on the relative clock.
        length: of the recording, s.
        pieces: one row a piece, in order: ``start``, ``end`` (s on the relative clock),
            ``offset`` (s: when relative time 0 would be in the recording), ``offset_low``,
            ``offset_high`` (its 95 % interval), ``drift``, ``drift_low``, ``drift_high`` (ppm,
            NaN for less than a minute), ``level`` (dB, capture less recording, median),
            ``inverted`` (bool), ``similarity`` (0 to 1, median), ``windows`` (int: how many
            agree), ``at``, ``rate`` (``at + rate * t`` is where relative time `t` lies).
        unmatched: one row a stretch with something to hear that is in one of the two only:
            ``side`` (``capture`` or ``recording``), ``start``, ``end``, ``duration`` (s, on the
            relative clock or of the recording).
        share: of what there is to hear in the capture, how much lies in the recording, 0 to 1.
        alike: mean similarity of all windows that the recording should have, 0 to 1: those that
            lie nowhere in it count as 0.
        offset: when relative time 0 is in the recording, s; negative where it began later. This,
            the drift and the polarity are those of the piece with the most windows.
        offset_interval: its 95 % interval, s. Lower by what an encoder may have put in front of
            the recording, where its file does not say how much (``Capture.encoder_delay``); the
            offset is where the sound lies in the file as it is decoded.
        rate: seconds of the recording in a second of the relative clock; the best guess where the
            drift can't be told.
        drift: how much slower the relative clock runs than the recording's, ppm:
            ``1e6 * (rate - 1)``; NaN where less than a minute is common to both.
        drift_interval: its 95 % interval, ppm; NaN likewise.
        level: how much louder the capture is, dB: median over all windows that agree, of RMS
            without direct current. Noise in one of the two counts as its level.
        level_range: its quartiles, dB.
        inverted: bool: the recording's wave is upside down, as by a swapped cable. Nobody hears
            it, but adding the two would cancel. All else is told as if it had been turned back.
        similarity: one row a window of the capture: ``start``, ``end`` (s on the relative
            clock), ``similarity`` (0 to 1, normalised correlation, 100 to 7,000 Hz, with the
            sign of the polarity taken out; NaN where either is silent or missing), ``lag`` (s,
            how much later the window lies in the recording than the line says; NaN where that is
            not clear), ``level`` (dB, capture less recording, over what both have), ``missing``
            (0 to 1, share that the capture has not).
        gaps: one row a gap of :func:`recall_lab.gaps`: ``start``, ``end``, ``duration`` (s),
            ``cause``, ``recorded`` (bool: all of it can be filled from the recording),
            ``recorded_seconds`` (that can), ``rms`` (dBFS, of those in the recording; NaN where
            there are none), ``speech`` (s of it), ``why`` (the reason why it, or a part of it,
            can't be filled; else empty).
        fills: one row a stretch that can be filled: ``gap`` (row of `gaps`), ``start``, ``end``
            (s on the relative clock), ``source_start``, ``source_end`` (s of the recording),
            ``piece`` (row of `pieces`), ``level`` (dB, capture less recording there),
            ``confidence`` (0 to 1: the lesser similarity of what is on its two sides).
        blank: digital silence at the beginning and at the end of the recording, s.
        evidence: numbers that it was told by: ``windows`` that both should have, ``agreeing``
            ones, ``scatter`` of the lags around the longest piece's line (s), ``correlation`` of
            the best rough guess, ``rival``: windows that would as well lie elsewhere.
    """

    stem: str
    span: tuple[float, float]
    length: float
    pieces: pd.DataFrame
    unmatched: pd.DataFrame
    share: float
    alike: float
    offset: float
    offset_interval: tuple[float, float]
    rate: float
    drift: float
    drift_interval: tuple[float, float]
    level: float
    level_range: tuple[float, float]
    inverted: bool
    similarity: pd.DataFrame
    gaps: pd.DataFrame
    fills: pd.DataFrame
    blank: tuple[float, float]
    evidence: Mapping[str, float]

    def recording_time(self, relative: npt.ArrayLike) -> Floats:
        """Return when instants of the relative clock are in the recording, s.

        NaN between two pieces, but where both are on one line. Before the first and after the
        last their lines go on.
        """
        times = np.asarray(relative, np.float64)
        at, rate, told = self._line_at(times)
        return np.where(told, at + rate * times, np.nan)[()]

    def relative_time(self, recording: npt.ArrayLike) -> Floats:
        """Return when instants of the recording are on the relative clock, s; NaN likewise."""
        times = np.asarray(recording, np.float64)
        at, rate = self.pieces["at"].to_numpy(), self.pieces["rate"].to_numpy()
        begins = at + rate * self.pieces["start"].to_numpy()
        number = np.maximum(np.searchsorted(begins, times, "right") - 1, 0)
        found = (times - at[number]) / rate[number]
        following = np.minimum(number + 1, len(at) - 1)
        ahead = at[following] + rate[following] * found
        ends = self.pieces["end"].to_numpy()[number]
        told = (found <= ends) | (following == number) | (np.abs(ahead - times) <= _SAME)
        return np.where(told, found, np.nan)[()]

    def _line_at(self, times: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Return the lines on which instants lie, and which lie on one."""
        pieces = self.pieces
        at, rate = pieces["at"].to_numpy(), pieces["rate"].to_numpy()
        number = np.maximum(np.searchsorted(pieces["start"], times, "right") - 1, 0)
        following = np.minimum(number + 1, len(at) - 1)
        off = at[following] - at[number] + (rate[following] - rate[number]) * times
        told = (times <= pieces["end"].to_numpy()[number]) | (following == number)
        return at[number], rate[number], told | (np.abs(off) <= _SAME)

    def offset_words(self) -> str:
        """Return how far off the offset may be, in words.

        ``±0.004 ms``; or ``-106 to +0.004 ms, as its encoder's delay is not told``, where a file
        does not say how much its encoder put in front.
        """
        low, high = (1e3 * (edge - self.offset) for edge in self.offset_interval)
        if math.isclose(-low, high, rel_tol=1e-3):
            return f"±{high:.2g} ms"
        least, most = (format(edge, "+.0f" if abs(edge) >= 10 else "+.2g") for edge in (low, high))
        return f"{least} to {most} ms, as its encoder's delay is not told"

    def facts(self) -> dict[str, str]:
        """Return what was found, in words, by what it is: what the repr shows."""
        shown = int(self.gaps["recorded"].sum())
        slow, fast = self.drift_interval
        drift = f"{self.drift:+.3f} ppm ({slow:+.3f} to {fast:+.3f})"
        several = len(self.pieces) > 1
        return {
            "offset": f"{signed(self.offset, 4)} s ({self.offset_words()})",
            "drift": "too short to tell" if np.isnan(self.drift) else drift,
            "level": f"{signed(self.level, 1)} dB",
            **({"polarity": "inverted"} if self.inverted else {}),
            "similarity": f"{self.alike:.3f}",
            **({"pieces": f"{len(self.pieces):,}"} if several else {}),
            **({"share": f"{100 * self.share:.1f} %"} if self.share < 1 else {}),
            "gaps in the recording": f"{shown:,} of {len(self.gaps):,}",
        }

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {fact}" for name, fact in self.facts().items())
        return f"<Comparison {self.stem}, {facts}>"

    def _repr_html_(self) -> str:
        least, most = self.level_range
        told = f"{self.evidence['agreeing']:,.0f} of {self.evidence['windows']:,.0f} windows"
        more = {
            "level, quartiles": f"{signed(least, 1)} to {signed(most, 1)} dB",
            "blank in the recording": "{:.2f} s before, {:.2f} s after".format(*self.blank),
            "in the capture only": self._alone("capture"),
            "in the recording only": self._alone("recording"),
            "told by": f"{told}, scatter {self.evidence['scatter'] * 1e6:.1f} us",
        }
        return html_table(f"Comparison of {self.stem}", self.facts() | more)

    def _alone(self, side: str) -> str:
        """Return how much one of the two has alone."""
        seconds = self.unmatched.loc[self.unmatched["side"] == side, "duration"]
        return f"{seconds.sum():.1f} s"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign; nothing is no less than zero."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
