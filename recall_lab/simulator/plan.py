"""Plan a call in which faults happen.

:func:`plan` is a pure function: the same source, faults and seed give the same plan. The plan
becomes the truth table once the stand-in bot has played it;
:func:`recall_lab.simulator.truth.truth_of` sums it up.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from recall_lab.errors import InvalidArgument
from recall_lab.simulator.faults import RETRY, Faults
from recall_lab.wire.messages import MAX_RELATIVE
from recall_lab.wire.pcm import RATE, SAMPLE_BYTES, Samples

CLOCK_LIMIT: Final = 1000.0
"""Most that a clock is off, in ppm. Samples that are further off count as too many or too few."""

Seconds = npt.NDArray[np.float64]


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
        - ``outcome`` (str): one of :data:`recall_lab.simulator.faults.OUTCOMES`
        - ``duplicate`` (bool): the second of two
        - ``payload`` (str): ``audio``, ``zeros`` or ``empty``
        - ``payload_crc`` (uint32): CRC-32 of the bytes as sent
        - ``media`` (float64): s from the start of the call to its first sample, in truth
        - ``clock`` (float64): s, what the media clock says then, with its leaps, restarts and
          stands; ``relative`` less this is what the stamp is off
        - ``slot`` (float64): s of the call that it should hold
        - ``duration`` (float64): s that its samples as sent last: at the rate of the sample
          clock where that is within :data:`CLOCK_LIMIT`, else at 16 kHz
        - ``epoch`` (int64): how often relative had begun again before it
        - ``connection`` (int64): number of the bot's connection, from 1; 0 if not sent

    Raises:
        InvalidArgument: for stamps that no message may carry, beyond 1e9 s.
    """
    rng = np.random.default_rng((faults.seed, 0))
    count = len(packets.relative)
    stretch = 1 + faults.sample_clock * 1e-6
    media = packets.relative * stretch
    slot = packets.samples / RATE * stretch
    # the wall clock of the sender: the media clock runs fast by the drift
    pace = 1 + faults.drift * 1e-6
    elapsed = media / pace

    outcome = np.full(count, "sent", object)
    outcome[_bursts(rng, count, faults.loss, faults.burst)] = "lost"
    for begin, end in faults.mutes:
        outcome[(media >= begin) & (media < end)] = "muted"
    for at, seconds in faults.hidden:
        outcome[(media >= at) & (media < at + seconds)] = "hidden"

    payload = np.full(count, "audio", object)
    payload[rng.random(count) < faults.zeros] = "zeros"
    payload[rng.random(count) < faults.empty] = "empty"
    samples = _sizes(packets, len(source), faults)
    samples[payload == "empty"] = 0
    rate = RATE / stretch if abs(faults.sample_clock) <= CLOCK_LIMIT else RATE

    stand = _before(media, np.where(outcome == "hidden", packets.samples, 0)) / RATE * stretch
    clock, epochs = _clock(media, stand, faults, start)
    first = _first_of_shared(epochs, faults.shared)
    moment = slot if faults.stamped == "end" else 0.0
    wall = np.rint((elapsed + moment / pace) * 1e9).astype(np.int64) + epoch
    for at, step in faults.steps:
        wall[media >= at] += round(step * 1e9)
    relative = _stamps(clock + moment, media, first, faults)
    worst = float(np.abs(relative).max(initial=0))
    if not worst <= MAX_RELATIVE:
        valid = "leaps, restarts, late_by and start that keep relative within 1e9 s"
        raise InvalidArgument("faults", worst, valid)

    due = elapsed + slot
    if faults.shared > 1:  # what is decoded at a time goes out at a time, with its last
        ends = np.append(first[1:] != first[:-1], True)
        due = due[ends][np.cumsum(ends) - ends]
    if faults.jitter:
        due = np.maximum.accumulate(due + rng.exponential(faults.jitter, count))

    frame = pd.DataFrame(
        {
            "packet": np.arange(count),
            "relative": relative,
            "absolute": pd.to_datetime(wall[first], utc=True),
            "offset": packets.offset,
            "samples": samples,
            "due": due,
            "outcome": outcome,
            "duplicate": False,
            "payload": payload,
            "media": media,
            "clock": clock,
            "slot": slot,
            "duration": samples / rate,
            "epoch": epochs,
        }
    )
    frame = _in_order_of_sending(frame, faults, rng)
    cut_off = in_outage(frame["due"].to_numpy(), faults)
    frame.loc[cut_off & (frame["outcome"] == "sent"), "outcome"] = "outage"
    kept = ~cut_off | (~frame["duplicate"] & (frame["packet"] >= 0)).to_numpy()
    frame, cut_off = frame[kept].reset_index(drop=True), cut_off[kept]
    frame["payload_crc"] = [
        zlib.crc32(payload_of(source, kind, at, size))
        for kind, at, size in zip(frame["payload"], frame["offset"], frame["samples"], strict=True)
    ]
    frame["connection"] = _connections(frame, cut_off, faults)
    return frame.astype({"payload_crc": np.uint32, "outcome": str, "payload": str})


