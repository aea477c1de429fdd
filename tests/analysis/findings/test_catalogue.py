"""The one list of findings."""

from __future__ import annotations

import math
import re

import pytest

from recall_lab.analysis.findings.catalogue import CATALOGUE, Kind
from recall_lab.analysis.findings.values import SEVERITIES


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=list(CATALOGUE))
def test_each_kind_says_all_there_is_to_say(kind: Kind) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.finding)
    assert kind.severity in SEVERITIES
    assert kind.about in ("format", "sound", "streams", "time")
    assert math.isfinite(kind.threshold)
    for text in (kind.meaning, kind.advice):
        assert text.endswith(".")
        assert text[0].isupper()
    assert kind.source


def test_a_severity_grows_with_the_value() -> None:
    kind = CATALOGUE["clipping"]
    assert kind.found(0.2, "seen").severity == "warning"
    assert kind.found(1.0, "seen").severity == "bad"
    assert CATALOGUE["narrow_band"].found(4000, "seen").severity == "note"
    found = kind.found(0.2, "seen", 1.0, 2.0, severity="note", advice="Wait.")
    assert (found.severity, found.advice, found.whole) == ("note", "Wait.", False)
    assert kind.found(0.2, "seen").whole
