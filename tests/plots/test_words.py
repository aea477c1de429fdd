"""A lane of words: each at its time, or cut, or counted; never one over another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from recall_lab.plots.words import WORD_ROWS, draw_words, write_words


def table(*said: tuple[float, str, int]) -> pd.DataFrame:
    """Return words of: start, text, utterance."""
    frame = pd.DataFrame(said, columns=["start", "text", "utterance"])
    frame["row"] = frame["utterance"] % 3 - 1
    types = {"start": "float64", "text": "str", "utterance": "int64", "row": "int64"}
    return frame.astype(types).sort_values("start", kind="stable", ignore_index=True)


def lane():  # type: ignore[no-untyped-def]
    ax = Figure(figsize=(8, 1), layout="constrained").subplots()
    ax.set_xlim(0, 60)
    return ax


def texts(ax) -> list[str]:  # type: ignore[no-untyped-def]
    """Return what is written; fails where one text covers another or leaves the lane."""
    ax.figure.savefig("/dev/null", format="png")
    boxes = [text.get_window_extent() for text in ax.texts]
    for at, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[at + 1 :])
        assert box.x1 <= ax.get_window_extent().x1 + 1
    return [text.get_text() for text in ax.texts]


def test_each_at_its_time_where_there_is_room() -> None:
    ax = lane()
    words = table((5, "one", 0), (9, "two", 0), (9.5, "three", 1), (70, "beyond", 2))
    assert draw_words(ax, words, (0, 60), ("red", "blue")) == "3 words"
    assert texts(ax) == ["one", "two", "three"]
    assert [text.xy[0] for text in ax.texts] == [5, 9, 9.5]
    assert [line.get_color() for line in ax.lines][2] == "red"


def test_utterances_are_cut_to_the_room() -> None:
    ax = lane()
    said = [(at * 6 + n / 3, "word", at) for at in range(10) for n in range(15)]
    assert draw_words(ax, table(*said), (0, 60), ("red", "blue")) == "150 words"
    shown = texts(ax)
    assert len(shown) == 10
    assert all(text.startswith("word") for text in shown)
    assert all(text.count("word word") > 2 for text in shown[:7])
    assert all(text.endswith("…") for text in shown[:7])


def test_too_many_are_counted() -> None:
    ax = lane()
    said = [(at / 10, "word", at // 3) for at in range(600)]
    told = draw_words(ax, table(*said), (0, 60), ("red",))
    assert told == "600 words,\nup to 600 a minute"
    assert texts(ax) == []
    (steps,) = ax.patches
    assert steps.get_data().edges[[0, -1]].tolist() == [0, 60]
    few = lane()
    write_words(few, table(*said), (0, 60), 0.0)  # thinned out instead
    assert 3 < len(texts(few)) < 30


def test_names_where_no_lane_tells_them() -> None:
    ax = lane()
    draw_words(ax, table((5, "yes", 1), (6, "no", 1), (20, "so", 2), (30, "?", 0)), (0, 60),
               ("red", "blue"), ("Alice", "Bob"))  # fmt: skip
    assert texts(ax) == ["Alice: yes", "no", "Bob: so", "?"]


@given(
    st.lists(
        st.tuples(
            st.floats(-10, 70, allow_subnormal=False),
            st.text(st.characters(exclude_categories=["Cs", "Cc", "Mn", "Cf"]), max_size=12),
            st.integers(0, 6),
        ),
        max_size=40,
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_said_nothing_covers_anything(said: list[tuple[float, str, int]]) -> None:
    ax = lane()
    draw_words(ax, table(*said), (0, 60), ("red", "blue", "green"))
    texts(ax)
    assert ax.get_xlim() == (0, 60)
    assert ax.get_ylim() == (WORD_ROWS - 0.5, -0.5)


def test_nothing() -> None:
    ax = lane()
    assert draw_words(ax, table(), (0, 60), ()) == "0 words"
    assert texts(ax) == []
    with np.errstate(all="raise"):
        draw_words(lane(), table((5, "x", 0)), (5, 5.001), ("red",))
