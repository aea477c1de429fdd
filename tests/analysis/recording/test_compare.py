"""Captures against recordings whose place is known: found to a part of a sample, or refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from compare import as_int16, capture_of, meeting, recording_of  # type: ignore[attr-defined]
from helpers.builders import make_capture
from helpers.encoded import encode

import recall_lab as rl
from recall_lab.errors import InvalidArgument, InvalidAudio, MissingTimestamps, RecordingMismatch

RATE = 16_000


@pytest.fixture(scope="module")
def call() -> np.ndarray:
    """Two minutes of a meeting, full scale 1."""
    return meeting(120, 1)


def errors(found: rl.Comparison, offset: float, drift: float) -> tuple[float, float]:
    """Return by how much a comparison misses the truth, in s and ppm."""
    return abs(found.offset - offset), abs(found.drift - drift)


@pytest.mark.slow
def test_ten_minutes_with_loss_noise_and_mp3_are_placed_within_a_millisecond(
    tmp_path: Path,
) -> None:
    sound = meeting(600, 2)
    capture = capture_of(sound, 2)
    recording, offset = recording_of(sound, 2, 12.345, 83.0, level=-10, noise=-35)
    path = rl.save(recording, tmp_path / "meeting.mp3", progress=False)
    found = rl.compare(capture, path)
    late, drift = errors(found, offset, 83.0)
    # asked for are 1 ms and 2 ppm; a hundredth of that is had
    assert late < 1e-5
    assert drift < 0.02
    assert found.offset_interval[0] < found.offset < found.offset_interval[1]
    assert found.offset_interval[1] - found.offset_interval[0] < 1e-4
    assert found.drift_interval[1] - found.drift_interval[0] < 0.1
    assert found.level == pytest.approx(-10, abs=1.0)  # the noise is in the recording's level
    assert found.similarity["similarity"].median() > 0.9
    assert found.gaps["recorded"].mean() >= 0.99  # 1 of 278: what is beside it is mostly noise
    assert found.evidence["agreeing"] == found.evidence["windows"]


@pytest.mark.parametrize(
    ("offset", "drift", "level", "noise"),
    [
        (200.0, 200.0, -10, -45),
        (-30.0, -200.0, 10, -60),
        (3.0, 100.0, -30, -20),
        (3.0, -100.0, 30, -75),
        (3.0, 30.0, -10, -18),  # no louder than the speech
    ],
)
def test_offset_drift_level_and_noise_of_any_kind(
    call: np.ndarray, offset: float, drift: float, level: float, noise: float
) -> None:
    recording, true = recording_of(call, 1, offset, drift, level=level, noise=noise)
    found = rl.compare(capture_of(call, 1), recording)
    late, off = errors(found, true, drift)
    assert late < 2e-5
    assert off < 0.2
    # noise makes the recording louder than it should be, and clipping, which 30 dB do, quieter
    assert found.level == pytest.approx(level, abs=10)


@pytest.mark.parametrize(
    ("seed", "drift", "noise", "coded"),
    [(14, 0.0, -60, False), (15, -150.0, -18, False), (16, 83.0, -35, True)],
)
def test_a_wave_upside_down_is_told_and_all_else_is_as_exact(
    call: np.ndarray, tmp_path: Path, seed: int, drift: float, noise: float, coded: bool
) -> None:
    recording, true = recording_of(call, seed, 7.3, drift, noise=noise)
    capture = capture_of(call, seed)
    both = []
    for sign in (1, -1):
        turned = np.clip(recording, -32_767, 32_767) * np.int16(sign)
        if coded:
            path = rl.save(turned, tmp_path / f"{sign}.mp3", progress=False)
            both.append(rl.compare(capture, path))
        else:
            both.append(rl.compare(capture, turned))
    plain, found = both
    assert not plain.inverted
    assert found.inverted
    for one in both:
        late, off = errors(one, true, drift)
        assert late < 1e-5
        assert off < 0.1
        assert one.offset_interval[0] < true < one.offset_interval[1]
        assert one.evidence["agreeing"] > 0.9 * one.evidence["windows"]
    # a coder's rounding differs by the sign, and so does the noise of a millionth
    assert found.level == pytest.approx(plain.level, abs=0.01)
    for name, close in (("similarity", 1e-3), ("lag", 1e-6), ("level", 0.02)):
        one, other = (have.similarity[name][plain.similarity["lag"].notna()] for have in both)
        np.testing.assert_allclose(one, other, atol=close, rtol=0)
    np.testing.assert_array_equal(found.gaps["recorded"], plain.gaps["recorded"])
    assert "polarity: inverted" in repr(found)
    assert len(repr(found)) < 250
    assert "inverted" in found._repr_html_()
    assert "polarity" not in repr(plain) + plain._repr_html_()


@pytest.mark.parametrize("low", [0, 40, 110])
def test_a_part_that_is_upside_down_is_a_piece_of_its_own(call: np.ndarray, low: int) -> None:
    recording = as_int16(call)
    for high, sign in ((low + 10, 1), (low + 10, -1)):
        turned = recording * np.int16(sign)
        turned[low * RATE : high * RATE] *= -1
        found = rl.compare(capture_of(call, 17), turned)
        assert found.inverted == (sign < 0)
        (odd,) = np.flatnonzero(found.pieces["inverted"] != found.inverted)
        assert found.pieces["start"][odd] == pytest.approx(low, abs=1)
        assert found.pieces["end"][odd] == pytest.approx(min(high, 120), abs=1)
        np.testing.assert_allclose(found.pieces["offset"], 0, atol=1e-5)
        assert found.share == 1


def test_levels_are_those_of_the_samples(call: np.ndarray) -> None:
    capture = rl.Capture(as_int16(call))
    recording = as_int16(0.5 * call)
    found = rl.compare(capture, recording)
    rms = [np.sqrt(np.mean(np.square(x.astype(float)))) for x in (capture.samples, recording)]
    assert found.level == pytest.approx(20 * np.log10(rms[0] / rms[1]), abs=0.05)
    assert found.level_range[0] <= found.level <= found.level_range[1]
    one, other = (x[: 2 * RATE].astype(float) for x in (capture.samples, recording))
    by_hand = 10 * np.log10(np.mean(one**2) / np.mean(other**2))
    assert found.similarity["level"].iloc[0] == pytest.approx(by_hand, abs=1e-3)
    lifted = rl.compare(capture, recording + np.int16(500))  # direct current is no level
    assert lifted.level == pytest.approx(found.level, abs=1e-3)


@pytest.mark.slow
def test_intervals_hold_the_truth() -> None:
    inside = []
    for seed in range(10):
        rng = np.random.default_rng((12, seed))
        drift = float(rng.uniform(-200, 200))
        sound = meeting(75, 40 + seed)
        recording, offset = recording_of(
            sound, seed, float(rng.uniform(-5, 20)), drift, noise=float(rng.choice([-16, -25]))
        )
        found = rl.compare(capture_of(sound, seed), recording)
        low, high = found.offset_interval
        slow, fast = found.drift_interval
        inside.append([low <= offset <= high, slow <= drift <= fast])
        assert high - low < 1e-4
        assert fast - slow < 1
    assert (np.sum(inside, axis=0) >= 8).all(), inside


def test_a_short_recording_has_ten_seconds_of_blank(call: np.ndarray) -> None:
    sound = call[: 8 * RATE]
    blank = np.zeros(10 * RATE, np.int16)
    for recording in (np.append(as_int16(sound), blank), np.append(blank, as_int16(sound))):
        found = rl.compare(capture_of(sound, 3), recording)
        late = 0.0 if recording[:RATE].any() else 10.0
        assert found.offset == pytest.approx(late, abs=1e-5)
        assert sorted(found.blank) == pytest.approx([0, 10], abs=0.01)
        assert np.isnan(found.drift)
        assert np.isnan(found.drift_interval).all()
        assert "drift: too short to tell" in repr(found)
        assert found.gaps["recorded"].all()


def test_half_a_minute_has_a_rate_but_no_drift(call: np.ndarray) -> None:
    sound = call[: 40 * RATE]
    recording, offset = recording_of(sound, 1, 4.0, 150.0)
    found = rl.compare(capture_of(sound, 1), recording)
    assert np.isnan(found.drift)
    assert 1e6 * (found.rate - 1) == pytest.approx(150, abs=1)
    assert float(found.recording_time(20.0)) == pytest.approx(offset + 20 * 1.00015, abs=1e-5)
    assert float(found.relative_time(found.recording_time(7.5))) == pytest.approx(7.5)


def test_a_recording_may_be_a_part_of_the_call_or_the_call_a_part_of_it(call: np.ndarray) -> None:
    capture = capture_of(call, 4)
    recording, offset = recording_of(call, 4, -60.0, 50.0)
    found = rl.compare(capture, recording[: 30 * RATE])
    assert found.offset == pytest.approx(offset, abs=5e-5)
    told = found.similarity.dropna()
    assert told["start"].min() >= 58
    assert told["end"].max() <= 92
    gaps = found.gaps
    inside = (gaps["start"] > 60) & (gaps["end"] < 89.9)
    assert (gaps["recorded"] == inside).all()
    assert (gaps.loc[~inside, "recorded_seconds"] < gaps.loc[~inside, "duration"]).all()


def test_great_holes_and_a_late_start_do_no_harm(call: np.ndarray) -> None:
    whole = capture_of(call, 5, loss=0.3, start=5000.0)
    packets = whole.packets
    away = packets["relative"].between(5010, 5070)
    holed = packets[~away].reset_index(drop=True).rename_axis("packet")
    capture = rl.Capture(whole.samples, holed)
    recording, offset = recording_of(call, 5, 20.0, 120.0)
    found = rl.compare(capture, recording)
    # relative time 5000 is at `offset`: what is at 0 lies far outside, and the interval says so
    assert float(found.recording_time(5000)) == pytest.approx(offset, abs=1e-5)
    low, high = found.offset_interval
    assert low <= offset - 5000 * (1 + 120e-6) <= high
    longest = found.gaps.loc[found.gaps["duration"].idxmax()]
    assert longest["duration"] > 60
    assert longest["recorded"]
    assert longest["speech"] == pytest.approx(
        rl.speech(recording, start=30, end=90)["duration"].sum(), abs=1
    )


def test_what_the_recording_has_of_a_gap(call: np.ndarray) -> None:
    capture = capture_of(call, 6)
    recording = as_int16(call)
    found = rl.compare(capture, recording).gaps
    expected = rl.gaps(capture).query("kind == 'gap'")
    np.testing.assert_array_equal(found["start"], expected["start"])
    np.testing.assert_array_equal(found["cause"], expected["cause"])
    np.testing.assert_allclose(found["recorded_seconds"], found["duration"], atol=1e-4)
    for row in found.itertuples():
        there = recording[round(row.start * RATE) : round(row.end * RATE)] / 32_768
        assert row.rms == pytest.approx(10 * np.log10(2 * np.mean(there**2)), abs=0.5)
        assert 0 <= row.speech <= row.duration + 1e-9


def test_audio_without_packets_is_counted_from_its_beginning(call: np.ndarray) -> None:
    recording, offset = recording_of(call, 7, 20.0, 50.0)
    found = rl.compare(rl.Capture(as_int16(call)), recording)
    assert errors(found, offset, 50.0)[0] < 1e-5
    assert found.gaps.empty
    assert list(found.gaps.columns[-5:]) == [
        "recorded", "recorded_seconds", "rms", "speech", "why",
    ]  # fmt: skip
    assert found.fills.empty


def test_a_recording_of_any_kind(call: np.ndarray, tmp_path: Path) -> None:
    sound = call[: 20 * RATE]
    capture = capture_of(sound, 8)
    samples = as_int16(sound)
    path = rl.save(samples, tmp_path / "a.flac")
    stamped = capture_of(sound, 9, loss=0.2, start=100.0)
    kinds = [samples, samples / 32_768, path, str(path), rl.from_audio(path), stamped]
    offsets = [rl.compare(capture, kind).offset for kind in kinds]
    assert offsets == pytest.approx([0, 0, 0, 0, 0, 100], abs=1e-5)
    partly = rl.compare(capture, stamped).gaps
    assert 0 < partly["recorded"].mean() < 1  # it has holes of its own
    assert (partly.loc[~partly["recorded"], "recorded_seconds"] < 0.1).all()


def test_stamps_in_steps_widen_the_intervals(call: np.ndarray) -> None:
    relative = np.arange(0, 60, 0.0625)
    audio = as_int16(call)[: len(relative) * 1000]
    exact = rl.compare(make_capture(relative, 1000, audio=audio), as_int16(call))
    rounded = make_capture(np.round(relative, 3), 1000, audio=audio)
    stepped = rl.compare(rounded, as_int16(call))
    assert np.diff(exact.offset_interval)[0] < 1e-5
    assert np.diff(stepped.offset_interval)[0] > 1e-3
    assert stepped.offset_interval[0] <= 0 <= stepped.offset_interval[1]


@pytest.mark.parametrize(
    ("rate", "told"), [(16_000, False), (44_100, False), (16_000, True), (44_100, True)]
)
def test_what_an_encoder_put_in_front_is_in_the_interval(
    call: np.ndarray, tmp_path: Path, rate: int, told: bool
) -> None:
    sound = call[: 20 * RATE]
    capture = capture_of(sound, 1)
    recording, offset = recording_of(sound, 1, 3.0, 0.0)
    # into a pipe no tag can be written that says how much it is
    path = encode(tmp_path / "a.mp3", recording, "libmp3lame", rate, pipe=not told)
    found = rl.compare(capture, path)
    low, high = found.offset_interval
    assert low <= offset <= high
    # LAME's 576 samples and the decoder's 529, of which the tag tells
    assert found.offset == pytest.approx(offset + (0 if told else 1105 / rate), abs=1e-4)
    if told:
        assert high - low < 1e-3
        assert "(±" in repr(found)
    else:
        assert offset < found.offset - 0.02  # outside what the scatter of the lags allows
        assert high - found.offset < 1e-3
        assert high - low < 0.11
        most = round(1689 / rate * 1e3)
        assert f"(-{most} to +0.00" in repr(found)
        assert "as its encoder's delay is not told" in repr(found)
    assert rl.compare(capture, rl.from_audio(path)).offset_interval == found.offset_interval
    low, high = rl.compare(rl.from_audio(path), as_int16(sound)).offset_interval
    assert low <= -offset <= high  # of the two, the capture may come too late as well


def wrong(kind: str, call: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a sound and one that is no recording of it, int16."""
    rng = np.random.default_rng(13)
    times = np.arange(120 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * times) / 3
    beeps = tone * (times % 1 < 0.5)
    buzz = 0.3 * ((times * 100) % 1 < 0.05)
    loop = np.tile(call[: 20 * RATE], 6)
    noise = rng.normal(0, 0.1, len(times))
    pairs = {
        "another meeting": (call, meeting(120, 3)),
        "another, longer meeting": (call, meeting(600, 4)),
        "another, shorter meeting": (call, meeting(20, 5)),
        "silence": (call, np.zeros(len(times))),
        "near silence": (call, rng.choice([0, 1 / 32_768], len(times))),
        "noise": (call, noise),
        "noise of the capture": (noise, rng.normal(0, 0.1, len(times))),
        "a tone": (tone, tone[3000:]),
        "beeps": (beeps, beeps[3000:]),
        "buzz": (buzz, buzz[3000:]),
        "a loop": (loop[: 20 * RATE], loop),
        "a loop of the same length": (loop, loop),
        "silence of the capture": (np.zeros(len(times)), call),
        "nothing": (call, call[:0]),
    }
    one, other = pairs[kind]
    return as_int16(one), as_int16(other)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("another meeting", "agree, where"),
        ("another, longer meeting", "agree, where"),
        ("another, shorter meeting", "agree, where"),
        ("silence", "0.00 s are not digital silence"),
        ("near silence", "0.00 s are not digital silence"),
        ("noise", "agree, where"),
        ("noise of the capture", "agree, where"),
        # an odd number of half periods late: upside down it fits, and again 30 s later
        ("a tone", "agree, where|repeats itself"),
        ("beeps", "repeats itself"),
        ("buzz", "repeats itself"),
        ("a loop", "repeats itself"),
        ("a loop of the same length", "repeats itself"),
        ("silence of the capture", "something to hear in 0 of"),
        ("nothing", "0.00 s are not digital silence"),
    ],
)
def test_what_fits_nowhere_or_anywhere_is_refused(kind: str, reason: str, call: np.ndarray) -> None:
    one, two = wrong(kind, call)
    for capture, other in (
        (rl.Capture(one), two),
        (capture_of(one / np.float32(32_768), 10), -two),  # nor upside down
    ):
        with pytest.raises(RecordingMismatch, match="can't be aligned") as caught:
            rl.compare(capture, other)
        assert re.search(reason, caught.value.reason)
        assert "capture.info.recording" in str(caught.value)


