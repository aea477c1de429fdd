"""The live picture: its columns are the capture's, and only what is new is made."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from recall_lab.capture.capture import Capture
from recall_lab.notebook.live_picture import COLUMNS, STEP, Picture, Strip

RATE = 16_000
RNG = np.random.default_rng(8)


def grown(make, relative: np.ndarray, audio: np.ndarray):  # type: ignore[no-untyped-def]
    """Return a function that gives the first packets, and of those the last seconds."""

    def until(count: int):  # type: ignore[no-untyped-def]
        def last(seconds: float) -> Capture:
            first = max(0, count - math.ceil(seconds / 0.1))
            part = audio[first * 1600 : count * 1600]
            return make(relative[first:count], 1600, audio=part)  # type: ignore[no-any-return]

        return last

    return until


def test_a_strip_that_moves_is_what_one_made_at_once_is(make) -> None:  # type: ignore[no-untyped-def]
    relative = np.arange(600) * 0.1
    relative[200:] += 3.0  # a gap
    audio = RNG.integers(-9000, 9000, 600 * 1600).astype(np.int16)
    until = grown(make, relative, audio)
    moved = Strip()
    for count in (5, 17, 40, 200, 203, 260, 430, 438, 600):
        end = math.ceil((relative[count - 1] + 0.1) / STEP - 1e-9)
        moved.move(until(count), end)
        fresh = Strip()
        fresh.move(until(count), end)
        for name in ("low", "high", "lost"):
            np.testing.assert_array_equal(getattr(moved, name), getattr(fresh, name), err_msg=name)
        # where a part begins there is a frame less, so a column differs a little
        np.testing.assert_allclose(moved.levels, fresh.levels, atol=3)
    shown = np.arange(end - COLUMNS, end) * STEP
    middles = shown + STEP / 2
    assert (moved.lost == ((middles > 20) & (middles < 23)) * 1.0).all()
    column = int(np.flatnonzero(np.isclose(shown, 50.0))[0])
    packet = int(np.flatnonzero(np.isclose(relative, 50.0))[0])
    part = audio[packet * 1600 : (packet + 1) * 1600] / 32_768
    assert moved.high[column] == pytest.approx(part.max())
    assert moved.low[column] == pytest.approx(part.min())


def test_a_gap_is_missing_from_its_beginning_once_its_end_is_known(make) -> None:  # type: ignore[no-untyped-def]
    """Another stream of the recording goes on meanwhile, and the picture with it."""
    relative = np.r_[np.arange(100), np.arange(180, 230)] * 0.1
    audio = RNG.integers(-9000, 9000, 150 * 1600).astype(np.int16)
    until = grown(make, relative, audio)
    strip = Strip()
    for now in range(80, 230, 7):  # a look every 0.7 s, in columns
        strip.move(until(int((relative + 0.1 <= now * STEP + 1e-9).sum())), now)
        if now <= 180:
            assert not strip.lost.any()
    shown = np.arange(now - COLUMNS, now) * STEP + STEP / 2
    assert (strip.lost == ((shown > 10) & (shown < 18)) * 1.0).all()


def test_a_stamp_gone_wrong_blanks_the_row_until_the_next_packet(make) -> None:  # type: ignore[no-untyped-def]
    audio = RNG.integers(-9000, 9000, 31 * 1600).astype(np.int16)
    usual = np.arange(30) * 0.1
    strip = Strip()
    strip.move(lambda _: make(usual, 1600, audio=audio[: 30 * 1600]), 30)
    assert (strip.high[-30:] > 0).all()
    astray = make(np.r_[usual, 9e8], 1600, audio=audio)
    strip.move(lambda _: astray, math.ceil((9e8 + 0.1) / STEP))
    assert (strip.high > 0).sum() == 1
    strip.move(lambda _: astray, 31)
    assert (strip.high[-31:-1] > 0).all()


def test_what_is_to_come_and_what_was_before_is_not_missing(make) -> None:  # type: ignore[no-untyped-def]
    strip = Strip()
    audio = np.ones(3200, np.int16)
    strip.move(lambda _: make([5.0], 3200, audio=audio), 100)
    assert not strip.lost.any()
    assert np.isnan(strip.high[: COLUMNS - 50]).all()
    assert (strip.high[COLUMNS - 50 : COLUMNS - 48] > 0).all()
    strip = Strip()
    strip.move(lambda _: Capture(np.empty(0, np.int16)), 100)
    assert not strip.lost.any()


def test_the_picture_has_a_row_a_stream_and_marks_what_is_missing(make) -> None:  # type: ignore[no-untyped-def]
    relative = np.r_[np.arange(100), np.arange(150, 300)] * 0.1
    audio = RNG.integers(-9000, 9000, len(relative) * 1600).astype(np.int16)
    capture = make(relative, 1600, audio=audio)
    names = ["mixed", "<b>Ada</b> $\\frac{$\u202e"]
    picture = Picture(names)
    png = picture.draw([(lambda _: capture, 30.0), (lambda _: capture, 30.0)])
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape[2] == 4
    vermilion = (pixels[..., :3] == (213, 94, 0)).all(axis=-1)
    blue = (pixels[..., :3] == (0, 114, 178)).all(axis=-1)
    # 5 s of 30 on each of four strips of 50 pixels
    assert vermilion.sum() == 4 * 50 * 50
    assert blue.sum() > 10_000
    assert (pixels[..., 3] == 0).mean() > 0.1  # reads on any page
    assert (pixels[:20, :, 3] > 0).any()  # titles


def test_a_short_loss_is_marked_at_the_edge(make) -> None:  # type: ignore[no-untyped-def]
    relative = np.arange(300) * 0.1
    audio = RNG.integers(-9000, 9000, 300 * 1600).astype(np.int16)
    counts = np.full(300, 1600)
    counts[250] = 1280  # 20 ms are missing
    parts = [audio[at * 1600 : at * 1600 + n] for at, n in enumerate(counts)]
    capture = make(relative, counts, audio=np.concatenate(parts))
    png = Picture(["mixed"]).draw([(lambda _: capture, 30.0)])
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    vermilion = (pixels[..., :3] == (213, 94, 0)).all(axis=-1)
    assert vermilion.sum() == 2 * 5


def test_where_relative_begins_again_both_sides_are_shown(make) -> None:  # type: ignore[no-untyped-def]
    """The picture ends at what the newest stamp says; what was before stands in front of it."""
    wall = np.arange(250) * 0.1
    relative = np.where(wall >= 15, wall - 15, wall + 600)
    audio = RNG.integers(1, 9000, 250 * 1600).astype(np.int16)
    strip = Strip()
    strip.move(lambda _: make(relative, 1600, audio=audio, **clocks(wall)), 100)
    assert (strip.high[-249:] > 0).all()
    assert np.isnan(strip.high[:-251]).all()
    assert not strip.lost.any()
    newest = audio[-1600:] / 32_768
    assert strip.high[-1] == pytest.approx(newest.max())


def clocks(wall: np.ndarray) -> dict[str, np.ndarray]:
    """Return wall clocks that run on, as columns of a capture."""
    return {name: np.rint(wall * 1e9) + 10**18 for name in ("absolute", "received", "monotonic")}
