"""The pyramid: held against NumPy and SciPy, level by level, and as a file beside the capture."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from recall_lab.analysis.sound import pyramid as module
from recall_lab.analysis.sound.pyramid import BINS, HOP, SUFFIX, Columns, columns_of, pyramid
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument
from recall_lab.loading import load

RATE = 16_000
RNG = np.random.default_rng(5)
# a level that moves, and a tone, so that neither time nor frequency is all alike
SECONDS = np.arange(70 * RATE) / RATE
SOUND = np.rint(
    RNG.normal(0, 1500, len(SECONDS)) * (1 + np.sin(SECONDS)) + 4000 * np.sin(6283.2 * SECONDS)
).astype(np.int16)


@pytest.mark.parametrize("width", [8000, 1600, 800, 250])
def test_columns_are_what_numpy_and_scipy_say(width: int) -> None:
    line = as_timeline(SOUND)
    found = columns_of(line, 0, width, 40)
    unit = SOUND / 32_768
    for at in range(1, 40):  # the first has a frame less: it would begin before the sound
        part = unit[at * width : (at + 1) * width]
        assert found.low[at] == pytest.approx(part.min(), abs=1e-7)
        assert found.high[at] == pytest.approx(part.max(), abs=1e-7)
        assert found.square[at] == pytest.approx((part**2).mean(), rel=1e-5)
        hop = {8000: 250, 1600: 200, 800: 200, 250: 250}[width]
        assert hop <= HOP
        each = width // hop
        around = unit[at * width + (hop - 400) // 2 :][: (each - 1) * hop + 400]
        _, power = welch(
            around, RATE, "hann", 400, 400 - hop, detrend=False, scaling="spectrum"
        )  # fmt: skip
        power[1:-1] /= 2  # one side of the spectrum: a sine of full scale is 1/4 in its bin
        expected = (10 * np.log10(4 * power)).clip(-127, 0)
        np.testing.assert_allclose(found.levels[:, at], expected, atol=0.26)  # half a step
    assert not found.missing.any()
    assert found.rms[5] == pytest.approx(10 * np.log10(2 * found.square[5]), abs=1e-4)


def test_every_level_says_what_the_samples_say() -> None:
    tower = pyramid(SOUND)
    line = as_timeline(SOUND)
    assert [len(level) for level in tower.levels] == [140, 35, 9, 3]
    for level in tower.levels[:2]:
        width = round(level.width * RATE)
        direct = columns_of(line, 0, width, len(level) - 1)
        whole = slice(0, len(level) - 1)
        np.testing.assert_array_equal(level.low[whole], direct.low)
        np.testing.assert_array_equal(level.high[whole], direct.high)
        np.testing.assert_allclose(level.square[whole], direct.square, rtol=1e-5)
        # rounding to half a decibel once on each level
        difference = np.abs(level.levels[:, whole] - direct.levels)
        assert difference.max() <= 0.8
        assert difference.mean() < 0.2


@pytest.mark.parametrize("columns", [1, 10, 100, 1000])
@pytest.mark.parametrize(
    "span", [(0.0, 70.0), (10.0, 11.0), (-5.0, 80.0), (69.9, 70.1), (90.0, 95.0)]
)
def test_a_view_covers_what_was_asked_in_as_many_columns(
    span: tuple[float, float], columns: int
) -> None:
    seen = pyramid(SOUND).view(*span, columns)
    assert seen.start <= span[0] + 1e-9
    assert seen.end >= span[1] - 1e-9
    assert columns <= len(seen) <= 3 * columns + 2
    beyond = (seen.start + np.arange(len(seen)) * seen.width >= 70) | (
        seen.start + (1 + np.arange(len(seen))) * seen.width <= 0
    )
    assert (seen.missing[beyond] == 1).all()
    assert np.isnan(seen.levels[:, beyond]).all()
    assert np.isnan(seen.high[beyond]).all()
    inside = (seen.start + np.arange(len(seen)) * seen.width >= 0.1) & (
        seen.start + (1 + np.arange(len(seen))) * seen.width <= 69.9
    )
    assert not np.isnan(seen.levels[:, inside]).any()


def test_what_is_missing_is_missing_at_every_scale(make) -> None:  # type: ignore[no-untyped-def]
    gapped = make([0.0, 30.0, 60.0], 160_000, audio=SOUND[: 3 * 160_000])
    tower = pyramid(gapped)
    for columns in (14, 35, 70, 700):
        seen = tower.view(0.0, 70.0, columns)
        middles = seen.start + (np.arange(len(seen)) + 0.5) * seen.width
        lost = ((middles > 10) & (middles < 30)) | ((middles > 40) & (middles < 60))
        inner = (np.abs(middles[:, None] - [10, 30, 40, 60, 70]) > seen.width).all(axis=1)
        assert (seen.missing[lost & inner] == 1).all()
        assert (seen.missing[~lost & inner] == 0).all()
        assert np.isnan(seen.levels[:, lost & inner]).all()
        assert not np.isnan(seen.levels[:, ~lost & inner]).any()
        total = seen.missing.sum() * seen.width - (seen.end - 70)
        assert total == pytest.approx(40, abs=1e-3)


def test_nothing_has_no_columns() -> None:
    tower = pyramid(Capture(np.empty(0, np.int16)))
    assert (tower.view(0, 1, 10).missing == 1).all()


@pytest.mark.parametrize(
    ("start", "end", "columns"),
    [(1.0, 1.0, 5), (2.0, 1.0, 5), (np.nan, 1.0, 5), (0.0, np.inf, 5), (0.0, 1.0, 0),
     (0.0, 1.0, 30_000), (0.0, 1.0, 2.5), (0, 1e12, 5)],
)  # fmt: skip
def test_a_view_that_cannot_be_is_refused(start: float, end: float, columns: int) -> None:
    with pytest.raises(InvalidArgument, match=r"start, end|columns"):
        pyramid(SOUND[:RATE]).view(start, end, columns)


@given(
    st.floats(-100, 200), st.floats(1e-3, 300), st.integers(1, 3000),
    st.lists(st.floats(0, 60), min_size=1, max_size=8),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_view_of_any_capture_is_whole(
    start: float, length: float, columns: int, relative: list[float]
) -> None:
    from helpers.builders import make_capture

    counts = RNG.integers(1, 20_000, len(relative))
    capture = make_capture(relative, counts, audio=SOUND[: counts.sum()])
    seen = pyramid(capture).view(start, start + length, columns)
    assert len(seen) >= min(columns, 1)
    shapes = {seen.low.shape, seen.high.shape, seen.square.shape, seen.missing.shape}
    assert shapes == {(len(seen),)}
    assert seen.codes.shape == (len(seen), BINS)
    assert ((seen.missing >= 0) & (seen.missing <= 1)).all()
    heard = ~np.isnan(seen.high)
    assert (seen.low[heard] <= seen.high[heard]).all()
    assert (seen.missing[~heard] == 1).all()


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A capture that is worth a file: eleven minutes."""
    path = tmp_path / "long.bin"
    np.tile(SOUND, 10)[: 660 * RATE].tofile(path)
    return path


