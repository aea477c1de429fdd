"""Spectrograms, held against librosa and SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab.analysis.sound.spectrum as spectrum
from recall_lab.analysis.sound.spectrum import decibels, mel_filters, spectrogram
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the packages librosa pulls in
    import librosa

NOISE = np.random.default_rng(0).normal(0, 3000, 16_000 * 12 + 123).astype(np.int16)
FLOATS = NOISE / 32_768


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """To 1e-5 of the value; where that is next to nothing, to 1e-6 of the usual value."""
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * float(np.median(theirs)))


@pytest.mark.parametrize(
    ("length", "hop", "fft", "window"),
    [
        (400, 160, None, "hann"),
        (400, 160, 512, "hann"),
        (512, 128, None, "hamming"),
        (401, 100, None, "blackman"),
        (1600, 160, 2048, ("kaiser", 8.0)),
        (16, 5, None, "boxcar"),
    ],
)
def test_power_is_that_of_scipy_and_of_librosa(
    length: int, hop: int, fft: int | None, window: str
) -> None:
    options = {"length": length / 16_000, "hop": hop / 16_000, "fft": fft, "window": window}
    shape = scipy.signal.get_window(window, length)
    short = scipy.signal.ShortTimeFFT(shape, hop, 16_000, mfft=fft or length, scale_to=None)
    power = np.abs(short.stft(FLOATS)) ** 2
    whole = spectrogram(NOISE, center=True, **options)  # type: ignore[arg-type]
    shared = slice(-short.p_min, -short.p_min + len(whole.times))
    assert_same(whole.values, power[:, shared])
    np.testing.assert_allclose(whole.times, short.t(len(NOISE))[shared], atol=1e-9)
    np.testing.assert_allclose(whole.frequencies, short.f)

    theirs = librosa.stft(
        FLOATS, n_fft=fft or length, hop_length=hop, win_length=length, window=window,
        pad_mode="constant",
    )  # fmt: skip
    if fft is None and length % 2 == 0:  # librosa pads odd frames, and cuts others, elsewhere
        assert_same(whole.values, np.abs(theirs) ** 2)
        inner = spectrogram(NOISE, **options)  # type: ignore[arg-type]
        theirs = librosa.stft(
            FLOATS, n_fft=length, hop_length=hop, window=window, center=False
        )  # fmt: skip
        assert_same(inner.values, np.abs(theirs) ** 2)
        middles = (np.arange(len(inner.times)) * hop + length / 2) / 16_000
        np.testing.assert_allclose(inner.times, middles)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(("bands", "fft"), [(40, 400), (80, 400), (128, 1024), (1, 64)])
def test_mel_filters_are_those_of_librosa(
    scale: str, norm: str | None, bands: int, fft: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty filters, which there are as we ask for them
        theirs = librosa.filters.mel(
            sr=16_000, n_fft=fft, n_mels=bands, htk=scale == "htk", norm=norm
        )
    np.testing.assert_allclose(mel_filters(bands, fft, scale=scale, norm=norm), theirs, atol=1e-6)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
def test_a_mel_spectrogram_is_that_of_librosa(scale: str, norm: str | None) -> None:
    ours = spectrogram(NOISE, mel=80, mel_scale=scale, mel_norm=norm)
    theirs = librosa.feature.melspectrogram(
        y=FLOATS, sr=16_000, n_fft=400, hop_length=160, n_mels=80, center=False,
        htk=scale == "htk", norm=norm,
    )  # fmt: skip
    assert_same(ours.values, theirs)
    np.testing.assert_allclose(
        ours.frequencies, librosa.mel_frequencies(82, fmax=8000, htk=scale == "htk")[1:-1]
    )


def test_decibels_are_those_of_librosa() -> None:
    power = spectrogram(NOISE)
    theirs = librosa.power_to_db(power.values, ref=power.reference, amin=1e-20, top_db=None)
    np.testing.assert_allclose(decibels(power.values, power.reference), theirs, atol=1e-4)
    ours = spectrogram(NOISE, scale="dB")
    heard = theirs > -80  # below, what float32 rounds off is seen
    np.testing.assert_allclose(ours.values[heard], theirs[heard], atol=1e-3)
    magnitude = spectrogram(NOISE, scale="magnitude").values
    np.testing.assert_allclose(magnitude, np.sqrt(power.values))


@pytest.mark.parametrize("window", ["hann", "hamming", ("kaiser", 8.0)])
@pytest.mark.parametrize("fft", [None, 1024])
def test_a_sine_of_full_scale_is_0_dbfs(window: str, fft: int | None) -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    ours = spectrogram(sine, window=window, fft=fft, length=0.032, scale="dB")
    np.testing.assert_allclose(ours.values.max(axis=0), 0, atol=0.01)
    assert ours.frequencies[ours.values[:, 0].argmax()] == 1000


def test_silence_is_200_db_down_and_never_infinite() -> None:
    silent = spectrogram(np.zeros(16_000, np.int16), scale="dB")
    np.testing.assert_allclose(silent.values, -200)
    np.testing.assert_allclose(decibels([0.0, -1.0, 1e-30]), -200)
    assert np.isnan(decibels([np.nan])[0])


def test_decibels_in_place_or_not() -> None:
    power = np.asfortranarray(np.random.default_rng(1).random((50, 70), np.float32))
    before = power.copy()
    copied = decibels(power, 2.0)
    np.testing.assert_array_equal(power, before)
    assert copied.flags.f_contiguous
    assert decibels(power, 2.0, inplace=True) is power
    np.testing.assert_array_equal(power, copied)
    for odd in (power.astype(float), power[::2], [1.0]):
        with pytest.raises(InvalidArgument, match="power="):
            decibels(odd, inplace=True)
    with pytest.raises(InvalidArgument, match="reference=0"):
        decibels([1.0], 0)


def test_time_is_the_true_time_and_missing_audio_says_so(make) -> None:  # type: ignore[no-untyped-def]
    audio = NOISE[: 16_000 * 3]
    gapped = make([5.0, 6.0, 9.0], 16_000, audio=audio)
    ours = spectrogram(gapped, hop=0.025)
    assert ours.times[0] == pytest.approx(5.0125)
    assert ours.times[-1] == pytest.approx(9.9875)
    there = (ours.times < 7) | (ours.times > 9)
    assert (ours.missing[there] == 0).all()
    assert (ours.missing[~there] == 1).all()
    assert (ours.values[:, ~there] == 0).all()
    bare = spectrogram(audio, hop=0.025)
    np.testing.assert_array_equal(ours.values[:, there], bare.values)
    assert "5.013 s to 9.988 s" in repr(ours)


@given(
    start=st.floats(0, 13),
    length=st.floats(0, 13),
    center=st.booleans(),
    kind=st.sampled_from([np.int16, np.float32, np.float64]),
)
@settings(max_examples=60, deadline=None)
def test_a_part_is_the_part_of_the_samples(
    start: float, length: float, center: bool, kind: type
) -> None:
    samples = NOISE if kind is np.int16 else FLOATS.astype(kind)
    part = spectrogram(samples, start=start, end=start + length, center=center)
    low, high = (min(round(t * 16_000), len(NOISE)) for t in (min(start, 20), start + length))
    again = spectrogram(samples[low:high], center=center)
    np.testing.assert_array_equal(part.values, again.values)
    np.testing.assert_allclose(part.times, again.times + low / 16_000)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_the_number_of_threads_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    once = spectrogram(NOISE, mel=40, scale="dB")
    monkeypatch.setattr("recall_lab.analysis.sound.frames.THREADS", threads)
    np.testing.assert_array_equal(spectrogram(NOISE, mel=40, scale="dB").values, once.values)


def test_what_goes_wrong_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(power: np.ndarray) -> None:
        raise MemoryError

    monkeypatch.setattr(spectrum, "_decibels", broken)
    with pytest.raises(MemoryError):
        spectrogram(NOISE, scale="dB")


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_frame_has_no_frames(samples: int) -> None:
    ours = spectrogram(NOISE[:samples])
    assert ours.values.shape == (201, 0)
    assert len(ours.times) == 0
    assert "0 frames" in repr(ours)
    assert spectrogram(NOISE[:samples], center=True).values.shape[1] == (1 if samples else 0) + (
        samples // 160
    ) * (samples > 0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scale": "db"}, "scale='db'"),
        ({"window": "hat"}, "window='hat'"),
        ({"window": ("kaiser",)}, "window="),
        ({"length": 0}, "length=0 is not valid"),
        ({"length": np.nan}, "length=nan"),
        ({"length": "soon"}, "length='soon'"),
        ({"hop": 0}, "hop=0"),
        ({"hop": 1e9}, "hop=1000000000.0"),
        ({"fft": 399}, "fft=399.*length of a frame on, 400"),
        ({"fft": 512.0}, "fft=512.0"),
        ({"mel": 0}, "mel=0"),
        ({"mel": 5000}, "mel=5000"),
        ({"mel": 40, "mel_scale": "bark"}, "mel_scale='bark'"),
        ({"mel": 40, "mel_norm": "htk"}, "mel_norm='htk'"),
        ({"start": 5, "end": 4}, r"start, end=\(5, 4\)"),
        ({"start": "now"}, "wall-clock time with a zone"),
    ],
)
def test_a_mistake_is_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        spectrogram(NOISE, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [np.zeros((2, 9)), np.zeros(9, np.int32), ["a"], None])
def test_what_holds_no_samples_is_named(samples: object) -> None:
    with pytest.raises(InvalidArgument, match="samples in one dimension"):
        spectrogram(samples)  # type: ignore[arg-type]


def test_more_than_the_memory_holds_is_refused_at_once() -> None:
    day = np.broadcast_to(np.int16(0), 16_000 * 3600 * 24)
    with pytest.raises(InvalidArgument, match=r"24\.0 h of audio.*overview"):
        spectrogram(Capture(day), hop=1e-4)
