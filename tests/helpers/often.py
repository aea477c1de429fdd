"""How often statistical tests draw: a little in ``make test``, all of it in ``make torture``."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "RECALL_LAB_LONG"


def often(short: int, long: int) -> int:
    """Return the longer count where RECALL_LAB_LONG is set, as ``make torture`` does."""
    return long if os.environ.get(VARIABLE) else short