def _sizes(packets: Packets, length: int, faults: Faults) -> npt.NDArray[np.int64]:
    """Return how many samples each packet is sent with."""
    samples: npt.NDArray[np.int64] = np.rint(packets.samples * (1 - faults.short)).astype(np.int64)
    if faults.uneven:
        rng = np.random.default_rng((faults.seed, 2))
        uneven = rng.random(len(samples)) < faults.uneven
        by = rng.choice(np.asarray(faults.uneven_by, np.int64), len(samples))
        samples = np.clip(samples + np.where(uneven, by, 0), 0, length - packets.offset)
    return samples


def _before(media: Seconds, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sum of the values of all packets before each, in the order of the media."""
    order = np.argsort(media, kind="stable")
    sums = np.empty_like(values)
    sums[order] = np.cumsum(values[order]) - values[order]
    return sums


def _clock(
    media: Seconds, stand: Seconds, faults: Faults, start: float
) -> tuple[Seconds, npt.NDArray[np.int64]]:
    """Return what the media clock says at the start of each packet, and the epoch it is in.

    Args:
        media: true start of each, s.
        stand: how long the clock has stood before, s.
        faults: leaps and restarts.
        start: what it says at first, s.
    """
    clock = media + start - stand
    for at, seconds in faults.leaps:
        clock[media >= at] += seconds
    firsts = []
    for restart in sorted(np.append(one, 0.0)[:2].tolist() for one in faults.restarts):
        at, relative = restart
        later = np.flatnonzero(media >= at)
        if len(later):
            first = later[np.argmin(media[later])]
            clock[later] += relative - clock[first]
            firsts.append(media[first])
    begins = np.unique(np.asarray(firsts))
    begins = begins[begins > media.min(initial=0)]
    return clock, np.searchsorted(begins, media, side="right").astype(np.int64)


def _first_of_shared(epochs: npt.NDArray[np.int64], shared: int) -> npt.NDArray[np.int64]:
    """Return, for each packet, the first of those it shares its stamps with; none over epochs."""
    numbers = np.arange(len(epochs))
    begins = np.flatnonzero(np.diff(epochs, prepend=-1))
    within = numbers - begins[np.searchsorted(begins, numbers, side="right") - 1]
    return numbers - within % shared


def _stamps(
    exact: Seconds, media: Seconds, first: npt.NDArray[np.int64], faults: Faults
) -> Seconds:
    """Return the relative times as sent.

    Args:
        exact: what the media clock says, s.
        media: true start of each packet, s.
        first: the packet that each has its stamp from.
        faults: what is wrong with the stamps.
    """
    stamps = exact
    if faults.scatter:
        noise = np.random.default_rng((faults.seed, 3)).normal(0, faults.scatter, len(exact))
        stamps = stamps + np.where(media >= faults.scatter_from, noise, 0)
    stamps = stamps[first]
    if faults.late_stamps:
        late = _bursts(np.random.default_rng((faults.seed, 4)), len(exact), faults.late_stamps, 1)
        stamps = stamps + np.where(late, faults.late_by, 0)
    if faults.quantum:
        steps = stamps / faults.quantum
        # 0.3 / 0.1 is a little less than 3, and is on the grid
        steps = np.floor(steps + 1e-9) if faults.rounding == "down" else np.round(steps)
        stamps = steps * faults.quantum
    return stamps.astype(np.float32).astype(np.float64) if faults.float32 else stamps


def _in_order_of_sending(
    frame: pd.DataFrame, faults: Faults, rng: np.random.Generator
) -> pd.DataFrame:
    """Swap packets, send some twice, put broken messages in between; ``due`` follows."""
    count = len(frame)
    order = np.arange(count, dtype=float)
    # a bot that came back has nothing left of before
    last = np.diff(frame["epoch"].to_numpy(), append=-1) != 0
    swapped = np.flatnonzero((rng.random(count) < faults.reorder) & ~last)
    order[swapped] += 1.5

    sent = (frame["outcome"] == "sent").to_numpy()
    again = np.flatnonzero(sent & (rng.random(count) < faults.duplicates))
    broken = np.flatnonzero(rng.random(count) < faults.malformed)
    twice = frame.iloc[again].assign(duplicate=True)
    malformed = frame.iloc[broken].assign(
        packet=-1, samples=0, outcome="malformed", payload="empty", slot=0.0, duration=0.0
    )
    frame = pd.concat([frame, twice, malformed], ignore_index=True)
    order = np.concatenate([order, order[again] + 0.25, order[broken] + 0.125])
    frame = frame.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
    frame["due"] = np.maximum.accumulate(frame["due"])
    return frame


def _connections(
    frame: pd.DataFrame, cut_off: npt.NDArray[np.bool_], faults: Faults
) -> npt.NDArray[np.int64]:
    """Return the number of the connection that each message is sent on; 0 for what is not."""
    messages = np.flatnonzero(frame["outcome"].isin(["sent", "malformed"]))
    opened = np.diff(np.cumsum(cut_off)[messages], prepend=0) > 0
    if faults.rejoin == "new":
        epochs = frame["epoch"].to_numpy()[messages]
        opened |= np.diff(epochs, prepend=epochs[:1]) > 0
    numbers = np.zeros(len(frame), np.int64)
    numbers[messages] = 1 + np.cumsum(opened)
    return numbers


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
