"""Say what a capture and a recording have in common, and what only one of them has.

From that it follows whether they are of one meeting: a recording may leave out what the capture
has, or have more, but where both have something to hear and neither lies in the other, they are
of two.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.alignment.align import ALIKE, Windows
from recall_lab.analysis.alignment.match import LOUD, SILENT, Pair
from recall_lab.analysis.alignment.pieces import Found
from recall_lab.analysis.sound.levels import measure
from recall_lab.arrays import runs_of
from recall_lab.errors import RecordingMismatch
from recall_lab.text import counted
from recall_lab.wire.pcm import RATE

AGREE: Final = 0.5
"""Share of the windows that both should have which have to agree, or it is another meeting."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_FEWEST: Final = 4  # windows that have to agree
_OVERLAP: Final = 0.05  # of the shorter one: less in common may be the same jingle in two meetings
_SHORTEST: Final = RATE // 4  # samples of a stretch that is in one only
_BEST: Final = 0.8  # a rough correlation from which some of it is the same sound


class Coverage(NamedTuple):
    """What is in both, and what in one only.

    Attributes:
        share: of the capture's windows with something to hear, how many lie in the recording.
        similarity: mean over those that the recording should have; 0 where it has another thing.
        unmatched: one row a stretch: ``side`` (``capture`` or ``recording``), ``start``, ``end``,
            ``duration``, s, on the relative clock or of the recording.
        missing: seconds that both should have, and that only one has: of the capture, of the
            recording.
    """

    share: float
    similarity: float
    unmatched: pd.DataFrame
    missing: tuple[float, float]


def coverage(pair: Pair, found: Found) -> Coverage:
    """Return what is in both, and what in one only."""
    other_starts = np.arange(pair.first, pair.last, pair.size)
    sums = measure(pair.other, np.append(other_starts, pair.last), runs=False)
    with np.errstate(invalid="ignore", divide="ignore"):
        power = sums.squares / sums.heard - (sums.total / sums.heard) ** 2
    loud = float(np.nanpercentile(power, 95)) if np.isfinite(power).any() else 0.0
    informative = power > max(LOUD * loud, SILENT**2)
    spans = np.array([(one.low, one.high) for one in found.pieces], float).reshape(-1, 2)
    theirs = np.array(
        [one.line.of([one.low, one.high]) for one in found.pieces], float
    ).reshape(-1, 2)  # fmt: skip
    similarity = found.rows[Windows._fields.index("similarity")]
    mine_alone = pair.tells & ~_inside(pair.middles, spans)
    mine_alone |= pair.tells & (found.owner < 0) & (similarity <= ALIKE)
    theirs_alone = informative & ~_inside(other_starts + np.float64(pair.size / 2), theirs)
    frames = [
        _stretches("capture", pair.starts, pair.size, mine_alone, spans, len(pair.one)),
        _stretches("recording", other_starts, pair.size, theirs_alone, theirs, pair.last),
    ]
    frames[0][["start", "end"]] += pair.one.start
    frames[1][["start", "end"]] += pair.other.start
    should, both = _expected(pair, spans, theirs, other_starts)
    in_recording = pair.tells & np.isfinite(similarity)
    alike = np.where(found.owner >= 0, np.clip(similarity, 0, 1), 0)
    alike = np.where((found.owner < 0) & ~mine_alone, np.clip(similarity, 0, 1), alike)
    return Coverage(
        float(np.count_nonzero(pair.tells & ~mine_alone)) / max(len(pair.informative), 1),
        float(alike[in_recording].mean()) if in_recording.any() else np.nan,
        pd.concat(frames, ignore_index=True),
        (
            float(np.count_nonzero(mine_alone & should)) * pair.size / RATE,
            float(np.count_nonzero(theirs_alone & both)) * pair.size / RATE,
        ),
    )


