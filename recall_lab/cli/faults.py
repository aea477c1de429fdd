"""The options of ``recall-lab simulate`` for faults, one for each field of Faults."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import recall_lab as rl


class _Option(NamedTuple):
    """One option.

    Attributes:
        name: as typed.
        field: of Faults.
        help: what it is.
        type: reads one value.
        metavar: unit of a value.
        several: whether it takes several values.
        choices: the values there are; none: any.
    """

    name: str
    field: str
    help: str
    type: Callable[[str], Any] = float
    metavar: str = "S"
    several: bool = False
    choices: tuple[str, ...] | None = None


def _pair(text: str) -> tuple[float, float]:
    """Return the two numbers of text such as ``30:-2.5``."""
    at, colon, value = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(at), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected two numbers of seconds, as 30:-2.5"
        ) from None


def _restart(text: str) -> float | tuple[float, float]:
    """Return the time of text such as ``25``, or the two numbers of ``25:7.5``."""
    try:
        return _pair(text) if ":" in text else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected seconds, as 25, or where relative begins too, as 25:7.5"
        ) from None


_OPTIONS: Final = (
    _Option("--loss", "loss", "share of packets lost (0)", metavar="SHARE"),
    _Option("--burst", "burst", "mean length of a loss (1)", metavar="PACKETS"),
    _Option("--duplicates", "duplicates", "share sent twice (0)", metavar="SHARE"),
    _Option("--reorder", "reorder", "share out of order (0)", metavar="SHARE"),
    _Option("--jitter", "jitter", "mean delay in seconds (0)"),
    _Option("--disconnect", "disconnects", "break at S seconds", several=True),
    _Option("--malformed", "malformed", "share of broken messages", metavar="SHARE"),
    _Option("--mute", "mutes", "send nothing in that time", _pair, "START:END", True),
    _Option("--empty", "empty", "share sent with an empty buffer (0)", metavar="SHARE"),
    _Option("--zeros", "zeros", "share sent with zeros (0)", metavar="SHARE"),
    _Option("--short", "short", "part of each packet's audio not sent (0)", metavar="SHARE"),
    _Option("--uneven", "uneven", "share with samples fewer or more (0)", metavar="SHARE"),
    _Option("--uneven-by", "uneven_by", "how many (-1 1)", int, "N", several=True),
    _Option("--drift", "drift", "media clock's drift, ppm (0)", metavar="PPM"),
    _Option("--sample-clock", "sample_clock", "stamps stretched by, ppm (0)", metavar="PPM"),
    _Option("--step", "steps", "the wall clock jumps by S", _pair, "AT:S", True),
    _Option("--leap", "leaps", "the media clock leaps by S", _pair, "AT:S", True),
    _Option("--hidden", "hidden", "S vanish while the media clock stands", _pair, "AT:S", True),
    _Option("--restart", "restarts", "relative begins again, at 0", _restart, "AT[:S]", True),
    _Option("--rejoin", "rejoin", "on which connection then (new)", str, choices=("new", "same")),
    _Option("--stamped", "stamped", "moment stamped (start)", str, choices=("start", "end")),
    _Option("--scatter", "scatter", "deviation of the stamps (0)"),
    _Option("--scatter-from", "scatter_from", "when that begins (0)"),
    _Option("--shared", "shared", "packets in a row with one stamp (1)", int, "PACKETS"),
    _Option("--late-stamps", "late_stamps", "share stamped late (0)", metavar="SHARE"),
    _Option("--late-by", "late_by", "by how much (0.03)"),
    _Option("--quantum", "quantum", "grid of the stamps (0: none)"),
    _Option("--rounding", "rounding", "to it (nearest)", str, choices=("nearest", "down")),
    _Option("--seed", "seed", "of the faults (0)", int, "N"),
)


def add_faults(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of Faults; what is not given keeps its default."""
    group = parser.add_argument_group("faults", "seconds (S) are of the call, or of a clock")
    for option in _OPTIONS:
        group.add_argument(
            option.name,
            dest=option.field,
            type=option.type,
            help=option.help,
            default=argparse.SUPPRESS,
            choices=option.choices,
            metavar=None if option.choices else option.metavar,
            nargs="+" if option.several else None,
        )
    group.add_argument(
        "--float32", action="store_true", default=argparse.SUPPRESS, help="stamps of 32 bits"
    )


def faults_of(options: argparse.Namespace) -> rl.Faults:
    """Return the faults that were asked for.

    Raises:
        InvalidArgument: for one out of its range.
    """
    given: dict[str, Any] = {}
    for name in rl.Faults.__dataclass_fields__:
        if name in options:
            value = getattr(options, name)
            given[name] = tuple(value) if isinstance(value, list) else value
    return rl.Faults(**given)
