"""Rank the captures of a survey, say why, and sum it up in a few sentences."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.analysis.detectors.clocks import NOT_OURS
from recall_lab.analysis.detectors.time import GROWING
from recall_lab.analysis.time.loss import KNOWN_LOST, LOST, UNEXPLAINED
from recall_lab.errors import InvalidArgument
from recall_lab.text import counted, printable, shortened

VERDICTS: Final = ("good", "usable", "poor", "empty", "damaged", "failed")
"""What a stream is: one of the words of :func:`recall_lab.quality`; or its files are damaged, so
that what is left looks better than it was; or it could not be measured."""

AVAILABLE: Final = "available_without_silence_percent"
"""The column that makes a verdict: what is there of what was expected."""

_FAR: Final = 3.5  # deviations from the median at which a value stands out: Iglewicz and Hoaglin
_STRAY: Final = 10  # times the usual spread of days: further off, a clock was wrong
_DAY: Final = 86_400_000_000_000
_SILENT: Final = 0.999  # share of zeros from which a capture has nothing in it
_TEXTS: Final = ("source", "recording", "name", "verdict", "damage", "error")
_HEARD: Final = "sound"  # where it was measured
_NUMBERS: Final = (AVAILABLE, "missing_s", *(missing_label(cause) for cause in CAUSES))
_NEEDED: Final = (*_TEXTS, "participant", "start", *_NUMBERS)
_HIDDEN: Final = "unexplained_s"
# where they were measured
_SHOWN: Final = ("duration", "jitter_ms", "rms_dbfs", "silence_share", "speech_share", _HIDDEN)
_RANKS: Final = ("failed", "poor", "usable", "good", "empty")


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame if it is one of a survey that has measured quality.

    Raises:
        InvalidArgument: for another.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InvalidArgument("frame", frame, "what rl.survey returns")
    for name in _NEEDED:
        if name not in frame.columns:
            raise InvalidArgument(
                "frame", list(frame.columns),
                f"a column {name!r}, as rl.survey makes it when 'quality' is one of its measures",
            )  # fmt: skip
    if not isinstance(frame["start"].dtype, pd.DatetimeTZDtype):
        raise InvalidArgument(
            "frame",
            f"start: {frame['start'].dtype}",
            "start as datetime64[ns, UTC]: pandas.read_csv has parse_dates=['start'] for it",
        )  # fmt: skip
    # a file of CSV does not tell an empty text from none, and other readers have other dtypes
    some = [name for name in (*_TEXTS, _HEARD) if name in frame.columns]
    texts = {name: frame[name].astype("str").fillna("") for name in some}
    numbers = {
        name: frame[name].to_numpy(np.float64, na_value=np.nan)
        for name in (*_NUMBERS, *_SHOWN)
        if name in frame.columns
    }
    return frame.assign(**texts, **numbers)


def verdicts(frame: pd.DataFrame) -> pd.Series[str]:
    """Return one of :data:`VERDICTS` for each row: ``failed`` where quality is not known."""
    return _verdicts(checked(frame))


def _verdicts(frame: pd.DataFrame) -> pd.Series[str]:
    words = frame["verdict"].str.split(":").str[0]
    words = words.where(words.isin(VERDICTS[:4]), "failed")
    if "sound" in frame.columns:  # the worse of what clocks and samples say
        heard = frame["sound"].str.split(":").str[0]
        words = words.mask((heard == "usable") & (words == "good"), "usable")
        words = words.mask((heard == "poor") & words.isin(("good", "usable")), "poor")
    # what is damaged, or could not be read, looks better than it is
    hidden = (frame["damage"] != "") | (frame["error"] != "")
    hidden &= words.isin(("good", "usable", "empty"))
    return words.mask(hidden, "damaged").astype("str")


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a survey in order, the worst first, with what is wrong of each in words.

    First what could not be measured; then what is poor, what is usable or damaged, what is good,
    each by how much of the expected audio is missing, and what is damaged before what is not; last
    the calls in which nothing was expected.

    Args:
        frame: of :func:`recall_lab.survey`, with ``quality``.

    Returns:
        The rows of the frame with three more columns:

        - ``kind`` (str): one of :data:`VERDICTS`
        - ``outlier`` (bool): more is missing than can be explained by how the others scatter, and
          the capture is not good. Of the missing share x it is asked whether
          ``0.6745 * (x - median) / MAD > 3.5`` (Iglewicz and Hoaglin, How to Detect and Handle
          Outliers, 1993, section 3.3). Where more than half are alike, the MAD is 0, and the
          mean of the absolute deviations stands for it:
          ``(x - median) / (1.2533 * mean deviation)``.
        - ``why`` (str): the error, the worst that clocks and files tell and that the sound tells
          (the worse of both first), damage; whether the capture may still grow. Empty where there
          is nothing to say

    Raises:
        InvalidArgument: for another frame.

    Example:
        >>> rank(survey("captures/")).head(10)[["source", "why"]]  # doctest: +SKIP
    """
    frame = checked(frame)
    kind = _verdicts(frame)
    failed = (frame["error"] != "").to_numpy() | (kind == "failed").to_numpy()
    there = frame[AVAILABLE].to_numpy()
    silent = np.zeros(len(frame), bool)
    if "silence_share" in frame.columns:
        silent = frame["silence_share"].to_numpy() >= _SILENT
    damaged = (frame["damage"] != "").to_numpy()
    worse = kind.isin(("usable", "poor")).to_numpy()
    growing = frame["verdict"].str.contains(GROWING, regex=False).to_numpy()
    bad = failed | silent | damaged | worse | growing
    rows = frame.assign(
        kind=kind,
        outlier=_stand_out(100 - there) & worse,
        why=_reasons(frame, bad, silent),
    )
    order = np.lexsort(
        (
            frame["source"].to_numpy(),
            ~silent,
            ~damaged,
            np.where(np.isnan(there), np.where(damaged, 100, np.inf), there),
            _ranks(kind, failed, silent),
        )
    )
    return rows.iloc[order]


