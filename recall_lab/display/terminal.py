"""Numbers as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from recall_lab.analysis.analysis import analyse
from recall_lab.text import counted, printable

_LISTED: Final = 12  # gaps that are listed one by one
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
    facts = {
        "stream": f"{capture.info.stem}{f' ({printable(name)})' if name else ''}",
        "audio": f"{capture.duration:.3f} s in {counted(len(packets), 'packet')}",
    }
    if len(packets):
        first, last = packets["absolute"].min(), packets["absolute"].max()
        facts["relative"] = f"{start:.3f} s to {end:.3f} s"
        facts["absolute"] = f"{first:%Y-%m-%d %H:%M:%S.%f} to {last:%H:%M:%S.%f} UTC"
        facts["missing"] = _missing(known.gaps)
        facts["connected"] = counted(packets["connection"].nunique(), "time")
    else:
        lost = capture.damage.missing_payloads
        facts["packets"] = (
            f"none that has its audio; of {lost:,} it is lost"
            if lost
            else "none: a bare .bin, without an index"
        )
    facts["damage"] = str(capture.damage)
    return "\n".join(f"{name:<11}{fact}" for name, fact in facts.items())


def gap_table(found: pd.DataFrame, *, everything: bool = False) -> str:
    """Return a frame of :func:`recall_lab.gaps` as a table, and its sums below.

    Args:
        found: the frame.
        everything: every row, not only the first gaps.
    """
    rows = found if everything else found[found["kind"] == "gap"]
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
    others = found.loc[found["kind"] != "gap", "kind"].value_counts()
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
