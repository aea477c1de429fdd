"""The matrix of leaks: its cells, and names that mean harm."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.meetings import ALICE, BOB, CAROL, leaking, stream, voices
from matplotlib.text import Text

import recall_lab as rl

HOSTILE = "a\x1b[31m\u202e$\\frac{$ <b>\u0301\u0301\u0301\u0301\u0301" + "x" * 500


def test_a_cell_tells_level_lag_and_share() -> None:
    said = voices()
    part = leaking(said[ALICE], 12, 0.231)
    streams = [
        stream(said[ALICE], ALICE, HOSTILE),
        stream(said[BOB] + part, BOB, "Bob"),
        stream(np.zeros(len(part)), CAROL, "Bob"),
    ]
    ax = rl.plot_leaks(streams)
    ax.figure.canvas.draw()
    (cell,) = ax.texts
    assert cell.get_position() == (1, 0)
    assert cell.get_text().splitlines()[0] in ("\N{MINUS SIGN}12 dB", "\N{MINUS SIGN}13 dB")
    assert cell.get_text().splitlines()[1] == "+231 ms"
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[1:] == ["Bob (101)", "Bob (102)"]
    for text in ax.figure.findobj(Text):
        assert text.get_text().replace("\n", "").isprintable()
        assert len(text.get_text()) < 120
    assert ax.get_title("left") == "call: 1 voice in another's stream"
    plt.close("all")


@pytest.mark.parametrize("people", [1, 12])
def test_nobody_and_many(people: int) -> None:
    silent = np.zeros(16_000)
    _, ax = plt.subplots()
    streams = [stream(silent, who, f"Person {who}") for who in range(people)]
    assert rl.plot_leaks(streams, ax, title="Mine") is ax
    assert not ax.texts
    assert ax.get_title("left") == "Mine"
    plt.close("all")
