"""Fonts: what the usual one lacks is drawn by another that has it, and nothing is asked twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from recall_lab.plots import fonts
from recall_lab.plots.fonts import SQUARE, families, legible, width

KO, FACE = "\N{HIRAGANA LETTER KO}", "\U0001f92f"


@pytest.fixture
def kana(tmp_path: Path) -> Iterator[str]:
    """A font that has one letter and one emoji, known to Matplotlib for the while."""
    pen = TTGlyphPen(None)
    for at, (x, y) in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if at else pen.moveTo)((x, y))
    pen.closePath()
    built = FontBuilder(1000, isTTF=True)
    built.setupGlyphOrder([".notdef", "ko"])
    built.setupCharacterMap({ord(KO): "ko", ord(FACE): "ko"})
    built.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "ko": pen.glyph()})
    built.setupHorizontalMetrics({".notdef": (1000, 0), "ko": (1000, 100)})
    built.setupHorizontalHeader(ascent=900, descent=-100)
    built.setupNameTable({"familyName": "Lab Kana", "styleName": "Regular"})
    built.setupOS2()
    built.setupPost()
    built.save(tmp_path / "kana.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "kana.ttf")
    for cached in (fonts._family, fonts._others):
        cached.cache_clear()
    yield "Lab Kana"
    fontManager.ttflist[:] = before
    for cached in (fonts._family, fonts._others):
        cached.cache_clear()


def test_plain_text_takes_the_usual_fonts() -> None:
    assert legible("plain $x^2$") == "plain $x^2$"
    assert legible("Zo\u00eb, \u043a\u043e\u0442") == "Zo\u00eb, \u043a\u043e\u0442"
    assert families("Zo\u00eb") == list(mpl.rcParams["font.family"])
    assert families([]) == list(mpl.rcParams["font.family"])


def test_what_no_font_has_is_a_square() -> None:
    assert legible("a\U0010fffd") == f"a{SQUARE}"
    assert families("\U0010fffd") == list(mpl.rcParams["font.family"])


def test_another_font_draws_what_the_usual_one_lacks(kana: str) -> None:
    text = f"a{KO}{FACE}"
    assert legible(text) == text
    assert families([text, "b"]) == [*mpl.rcParams["font.family"], kana]
    assert width(text, 10) > width("a", 10) + 15
    figure = Figure()
    figure.text(0, 0.5, KO, fontfamily=families(KO), fontsize=40)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # warnings would be errors
    seen = np.asarray(canvas.buffer_rgba())
    assert (seen[..., 0] < 128).sum() > 500  # a filled box, and no empty frame


def test_a_file_that_is_no_font_has_no_letters(tmp_path: Path) -> None:
    (tmp_path / "x.ttf").write_bytes(b"no font")
    assert len(fonts._letters(str(tmp_path / "x.ttf"))) == 0
    assert len(fonts._letters(str(tmp_path / "gone.ttf"))) == 0
