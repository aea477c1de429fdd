"""Public calls follow one convention: crops, durations, axes, tables of spans, labels."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from helpers.paths import DATA
from matplotlib.figure import Figure

import recall_lab as rl
from recall_lab.errors import InvalidArgument

DURATIONS = {
    "every", "mute", "tolerance", "pad", "shortest", "length", "hop", "fade", "idle_timeout",
    "seconds",
}  # fmt: skip
"""Arguments that are a duration wherever they stand."""

CROPS = {"begin", "stop", "from_", "to", "until", "since", "t0", "t1", "span", "first", "last"}
"""Names that other libraries have for ``start`` and ``end``."""


def functions() -> Iterator[tuple[str, Callable[..., object]]]:
    for name in sorted(rl.__all__):
        one = getattr(rl, name)
        if inspect.isfunction(one):
            yield name, one


FUNCTIONS = dict(functions())


@pytest.fixture(scope="module")
def lossy() -> rl.Capture:
    return rl.load(DATA / "standup-lossy.bin")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_crops_are_start_and_end_and_durations_read_text(name: str) -> None:
    signature = inspect.signature(FUNCTIONS[name])
    names = set(signature.parameters)
    assert not names & CROPS, f"{name}: a crop is given by start= and end="
    assert ("start" in names) == ("end" in names)
    for argument in names & DURATIONS:
        takes = str(signature.parameters[argument].annotation)
        assert "Duration" in takes, f"{name}({argument}=) takes {takes}"


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("plot_")])
def test_plots_take_an_axes_or_a_figure(name: str) -> None:
    names = list(inspect.signature(FUNCTIONS[name]).parameters)
    assert names[1] in ("ax", "figure"), f"{name}{tuple(names)}"


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name, one in FUNCTIONS.items()
        for argument in sorted(DURATIONS & set(inspect.signature(one).parameters))
        if name not in ("receive", "watch", "compare", "repair", "report", "mos")  # need more
    ],
)
def test_a_duration_in_text_is_that_of_seconds(lossy: rl.Capture, name: str, argument: str) -> None:
    def call(value: object) -> object:
        if name.startswith("plot_"):
            room = Figure()
            place = room if name == "plot_overview" else room.subplots()
            return FUNCTIONS[name](lossy, place, **{argument: value}) and None
        return FUNCTIONS[name](lossy, **{argument: value})

    given, told = call(0.5), call("500ms")
    assert type(given) is type(told)
    if isinstance(given, pd.DataFrame | pd.Series):
        assert given.equals(told)
    with pytest.raises(InvalidArgument, match=f"{argument}='soon'"):
        call("soon")


TABLES: dict[str, Callable[[rl.Capture], pd.DataFrame]] = {
    name: FUNCTIONS[name]  # type: ignore[dict-item]
    for name in (
        "gaps", "discontinuities", "segments", "stalls", "epochs", "speech", "levels",
        "availability", "findings", "speakers", "transcript", "participants", "drift", "loss",
    )
}  # fmt: skip
SPANS = {"gaps", "discontinuities", "segments", "speech", "stalls", "speakers"}
UNITS = re.compile(r"_(s|ms|ppm|percent|share|db|dbfs|lu|lufs|hz)$")


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_snake_case(lossy: rl.Capture, name: str) -> None:
    found = TABLES[name](lossy)
    labels = list(found.columns) if isinstance(found, pd.DataFrame) else list(found.index)
    for label in labels:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", str(label)), f"{name}: {label!r}"
    if name in SPANS:
        assert {"start", "end", "duration"} <= set(labels), f"{name}: {labels}"
        assert np.allclose(found["end"] - found["start"], found["duration"], equal_nan=True) or (
            name in ("discontinuities", "stalls")  # whose duration is that of the delay
        )


def test_quality_and_sound_carry_their_units(lossy: rl.Capture) -> None:
    plain = {
        "verdict", "gaps", "overlaps", "duplicates", "conflicting_duplicates", "reordered",
        "packets", "packets_without_audio", "connections", "epochs", "stalls", "receiver_stalls",
        "clock_steps", "clock_leaps", "damage", "speed", "duration", "dc", "clips", "clipped",
        "band",
    }  # fmt: skip
    for label in [*rl.quality(lossy).index, *rl.sound_summary(lossy).index]:
        assert label in plain or UNITS.search(str(label)), f"{label!r} has no unit"
