"""Leaks: found at what was made, not found where there are none; SciPy's coherence beside it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import standup
from helpers.meetings import ALICE, BOB, CAROL, leaking, stream, voices
from scipy.signal import coherence, correlate, correlation_lags, welch

import recall_lab as rl
from recall_lab.errors import InvalidArgument, MissingTimestamps

RATE = 16_000


@pytest.mark.parametrize(
    ("below", "lag"), [(6, 0.004), (14, 0.231), (25, -0.009), (33, 0.58), (40, 0.12)]
)
def test_a_leak_is_found_at_its_lag_and_level(below: float, lag: float) -> None:
    said = voices()
    part = leaking(said[ALICE], below, lag)
    pair = [stream(said[ALICE], ALICE, "Alice"), stream(said[BOB] + part, BOB, "Bob")]
    (found,) = rl.leaks(pair).to_dict("records")
    assert (found["participant"], found["name"]) == (ALICE, "Alice")
    assert (found["stream"], found["stream_name"]) == (BOB, "Bob")
    assert found["lag"] == pytest.approx(1e3 * lag, abs=1)
    assert found["attenuation"] == pytest.approx(below, abs=2)
    assert found["share"] > 0.9
    assert 0 <= found["start"] < found["end"] <= 56
    # SciPy's own correlation of all there is peaks there, too
    x, y = said[ALICE], said[BOB] + part
    if below < 20:
        scores = correlate(y, x, "full", "fft")
        best = correlation_lags(len(y), len(x), "full")[np.argmax(scores)]
        assert best / RATE == pytest.approx(lag, abs=0.001)


def test_the_level_is_that_of_scipys_coherence() -> None:
    said = voices()
    part = leaking(said[ALICE], 20, 0.0)
    rng = np.random.default_rng(1)
    noisy = part + 0.003 * rng.normal(0, 1, len(part))
    pair = [stream(said[ALICE], ALICE), stream(noisy, BOB)]
    (found,) = rl.leaks(pair).to_dict("records")
    hertz, alike = coherence(said[ALICE], noisy, RATE, nperseg=8192)
    _, mine = welch(said[ALICE], RATE, nperseg=8192)
    _, theirs = welch(noisy, RATE, nperseg=8192)
    # what the noise makes coherent by chance has no part in what is louder than it
    loud = (hertz > 100) & (alike > 0.2)
    level = 10 * np.log10(mine[loud].sum() / (alike * theirs)[loud].sum())
    assert found["attenuation"] == pytest.approx(level, abs=0.7)
    assert found["attenuation"] == pytest.approx(20, abs=1)


def test_streams_that_are_their_own_do_not_leak() -> None:
    said = voices()
    pair = [stream(said[ALICE], ALICE), stream(said[BOB], BOB)]
    table = rl.leaks(pair)
    assert table.empty
    assert table.columns.tolist() == [
        "participant", "name", "stream", "stream_name", "lag", "attenuation", "share", "compared",
        "start", "end",
    ]  # fmt: skip
    assert rl.leaks(standup.recording()).empty
    assert rl.leaks(pair[0]).empty


def test_a_hum_and_a_ring_in_all_streams_are_no_voice() -> None:
    said = voices()
    time = np.arange(len(said[ALICE])) / RATE
    hum = 0.003 * sum(np.sin(2 * np.pi * 50 * n * time) / n for n in range(1, 30))
    ring = np.where((time > 20) & (time < 20.5), 0.1 * np.sin(2 * np.pi * 440 * time), 0)
    pair = [stream(said[who] + hum + ring, who) for who in (ALICE, BOB)]
    assert rl.leaks(pair).empty


def test_a_voice_that_leaks_into_two_streams_does_not_leak_from_one_to_the_other() -> None:
    said = voices()
    heard = {
        ALICE: said[ALICE],
        BOB: said[BOB] + leaking(said[ALICE], 10, 0.2),
        CAROL: leaking(said[ALICE], 20, 0.3, 1),
    }
    found = rl.leaks([stream(sound, who) for who, sound in heard.items()])
    assert found["participant"].tolist() == [ALICE, ALICE]
    assert found["stream"].tolist() == [BOB, CAROL]
    assert found["lag"].tolist() == pytest.approx([200, 300], abs=1)
    assert found["attenuation"].tolist() == pytest.approx([10, 20], abs=2)


def test_a_leak_for_a_part_of_the_time() -> None:
    said = voices()
    part = leaking(said[ALICE], 15, 0.2)
    part[28 * RATE :] = 0
    (found,) = rl.leaks([stream(said[ALICE], ALICE), stream(said[BOB] + part, BOB)]).to_dict(
        "records"
    )
    assert found["attenuation"] == pytest.approx(15, abs=2)
    spoken = sum(end - start for who, start, end, _ in standup.turns() if who == ALICE)
    early = sum(
        end - start for who, start, end, _ in standup.turns() if who == ALICE and start < 28
    )
    assert found["share"] == pytest.approx(early / spoken, abs=0.15)
    assert found["end"] < 29


def test_one_voice_in_two_tracks_is_of_whom_it_comes_first() -> None:
    said = voices()
    twin = leaking(said[ALICE], 0, 0.02)
    (found,) = rl.leaks([stream(twin, BOB), stream(said[ALICE], ALICE)]).to_dict("records")
    assert (found["participant"], found["stream"]) == (ALICE, BOB)
    assert found["attenuation"] == pytest.approx(0, abs=0.5)


def test_what_are_no_streams_of_a_recording() -> None:
    one = stream(np.zeros(RATE), ALICE)
    with pytest.raises(InvalidArgument, match="each once"):
        rl.leaks([one, one])
    with pytest.raises(InvalidArgument, match="source"):
        rl.leaks([one, 7])
    with pytest.raises(MissingTimestamps):
        rl.leaks([rl.Capture(np.zeros(RATE, np.int16), None, one.info)])
    assert rl.leaks([one, stream(np.zeros(RATE), BOB)]).empty
