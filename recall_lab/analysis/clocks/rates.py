"""Measure how fast the clocks run against each other, whatever the network does.

Of the packets in ten seconds only the fastest says something about the clocks: it waited the
least. These points make the lower envelope of the delay, and the drift is its slope. Slopes are
taken between any two points less than five minutes apart and the median of them is the estimate:
a stall, a step of the latency or a backlog at the end spoils only the pairs that straddle it,
where it bends a straight line fitted through all.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.analysis.clocks.columns import Step
from recall_lab.capture.continuity.media_order import MediaOrder
from recall_lab.capture.frame import arrivals, nanoseconds
from recall_lab.capture.record import Flag
from recall_lab.wire.pcm import RATE

WINDOW: Final = 10.0
"""Length of a window of the envelope, s."""

LAGS: Final = (100.0, 300.0)
"""Least and greatest time between two points of a slope, s; less in short captures."""

PAIRS: Final = (
    "relative/absolute", "relative/received", "absolute/received", "samples/relative",
)  # fmt: skip
"""The pairs of clocks: drift says how much faster the first runs than the second."""

_LEAST: Final = 6  # windows below which no drift is told
_PACED: Final = 20  # packets below which no pace is told
_LEAST_PACED: Final = 2.0  # s, likewise
_DRAWS: Final = 200  # of the bootstrap
_TOGETHER: Final = 1 << 15  # slopes that medians are taken of at once
_NEAR: Final = 7  # windows on either side of a local median
_OUTLYING: Final = 8.0  # times the median deviation, beyond which a slope is none

Floats = npt.NDArray[np.float64]


def drift_label(pair: str) -> str:
    """Return the label under which the drift of a pair of clocks is told.

    Example:
        >>> drift_label("relative/absolute")
        'drift_relative_absolute_ppm'
    """
    return f"drift_{pair.replace('/', '_')}_ppm"


class Envelope(NamedTuple):
    """Lower envelope of a delay.

    Attributes:
        times: when, s, rising.
        values: least delay around that time, s.
    """

    times: Floats
    values: Floats


def envelope(times: Floats, delays: Floats, window: float = WINDOW) -> Envelope:
    """Return the packet with the least delay in each window that has any.

    Args:
        times: of the packets on the clock that the delay is counted against, s, any order.
        delays: of the packets, s.
        window: length of a window, s.
    """
    if not len(times):
        return Envelope(times, delays)
    bins = ((times - times.min()) / window).astype(np.int64)
    if (bins[1:] < bins[:-1]).any():
        order = np.argsort(bins, kind="stable")
        times, delays, bins = times[order], delays[order], bins[order]
    heads = np.flatnonzero(np.diff(bins, prepend=-1))
    least = np.minimum.reduceat(delays, heads)
    sizes = np.diff(heads, append=len(bins))
    found = np.flatnonzero(delays == np.repeat(least, sizes))
    _, first = np.unique(bins[found], return_index=True)
    return Envelope(times[found[first]], least)


def drifts(
    packets: pd.DataFrame, steps: list[Step], line: MediaOrder, held: Floats | None = None
) -> list[dict[str, float]]:
    """Return the rows of :func:`recall_lab.drift`.

    Args:
        packets: timed packets, in the order of arrival.
        steps: of their clocks.
        line: their order in media time.
        held: by how much each arrival is to be put back where the media clock stood, s.
    """
    stamps = packets["relative"].to_numpy()
    arrived = arrivals(packets)
    if held is not None:
        arrived = arrived - held
    heard = packets["samples"].to_numpy() > 0  # how long an empty one lasts nobody says
    packets = packets if heard.all() else packets[heard]
    relative, arrived = (stamps, arrived) if heard.all() else (stamps[heard], arrived[heard])
    lasts = relative + packets["samples"].to_numpy() / RATE
    wall = nanoseconds(packets["absolute"])
    absolute = (wall - wall[0]) / 1e9 if len(wall) else relative
    steps = [step for step in steps if step[0] == "absolute"]
    for _, at, step, *_ in steps:
        absolute = absolute - np.where(relative >= at, step, 0.0)
    whole = absolute + (lasts - relative)
    # where the sender told no absolute time, that of arrival stands: it says nothing of a clock
    told = packets["flags"].to_numpy() & int(Flag.UNSTAMPED) == 0
    clocks = {
        "relative/absolute": (relative[told], absolute[told], len(steps)),
        "relative/received": (lasts, arrived, 0),
        "absolute/received": (whole[told], arrived[told], len(steps)),
        "samples/relative": (*samples_clock(line), 0),
    }
    return [_estimate(*clocks[pair]) for pair in PAIRS]


def samples_clock(line: MediaOrder) -> tuple[Floats, Floats]:
    """Return when packets begin by the samples counted, and what their stamps say, s."""
    starts, counts = line.starts, line.samples / RATE
    ran = line.lasts[:-1] / counts[:-1]  # what is missing is told by the media clock
    steps = counts[:-1] + (starts[1:] - starts[:-1] - line.lasts[:-1]) / ran
    by_samples = np.concatenate([starts[:1], starts[:1] + np.cumsum(steps)])
    return by_samples, line.stamps


def pace_of(media: Floats, arrived: Floats) -> float:
    """Return how fast media time ran against arrival: 1.0 in a call; NaN where it is not known.

    By the median of the pace between stretches of the call that lie apart: a stall moves few.

    Args:
        media: when packets were spoken, s, in the order of arrival.
        arrived: when they arrived, s.
    """
    size = len(media)
    if size < _PACED:
        return float("nan")
    edges = np.linspace(0, size, min(33, size // 4 + 1)).astype(np.int64)
    heads, sizes = edges[:-1], np.diff(edges)
    spoken, came = (np.add.reduceat(values, heads) / sizes for values in (media, arrived))
    left, right = np.triu_indices(len(heads), max(len(heads) // 4, 1))
    passed, took = spoken[right] - spoken[left], came[right] - came[left]
    some = passed > _LEAST_PACED / 4
    if float(np.ptp(media)) < _LEAST_PACED or not some.any():
        return float("nan")
    slower = float(np.median(took[some] / passed[some]))
    return 1 / slower if slower > 1e-9 else float("inf")


def delay_line(relative: Floats, transit: Floats) -> Floats:
    """Return, for each packet, the line along which the fastest packets lie: the drift's.

    Zero where too little is known; the line's height does not matter, only its slope.
    """
    heard = np.isfinite(transit)
    points = envelope(relative[heard], transit[heard])
    slope = _slope(points) if len(points.times) >= _LEAST else 0.0
    return slope * (relative - relative[:1])


def _estimate(first: Floats, second: Floats, steps: int) -> dict[str, float]:
    """Return drift and interval of one pair from the packets' times on both clocks."""
    points = envelope(first, second - first)
    span = float(points.times[-1] - points.times[0]) if len(points.times) else 0.0
    answer = {"drift": np.nan, "low": np.nan, "high": np.nan, "span": span}
    if len(points.times) >= _LEAST and second.any() and np.ptp(second):  # a clock that runs
        slope = _slope(points)
        low, high = _interval(points, slope)
        # the delay grows by second - first: a slope below zero means that the first is faster
        answer["drift"], answer["low"], answer["high"] = (
            1e6 * (1 / (1 + rate) - 1) if rate > -1 else np.nan  # the second stood: all at once
            for rate in (slope, high, low)
        )
    return answer | {"windows": len(points.times), "steps": steps}


