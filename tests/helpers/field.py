"""Calls in which everything goes wrong at once, as in the field, held against their truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from helpers.builders import arrive
from helpers.plans import FieldCall, draw_field
from recall_lab.analysis.time.analysis import Analysis, analyse

HALF_SAMPLE = 0.5 / 16_000
NEAR = 0.3  # s: how well a leap of the media clock is told


class Told(NamedTuple):
    """What is told of one call, held against its truth.

    Attributes:
        seed: of the call.
        kind: of its stamps.
        exact: whether its stamps are.
        right: whether what is missing and what is there twice are each within half a packet or 1 %.
        off: by how much the worse of the two is wrong, s.
        phantoms: gaps that are told where nothing is missing.
        packets: how many came.
        apart: by how much the span differs from what explains it, s.
    """

    seed: int
    kind: str
    exact: bool
    right: bool
    off: float
    phantoms: int
    packets: int
    apart: float


def within(found: float, true: float, packet: float) -> bool:
    return abs(found - true) <= max(packet / 2, 0.01 * true) + 1e-6


def missing_spans(call: FieldCall) -> np.ndarray:
    """Return where the truth table has no audio, s on the capture's clock, shape ``(n, 2)``."""
    table = call.plan.sort_values("media", kind="stable")
    hidden = table[(table["outcome"] == "hidden") & ~table["duplicate"]]
    sent = table[(table["outcome"] == "sent") & (table["samples"] > 0)]
    stood = np.concatenate([[0.0], hidden["slot"].cumsum()])
    before = np.searchsorted(hidden["media"].to_numpy(), sent["media"].to_numpy())
    starts = sent["media"].to_numpy() - stood[before] + call.start
    ends = np.maximum.accumulate(starts + sent["duration"].to_numpy())
    at = np.flatnonzero(starts[1:] - ends[:-1] > HALF_SAMPLE)
    return np.column_stack([ends[at], starts[at + 1]])


def phantoms(call: FieldCall, found: Analysis) -> int:
    """Return how many gaps are told where nothing is missing."""
    spans = missing_spans(call)
    # packets that share a stamp say no more than that something is missing among them
    near = NEAR + max(call.packet, 1 / 16) * max(call.faults.shared, 2)
    gaps = found.gaps
    start, end = gaps["start"].to_numpy()[:, None], gaps["end"].to_numpy()[:, None]
    beside = (spans[:, 0] <= end + near) & (spans[:, 1] >= start - near)
    return int(np.count_nonzero(~beside.any(axis=1)))


def kind_of(call: FieldCall) -> str:
    """Return how its stamps are drawn, in words."""
    faults = call.faults
    kinds = {
        "of the ends of packets": faults.stamped == "end",
        "kept in float32": faults.float32,
        "scatter in the last third": bool(faults.scatter_from),
        "scatter": bool(faults.scatter),
        "rounded to 1 ms": faults.quantum == 0.001,
        "rounded to a coarser grid": bool(faults.quantum),
        "shared by several packets": faults.shared > 1,
        "late at times": bool(faults.late_stamps),
    }
    return next((kind for kind, so in kinds.items() if so), "exact")


def tell(seed: int) -> Told:
    """Draw a call, and return how what is told of it fits."""
    call = draw_field(seed)
    found = analyse(arrive(call.plan))
    truth, (first, last) = call.truth, found.extent
    missing = truth.missing + truth.between
    right = within(found.missing, missing, call.packet)
    right &= within(found.twice, truth.twice, call.packet)
    off = max(abs(found.missing - missing), abs(found.twice - truth.twice))
    explained = float(found.order.lasts.sum()) + found.missing - found.twice
    return Told(
        seed, kind_of(call), call.exact, right, off, phantoms(call, found), len(found.packets),
        last - first - explained,
    )  # fmt: skip
