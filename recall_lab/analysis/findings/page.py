"""Write the documentation's table of findings from the catalogue.

``python -m recall_lab.analysis.findings.page docs/findings.md`` writes it anew into the page.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Final

from recall_lab.analysis.findings.catalogue import FORMAT, SOUND, STREAMS, TIME, Kind

BEGIN: Final = "<!-- the catalogue: made by recall_lab.analysis.findings.page -->"
"""What stands before the table."""

END: Final = "<!-- end of the catalogue -->"
"""What stands after it."""


def catalogue_table() -> str:
    """Return every finding there is as tables in Markdown, a heading for each kind."""
    parts = []
    for title, kinds in (
        ("Format", FORMAT),
        ("Time and files", TIME),
        ("Sound", SOUND),
        ("Streams of one recording", STREAMS),
    ):
        rows = [
            f"### {title}",
            "",
            "| Finding | Severity | What is wrong | Found from | Why there | What to do |",
            "| --- | --- | --- | --- | --- | --- |",
            *map(_row, kinds),
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def with_table(page: str) -> str:
    """Return a page with the table between its two marks made anew.

    Raises:
        ValueError: for a page without the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{catalogue_table()}\n{END}{after}"


def _row(kind: Kind) -> str:
    severity: str = kind.severity
    if not math.isnan(kind.bad):
        severity += f", bad from {kind.bad:g} on"
    at = f"{kind.threshold:g} {kind.unit}".strip()
    cells = (f"`{kind.finding}`", severity, kind.meaning, at, kind.source, kind.advice)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(with_table(place.read_text("utf-8")), "utf-8")