class _Pairs(NamedTuple):
    left: npt.NDArray[np.intp]
    right: npt.NDArray[np.intp]
    run: Floats

    def slopes(self, values: Floats) -> Floats:
        found = np.take(values, self.right, -1)  # thrice as fast as by index, in two dimensions
        found -= np.take(values, self.left, -1)
        found /= self.run
        return found


def _slope(points: Envelope) -> float:
    """Return the median of the slopes that are any good."""
    pairs = _pairs(points)
    return float(np.median(pairs.slopes(points.values))) if len(pairs.run) else 0.0


def _pairs(points: Envelope) -> _Pairs:
    """Return which points make a slope: their lag is within :data:`LAGS`, and nothing between.

    A step of the latency shifts the slopes of all that straddle it to one side, and so the
    median a little: they stand out by far, and are left out.
    """
    times = points.times
    span = times[-1] - times[0]
    least, most = min(LAGS[0], span / 3), min(LAGS[1], span)
    low = np.searchsorted(times, times + least)
    high = np.searchsorted(times, times + most, "right")
    counts = np.maximum(high - low, 0)
    left = np.repeat(np.arange(len(times)), counts)
    right = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    good = times[right] > times[left]
    left, right = left[good], right[good]
    pairs = _Pairs(left, right, times[right] - times[left])
    if len(left):
        slopes = pairs.slopes(points.values)
        off = np.abs(slopes - np.median(slopes))
        keep = off <= _OUTLYING * np.median(off) + 1e-12
        pairs = _Pairs(pairs.left[keep], pairs.right[keep], pairs.run[keep])
    return pairs


def _interval(points: Envelope, slope: float) -> tuple[float, float]:
    """Return the 95 % interval of the slope, from a bootstrap over the residuals.

    Residuals are taken from a local median, so that a step of the latency does not count as
    noise. They are drawn anew for each point, and the slope is estimated as before.
    """
    values = points.values - slope * (points.times - points.times[0])
    residuals = values - _local_median(values)
    pairs = _pairs(points)
    if not len(pairs.run):
        return slope, slope
    told = residuals[np.unique([pairs.left, pairs.right])]  # points that had a say in the slope
    rng = np.random.default_rng(0)
    each = max(1, _TOGETHER // len(pairs.run))  # draws that fit the cache
    slopes = np.empty(_DRAWS)
    for at in range(0, _DRAWS, each):
        some = slopes[at : at + each]
        drawn = pairs.slopes(rng.choice(told, (len(some), len(values))))
        some[:] = np.median(drawn, axis=1, overwrite_input=True)
    # noise is as likely up as down: the reach is that of both sides
    reach = float(np.percentile(np.abs(slopes), 95))
    return slope - reach, slope + reach


def _local_median(values: Floats) -> Floats:
    """Return the median of the values around each, itself left out: else some would be it."""
    side = min(_NEAR, (len(values) - 1) // 2)
    padded = np.pad(values, side, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1)
    found: Floats = np.median(np.delete(around, side, axis=1), axis=1)
    return found