@pytest.mark.parametrize("seed", range(6))
def test_other_words_of_the_same_voices_never_fit(seed: int) -> None:
    capture, other = capture_of(meeting(30, 60 + seed), 1), as_int16(meeting(90, 80 + seed))
    for recording in (other, -other):
        with pytest.raises(RecordingMismatch):
            rl.compare(capture, recording)


def test_a_recording_with_a_piece_cut_out_shows_where(call: np.ndarray) -> None:
    recording = as_int16(np.delete(call, slice(80 * RATE, 90 * RATE)))
    found = rl.compare(capture_of(call, 11), recording)
    np.testing.assert_allclose(found.pieces["offset"], [0, -10], atol=1e-5)
    np.testing.assert_allclose(found.pieces[["start", "end"]], [[0, 80], [90, 120]], atol=0.6)
    (alone,) = found.unmatched.itertuples()
    assert alone.side == "capture"
    assert (alone.start, alone.end) == pytest.approx((80, 90), abs=0.6)
    assert found.share == pytest.approx(110 / 120, abs=0.03)
    assert found.alike == pytest.approx(found.share, abs=0.03)
    table = found.similarity
    cut = (table["start"] >= 80) & (table["end"] <= 90)
    assert table.loc[~cut, "similarity"].median() > 0.99
    assert table.loc[cut, "similarity"].median() < 0.3
    assert (table.loc[cut, "piece"] == -1).all()
    assert np.isnan(found.recording_time(85.0))
    np.testing.assert_allclose(found.recording_time([10.0, 100.0]), [10, 90], atol=1e-5)
    np.testing.assert_allclose(found.relative_time([10.0, 90.0]), [10, 100], atol=1e-5)


