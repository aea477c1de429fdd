"""Every picture and page takes a capture, its analysis, its path or the receiver that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import recall_lab as rl
from recall_lab.errors import InvalidArgument
from recall_lab.plots.terminal import describe


class Receiver:
    """What a receiver is known by."""

    def __init__(self, capture: rl.Capture) -> None:
        self.newest = lambda: capture


def on_axes(plot: Callable[..., Any]) -> Callable[[Any], str]:
    return lambda source: str(plot(source, Figure().subplots()).get_title(loc="left"))


def overview(source: Any) -> str:
    lanes = rl.plot_overview(source, Figure(layout="constrained"))
    return str(lanes["waveform"].get_title(loc="left"))


WAYS: dict[str, Callable[[Any], str]] = {
    **{
        name: on_axes(getattr(rl, name))
        for name in (
            "plot_gaps", "plot_timing", "plot_clocks", "plot_waveform", "plot_levels",
            "plot_spectrogram",
        )
    },
    "plot_gap_histogram": on_axes(rl.plot_gap_histogram),
    "plot_overview": overview,
    "explore": lambda source: repr(rl.explore(source)),
    "describe": describe,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_whatever_it_is_given_by(way: str, root: Path) -> None:
    path = root / "data/standup-lossy.bin"
    capture = rl.load(path)
    told = WAYS[way](capture)
    assert "lossy" in told or "6 gaps" in told
    for source in (path, str(path), rl.analyse(capture), Receiver(capture)):
        assert WAYS[way](source) == told
    for wrong in (7, None, object(), {"capture": capture}):
        with pytest.raises(InvalidArgument, match="a capture, what analyse"):
            WAYS[way](wrong)


def test_a_list_has_a_lane_each(root: Path) -> None:
    names = ("standup-lossy", "standup-broken.100")
    ax = Figure().subplots()
    rl.plot_gaps([root / f"data/{names[0]}.bin", rl.load(root / f"data/{names[1]}.bin")], ax)
    assert tuple(label.get_text() for label in ax.get_yticklabels()) == names
    histogram = rl.plot_gap_histogram([root / f"data/{name}.bin" for name in names], ax)
    assert histogram.get_title(loc="left").startswith("11 gaps")
