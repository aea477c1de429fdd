"""The list of findings on a page: in order, with what was seen, safe, and linked to its place."""

from __future__ import annotations

import html
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import make_capture

import recall_lab as rl
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.reports.finding_list import finding_list
from recall_lab.store.audio_files import read_audio


def test_each_finding_has_its_evidence_advice_and_place() -> None:
    told = [
        CATALOGUE["missing"].found(5.0, "3.00 of 60.0 s are missing", 10.0, 12.0),
        CATALOGUE["clipping"].found(2.0, "peaks are cut off"),
        CATALOGUE["clock_leap"].found(3600.0, "relative leaps", 7.0, 7.0),
    ]
    page = finding_list(told)
    places = [page.index(text) for text in ("3.00 of 60.0 s", "peaks are cut", "relative leaps")]
    assert places == sorted(places)
    for anchor in ("#missing", "#sound", "#timing"):
        assert f'href="{anchor}"' in page
    assert "at 10.0 to 12.0 s" in page and "at 7.0 s" in page
    assert html.escape(CATALOGUE["missing"].advice) in page
    assert (page.count('class="poor"'), page.count('class="usable"')) == (2, 1)


def test_nothing_found_is_said_and_what_is_foreign_is_escaped() -> None:
    assert "Nothing was found" in finding_list([])
    evil = CATALOGUE["dropped"].found(1, "<script>alert(1)</script>\x1b[2J", math.nan, math.nan)
    page = finding_list([evil])
    assert "<script>" not in page and "\x1b" not in page


@pytest.mark.parametrize(
    ("scale", "name"), [(1, ""), (40, "<b>clipping</b>"), (0, "<b>digital silence</b>")]
)
def test_a_report_begins_with_what_was_found(
    tmp_path: Path, root: Path, scale: int, name: str
) -> None:
    sound = read_audio(root / "data/standup.wav")[: 12 * 16_000].astype(np.int64)
    audio = np.clip(sound * scale, -32_768, 32_767).astype(np.int16)
    path = rl.report(make_capture(np.arange(60) * 0.2, audio=audio), tmp_path / "a.html")
    page = path.read_text()
    top = page[page.index('id="findings"') : page.index("<h2>Overview")]
    assert name in top
    assert 'id="sound"' in page and 'id="missing"' in page
