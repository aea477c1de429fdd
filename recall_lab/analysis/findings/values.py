"""A finding: one thing that is wrong, where, how much, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["bad", "warning", "note"]

SEVERITIES: Final[tuple[Severity, ...]] = ("bad", "warning", "note")
"""From the worst to what is only good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: ``"bad"``, ``"warning"`` or ``"note"``.
        finding: its key in :data:`recall_lab.analysis.findings.catalogue.CATALOGUE`.
        start, end: where, s on the relative clock; NaN where it is the whole call.
        value: how much, in `unit`.
        unit: of the value; ``""`` for a bare number.
        evidence: what was seen, with numbers, for a person.
        advice: what to do.
    """

    severity: Severity
    finding: str
    start: float
    end: float
    value: float
    unit: str
    evidence: str
    advice: str

    @property
    def whole(self) -> bool:
        """Whether it is about the whole call."""
        return math.isnan(self.start)
