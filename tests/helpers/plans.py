"""Calls in which everything goes wrong at once, and the truth about them sample by sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import cut, plan
from recall_lab.simulator.truth import Truth, truth_of

SECONDS = 60
SOURCE = np.random.default_rng(0).integers(-3000, 3000, SECONDS * 16_000).astype("<i2")
# of a mixed stream, in which nothing tells the silence of all
CAUSE_OF = {"lost": "loss", "outage": "reconnect", "muted": "unknown", "empty": "silence"}
_LENGTHS = (0.02, 0.1, 0.2, (0.02, 0.1, 0.2), (0.02, 0.0625, 0.1))


class Call(NamedTuple):
    """A call, and what became of it.

    Attributes:
        plan: the simulator's truth table.
        start: relative time of its first sample, s.
        heard: for each sample of the source, what arrived; shape ``(samples,)``, int16.
        there: for each sample, whether it arrived.
        outcomes: what became of each packet: ``sent``, or a key of :data:`CAUSE_OF`.
        offsets: first sample of each packet.
        faults: what was drawn.
    """

    plan: pd.DataFrame
    start: float
    heard: np.ndarray
    there: np.ndarray
    outcomes: np.ndarray
    offsets: np.ndarray
    faults: Faults


def draw(seed: int) -> Call:
    """Draw one call with all faults."""
    rng = np.random.default_rng((99, seed))
    length = _LENGTHS[rng.integers(len(_LENGTHS))]
    quantum = float((0, 0, 1e-6, 1e-3)[rng.integers(4)])
    if length == _LENGTHS[-1] and quantum == 1e-3:
        quantum = 0.0  # 62.5 ms rounded to 1 ms: no longer to be told to the sample
    mutes = np.sort(rng.uniform(2, SECONDS - 10, 2))[: rng.integers(0, 3)]
    faults = Faults(
        loss=rng.uniform(0, 0.1),
        burst=rng.uniform(1, 2.5),
        duplicates=rng.uniform(0, 0.1),
        reorder=rng.uniform(0, 0.1),
        jitter=rng.uniform(0, 0.05),
        disconnects=tuple(np.sort(rng.uniform(0, SECONDS - 5, rng.integers(0, 3))).tolist()),
        drift=rng.uniform(-200, 200),
        steps=tuple(
            (float(rng.uniform(0, SECONDS)), float(rng.uniform(-3, 3)))
            for _ in range(rng.integers(0, 3))
        ),
        mutes=tuple((float(at), float(at + rng.uniform(1.5, 6))) for at in mutes),
        empty=rng.uniform(0, 0.03),
        zeros=rng.uniform(0, 0.05),
        malformed=rng.uniform(0, 0.02),
        quantum=quantum,
        seed=seed,
    )
    start = float(rng.choice([0, 5, 1234.5]))
    packets = cut(len(SOURCE), length, seed)
    table = plan(SOURCE, packets, faults, start=start, epoch=1_767_225_600_000_000_000)
    heard = np.zeros(len(SOURCE), np.int16)
    there = np.zeros(len(SOURCE), bool)
    sent = table[table["outcome"] == "sent"]
    for kind, at, count in zip(sent["payload"], sent["offset"], sent["samples"], strict=True):
        there[at : at + count] = True
        heard[at : at + count] = SOURCE[at : at + count] if kind == "audio" else 0
    each = table[(table["packet"] >= 0) & ~table["duplicate"]].sort_values("packet")
    silent = (each["outcome"] == "sent") & (each["payload"] == "empty")
    outcomes = np.where(silent, "empty", each["outcome"])
    return Call(table, start, heard, there, outcomes, packets.offset, faults)


class FieldCall(NamedTuple):
    """A call as they are met in the field.

    Attributes:
        plan: the simulator's truth table.
        truth: its sums.
        faults: what was drawn.
        packet: length of its packets, s, or of the longest.
        start: relative time of its first packet, s.
        exact: whether each stamp that was sent says exactly what the media clock did.
    """

    plan: pd.DataFrame
    truth: Truth
    faults: Faults
    packet: float
    start: float
    exact: bool


def draw_field(seed: int, noise: float = 1.0) -> FieldCall:
    """Draw one call with a mixture of what the field does: some of each kind, or none.

    Stamps stray by less than half a packet or, where several share one, by as much as those
    last; more could not be told from losses. What else no rule could tell from the stamps alone is
    not drawn, or drawn again:

    - Two events less than 3 s apart. A clock that leaps back within an outage, for one, looks as
      one that stood.
    - Packets that are all short while the sample clock is off as well: only the sum is seen.
    - Packets with 100 samples fewer, here and there, where stamps stray by more than half of
      that: in 100 ms packets they come to 1,250 ppm, which may as well be a clock.
    - Stamps late by one or two packets. Where that one was lost, the late one has its place.
    - A wrong stamp on the very last packet: none comes after that would tell. Nor do any tell of
      what is lost where a group shares a stamp, in the last group or at the start of the first.

    Args:
        seed: of all that is drawn.
        noise: by what scatter, grids and late stamps are multiplied.
    """
    for attempt in range(100):
        rng = np.random.default_rng((98, seed, attempt))
        call = _draw_field(rng, seed, noise)
        if _ends_are_told(call):
            return call
    raise AssertionError(f"seed {seed} draws nothing that can be told")


def _draw_field(rng: np.random.Generator, seed: int, noise: float) -> FieldCall:
    def some(share: float) -> bool:
        return bool(rng.random() < share)

    length = (0.02, 0.064, 0.1, 0.2, (0.02, 0.1, 0.2), (0.05, 0.1))[rng.integers(6)]
    packet, least = float(np.max(length)), float(np.min(length))
    off = rng.uniform(0.01, 0.25) * least * noise
    grid = rng.uniform(0.05, 0.5) * least * noise
    late = rng.choice([rng.uniform(0.1, 0.85), rng.uniform(1.15, 1.85)])
    stamps: tuple[dict[str, Any], ...] = (
        {}, {}, {"stamped": "end"}, {"float32": True},
        {"scatter": off}, {"scatter": off, "scatter_from": SECONDS * 2 / 3},
        {"quantum": grid, "rounding": "down"}, {"quantum": grid}, {"quantum": 0.001},
        {"shared": int(rng.integers(2, 11))},
        {"late_stamps": 0.02, "late_by": late * least * noise},
    )  # fmt: skip
    stamp = stamps[rng.integers(len(stamps))]
    few = 100 / 16_000
    strays = max(stamp.get("scatter", 0), stamp.get("quantum", 0) / 2) > few / 2
    audio: tuple[dict[str, Any], ...] = (
        {}, {}, {"short": rng.uniform(0.01, 0.25)}, {"uneven": 0.03},
        {} if strays else {"uneven": 0.02, "uneven_by": (-100,)},
    )  # fmt: skip
    sound = audio[rng.integers(len(audio))]
    clock = float(rng.choice([-50, 50, 500, 1000])) if some(0.3) and "short" not in sound else 0
    lasting = {"disconnects": 3.0, "mutes": 5.0, "hidden": rng.uniform(1, 8), "steps": 0.0,
               "leaps": 0.0, "restarts": 0.0}  # fmt: skip
    happens = [name for name in lasting if some(0.2)]
    happens += ["restarts"] * ("restarts" in happens)
    rng.shuffle(happens)
    room = SECONDS - 4 - sum(lasting[name] + 3 for name in happens)
    at = 2 + np.cumsum(rng.dirichlet(np.ones(len(happens) + 1))[:-1] * room) if happens else []
    events: dict[str, list[Any]] = {name: [] for name in lasting}
    passed = 0.0
    for name, begin in zip(happens, at, strict=True):
        when = float(begin + passed)
        events[name].append({
            "disconnects": when, "restarts": when, "mutes": (when, when + 5),
            "hidden": (when, lasting[name]), "steps": (when, rng.uniform(-3, 3)),
            "leaps": (when, float(rng.choice([-0.5, 2, 3600]))),
        }[name])  # fmt: skip
        passed += lasting[name] + 3
    faults = Faults(
        loss=rng.uniform(0, 0.05) if some(0.6) else 0,
        burst=rng.uniform(1, 4),
        duplicates=0.02 if some(0.2) else 0,
        reorder=0.02 if some(0.2) else 0,
        jitter=0.01 if some(0.5) else 0,
        empty=0.01 if some(0.2) else 0,
        drift=rng.uniform(-100, 100) if some(0.3) else 0,
        sample_clock=clock,
        rejoin="new" if some(0.5) else "same",
        seed=seed,
        **{name: tuple(times) for name, times in events.items()},
        **stamp,
        **sound,
    )
    start = float(rng.choice([0, 5, 1234.5]))
    size = len(SOURCE)
    if isinstance(length, float):  # that the last one is shorter would be all that tells of ends
        size -= size % round(length * 16_000)
    packets = cut(size, length, seed)
    table = plan(SOURCE[:size], packets, faults, start=start, epoch=1_767_225_600_000_000_000)
    return FieldCall(table, truth_of(table), faults, packet, start, not stamp)


def _ends_are_told(call: FieldCall) -> bool:
    """Tell whether the stamps of the first packet and the last are theirs."""
    sent = call.plan[(call.plan["outcome"] == "sent") & (call.plan["samples"] > 0)]
    sent = sent[~sent["duplicate"]].sort_values("media", kind="stable")
    first, last = sent.iloc[0], sent.iloc[-1]
    if call.faults.shared > 1:  # no packet of the last group is lost, nor the first of the first
        group = sent[sent["relative"] == last["relative"]]
        begins, lasts = group["media"].iloc[0], group["slot"].sum()
        whole = abs(last["media"] + last["slot"] - begins - lasts) < 1e-6
        own = (first, group.iloc[0])
        return bool(whole and all(abs(one["clock"] - one["relative"]) < 1e-6 for one in own))
    off = abs(last["relative"] - last["clock"])
    return not call.faults.late_stamps or bool(off < 1e-6)


def holes(there: np.ndarray) -> np.ndarray:
    """Return the runs of samples that did not arrive, shape ``(n, 2)``, half-open."""
    edges = np.diff(np.concatenate([[0], ~there, [0]]).astype(np.int8))
    return np.flatnonzero(edges).reshape(-1, 2)
