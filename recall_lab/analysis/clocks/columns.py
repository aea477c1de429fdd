"""The three clocks of a capture as arrays: where every analysis of time begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.capture.record import Flag
from recall_lab.errors import MissingTimestamps
from recall_lab.wire.pcm import RATE

Seconds = npt.NDArray[np.float64]
"""Float64, seconds. Never float32: after an hour it can't tell two milliseconds apart."""


def with_times(capture: Capture, *, repaired: bool = False) -> pd.DataFrame:
    """Return the packets whose time is known, in the order of arrival.

    The frame of the capture itself when all are known, which costs nothing. Where the media clock
    begins again or leaps, ``relative`` is :attr:`Capture.media`: one clock for all.

    Args:
        capture: live or loaded.
        repaired: whether packets that were filled in by ``repair`` count: for where audio stands
            they do, but they never arrived.

    Raises:
        MissingTimestamps: when there is audio, but not one packet with a time.
    """
    packets, media = capture.packets, capture.media
    # one that is not finite makes the sum so; nearly always there is none
    known = np.isfinite(media) if len(media) and not np.isfinite(media.sum()) else None
    if packets.empty and len(capture.audio):
        held = f"there are {capture.duration:.3f} s of audio, but no packets"
        raise MissingTimestamps(capture.info.stem, held)
    if known is not None and not known.any():
        held = f"the relative time of all {len(packets):,} packets is unknown"
        raise MissingTimestamps(capture.info.stem, held)
    if capture.epochs.breaks or len(capture.epochs.odd):
        packets["relative"] = media
    heard: pd.DataFrame = packets if known is None else packets.loc[known]
    return heard if repaired else _received(heard)


def repaired_spans(capture: Capture) -> pd.DataFrame:
    """Return what was filled in by ``repair``: ``start``, ``end``, ``duration``, s, by start."""
    packets = capture.packets
    filled = packets.loc[_filled(packets)]
    duration = filled["samples"] / RATE
    spans = {"start": filled["relative"], "end": filled["relative"] + duration}
    return pd.DataFrame({**spans, "duration": duration}).sort_values("start", ignore_index=True)


def repaired_seconds(packets: pd.DataFrame) -> float:
    """Return how much was filled in by ``repair``, s."""
    return float((packets["samples"].to_numpy()[_filled(packets)] / RATE).sum())


def _received(packets: pd.DataFrame) -> pd.DataFrame:
    """Return the packets that came from the bot: those themselves, where all did."""
    if not int(np.bitwise_or.reduce(packets["flags"].to_numpy())) & Flag.REPAIRED:  # nearly always
        return packets
    return packets.loc[~_filled(packets)]


def _filled(packets: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which packets ``repair`` filled in."""
    filled: npt.NDArray[np.bool_] = (packets["flags"].to_numpy() & int(Flag.REPAIRED)) != 0
    return filled


def times_of(nanoseconds: npt.NDArray[np.int64]) -> pd.Series[pd.Timestamp]:
    """Return int64 ns since 1970 UTC as a column of times."""
    return pd.Series(nanoseconds).astype("datetime64[ns, UTC]")


Step = tuple[str, float, float, int, int, str]
"""A row of :func:`clock_steps`, with positions of packets for their numbers."""


def steps_of(packets: pd.DataFrame) -> list[Step]:
    """Return where a wall clock was set, among timed packets; see :func:`clock_steps`."""
    order = np.argsort(packets["relative"].to_numpy(), kind="stable")
    relative = packets["relative"].to_numpy()[order]
    absolute = nanoseconds(packets["absolute"])
    arrived = arrivals(packets)
    received = nanoseconds(packets["received"])
    rows: list[Step] = []
    ahead = _since_first(absolute[order]) - (relative - relative[:1])
    runs = bool(np.ptp(absolute)) if len(absolute) else False  # else it is none, and never set
    for at, step in _steps(relative, ahead, _quantum(absolute)) if runs else ():
        ours = arrived[order[at]] - arrived[order[at - 1]]
        media = relative[at] - relative[at - 1]
        paused = abs(ours - media - step) < abs(ours - media)
        why = (
            "our own clock ran on as well: the recording was paused"
            if paused
            else "neither the media clock nor our own did the same: the wall clock was set"
        )
        rows.append(("absolute", relative[at], step, order[at - 1], order[at], why))
    ahead = _since_first(received) - arrived
    came = packets["relative"].to_numpy()
    for at, step in _steps(arrived, ahead, _quantum(received)):
        rows.append(("received", came[at], step, at - 1, at, "our monotonic clock did not"))
    return rows


_LEAST_STEP = 0.01  # s
_FASTEST_DRIFT = 1e-3  # 1,000 ppm
_AROUND = 5  # packets on either side that must agree


def _since_first(times: npt.NDArray[np.int64]) -> Seconds:
    elapsed: Seconds = (times - times[:1]) / 1e9
    return elapsed


def _quantum(times: npt.NDArray[np.int64]) -> float:
    """Return the step to which times are rounded, s: a second, a millisecond, or none."""
    for step in (1_000_000_000, 1_000_000):
        if len(times) and not (times % step).any():
            return step / 1e9
    return 0.0


def _steps(times: Seconds, ahead: Seconds, quantum: float) -> list[tuple[int, float]]:
    """Return where `ahead` shifts for good, and by how much."""
    moved = np.diff(ahead)
    if not len(moved):
        return []
    usual = float(np.median(moved))  # of a clock at another rate: no step
    scatter = 1.4826 * float(np.median(np.abs(moved - usual)))
    bound = max(_LEAST_STEP, 1.5 * quantum, 10 * scatter) + _FASTEST_DRIFT * np.abs(np.diff(times))
    found = []
    for at in (np.flatnonzero(np.abs(moved - usual) > bound) + 1).tolist():
        before = ahead[max(0, at - _AROUND) : at]
        after = ahead[at : at + _AROUND]
        if min(len(before), len(after)) < 2:  # an odd stamp at the edge would look the same
            continue
        stayed = float(np.median(after) - np.median(before))
        if abs(stayed - moved[at - 1]) <= max(abs(moved[at - 1]) / 2, quantum):
            found.append((at, float(moved[at - 1])))
    return found
