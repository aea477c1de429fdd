"""What a capture and its recording tell together."""

from __future__ import annotations

import numpy as np
import pytest
from compare import as_int16, capture_of, meeting  # type: ignore[attr-defined]

import recall_lab as rl
from recall_lab.analysis.detectors.comparison import findings_of_comparison
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.verdict.verdict import ordered, table_of

RATE = 16_000


def test_a_wave_upside_down_is_a_note_over_what_both_have() -> None:
    sound = meeting(40, 33)
    recording = as_int16(sound)[10 * RATE : 30 * RATE]
    capture = capture_of(sound, 1)
    assert findings_of_comparison(rl.compare(capture, recording)) == []
    compared = rl.compare(capture, -recording)
    (found,) = findings_of_comparison(compared)
    assert found.finding == "inverted_polarity"
    assert found.severity == "note"
    # windows of 2 s, of which parts lie in the recording
    assert found.start == pytest.approx(10, abs=2.01)
    assert found.end == pytest.approx(30, abs=2.01)
    assert CATALOGUE["inverted_polarity"].threshold <= found.value <= 100
    agreeing, windows = (compared.evidence[name] for name in ("agreeing", "windows"))
    assert found.value == pytest.approx(100 * agreeing / windows)
    assert f"{agreeing:.0f} of {windows:.0f} windows" in found.evidence
    assert "similarity 1.000" in found.evidence or "similarity 0.99" in found.evidence
    assert table_of(ordered([found]))["finding"].tolist() == ["inverted_polarity"]


def test_the_finding_says_how_much_is_upside_down_and_where() -> None:
    sound = meeting(40, 33)
    recording = as_int16(sound)
    recording[24 * RATE :] *= np.int16(-1)
    (found,) = findings_of_comparison(rl.compare(capture_of(sound, 1), recording))
    assert found.value == pytest.approx(40, abs=5)
    assert (found.start, found.end) == pytest.approx((24, 40), abs=0.6)
