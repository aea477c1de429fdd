"""Findings as a list on a page, worst first, each with a link to where it shows."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Final

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.text import printable

MISSING: Final = "missing"
"""Anchor of the part of a page that tells what is missing; :data:`TIMING` and :data:`SOUND`
likewise."""

TIMING: Final = "timing"
SOUND: Final = "sound"

_MISSING: Final = ("missing", "unexplained_gap", "dropped", "media_clock_stood", "empty")
_CLASSES: Final = {"bad": "poor", "warning": "usable", "note": "note"}


def finding_list(told: Sequence[Finding]) -> str:
    """Return findings as HTML, in their order; a sentence where there are none."""
    if not told:
        return '<p id="findings">Nothing was found: not by the clocks, nor in the sound.</p>'
    return f'<ul class="findings" id="findings">{"".join(map(_item, told))}</ul>'


def _item(one: Finding) -> str:
    name = one.finding.replace("_", " ")
    when = "" if math.isnan(one.start) else f" at {one.start:,.1f} s"
    if when and one.end > one.start:
        when = f" at {one.start:,.1f} to {one.end:,.1f} s"
    return (
        f'<li class="{_CLASSES[one.severity]}"><a href="#{_anchor(one)}"><b>{html.escape(name)}</b>'
        f"</a> <small>{one.severity}{when}</small><br>{html.escape(printable(one.evidence))}."
        f"<br><small>{html.escape(one.advice)}</small></li>"
    )


def _anchor(one: Finding) -> str:
    """Return the part of the page that shows it."""
    if one.finding in _MISSING:
        return MISSING
    return TIMING if CATALOGUE[one.finding].about == "time" else SOUND
