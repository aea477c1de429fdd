"""The truth of a planned call in seconds: what is missing, and what came twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What of a call arrived, in seconds of the media clock to the nanosecond.

    ``span = audio + missing - twice``, and ``before + span + between + after`` is the call
    without what is hidden. A stretch is missing however it got lost: in this sense a mute, an
    empty packet and a lost one are alike; the plan's ``outcome`` and ``payload`` tell them apart.

    Attributes:
        span: from the start of the first packet that arrived to the end of the last; of a call
            with several epochs, the sum over these.
        audio: all samples that arrived, duplicates too.
        missing: what no packet holds, within the epochs' spans.
        twice: what packets hold beyond once: duplicates, and overlaps.
        before, between, after: what is missing before the first packet that arrived, between one
            epoch and the next, and after the last packet.
        hidden: what vanished while the media clock stood, between the first and the last packet;
            no part of `missing` and `span`.
        leaped: by how much the media clock leaped ahead between packets that arrived, in sum;
            no part of `missing` and `span`.
        epochs: how many times relative began, of which something arrived.
    """

    span: float = 0.0
    audio: float = 0.0
    missing: float = 0.0
    twice: float = 0.0
    before: float = 0.0
    between: float = 0.0
    after: float = 0.0
    hidden: float = 0.0
    leaped: float = 0.0
    epochs: int = 0


def truth_of(plan: pd.DataFrame) -> Truth:
    """Sum up what of a call is missing and what came twice, by true time, whatever its stamps say.

    Args:
        plan: of :func:`plan`, or the truth of a call that was played.

    Example:
        >>> second = np.zeros(16_000, "<i2")
        >>> mute = plan(second, cut(len(second), 0.1), Faults(mutes=((0.3, 0.5),)))
        >>> truth_of(mute).missing
        0.2
    """
    rows = plan[(plan["packet"] >= 0) & ~plan["duplicate"]].sort_values("media", kind="stable")
    hidden = (rows["outcome"] == "hidden").to_numpy()
    media, slot = rows["media"].to_numpy(), rows["slot"].to_numpy()
    # true time without what is hidden: on this the media clock runs on but for its leaps
    stands = np.concatenate([[0.0], np.cumsum(slot[hidden])])
    runs = media - stands[np.searchsorted(media[hidden], media)]
    sent = plan[plan["outcome"] == "sent"].sort_values("media", kind="stable")
    if sent.empty:
        return Truth(before=float(slot[~hidden].sum()))
    first, last = sent["media"].iloc[[0, -1]]
    at = sent["media"].to_numpy()
    starts = at - stands[np.searchsorted(media[hidden], at)]
    lasts = sent["duration"].to_numpy()
    ahead = sent["clock"].to_numpy() - starts
    span = covered = between = leaped = 0.0
    reached: float | None = None
    epochs = sent["epoch"].to_numpy()
    for epoch in np.unique(epochs):
        own = epochs == epoch
        begin, ends = starts[own], (starts + lasts)[own]
        tops = np.maximum.accumulate(ends)
        covered += float(np.sum(np.maximum(ends - np.maximum(begin, _shifted(tops)), 0)))
        span += float(tops[-1] - begin[0])
        leaped += float(ahead[own][-1] - ahead[own][0])
        between += 0.0 if reached is None else float(begin[0]) - reached
        reached = float(tops[-1])
    assert reached is not None
    audio = float(lasts.sum())
    end = float(np.max((runs + slot)[~hidden]))
    within = hidden & (media >= first) & (media < last)
    sums = {
        "span": span,
        "audio": audio,
        "missing": span - covered,
        "twice": audio - covered,
        "before": starts[0] - runs[~hidden].min(),
        "between": between,
        "after": max(end - reached, 0.0),
        "hidden": slot[within].sum(),
        "leaped": leaped,
    }
    told = {name: round(float(value), 9) + 0.0 for name, value in sums.items()}  # and no -0.0
    return Truth(**told, epochs=len(np.unique(epochs)))


def _shifted(tops: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far what came before each reached; nothing came before the first."""
    return np.concatenate([[-np.inf], tops[:-1]])
