"""Layouts of bytes, told by what takes fewest bits; codes held against libsndfile's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recall_lab.analysis.detectors.layouts import COMPANDED, LAYOUTS, bits_of, phases_of
from recall_lab.store.audio_files import read_audio


@pytest.fixture(scope="module")
def pieces(root: Path) -> np.ndarray:
    """Five windows of 16 pieces of 256 samples of speech."""
    talk = read_audio(root / "data/standup.wav")[16_000 : 16_000 + 5 * 16 * 256]
    return talk.reshape(5, 16, 256)


def best(pieces: np.ndarray) -> set[str]:
    return {LAYOUTS[one] for one in bits_of(pieces).argmin(axis=1)}


@pytest.mark.parametrize("gain", [0.1, 1, 8])
def test_speech_takes_fewest_bits_as_it_is(pieces: np.ndarray, gain: float) -> None:
    louder = (pieces * gain).clip(-32_768, 32_767).astype(np.int16)
    assert best(louder) == {"s16le"}
    assert best(louder.byteswap()) == {"s16be"}
    octets = np.ascontiguousarray(louder).view(np.uint8).reshape(-1)
    shifted = np.append(octets[1:], np.uint8(0)).view("<i2").reshape(louder.shape)
    assert best(shifted) == {"shifted"}


@pytest.mark.parametrize(("law", "subtype"), [("mu-law", "ULAW"), ("a-law", "ALAW")])
def test_codes_of_telephony_stand_in_the_order_of_their_levels(law: str, subtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8).tobytes()
    options = {"samplerate": 8000, "channels": 1, "subtype": subtype, "format": "RAW"}
    levels = soundfile.read(io.BytesIO(codes), dtype="int16", **options)[0]
    order = np.argsort(COMPANDED[law], kind="stable")
    assert sorted(COMPANDED[law].tolist()) == list(range(-128, 128))
    assert (np.diff(levels[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(("law", "subtype"), [("mu-law", "ULAW"), ("a-law", "ALAW")])
def test_bytes_of_telephony_are_told_from_each_other(root: Path, law: str, subtype: str) -> None:
    talk = read_audio(root / "data/standup.wav")[16_000 : 16_000 + 5 * 32 * 256]
    file = io.BytesIO()
    soundfile.write(file, talk, 16_000, format="RAW", subtype=subtype)
    assert best(np.frombuffer(file.getvalue(), "<i2").reshape(5, 16, 256)) == {law}


def test_random_bytes_take_as_many_bits_in_every_layout_of_samples() -> None:
    random = np.random.default_rng(0).integers(-32_768, 32_768, (4, 64, 256)).astype(np.int16)
    bits = bits_of(random)
    # the mean of log2(1 + |a - b|) over bytes and words drawn at random, from -2^15 to 2^15
    assert bits[np.isfinite(bits)] == pytest.approx(13.84, abs=0.1)  # no sign of companding either


def test_sound_of_eight_bits_is_not_taken_for_swapped(pieces: np.ndarray) -> None:
    coarse = (pieces.astype(int) * 8 // 256 * 256).clip(-32_768, 32_767).astype(np.int16)
    assert best(coarse) == {"s16le"}
    assert np.isinf(bits_of(coarse)[:, 1:3]).all()


def test_neighbours_are_alike_in_both_phases_of_one_channel_only(pieces: np.ndarray) -> None:
    within, across, error = phases_of(pieces).T
    assert np.abs(within - across).max() < 0.35
    assert (error < 0.1).all()
    both = np.repeat(pieces[..., :128], 2, axis=2)
    within, across, _ = phases_of(both).T
    assert (within == 0).all()
    assert (across > 2).all()
