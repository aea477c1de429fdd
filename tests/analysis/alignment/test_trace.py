"""Lines that are followed from a guess as far as they hold, and the pieces that come of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from helpers.sounds import chatter

from recall_lab.analysis.alignment.anchors import anchors, track
from recall_lab.analysis.alignment.coverage import coverage
from recall_lab.analysis.alignment.match import Pair
from recall_lab.analysis.alignment.pieces import pieces_of
from recall_lab.analysis.alignment.trace import trace
from recall_lab.analysis.time.timeline import as_timeline

RATE = 16_000


def pair_of(one: np.ndarray, other: np.ndarray) -> Pair:
    return Pair.of(as_timeline(one), as_timeline(other), 2 * RATE, tolerance=0.0, stem="a")


@pytest.mark.parametrize("drift", [200e-6, -450e-6, 0.0, 1e-3, -1e-3])
def test_a_guess_is_followed_along_the_drift(drift: float) -> None:
    sound = chatter(200, 7)
    places = np.arange(int(len(sound) * (1 + drift))) / (1 + drift)
    spline = scipy.interpolate.make_interp_spline(np.arange(len(sound)), sound, 5)
    other = spline(places[places <= len(sound) - 1]).astype(np.float32)
    middle = 90.0 * RATE
    (guess, *_) = anchors(track(as_timeline(sound)), track(as_timeline(other)))
    assert guess.other == pytest.approx((1 + drift) * guess.sample, abs=0.03 * RATE)
    free = np.ones(100, bool)
    for sign in (1, -1):
        found = trace(pair_of(sound, sign * other), guess, free)
        assert found is not None
        assert found.line.rate - 1 == pytest.approx(drift, abs=0.05e-6)
        assert float(found.line.of(middle)) == pytest.approx((1 + drift) * middle, abs=0.1)
        assert found.line.sign == sign
        assert found.ends == (0, 100)
        assert found.leads == []


def test_a_line_ends_where_windows_say_another_thing_and_tells_what() -> None:
    sound = chatter(120, 8)
    stepped = np.insert(sound, 60 * RATE, np.zeros(80, np.float32))
    pair = pair_of(sound, stepped)
    (guess, *_) = anchors(track(pair.one), track(pair.other))
    found = trace(pair, guess._replace(sample=20.0 * RATE, other=20.0 * RATE), np.ones(60, bool))
    assert found is not None
    assert found.ends == (0, 30)
    lead = found.leads[0]
    assert lead.other - lead.sample == pytest.approx(80, abs=0.5)
    assert trace(pair, guess._replace(other=guess.sample + RATE), np.ones(60, bool)) is None


def test_windows_that_are_taken_are_not_used() -> None:
    pair = pair_of(chatter(60, 9), chatter(60, 9))
    (guess, *_) = anchors(track(pair.one), track(pair.other))
    free = np.arange(30) < 20
    found = trace(pair, guess._replace(sample=float(RATE), other=float(RATE)), free)
    assert found is not None
    assert found.ends == (0, 20)
    assert trace(pair, guess, np.zeros(30, bool)) is None


def test_pieces_are_those_that_were_made() -> None:
    sound = chatter(200, 10)
    parts = [(0.0, 50.0, 1.0), (58.0, 90.0, -1.0), (90.0, 140.0, 0.25), (150.0, 200.0, 0.25)]
    made = [sound[round(a * RATE) : round(b * RATE)] * np.float32(by) for a, b, by in parts]
    other = np.concatenate([*made[:2], chatter(20, 11), *made[2:]])
    pair = pair_of(sound, other)
    found = pieces_of(pair)
    assert len(found.pieces) == 4
    for piece, (low, high, by) in zip(found.pieces, parts, strict=True):
        assert (piece.low / RATE, piece.high / RATE) == pytest.approx((low, high), abs=0.6)
        assert piece.line.sign == np.sign(by)
        assert piece.level == pytest.approx(-20 * np.log10(abs(by)), abs=0.1)
    offsets = [piece.line.at / RATE for piece in found.pieces]
    assert offsets == pytest.approx([0, -8, 12, 2], abs=1e-5)
    alone = coverage(pair, found).unmatched
    assert alone["side"].tolist() == ["capture", "capture", "recording"]
    expected = [[50, 58], [140, 150], [82, 102]]
    np.testing.assert_allclose(alone[["start", "end"]], expected, atol=0.6)


def test_pieces_follow_one_another_in_both_sounds() -> None:
    jingle = chatter(12, 20)
    one = np.concatenate([jingle, chatter(40, 21), jingle, chatter(40, 22)])
    # the first part is not in the recording, but for what sounds the same later
    other = one[52 * RATE :]
    found = pieces_of(pair_of(one, other))
    assert [round(piece.line.at / RATE) for piece in found.pieces] == [-52]
    assert found.pieces[0].low == pytest.approx(52 * RATE, abs=0.6 * RATE)