def test_it_says_of_itself_what_it_is(call: np.ndarray) -> None:
    capture = capture_of(call, 12)
    found = rl.compare(capture, as_int16(call))
    assert len(repr(found)) < 250
    assert repr(found).startswith("<Comparison unnamed, offset: ")
    page = found._repr_html_()
    assert "gaps in the recording" in page
    assert "<script" not in page
    with pytest.raises(AttributeError):
        found.offset = 1.0  # type: ignore[misc]


def test_arguments_that_cannot_be(call: np.ndarray, tmp_path: Path) -> None:
    capture = capture_of(call[: 10 * RATE], 1)
    with pytest.raises(InvalidArgument, match="every=0 "):
        rl.compare(capture, as_int16(call), every=0)
    with pytest.raises(InvalidArgument, match="capture="):
        rl.compare(call, as_int16(call))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="samples="):
        rl.compare(capture, np.zeros((5, 2)))
    with pytest.raises(InvalidAudio, match="is not a file"):
        rl.compare(capture, tmp_path / "none.mp3")
    with pytest.raises(MissingTimestamps):
        rl.compare(make_capture([np.nan, np.nan]), as_int16(call))
    with pytest.raises(RecordingMismatch, match="the least to tell by"):
        rl.compare(make_capture([]), as_int16(call))