def summary(frame: pd.DataFrame) -> str:
    """Return a survey in some sentences: how much, how good, what is missing, and since when.

    Args:
        frame: of :func:`recall_lab.survey`, with ``quality``.

    Example:
        >>> summary(rl.survey("data/"))  # doctest: +SKIP
        '3 streams of 2 recordings, 2026-11-23 (UTC), 2.9 min: 2 are poor, 1 good. ...'
    """
    frame = checked(frame)
    kinds = _verdicts(frame).value_counts()
    if frame.empty:
        return "No captures."
    starts = frame["start"][believable(frame["start"])]
    days = ""
    if len(starts):
        first, last = (str(day)[:10] for day in (starts.min(), starts.max()))
        days = f", {first} to {last} (UTC)" if first != last else f", {first} (UTC)"
    length = frame["duration"].sum() if "duration" in frame.columns else np.nan
    lasts = f", {lasting(length)}" if length > 0 else ""
    told = [f"{kinds[kind]:,} {kind}" for kind in ("poor", "damaged", "usable", "good", "empty")
            if kinds.get(kind)]  # fmt: skip
    failed = int(kinds.get("failed", 0))
    told += [f"{failed:,} could not be measured"] if failed else []
    said = [
        f"{counted(len(frame), 'stream')} of "
        f"{counted(recordings_of(frame).nunique(), 'recording')}{days}{lasts}: {', '.join(told)}."
    ]
    lost = _lost(frame)
    if lost:
        causes = ", ".join(f"{cause} {lasting(seconds)}" for cause, seconds in lost.items())
        said.append(f"Lost: {causes}.")
        by_day = frame[[missing_label(cause) for cause in LOST]].sum(axis=1)
        by_day = by_day.groupby(frame["start"].dt.strftime("%Y-%m-%d")).sum()
        if len(by_day) > 1:
            said.append(f"The most on {by_day.idxmax()}: {lasting(float(by_day.max()))}.")
    unexplained = float(frame[missing_label(UNEXPLAINED)].sum())
    unexplained += float(frame[_HIDDEN].sum()) if _HIDDEN in frame.columns else 0.0
    if unexplained > 0:
        said.append(f"Not there, and nothing tells why: {lasting(unexplained)}.")
    if lost or unexplained > 0:
        pass
    elif kinds.get("damaged"):
        said.append("What the damaged ones have lost is not known; nothing else was lost.")
    elif kinds.get("good") == len(frame) - failed > 0:
        said.append("Nothing was lost.")
    if _HEARD not in frame.columns:
        said.append("The sound was not looked at: a survey with 'sound' among its measures does.")
    return " ".join(said)