def same(one: Columns, other: Columns) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("low", "high", "square", "missing", "codes")
    )


def test_it_is_kept_beside_the_capture_and_used(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pyramid(load(long))
    kept = long.with_suffix(SUFFIX)
    assert kept.is_file()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_size < long.stat().st_size / 50

    def fail(*_: object) -> None:
        raise AssertionError("made anew")

    monkeypatch.setattr(module, "columns_of", fail)
    again = pyramid(load(long))
    assert all(map(same, made.levels, again.levels))
    assert [level.width for level in made.levels] == [level.width for level in again.levels]
    assert again.levels[0].start == made.levels[0].start


def test_a_capture_that_has_changed_is_looked_at_anew(long: Path) -> None:
    pyramid(load(long))
    with long.open("r+b") as file:
        file.write(bytes(RATE))  # half a second of silence, of the same size
    os.utime(long, ns=(1, 1))
    assert pyramid(load(long)).levels[0].high[0] == 0
    with long.open("ab") as file:
        SOUND[:RATE].tofile(file)
    assert len(pyramid(load(long)).levels[0]) == 1322


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 no", b"\x93NUMPY", os.urandom(5000), pickle.dumps({"key": 1})],
    ids=["empty", "cut", "no archive", "noise", "pickle"],
)
def test_a_file_that_is_no_pyramid_is_made_anew(long: Path, content: bytes) -> None:
    made = pyramid(load(long), keep=False)
    assert not long.with_suffix(SUFFIX).exists()
    long.with_suffix(SUFFIX).write_bytes(content)
    assert same(pyramid(load(long)).levels[0], made.levels[0])
    assert long.with_suffix(SUFFIX).stat().st_size > 100_000


def test_a_forged_file_of_other_shapes_is_made_anew(long: Path) -> None:
    made = pyramid(load(long))
    path = long.with_suffix(SUFFIX)
    whole = dict(np.load(path))
    for name, value in (
        ("codes0", whole["codes0"][:, :5]),
        ("low1", whole["low1"][:7]),
        ("high0", np.array([object()], dtype=object)),
        ("square2", whole["square2"].astype(np.int8)),
    ):
        np.savez(path, **{**whole, name: value})
        assert same(pyramid(load(long)).levels[0], made.levels[0])
    del whole["missing3"]
    np.savez(path, **whole)
    assert same(pyramid(load(long)).levels[0], made.levels[0])


def test_a_forged_file_takes_no_memory(long: Path) -> None:
    made = pyramid(load(long))
    path = long.with_suffix(SUFFIX)
    whole = dict(np.load(path))
    whole["high0"] = np.zeros(50_000_000, np.float32)
    np.savez_compressed(path, **whole)
    assert path.stat().st_size < 2_000_000
    assert same(pyramid(load(long)).levels[0], made.levels[0])
    assert len(np.load(path)["high0"]) == 1320


def test_a_link_in_its_place_is_not_followed(long: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("do not touch")
    long.with_suffix(SUFFIX).symlink_to(precious)
    pyramid(load(long))
    assert precious.read_text() == "do not touch"
    assert not long.with_suffix(SUFFIX).is_symlink()


def test_a_folder_that_takes_no_file_is_no_error(
    long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace_file", full)
    assert len(pyramid(load(long)).levels[0]) == 1320
    assert not long.with_suffix(SUFFIX).exists()


def test_a_short_capture_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    SOUND.tofile(path)
    pyramid(load(path))
    assert [file.name for file in tmp_path.iterdir()] == ["short.bin"]
