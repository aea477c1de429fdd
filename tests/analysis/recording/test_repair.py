"""What was lost, filled from a recording: in its place, at its level, and known for what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare import as_int16, capture_of, meeting, recording_of  # type: ignore[attr-defined]
from helpers.builders import arrive, make_capture
from helpers.plans import draw

import recall_lab as rl
from recall_lab.analysis.alignment.align import Line
from recall_lab.analysis.recording.repair import interpolate
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.errors import InvalidArgument, MissingTimestamps, RecordingMismatch

RATE = 16_000


@pytest.fixture(scope="module")
def call() -> np.ndarray:
    """A minute of a meeting, full scale 1."""
    return meeting(60, 21)


def filled(capture: rl.Capture) -> pd.DataFrame:
    """Return the packets that were filled in."""
    return capture.packets[(capture.packets["flags"] & int(rl.Flag.REPAIRED)) != 0]


def lag_of(one: np.ndarray, other: np.ndarray) -> int:
    """Return by how many samples `other` is later, up to 40 either way."""
    scores = [np.dot(one[40:-40], np.roll(other, -k)[40:-40]) for k in range(-40, 41)]
    return int(np.argmax(scores)) - 40


def unchanged(before: rl.Capture, after: rl.Capture) -> None:
    """Fail unless every packet is there as it was, with the samples that it had."""
    kept = after.packets.drop(index=filled(after).index)
    for name in before.packets.columns.drop("offset"):
        np.testing.assert_array_equal(kept[name], before.packets[name])
    for old, new in zip(before.packets.itertuples(), kept.itertuples(), strict=True):
        one = before.samples[old.offset : old.offset + old.samples]
        other = after.samples[new.offset : new.offset + new.samples]
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("drift", "start"), [(0.0, 0.0), (180.0, 0.0), (-200.0, 1234.5)])
def test_fills_are_the_audio_that_was_lost(call: np.ndarray, drift: float, start: float) -> None:
    capture = capture_of(call, 1, loss=0.1, start=start)
    recording, _ = recording_of(call, 1, 7.3, drift, level=-10, noise=-50)
    repaired = rl.repair(capture, recording)
    assert rl.gaps(repaired).empty
    unchanged(capture, repaired)
    truth = as_int16(call).astype(float)
    loud = 0
    for row in filled(repaired).itertuples():
        at = round((row.relative - start) * RATE)
        lost = truth[at : at + row.samples]
        fill = repaired.samples[row.offset : row.offset + row.samples].astype(float)
        if lost.std() < 100:  # a pause: noise, which is another one there
            continue
        loud += 1
        assert np.corrcoef(lost, fill)[0, 1] > 0.95
        assert abs(20 * np.log10(fill.std() / lost.std())) < 1
        assert abs(lag_of(lost, fill)) <= 2
    assert loud > 20
    whole = rl.timeline(repaired).samples
    assert np.corrcoef(whole, truth[: len(whole)])[0, 1] > 0.999


def test_fills_from_a_wave_upside_down_are_turned_over(call: np.ndarray) -> None:
    capture = capture_of(call, 7, loss=0.1)
    recording, _ = recording_of(call, 1, 7.3, 50.0, level=-10, noise=-50)
    plain, turned = (
        rl.repair(capture, np.clip(recording, -32_767, 32_767) * np.int16(sign)) for sign in (1, -1)
    )
    unchanged(capture, turned)
    assert rl.gaps(turned).empty
    fills = [
        np.concatenate(
            [
                one.samples[row.offset : row.offset + row.samples].astype(float)
                for row in filled(one).itertuples()
            ]
        )
        for one in (plain, turned)
    ]
    assert np.abs(fills[0] - fills[1]).max() <= 2  # of 16 bits
    truth = as_int16(call).astype(float)
    whole = rl.timeline(turned).samples
    assert np.corrcoef(whole, truth[: len(whole)])[0, 1] > 0.999
    # one wrong sign would show
    lost = ~rl.timeline(capture).real
    assert np.corrcoef(whole[lost], truth[: len(whole)][lost])[0, 1] > 0.95
    assert np.corrcoef(-whole[lost], truth[: len(whole)][lost])[0, 1] < -0.95
    turned_in_part = recording.copy()
    turned_in_part[30 * RATE : 40 * RATE] //= -1
    whole = rl.timeline(rl.repair(capture, turned_in_part)).samples
    assert np.corrcoef(whole, truth[: len(whole)])[0, 1] > 0.999


def test_a_fill_says_of_itself_that_it_was_never_received(call: np.ndarray) -> None:
    capture = capture_of(call, 2)
    repaired = rl.repair(capture, as_int16(call))
    rows = filled(repaired)
    gaps = rl.gaps(capture)
    assert len(rows) == len(gaps)
    np.testing.assert_allclose(rows["relative"], gaps["start"])
    assert (rows["absolute"].to_numpy() == gaps["absolute"].to_numpy()).all()
    assert (rows["connection"] == 0).all()
    assert (rows["sequence"] == 0).all()
    before = repaired.packets.loc[rows.index - 1]
    assert rows["monotonic"].to_numpy().max() <= repaired.packets["monotonic"].max()
    assert (np.diff(repaired.packets["monotonic"]) >= 0).all()
    assert (before["relative"].to_numpy() < rows["relative"].to_numpy()).all()
    assert not set(rl.verify(repaired).index) & set(rows.index)  # the checksum is its own
    assert repaired.info == capture.info
    assert repaired.path is None
    rl.check_frame(repaired.packets)


def test_what_concerns_arrival_is_as_it_was(call: np.ndarray) -> None:
    capture = capture_of(call, 3, loss=0.2)
    repaired = rl.repair(capture, as_int16(call))
    assert len(filled(repaired)) > 20
    for measure in (rl.jitter, rl.latency):
        one, other = measure(capture), measure(repaired)
        np.testing.assert_array_equal(one.to_numpy(), other.to_numpy())
    for table in (rl.drift, rl.stalls, rl.clock_steps, rl.playout):
        pd.testing.assert_frame_equal(table(capture), table(repaired))
    assert rl.quality(repaired)["packets"] == len(capture.packets)
    assert rl.quality(repaired)["missing_s"] == 0


def test_what_the_recording_has_not_stays_a_gap(call: np.ndarray) -> None:
    packets = np.delete(np.arange(600), np.r_[100:120, 200:230, 560:590])
    audio = as_int16(call).reshape(600, 1600)[packets].ravel()
    capture = make_capture(packets / 10, 1600, audio=audio)
    recording = as_int16(call)[21 * RATE : 57 * RATE]  # from within a gap to within another
    repaired = rl.repair(capture, recording)
    left = rl.gaps(repaired)
    # nothing on the other side says that it lies where it seems to
    np.testing.assert_allclose(left["start"], [10, 20, 56], atol=2 / RATE)
    assert repaired.fills.empty
    assert repaired.left["why"].tolist() == [
        "the recording begins later", "what is before it lies nowhere",
        "what is after it lies nowhere",
    ]  # fmt: skip
    unchanged(capture, repaired)
    blank = as_int16(call)
    blank[205 * 1600 : 215 * 1600] = 0
    repaired = rl.repair(capture, blank)
    left = rl.gaps(repaired)
    np.testing.assert_allclose(left[["start", "end"]], [[20.5, 21.5]], atol=0.1)
    assert repaired.left["why"].tolist() == ["the recording is blank there"]
    assert repaired.left["filled"].iloc[0] == pytest.approx(2, abs=0.1)


def test_fills_join_what_is_beside_them_without_a_click(call: np.ndarray) -> None:
    capture = capture_of(call, 4, loss=0.2)
    truth = as_int16(call).astype(float)
    recording = as_int16(call) + np.int16(800)  # direct current
    steps = {}
    for fade in (0.0, 0.005):
        repaired = rl.repair(capture, recording, fade=fade)
        rows = filled(repaired)
        begins = np.rint(rows["relative"].to_numpy() * RATE).astype(int)
        edges = np.concatenate([begins, begins + rows["samples"].to_numpy()])
        off = rl.timeline(repaired).samples - truth
        steps[fade] = float(np.abs(off[edges] - off[edges - 1]).max())
    assert steps[0.0] > 700
    assert steps[0.005] < 20


def test_a_comparison_that_is_there_is_used(call: np.ndarray) -> None:
    capture = capture_of(call, 5)
    recording = as_int16(call)
    found = rl.compare(capture, recording)
    one = rl.repair(capture, recording, comparison=found)
    np.testing.assert_array_equal(one.samples, rl.repair(capture, recording).samples)
    with pytest.raises(InvalidArgument, match="comparison="):
        rl.repair(capture, recording[:-5], comparison=found)
    with pytest.raises(InvalidArgument, match="comparison="):
        rl.repair(capture, recording, comparison="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_calls_in_which_everything_goes_wrong(seed: int) -> None:
    given = draw(seed)
    capture = arrive(given.plan)
    source = np.random.default_rng(0).integers(-3000, 3000, 60 * RATE).astype("<i2")
    before = rl.gaps(capture)
    repaired = rl.repair(capture, source)
    after = rl.gaps(repaired)
    unchanged(capture, repaired)
    left = after[after["kind"] == "gap"]
    assert len(left) == len(repaired.left) <= 1  # beside damaged audio nothing is sure
    assert (repaired.left["why"] != "").all()
    kinds = [
        frame["kind"].value_counts().reindex(["duplicate", "reordered", "overlap"]).fillna(0)
        for frame in (before, after)
    ]
    pd.testing.assert_series_equal(*kinds)


def test_stamps_in_steps_stay_in_steps(call: np.ndarray) -> None:
    numbers = np.delete(np.arange(900), np.arange(20, 880, 15))
    audio = as_int16(call)[: 900 * 1000].reshape(900, 1000)[numbers].ravel()
    capture = make_capture(np.round(numbers * 0.0625, 3), 1000, audio=audio)
    repaired = rl.repair(capture, as_int16(call))
    assert rl.quality(capture)["stamp_grid_ms"] == 1
    assert rl.quality(repaired)["stamp_grid_ms"] == 1
    assert rl.gaps(repaired).empty


def test_a_participant_is_not_given_the_words_of_others(call: np.ndarray) -> None:
    packets = np.delete(np.arange(600), np.r_[100:130, 300:302])
    audio = as_int16(call).reshape(600, 1600)[packets].ravel()
    capture = make_capture(packets / 10, 1600, audio=audio, participant=7)
    assert rl.gaps(capture)["cause"].tolist() == ["mute", "loss"]
    with pytest.raises(InvalidArgument, match="others' voices"):
        rl.repair(capture, as_int16(call))
    repaired = rl.repair(capture, as_int16(call), alone=True)
    assert rl.gaps(repaired)["cause"].tolist() == ["mute"]


def test_a_repaired_capture_can_be_used_like_any_other(call: np.ndarray, tmp_path: Path) -> None:
    capture = capture_of(call, 6)
    repaired = rl.repair(capture, as_int16(call))
    np.testing.assert_array_equal(repaired.samples, rl.timeline(repaired).samples)
    part = repaired.slice(10, 20)
    assert part.duration == pytest.approx(10)
    assert rl.save(repaired, tmp_path / "whole.flac").exists()
    again = rl.repair(repaired, as_int16(call))
    assert len(again.packets) == len(repaired.packets)
    whole = rl.repair(capture_of(call, 6, loss=0.0), as_int16(call))
    assert filled(whole).empty


def test_interpolation_is_that_of_a_fine_fourier_series() -> None:
    rng = np.random.default_rng(7)
    size = 4000
    spectrum = np.zeros(size // 2 + 1, complex)
    spectrum[20:1700] = rng.normal(size=1680) + 1j * rng.normal(size=1680)  # up to 6.8 kHz
    sound = np.fft.irfft(spectrum, size)
    sound /= 3 * sound.std()
    line = Line(100.3, 1.0002)
    found = interpolate(as_timeline(sound), line, 0, 3700)
    places = line.of(np.arange(3700))
    bins = np.arange(size // 2 + 1)
    wave = np.exp(2j * np.pi * np.outer(places, bins) / size) @ np.fft.rfft(sound)
    expected = 2 * wave.real / size
    assert np.abs(found - expected).max() < 3e-3  # a 1024th of a sample, at most
    outside = interpolate(as_timeline(sound), Line(-50.0), 0, 20)
    assert not outside.any()


def test_arguments_that_cannot_be(call: np.ndarray) -> None:
    capture = capture_of(call, 1)
    for fade in (-0.1, 2, True, "x"):
        with pytest.raises(InvalidArgument, match="fade="):
            rl.repair(capture, as_int16(call), fade=fade)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="capture="):
        rl.repair(call, as_int16(call))  # type: ignore[arg-type]
    with pytest.raises(MissingTimestamps):
        rl.repair(rl.Capture(as_int16(call)), as_int16(call))
    with pytest.raises(RecordingMismatch):
        rl.repair(capture, as_int16(meeting(60, 22)))
