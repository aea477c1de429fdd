"""Findings of sound: each fault made by hand in a synthetic talk, at and below its threshold."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.detectors.scan import scan
from recall_lab.analysis.detectors.sound import bandwidth_of, clipping, zero_filled
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import Finding
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.audio_files import read_audio
from recall_lab.wire.messages import Participant

RATE = 16_000


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")


def as_int16(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples).clip(-32_768, 32_767).astype(np.int16)


def told(samples: np.ndarray) -> dict[str, Finding]:
    return {one.finding: one for one in findings_of_samples(samples)}


@pytest.mark.parametrize("gain", [0.25, 1, 4])
def test_of_a_talk_that_is_right_nothing_is_told(talk: np.ndarray, gain: float) -> None:
    assert told(as_int16(talk * gain)) == {}


def test_the_example_captures_are_right_in_sound(root: Path) -> None:
    from recall_lab.loading import load

    for name in ("standup-lossy", "standup-broken.100"):
        assert findings_of_samples(load(root / f"data/{name}.bin")) == []


def test_a_call_of_zeros_is_bad_and_one_persons_is_a_warning() -> None:
    zeros = np.zeros(60 * RATE, np.int16)
    (found,) = findings_of_samples(zeros)
    assert (found.finding, found.severity, found.value) == ("digital_silence", "bad", 60)
    info = CaptureInfo(recording="r", participant=Participant(id=1, name="Eve"))
    (found,) = findings_of_samples(Capture(zeros, info=info))
    assert (found.finding, found.severity) == ("digital_silence", "warning")


@pytest.mark.parametrize(("seconds", "severity"), [(59, None), (61, "warning")])
def test_a_minute_of_zeros_within_a_call(
    talk: np.ndarray, seconds: int, severity: str | None
) -> None:
    samples = np.insert(talk, 20 * RATE, np.zeros(seconds * RATE, np.int16))
    found = told(samples).get("digital_silence")
    assert (found and found.severity) == severity
    if found:
        assert (found.start, found.end) == pytest.approx((20, 81), abs=0.01)
        (note,) = findings_of_samples(samples, participant=True)
        assert note.severity == "note"


def test_nothing_but_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    found = told(rng.integers(-1, 2, 20 * RATE).astype(np.int16))
    assert found.keys() == {"last_bit_only"}
    assert found["last_bit_only"].severity == "bad"
    assert "last_bit_only" not in told(rng.integers(-2, 3, 20 * RATE).astype(np.int16))


@pytest.mark.parametrize(("level", "low"), [(-64, False), (-68, True), (-80, True)])
def test_a_level_at_which_rounding_is_heard(talk: np.ndarray, level: float, low: bool) -> None:
    quiet = as_int16(talk * 10 ** ((level - scan(talk).loud) / 20))
    found = told(quiet)
    assert ("level_low" in found) == low
    if low:
        assert found["level_low"].value == pytest.approx(level, abs=0.6)


@pytest.mark.parametrize("top", [32_767, 12_000])
@pytest.mark.parametrize(("share", "severity"), [(0.4, "warning"), (5, "bad"), (47, "bad")])
def test_clipping_is_measured_at_full_scale_and_below(
    talk: np.ndarray, top: int, share: float, severity: str
) -> None:
    sounding = np.repeat(scan(talk).sounding, 320)
    spoken = np.abs(talk[: len(sounding)].astype(int)[sounding])
    gain = top / np.percentile(spoken, 100 - share)
    cut = np.rint(talk * gain).clip(-top, top).astype(np.int16)
    (found,) = clipping(scan(cut))
    assert found.finding == "clipping"
    lengths = [
        len(list(run)) for value, run in groupby(cut.tolist()) if abs(value) == top
    ]  # fmt: skip
    flat = sum(length for length in lengths if length >= 3)  # one or two are no clipping
    assert found.value == pytest.approx(100 * flat / (scan(cut).sounding.sum() * 320), rel=1e-6)
    assert 0.2 * share < found.value < 1.2 * share
    assert found.severity == severity
    assert f"the longest run {max(lengths)}" in found.evidence
    assert f"at {20 * np.log10(top / 32_768):.1f} dBFS" in found.evidence


def test_waves_that_turn_are_not_cut_off(talk: np.ndarray) -> None:
    time = np.arange(20 * RATE) / RATE
    for hertz in (50, 100, 400, 1000):
        assert clipping(scan(as_int16(30_000 * np.sin(2 * np.pi * hertz * time)))) == []
    touched = talk.copy()
    touched[::RATE] = 32_767  # one sample a second is a click
    assert clipping(scan(touched)) == []


@pytest.mark.parametrize("percent", [-10, -1.1, 0.9, 1.1, 10])
def test_a_mean_that_is_not_zero(talk: np.ndarray, percent: float) -> None:
    found = told(as_int16(talk + percent / 100 * 32_768))
    assert ("dc_offset" in found) == (abs(percent) >= 1)
    if found:
        assert found.keys() == {"dc_offset"}
        assert found["dc_offset"].value == pytest.approx(abs(percent), abs=0.02)
        assert f"{percent / 100 * 32_768:+,.0f}"[0] in found["dc_offset"].evidence


@pytest.mark.parametrize("mains", [50, 60])
@pytest.mark.parametrize(("below", "heard"), [(30, True), (20, True), (45, False)])
def test_hum_of_the_mains(talk: np.ndarray, mains: int, below: float, heard: bool) -> None:
    time = np.arange(len(talk)) / RATE
    wave = sum(np.sin(2 * np.pi * mains * n * time + n) / n for n in (1, 2, 3))
    wave *= 32_768 * 10 ** ((scan(talk).loud - below) / 20) / np.sqrt(2 * np.mean(wave**2))
    found = told(as_int16(talk + wave))
    assert ("mains_hum" in found) == heard
    if heard:
        assert found["mains_hum"].value == pytest.approx(-below, abs=1)
        assert found["mains_hum"].evidence.startswith(f"it hums at {mains} Hz")


@pytest.mark.parametrize("mean", [0, 3000])
def test_a_telephone_is_a_note_whatever_the_mean(talk: np.ndarray, mean: int) -> None:
    halved = resample_poly(resample_poly(talk.astype(float), 1, 2), 2, 1)
    found = told(as_int16(halved + mean))
    assert found["narrow_band"].severity == "note"
    assert found["narrow_band"].value == pytest.approx(4250, abs=300)  # its slope, as in sound
    assert bandwidth_of(scan(as_int16(talk + mean))) > 7000


def cut_words(samples: np.ndarray, count: int, size: int) -> tuple[np.ndarray, list[int]]:
    """Put zeros into the loudest places of as many pieces."""
    out = samples.copy()
    places = []
    for part in np.array_split(np.arange(len(samples) // 160), count):
        power = [np.square(samples[at * 160 : at * 160 + 160].astype(float)).sum() for at in part]
        places.append(int(part[int(np.argmax(power))]) * 160)
        out[places[-1] : places[-1] + size] = 0
    return out, places


@pytest.mark.parametrize("size", [160, 320, 1600])
def test_zeros_for_losses_within_words(talk: np.ndarray, size: int) -> None:
    out, places = cut_words(talk, 12, size)
    found = told(out)["zero_filled_losses"]
    assert found.value >= 6
    spans = zero_filled(scan(out))
    for first, last in spans.tolist():
        nearest = min(places, key=lambda at: abs(at - first))
        assert abs(first - nearest) <= 3
        assert abs(last - nearest - size) <= 3


def test_two_losses_are_too_few_and_many_are_bad(talk: np.ndarray) -> None:
    assert "zero_filled_losses" not in told(cut_words(talk, 2, 320)[0])
    assert told(cut_words(talk, 10, 320)[0])["zero_filled_losses"].severity == "warning"
    assert told(cut_words(talk, 20, 1600)[0])["zero_filled_losses"].severity == "bad"


@pytest.mark.parametrize("fade", [0, 160])
def test_silence_between_words_is_no_loss(talk: np.ndarray, fade: int) -> None:
    # a gate: zeros in multiples of 10 ms where it was quiet for 30, opening and closing at once
    frames = talk[: len(talk) // 160 * 160].reshape(-1, 160).astype(float)
    level = np.square(frames).mean(axis=1)
    open_ = np.convolve(level > level.max() / 3000, np.ones(4))[: len(level)] > 0
    gate = np.repeat(open_.astype(float), 160)
    if fade:
        gate *= np.convolve(gate, np.ones(fade) / fade, "same")
    out = as_int16(frames.ravel() * gate)
    assert (out == 0).mean() > 0.2
    assert told(out) == {}


def test_every_finding_of_sound_is_tried() -> None:
    files = (Path(__file__).name, "test_packets.py", "test_comparison.py")
    tried = "".join(Path(__file__).with_name(name).read_text() for name in files)
    kinds = [kind for kind in CATALOGUE.values() if kind.about == "sound"]
    assert [kind.finding for kind in kinds if f'"{kind.finding}"' not in tried] == []


def test_sums_that_are_too_large_go_on_at_the_other_end(talk: np.ndarray) -> None:
    loud = talk[: 30 * 16_000].astype(np.int32) * 12
    wrapped = findings_of_samples(loud.astype(np.int16))
    assert "wrap_around" in [one.finding for one in wrapped]
    clipped = findings_of_samples(loud.clip(-32_768, 32_767).astype(np.int16))
    assert [one.finding for one in clipped if one.severity == "bad"] == ["clipping"]
    unsigned = (talk[: 30 * 16_000].astype(np.int32) + 32_768).astype(np.uint16).view(np.int16)
    assert "wrap_around" in [one.finding for one in findings_of_samples(unsigned)]


@pytest.mark.parametrize("gain", [1.5, 2, 5])
def test_bright_speech_that_is_cut_off_does_not_wrap_around(talk: np.ndarray, gain: float) -> None:
    bright = np.diff(talk[: 30 * 16_000].astype(np.float64), prepend=0)
    louder = (bright * (32_768 * gain / np.abs(bright).max())).clip(-32_768, 32_767)
    found = findings_of_samples(louder.astype(np.int16))
    assert "wrap_around" not in [one.finding for one in found]
