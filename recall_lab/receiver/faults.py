"""What can go wrong on the way, as numbers, and the plan of a call in which it does.

:func:`plan` is a pure function: the same source, faults and seed give the same plan. The plan
becomes the truth table once the stand-in bot has played it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.errors import InvalidArgument
from recall_lab.text import excerpt, html_table
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, Samples

RETRY: Final = 3.0
"""Seconds after which the bot tries again to connect."""

FATES: Final = ("sent", "lost", "muted", "outage", "malformed")
"""What became of a packet: ``sent``; ``lost`` on the way; never made because the participant was
``muted``; made while there was no connection (``outage``); or, not a packet at all, a broken
message put in between (``malformed``)."""


_UNITS: Final = {
    "loss": "of the packets", "burst": "packets in a row", "duplicates": "of the packets",
    "reorder": "of the packets", "jitter": "s", "disconnects": "s", "drift": "ppm",
    "steps": "s, s", "mutes": "s", "empty": "of the packets", "zeros": "of the packets",
    "malformed": "of the packets", "quantum": "s",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong, and how often. All of it is drawn from `seed`.

    Args:
        loss: share of packets lost, 0 to 1.
        burst: mean number of packets lost in a row (Gilbert's model); 1 for single losses.
        duplicates: share of packets sent twice.
        reorder: share of packets that change places with the one after.
        jitter: network delay of a packet, mean of an exponential, in seconds; the order stays,
            as in TCP.
        disconnects: when the connection breaks, in seconds of the call. The bot is back after
            3 s, and what was said meanwhile is lost.
        drift: how much faster the sender's media clock runs than its wall clock, in ppm.
        steps: ``(at, seconds)`` pairs: the absolute clock jumps at that time of the call.
        mutes: ``(start, end)`` pairs, in seconds of the call: no packets at all.
        empty: share of packets sent with a zero-length buffer; their audio is not sent.
        zeros: share of packets sent with zero-valued samples.
        malformed: broken messages put in, as a share of the packets.
        quantum: step to which the relative time is rounded, in seconds; 0 for none.
        seed: of the random numbers.

    Raises:
        InvalidArgument: for a value out of its range.

    Example:
        >>> Faults(loss=0.02, seed=7)
        Faults(loss=0.02, seed=7)
    """

    loss: float = 0.0
    burst: float = 1.0
    duplicates: float = 0.0
    reorder: float = 0.0
    jitter: float = 0.0
    disconnects: Sequence[float] = ()
    drift: float = 0.0
    steps: Sequence[tuple[float, float]] = ()
    mutes: Sequence[tuple[float, float]] = ()
    empty: float = 0.0
    zeros: float = 0.0
    malformed: float = 0.0
    quantum: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicates", "reorder", "empty", "zeros", "malformed"):
            self._check(name, 0, 1, "a share from 0 to 1")
        self._check("burst", 1, 1e6, "a mean of 1 or more packets in a row")
        self._check("jitter", 0, 3600, "seconds, from 0 to 3600")
        self._check("quantum", 0, 3600, "seconds, from 0 to 3600")
        self._check("drift", -1e5, 1e5, "ppm between -100,000 and 100,000")
        for name, valid, size in (
            ("disconnects", "a sequence of seconds, such as (25.0,)", 1),
            ("steps", "a sequence of (at, seconds) pairs, such as ((30, -2.5),)", 2),
            ("mutes", "a sequence of (start, end) pairs with start < end, in s", 2),
        ):
            try:
                parts = [np.atleast_1d(np.asarray(part, float)) for part in getattr(self, name)]
            except (TypeError, ValueError):
                raise InvalidArgument(name, getattr(self, name), valid) from None
            good = all(len(part) == size and (np.abs(part) < 1e9).all() for part in parts)
            if not good or any(part[0] < 0 for part in parts):
                raise InvalidArgument(name, getattr(self, name), valid)
            if name == "mutes" and not all(start < end for start, end in parts):
                raise InvalidArgument(name, self.mutes, valid)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidArgument("seed", self.seed, "a whole number, not negative")

    def _check(self, name: str, low: float, high: float, valid: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidArgument(name, value, valid)

    def __repr__(self) -> str:
        told = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Faults({', '.join(told)})"

    def _repr_html_(self) -> str:
        facts = {
            field.name: f"{excerpt(getattr(self, field.name))} {_UNITS.get(field.name, '')}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return html_table("Faults", facts or {"none": "all arrives as it was sent"})


@dataclass(frozen=True)
class Packets:
    """The call as the sender cuts it up: when each packet starts, and which samples it holds.

    Attributes:
        relative: start of each on the media clock, s, float64.
        offset: first sample of each in the source, int64.
        samples: number of samples of each, int64.
    """

    relative: npt.NDArray[np.float64]
    offset: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]


def cut(length: int, packet: float | Sequence[float], seed: int = 0) -> Packets:
    """Cut `length` samples into packets.

    Args:
        length: samples of the source.
        packet: seconds of each packet, or several to draw each packet's length from.
        seed: of the draw.

    Raises:
        InvalidArgument: for a length that is not at least one sample, or above 60 s.
    """
    try:
        choices = np.atleast_1d(np.asarray(packet, float))
    except (TypeError, ValueError):
        choices = np.empty(0)
    if not choices.size or not np.all((choices >= 1 / RATE) & (choices <= 60)):
        raise InvalidArgument("packet", packet, "seconds, from one sample to 60, or several")
    sizes = np.rint(choices * RATE).astype(np.int64)
    if len(sizes) == 1:
        offset = np.arange(0, length, sizes[0])
    else:
        drawn = np.random.default_rng((seed, 1)).choice(sizes, length // int(sizes.min()) + 1)
        ends = np.cumsum(drawn)
        offset = np.concatenate([[0], ends[ends < length]])
    offset = offset.astype(np.int64)
    samples = np.diff(offset, append=length)
    return Packets(offset / RATE, offset, samples)


def plan(
    source: Samples, packets: Packets, faults: Faults, *, start: float = 0.0, epoch: int = 0
) -> pd.DataFrame:
    """Return what is to be sent, in the order of sending, one row a message or missing packet.

    Args:
        source: the audio.
        packets: how it is cut.
        faults: what goes wrong.
        start: relative time of the first packet, s.
        epoch: absolute time of the start of the call, ns since 1970 UTC.

    Returns:
        Frame with a RangeIndex and the columns

        - ``packet`` (int64): number of the packet in the order of the media; -1 for malformed
        - ``relative`` (float64): s, as sent
        - ``absolute`` (datetime64[ns, UTC]): as sent
        - ``offset``, ``samples`` (int64): what it holds of the source; as sent, so that an
          empty packet has 0 samples
        - ``due`` (float64): seconds from the start of the call at which it is sent
        - ``fate`` (str): one of :data:`FATES`
        - ``duplicate`` (bool): the second of two
        - ``payload`` (str): ``audio``, ``zeros`` or ``empty``
        - ``payload_crc`` (uint32): CRC-32 of the bytes as sent
    """
    rng = np.random.default_rng((faults.seed, 0))
    count = len(packets.relative)
    # the wall clock of the sender: the media clock runs fast by the drift
    elapsed = packets.relative / (1 + faults.drift * 1e-6)
    absolute = np.rint(elapsed * 1e9).astype(np.int64) + epoch
    for at, step in faults.steps:
        absolute[packets.relative >= at] += round(step * 1e9)
    relative = packets.relative + start
    if faults.quantum:
        relative = np.round(relative / faults.quantum) * faults.quantum

    fate = np.full(count, "sent", object)
    fate[_bursts(rng, count, faults.loss, faults.burst)] = "lost"
    for begin, end in faults.mutes:
        fate[(packets.relative >= begin) & (packets.relative < end)] = "muted"

    payload = np.full(count, "audio", object)
    payload[rng.random(count) < faults.zeros] = "zeros"
    payload[rng.random(count) < faults.empty] = "empty"

    due = elapsed + packets.samples / RATE
    if faults.jitter:
        due = np.maximum.accumulate(due + rng.exponential(faults.jitter, count))

    frame = pd.DataFrame(
        {
            "packet": np.arange(count),
            "relative": relative,
            "absolute": pd.to_datetime(absolute, utc=True),
            "offset": packets.offset,
            "samples": np.where(payload == "empty", 0, packets.samples),
            "due": due,
            "fate": fate,
            "duplicate": False,
            "payload": payload,
        }
    )
    order = np.arange(count, dtype=float)
    swapped = np.flatnonzero((rng.random(count) < faults.reorder) & (order < count - 1))
    order[swapped] += 1.5

    sent = fate == "sent"
    again = np.flatnonzero(sent & (rng.random(count) < faults.duplicates))
    broken = np.flatnonzero(rng.random(count) < faults.malformed)
    twice = frame.iloc[again].assign(duplicate=True)
    malformed = frame.iloc[broken].assign(packet=-1, samples=0, fate="malformed", payload="empty")
    frame = pd.concat([frame, twice, malformed], ignore_index=True)
    order = np.concatenate([order, order[again] + 0.25, order[broken] + 0.125])
    frame = frame.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
    frame["due"] = np.maximum.accumulate(frame["due"])
    cut_off = in_outage(frame["due"].to_numpy(), faults)
    frame.loc[cut_off & (frame["fate"] == "sent"), "fate"] = "outage"
    frame = frame[~cut_off | (~frame["duplicate"] & (frame["packet"] >= 0))].reset_index(drop=True)
    frame["payload_crc"] = [
        zlib.crc32(payload_of(source, kind, at, size))
        for kind, at, size in zip(frame["payload"], frame["offset"], frame["samples"], strict=True)
    ]
    return frame.astype({"payload_crc": np.uint32, "fate": str, "payload": str})


def in_outage(due: npt.NDArray[np.float64], faults: Faults) -> npt.NDArray[np.bool_]:
    """Tell which of the times `due` fall while there is no connection."""
    outage = np.zeros(len(due), bool)
    for at in faults.disconnects:
        outage |= (due >= at) & (due < at + RETRY)
    return outage


def payload_of(
    source: Samples, kind: str | Literal["audio", "zeros", "empty"], offset: int, samples: int
) -> bytes:
    """Return the bytes that a row of the plan sends."""
    if kind == "audio":
        return source[offset : offset + samples].tobytes()
    return bytes(samples * SAMPLE_BYTES)


def _bursts(
    rng: np.random.Generator, count: int, loss: float, burst: float
) -> npt.NDArray[np.bool_]:
    """Draw losses from Gilbert's chain of two states: all is lost in the bad one, none else.

    A run of losses has `burst` packets in the mean, and losses are the share `loss` of all. Where
    the two can't both be (high loss in short runs), the share is kept.
    """
    if loss in (0, 1):
        return np.full(count, bool(loss))
    recover = 1 / burst
    fail = loss * recover / (1 - loss)
    if fail > 1:
        fail, recover = 1.0, (1 - loss) / loss
    lost = np.zeros(count, bool)
    bad = rng.random() < loss
    for at, draw in enumerate(rng.random(count).tolist()):
        bad = draw >= recover if bad else draw < fail
        lost[at] = bad
    return lost
