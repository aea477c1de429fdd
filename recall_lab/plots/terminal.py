"""Format numbers as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from recall_lab.analysis.time.analysis import Analysis, analyse
from recall_lab.text import counted, printable

_LISTED: Final = 12  # gaps that are listed one by one
_PLACES: Final = 4  # at which a clock did something
_WORDS: Final = (
    "cause",
    "told by",
    "measure",
    "limit",
    "kept",
    "stream",
    "begins",
    "why",
)  # columns to the left


def describe(source: Any) -> str:
    """Return what a capture holds, a line a fact."""
    known = analyse(source)
    capture = known.capture
    packets = capture.packets
    start, end = capture.span
    name = capture.info.participant.name if capture.info.participant else None
    facts = [
        ("stream", f"{capture.info.stem}{f' ({printable(name)})' if name else ''}"),
        ("audio", f"{capture.duration:.3f} s in {counted(len(packets), 'packet')}"),
    ]
    if len(packets):
        first, last = packets["absolute"].min(), packets["absolute"].max()
        facts += [
            ("relative", f"{start:.3f} s to {end:.3f} s"),
            ("absolute", f"{first:%Y-%m-%d %H:%M:%S.%f} to {last:%H:%M:%S.%f} UTC"),
            ("missing", _missing(known.gaps)),
            *(("clock", told) for told in clock_facts(known)),
            ("connected", counted(packets["connection"].nunique(), "time")),
        ]
    else:
        lost = capture.damage.missing_payloads
        none = "none: a bare .bin, without an index"
        told = f"none that has its audio; of {lost:,} it is lost" if lost else none
        facts.append(("packets", told))
    facts.append(("damage", str(capture.damage)))
    return "\n".join(f"{name:<11}{fact}" for name, fact in facts)


def clock_facts(known: Analysis) -> Iterator[str]:
    """Give what there is to say of a media clock that did not simply run on, a sentence each."""
    breaks, media = known.capture.epochs.breaks, known.capture.media
    again, leaps, stood = (
        [(float(media[one.at]), one.seconds) for one in breaks if one.kind == kind]
        for kind in ("restart", "leap", "stood")
    )
    if again:
        places = _places([f"{at:.3f} s" for at, _ in again])
        yield f"relative begins again at {places}: {counted(len(again) + 1, 'epoch')}"
    if leaps:
        places = _places([f"by {by:+,.3f} s at {at:.3f} s" for at, by in leaps])
        yield f"relative leaps {places}, and no other clock: nothing is missing there"
    if stood:
        places = _places([f"{for_:,.3f} s at {at:.3f} s" for at, for_ in stood])
        yield (
            f"{known.unexplained:,.3f} s unexplained: the media clock stood while both wall "
            f"clocks ran on ({places})"
        )
    odd = len(known.capture.epochs.odd)
    if odd:
        yield f"{counted(odd, 'packet')} with an impossible stamp, placed by the one before"
    if known.replayed:
        yield f"{replay(known)}: jitter, delay and drift against our clock tell nothing"


def replay(known: Analysis) -> str:
    """Say in a few words at which speed a replay came."""
    pace = known.pace
    return "a replay, all at once" if pace > 1e6 else f"a replay at {pace:.3g} times its speed"


def _places(told: list[str]) -> str:
    """Return the first of some places in words."""
    more = [f"and {len(told) - _PLACES:,} more"] if len(told) > _PLACES else []
    return ", ".join(told[:_PLACES] + more)


def gap_table(found: pd.DataFrame, *, everything: bool = False) -> str:
    """Return a frame of :func:`recall_lab.gaps` as a table, and its sums below.

    Args:
        found: the frame, or one of :func:`recall_lab.discontinuities`: what is unexplained is
            listed too, and of the rest is said how much there is.
        everything: every row, not only the first gaps.
    """
    rows = found if everything else found[found["kind"].isin(["gap", "unexplained"])]
    shown = rows if everything else rows.head(_LISTED)
    parts = []
    if len(shown):
        columns = {
            "start s": shown["start"].map("{:.3f}".format),
            "end s": shown["end"].map("{:.3f}".format),
            "lasts s": shown["duration"].map("{:.3f}".format),
            "cause": shown["cause"].where(shown["kind"] == "gap", shown["kind"]),
            "told by": shown["evidence"],
        }
        parts.append(table(columns))
    if len(rows) > len(shown):
        parts.append(f"... and {counted(len(rows) - len(shown), 'gap')} more (--all lists them)")
    parts.append(f"\nmissing: {_missing(found)}")
    stood = found.loc[found["kind"] == "unexplained", "duration"]
    if len(stood):
        parts.append(f"unexplained: {stood.sum():.3f} s in {counted(len(stood), 'place')}")
    others = found.loc[~found["kind"].isin(["gap", "unexplained"]), "kind"].value_counts()
    if len(others):
        parts.append("also: " + ", ".join(f"{count:,} {kind}" for kind, count in others.items()))
    return "\n".join(parts)


def table(columns: Mapping[str, pd.Series[Any]]) -> str:
    """Return columns side by side, numbers to the right and words to the left."""
    cells = []
    for name, values in columns.items():
        texts = [name, *map(str, values)]
        width = max(map(len, texts))
        cells.append([f"{x:<{width}}" if name in _WORDS else f"{x:>{width}}" for x in texts])
    return "\n".join("  ".join(row).rstrip() for row in zip(*cells, strict=True))


def _missing(found: pd.DataFrame) -> str:
    """Return how much is missing, and of which causes."""
    rows = found[found["kind"] == "gap"]
    if rows.empty:
        return "nothing"
    seconds = rows.groupby("cause")["duration"].sum().sort_values(ascending=False)
    causes = ", ".join(f"{cause} {length:.3f} s" for cause, length in seconds.items())
    return f"{rows['duration'].sum():.3f} s in {counted(len(rows), 'gap')} ({causes})"
