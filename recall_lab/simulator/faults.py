"""What can go wrong with a call, as numbers: on the way, with the audio, the clocks, the stamps.

What a call with these faults comes to, packet by packet, is :func:`recall_lab.simulator.plan.plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

import numpy as np

from recall_lab.errors import InvalidArgument
from recall_lab.text import excerpt, html_table

RETRY: Final = 3.0
"""Seconds after which the bot tries again to connect."""

OUTCOMES: Final = ("sent", "lost", "muted", "hidden", "outage", "malformed")
"""What became of a packet: ``sent``; ``lost`` on the way; never made because the participant was
``muted``; vanished while the media clock stood (``hidden``); made while there was no connection
(``outage``); or, not a packet at all, a broken message put in between (``malformed``)."""

Rounding = Literal["nearest", "down"]
"""How a stamp is brought to its grid: to the nearest step, or down to the one before."""

Stamped = Literal["start", "end"]
"""Which moment of a packet its stamp tells."""

Joining = Literal["new", "same"]
"""Which connection a bot that came back sends on."""

_SHARES: Final = ("loss", "duplicates", "reorder", "empty", "zeros", "malformed", "short", "uneven")
_RANGES: Final = {
    "burst": (1, 1e6, "a mean of 1 or more packets in a row"),
    "jitter": (0, 3600, "seconds, from 0 to 3600"),
    "drift": (-1e5, 1e5, "ppm between -100,000 and 100,000"),
    "sample_clock": (-9e5, 9e6, "ppm between -900,000 and 9,000,000"),
    "scatter": (0, 3600, "seconds, from 0 to 3600"),
    "scatter_from": (0, 1e9, "seconds of the call, from 0 to 1e9"),
    "quantum": (0, 3600, "seconds, from 0 to 3600"),
    "late_stamps": (0, 0.5, "a share from 0 to 0.5, as no two in a row are late"),
    "late_by": (0, 1e9, "seconds, from 0 to 1e9"),
}
_PAIR_LISTS: Final = {
    "disconnects": "a sequence of seconds, such as (25.0,)",
    "steps": "a sequence of (at, seconds) pairs, such as ((30, -2.5),)",
    "mutes": "a sequence of (start, end) pairs with start < end, in s",
    "restarts": "a sequence of seconds, such as (25.0,), or of (at, relative) pairs, in s",
    "leaps": "a sequence of (at, seconds) pairs, such as ((30, 3600),)",
    "hidden": "a sequence of (at, seconds) pairs with seconds > 0, such as ((30, 18),)",
}
_CHOICES: Final = {"rounding": Rounding, "stamped": Stamped, "rejoin": Joining}
_UNITS: Final = {
    "loss": "of the packets", "burst": "packets in a row", "duplicates": "of the packets",
    "reorder": "of the packets", "jitter": "s", "disconnects": "s", "malformed": "of the packets",
    "mutes": "s", "empty": "of the packets", "zeros": "of the packets",
    "short": "of each packet", "uneven": "of the packets", "uneven_by": "samples",
    "drift": "ppm", "sample_clock": "ppm", "steps": "s, s", "leaps": "s, s", "hidden": "s, s",
    "restarts": "s", "rejoin": "connection",
    "stamped": "of the packet", "scatter": "s", "scatter_from": "s", "shared": "packets in a row",
    "late_stamps": "of the packets", "late_by": "s", "quantum": "s",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong, and how often. All of it is drawn from `seed`.

    Times "of the call" are true seconds from its start; what happens at such a time happens to
    the first packet that starts then or later, so that every fault is of whole packets and the
    truth exact to the sample. What concerns the stamps of packets changes `relative` alone,
    unless it says otherwise; what concerns a clock changes that clock from there on.

    Args:
        loss: on the way: share of packets lost, 0 to 1.
        burst: mean number of packets lost in a row (Gilbert's model); 1 for single losses.
        duplicates: share of packets sent twice.
        reorder: share of packets that change places with the one after.
        jitter: network delay of a packet, mean of an exponential, in seconds; the order stays,
            as in TCP.
        disconnects: when the connection breaks, in seconds of the call. The bot is back after
            3 s, and what was said meanwhile is lost.
        malformed: broken messages put in, as a share of the packets.
        mutes: the audio: ``(start, end)`` pairs, in seconds of the call: no packets at all.
        empty: share of packets sent with a zero-length buffer; their audio is not sent.
        zeros: share of packets sent with zero-valued samples.
        short: part of every packet's audio that is not sent, at its end, 0 to 1: 0.1 leaves
            180 ms in every slot of 200 ms. The stamps tell the slots.
        uneven: share of packets with some samples fewer or more than their slot.
        uneven_by: whole numbers of samples, one drawn for each such packet: below 0 that many are
            not sent, above 0 that many of the next packet's are sent with it, and so twice.
        drift: the clocks: how much faster the sender's media clock runs than its wall clock, in
            ppm.
        sample_clock: how much longer the media clock says that samples last than they do at
            16 kHz, in ppm: all stamps are stretched by ``1 + sample_clock * 1e-6`` against
            samples counted. Samples at 15,999.2 Hz are 50. Up to 1,000 either way is a clock; more
            is audio of another format (stereo sent as mono is -500,000) and counts as too much
            or too little audio.
        steps: ``(at, seconds)`` pairs: the absolute clock jumps at that time of the call.
        leaps: ``(at, seconds)`` pairs: the media clock leaps ahead at that time of the call, or
            back, where negative; absolute and arrival do not.
        hidden: ``(at, seconds)`` pairs: the audio of so many seconds vanishes while the media
            clock stands: absolute and arrival jump ahead and relative does not.
        restarts: seconds of the call at which relative begins again at 0, or ``(at, relative)``
            pairs for another beginning; absolute and arrival go on (a bot that came back).
        rejoin: ``"new"``: a bot that came back sends on a new connection; ``"same"``: on the
            one it has.
        stamped: the stamps: ``"start"`` or ``"end"`` of a packet's slot is what both its
            stamps tell.
        scatter: standard deviation of a Gaussian added to stamps, in seconds.
        scatter_from: when that begins, in seconds of the call.
        shared: number of packets in a row that have both stamps of the first and are sent in
            one burst, as by a decoder that emits several at a time; 1 for none.
        late_stamps: share of packets stamped late, 0 to 0.5; the packet after is on time.
        late_by: how late those stamps are, in seconds.
        quantum: step of the grid to which stamps are rounded, in seconds; 0 for none. Last of all
            changes but `float32`.
        rounding: ``"nearest"`` rounds a stamp to the nearest step, ``"down"`` to the last one.
        float32: whether stamps pass through a float of 32 bits.
        seed: of the random numbers.

    Raises:
        InvalidArgument: for a value out of its range.

    Example:
        >>> Faults(loss=0.02, seed=7)
        Faults(loss=0.02, seed=7)
        >>> Faults(quantum=0.02, rounding="down", restarts=(25.0,))
        Faults(restarts=(25.0,), quantum=0.02, rounding='down')
    """

    loss: float = 0.0
    burst: float = 1.0
    duplicates: float = 0.0
    reorder: float = 0.0
    jitter: float = 0.0
    disconnects: Sequence[float] = ()
    malformed: float = 0.0
    mutes: Sequence[tuple[float, float]] = ()
    empty: float = 0.0
    zeros: float = 0.0
    short: float = 0.0
    uneven: float = 0.0
    uneven_by: Sequence[int] = (-1, 1)
    drift: float = 0.0
    sample_clock: float = 0.0
    steps: Sequence[tuple[float, float]] = ()
    leaps: Sequence[tuple[float, float]] = ()
    hidden: Sequence[tuple[float, float]] = ()
    restarts: Sequence[float | tuple[float, float]] = ()
    rejoin: Joining = "new"
    stamped: Stamped = "start"
    scatter: float = 0.0
    scatter_from: float = 0.0
    shared: int = 1
    late_stamps: float = 0.0
    late_by: float = 0.03
    quantum: float = 0.0
    rounding: Rounding = "nearest"
    float32: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _SHARES:
            self._check(name, 0, 1, "a share from 0 to 1")
        for name, (low, high, valid) in _RANGES.items():
            self._check(name, low, high, valid)
        for name, valid in _PAIR_LISTS.items():
            self._check_times(name, valid)
        for name, choice in _CHOICES.items():
            valid = " or ".join(map(repr, get_args(choice)))
            self._require(name, getattr(self, name) in get_args(choice), valid)
        own, most = self.shared, 100_000
        good = isinstance(own, int) and 1 <= own <= most
        self._require("shared", good, f"a whole number of packets from 1 to {most:,}")
        self._require("float32", isinstance(self.float32, bool), "True or False")
        by = self.uneven_by
        good = isinstance(by, Sequence) and len(by) > 0
        good = good and all(isinstance(one, int) and 0 < abs(one) <= 10**6 for one in by)
        self._require("uneven_by", good, "whole numbers of samples other than 0, such as (-1, 1)")
        good = isinstance(self.seed, int) and self.seed >= 0
        self._require("seed", good, "a whole number, not negative")

    def _check(self, name: str, low: float, high: float, valid: str) -> None:
        value = getattr(self, name)
        self._require(name, isinstance(value, int | float) and low <= value <= high, valid)

    def _check_times(self, name: str, valid: str) -> None:
        """Raise unless a field is a sequence of times of the call, or of pairs that begin so."""
        sizes = {"disconnects": (1,), "restarts": (1, 2)}.get(name, (2,))
        try:
            parts = [np.atleast_1d(np.asarray(part, float)) for part in getattr(self, name)]
        except (TypeError, ValueError):
            raise InvalidArgument(name, getattr(self, name), valid) from None
        good = all(
            part.ndim == 1 and len(part) in sizes and (np.abs(part) < 1e9).all() and part[0] >= 0
            for part in parts
        )
        if good and name == "mutes":
            good = all(start < end for start, end in parts)
        if good and name == "hidden":
            good = all(seconds > 0 for _, seconds in parts)
        self._require(name, good, valid)

    def _require(self, name: str, good: bool, valid: str) -> None:
        if not good:
            raise InvalidArgument(name, getattr(self, name), valid)

    def _told(self) -> dict[str, Any]:
        """Return what differs from no faults."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != usual[name]}

    def __repr__(self) -> str:
        return f"Faults({', '.join(f'{name}={value!r}' for name, value in self._told().items())})"

    def _repr_html_(self) -> str:
        facts = {
            name: f"{excerpt(value)} {_UNITS.get(name, '')}" for name, value in self._told().items()
        }
        return html_table("Faults", facts or {"none": "all arrives as it was sent"})