def days_of(starts: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Return the day of each start in UTC, counted from 1970-01-01; of no use where it is NaT."""
    return starts.to_numpy("datetime64[ns]").astype(np.int64) // _DAY


def believable(starts: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Tell which starts are dates, and not so far from the others that a clock was wrong."""
    known, days = starts.notna().to_numpy(), days_of(starts)
    if known.any():
        middle = np.median(days[known])
        low, high = np.percentile(days[known], (25, 75))
        known = known & (np.abs(days - middle) <= _STRAY * max(high - low, 30))
    return known


def recordings_of(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the recording of each row; its source where it has none."""
    named = frame["recording"].astype("str")
    return named.where(named != "", frame["source"].astype("str"))


def name_of(source: str, participant: Any, name: str) -> str:
    """Return what a stream is called in a list: its file, and whose it is. Fit for one line."""
    stem = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    for suffix in (".bin", ".flac", ".idx"):
        stem = stem.removesuffix(suffix)
    who = f" ({shortened(name, 24)})" if name and not pd.isna(participant) else ""
    return shortened(stem, 40) + who


def lasting(seconds: float) -> str:
    """Return a length of time as people say it.

    Example:
        >>> lasting(3.21), lasting(400), lasting(90_000), lasting(3_600_000)
        ('3.2 s', '6.7 min', '25.0 h', '1,000.0 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _stand_out(missing: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which shares are far above the others."""
    known = missing[np.isfinite(missing)]
    if not len(known):
        return np.zeros(len(missing), bool)
    middle = float(np.median(known))
    away = np.abs(known - middle)
    spread = float(np.median(away)) / 0.6745 or 1.2533 * float(away.mean())
    return np.nan_to_num(missing - middle, nan=0.0) > _FAR * spread


def _reasons(
    frame: pd.DataFrame, bad: npt.NDArray[np.bool_], silent: npt.NDArray[np.bool_]
) -> pd.Series[str]:
    """Return what is wrong in words, of the rows that are bad."""
    told = np.full(len(frame), "", object)
    some = np.flatnonzero(bad)
    part = frame.iloc[some]
    heard = part["sound"] if "sound" in part.columns else pd.Series("", part.index)
    columns = zip(
        some.tolist(), part["error"], heard, part["verdict"], part["damage"], silent[some],
        strict=True,
    )  # fmt: skip
    for at, error, sound, verdict, damage, zeros in columns:
        reasons = [printable(error)] if error else []
        reasons += _worst_of(verdict, sound)
        if zeros and not sound:
            reasons.append("nothing but digital silence")
        if damage and damage not in verdict:
            reasons.append(f"damage: {printable(damage)}")
        told[at] = "; ".join(reasons)
    return pd.Series(told, index=frame.index, dtype="str")


def _worst_of(verdict: str, sound: str) -> list[str]:
    """Return what the verdicts of clocks and of the sound say: the worse first, or the clocks'."""
    kind, _, said = verdict.partition(": ")
    heard, _, how = sound.partition(": ")
    if heard == "poor" and said.startswith(NOT_OURS):
        kind = ""  # the sound knows more of it
    parts = sorted([(kind, said), (heard, how)], key=lambda part: part[0] != "poor")
    told = [said for kind, said in parts if kind in ("usable", "poor")]
    if GROWING in verdict and not any(GROWING in one for one in told):
        told.append(verdict[verdict.index(GROWING) :])
    return told


def _ranks(
    kind: pd.Series[str], failed: npt.NDArray[np.bool_], silent: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return 0 for what comes first in a list of the worst, and so on."""
    as_bad = kind.mask(kind == "damaged", "usable").mask(silent & (kind == "good"), "usable")
    ranks = np.array([_RANKS.index(one) for one in as_bad], np.int64)
    return np.where(failed, 0, ranks)


def _lost(frame: pd.DataFrame) -> dict[str, float]:
    """Return seconds by cause of what was lost, the largest first."""
    sums = {cause: float(frame[missing_label(cause)].sum()) for cause in KNOWN_LOST}
    return {
        cause: lost for cause, lost in sorted(sums.items(), key=lambda item: -item[1]) if lost > 0
    }
