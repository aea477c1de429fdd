"""Short forms of `make torture`: the same trials, for seconds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.torture.__main__ import TRIALS, outcome_of, table
from benchmarks.torture.figures import Scale


@pytest.mark.slow
@pytest.mark.parametrize("trial", TRIALS)
def test_what_was_promised_holds(trial: str) -> None:
    outcome = outcome_of(trial, Scale(short=True), timeout=110)
    if outcome.missing:
        assert "CI" not in os.environ, f"to be had here: {outcome.missing}"
        pytest.skip(outcome.missing)
    assert outcome.figures or outcome.failure
    assert outcome.good, table([outcome], markdown=False) + "\n" + outcome.failure
