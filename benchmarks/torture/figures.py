"""What a trial finds: figures beside their limits. Measures nothing by itself."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final, Literal

Sense = Literal["=", "<=", ">="]

_HOLDS: Final = {"=": operator.eq, "<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One promise, and what became of it.

    Attributes:
        promise: what is counted or measured, as a row of the table says it.
        value: what came out.
        sense: how it has to stand to the limit.
        limit: what was promised.
        unit: of both; ``""`` for a count.
        note: under what conditions, as far as the row has to say it.
    """

    promise: str
    value: float
    sense: Sense
    limit: float
    unit: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return bool(_HOLDS[self.sense](self.value, self.limit))

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row of a table: promise, limit, what was measured, whether it holds."""
        promise = f"{self.promise} ({self.note})" if self.note else self.promise
        limit = f"{self.sense} {_told(self.limit, self.unit)}"
        return promise, limit, _told(self.value, self.unit), "yes" if self.holds else "NO"


@dataclass(frozen=True)
class Scale:
    """How long a trial may be.

    Attributes:
        short: the form that is part of ``make test``: seconds, not minutes.
        seed: of everything that is drawn.
    """

    short: bool
    seed: int = 0

    def pick(self, short: int, full: int) -> int:
        """Return one of two counts."""
        return short if self.short else full


class Unavailable(Exception):
    """Raised by a trial that can't be had on this machine; says what it needs."""


def _told(value: float, unit: str) -> str:
    number = (
        f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1_000 else f"{value:,.3g}"
    )
    return f"{number} {unit}" if unit else number
