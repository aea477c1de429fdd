"""Find fonts for letters that the usual font lacks.

Names and words come in every script, and with emoji. Matplotlib takes the next of several fonts
for what the first lacks, but has to be told which; what no font here has is drawn as a square.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import TextToPath

SQUARE: Final = "\N{WHITE SQUARE}"
"""Stands for what no font has."""

MISSING: Final = f"{SQUARE}: no font here has it"
"""What is told, once, where there are such squares."""

_LAST_RESORT: Final = "last resort"  # has a box for every letter, and the letter of none
_LIKELY: Final = ("noto sans cjk", "noto", "emoji", "symbol", "gothic", "hei", "sans")
_REGULAR: Final = range(300, 501)  # weights
_MOST: Final = 400  # families that are looked into: some machines have thousands
_SIZE: Final = 10.0


def legible(text: str) -> str:
    """Return a text with a square for each character that no font here has.

    Matplotlib draws one, too, but warns each time.
    """
    if text.isascii():
        return text
    usual = _usual()
    return "".join(c if c.isascii() or _family(c, usual) is not None else SQUARE for c in text)


def families(texts: str | Iterable[str]) -> list[str]:
    """Return the fonts for texts: the usual ones, then those that have what these lack.

    Example:
        >>> families("plain") == list(rcParams["font.family"])
        True
    """
    usual = _usual()
    characters = sorted(
        {c for text in ([texts] if isinstance(texts, str) else texts) for c in text}
    )
    more = dict.fromkeys(_family(c, usual) for c in characters if not c.isascii())
    return [*usual, *(family for family in more if family)]


def width(text: str, size: float) -> float:
    """Return how wide a text is, in points."""
    font = FontProperties(size=size, family=families(text))
    return float(TextToPath().get_text_width_height_descent(text, font, False)[0])


def _usual() -> tuple[str, ...]:
    return tuple(rcParams["font.family"])


@functools.lru_cache(10_000)
def _family(character: str, usual: tuple[str, ...]) -> str | None:
    """Return the font that has a character: ``""`` for the usual ones, None for none at all."""
    if any(_has(_letters(path), character) for path in _paths(usual)):
        return ""
    return next((name for name, path in _others() if _has(_letters(path), character)), None)


@functools.lru_cache(16)
def _paths(usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of the usual fonts."""
    found = [findfont(FontProperties(family=[one]), fallback_to_default=True) for one in usual]
    return tuple(dict.fromkeys(map(str, found)))


@functools.lru_cache(1)
def _others() -> tuple[tuple[str, str], ...]:
    """Return name and file of every family with an upright regular face, the likely ones first."""
    found: dict[str, str] = {}
    for one in fontManager.ttflist:
        plain = one.style == "normal" and one.weight in (*_REGULAR, "normal", "regular", "book")
        if plain and _LAST_RESORT not in one.name.lower():
            found.setdefault(one.name, one.fname)

    def order(item: tuple[str, str]) -> tuple[int, str]:
        name = item[0].lower()
        return next((at for at, part in enumerate(_LIKELY) if part in name), len(_LIKELY)), name

    return tuple(sorted(found.items(), key=order)[:_MOST])


@functools.lru_cache(_MOST + 16)
def _letters(path: str) -> npt.NDArray[np.int64]:
    """Return the characters that a font can draw, in order; none where it can't be used here.

    Fonts of coloured pictures alone, as most of emoji are, have no outlines that could be drawn.
    """
    try:
        font: Any = FT2Font(path)
        font.set_size(_SIZE, 72)
        letters = np.array(sorted(font.get_charmap()), np.int64)
        font.load_char(int(letters[-1]))
    except (OSError, RuntimeError, ValueError, IndexError):
        return np.empty(0, np.int64)
    return letters


def _has(letters: npt.NDArray[np.int64], character: str) -> bool:
    at = int(np.searchsorted(letters, ord(character)))
    return at < len(letters) and bool(letters[at] == ord(character))