def refuse(pair: Pair, found: Found, covered: Coverage) -> dict[str, float]:
    """Return the evidence that the capture lies in the recording.

    Raises:
        RecordingMismatch: when there is too little: with what was seen, and where.
    """
    agree = int(np.count_nonzero(found.owner >= 0))
    alone = min(covered.missing) * RATE / pair.size
    windows = agree + round(alone)
    rival = max((len(one.agree) for one, _ in found.rivals), default=0)
    evidence = {
        "windows": float(windows), "agreeing": float(agree),
        "correlation": found.correlation, "rival": float(rival),
    }  # fmt: skip
    if rival > agree or (found.rivals and not agree):
        one, away = max(found.rivals, key=lambda rival: len(rival[0].agree))
        reason = (
            f"{counted(len(one.agree), 'window')} that agree on one place agree on another "
            f"as well, {abs(away) / RATE:.3f} s away: its sound repeats itself"
        )
        raise RecordingMismatch(pair.stem, reason, **evidence)
    shorter = min(len(pair.informative), (pair.last - pair.first) // pair.size)
    needed = max(_FEWEST, math.ceil(max(AGREE * windows, _OVERLAP * shorter)))
    if agree >= needed:
        return evidence
    if not agree:
        best, asked = found.best
        windows_asked = asked or len(pair.informative)
        sound = "the same sound, but" if found.correlation > _BEST else "no sound that is the same:"
        reason = (
            f"in the best place {best} of {windows_asked} windows with something to hear "
            f"agree, where {_FEWEST} would have to (best rough correlation "
            f"{found.correlation:.2f}): {sound} it is of another meeting, or a sound such as a "
            "tone, which fits anywhere, or its samples are in another format (rl.findings tells)"
        )
        raise RecordingMismatch(pair.stem, reason, **evidence)
    first, last = found.pieces[0], found.pieces[-1]
    span = f"{pair.one.start + first.low / RATE:.1f} to {pair.one.start + last.high / RATE:.1f} s"
    mine, theirs = covered.missing
    reason = (
        f"{counted(agree, 'window')} within {span} of the capture agree, where {needed} would have "
        f"to: beside that the capture has {mine:.0f} s that are not in the recording, and the "
        f"recording {theirs:.0f} s that are not in the capture: it is of another meeting, which "
        "shares a part with this one, such as a jingle"
    )
    raise RecordingMismatch(pair.stem, reason, **evidence)


def _inside(middles: Floats, spans: Floats) -> Mask:
    """Return which instants lie within spans, which are in order."""
    at = np.searchsorted(spans[:, 0], middles, "right") - 1
    found: Mask = (at >= 0) & (middles < np.append(spans[:, 1], -np.inf)[at])
    return found


def _stretches(
    side: str, starts: npt.NDArray[np.int64], size: int, alone: Mask, spans: Floats, length: int
) -> pd.DataFrame:
    """Return runs of windows that only one side has, cut where pieces begin and end, s."""
    edges = runs_of(alone)
    low = starts[edges[:, 0]].astype(float)
    high = np.minimum(starts[np.maximum(edges[:, 1] - 1, 0)] + size, length).astype(float)
    for begin, end in spans.tolist():
        inner = (low < end) & (end < high) & (low >= begin)
        low[inner] = end
        inner = (low < begin) & (begin < high) & (high <= end)
        high[inner] = begin
    low, high = low[high - low >= _SHORTEST], high[high - low >= _SHORTEST]
    return pd.DataFrame(
        {"side": pd.Series([side] * len(low), dtype="str"), "start": low / RATE, "end": high / RATE}
    ).assign(duration=(high - low) / RATE)


def _expected(
    pair: Pair, spans: Floats, theirs: Floats, other_starts: npt.NDArray[np.int64]
) -> tuple[Mask, Mask]:
    """Return which windows of the capture and of the recording the other should have, too."""
    if not len(spans):
        return np.ones(len(pair.starts), bool), np.ones(len(other_starts), bool)
    before = min(spans[0, 0], max(theirs[0, 0] - pair.first, 0))
    after = min(len(pair.one) - spans[-1, 1], max(pair.last - theirs[-1, 1], 0))
    mine = (pair.starts >= spans[0, 0] - before - 1) & (
        pair.starts + pair.size <= spans[-1, 1] + after + 1
    )
    other = (other_starts >= theirs[0, 0] - before - 1) & (
        other_starts + pair.size <= theirs[-1, 1] + after + 1
    )
    return mine, other
