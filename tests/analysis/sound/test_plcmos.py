"""The network, held against the package that brings it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from speechmos.plcmos import PLCMOS

from recall_lab.analysis.sound import plcmos
from recall_lab.analysis.sound.plcmos import RATERS, SEED, features, network
from recall_lab.errors import MissingExtra
from recall_lab.store.audio_files import read_audio


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")[110_000:190_000] / 32_768


@pytest.fixture(scope="module")
def theirs() -> PLCMOS:
    return PLCMOS(embed_rounds=RATERS)


RNG = np.random.default_rng(7)
AUDIO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda x: x,
    "loud": lambda x: np.clip(20 * x, -1, 1),
    "of no whole frames": lambda x: x[:17_017],
    "zeros before it": lambda x: np.concatenate([np.zeros(8000), x]),
    "zeros alone": lambda x: 0 * x,
    "noise": lambda x: RNG.normal(0, 0.05, len(x)).clip(-1, 1),
    "a packet in ten zeroed": lambda x: np.where(np.arange(len(x)) // 320 % 10, x, 0),
}


@pytest.mark.parametrize("name", AUDIO)
def test_it_gives_what_the_package_gives(
    talk: np.ndarray, theirs: PLCMOS, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = AUDIO[name](talk)
    # to the rounding of float32; other raters move it by a thousand times as much
    monkeypatch.setattr(np.random, "normal", np.random.default_rng(SEED).normal)
    assert network().raters(audio).mean() == pytest.approx(theirs.get_mos(audio), abs=1e-5)


@pytest.mark.parametrize("name", AUDIO)
def test_it_hears_what_the_package_hears(talk: np.ndarray, theirs: PLCMOS, name: str) -> None:
    audio = AUDIO[name](talk)
    np.testing.assert_allclose(
        features(audio), theirs.stft_transform(audio).astype(np.float32), rtol=1e-5, atol=1e-6
    )


def test_each_rater_has_a_mind_of_its_own_and_keeps_to_it(talk: np.ndarray) -> None:
    first, again = network().raters(talk), plcmos.network.__wrapped__().raters(talk)
    assert len(np.unique(first)) == RATERS
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("package", ["onnxruntime", "speechmos"])
def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"pip install 'recall_lab\[mos\]'"):
        plcmos.network.__wrapped__()
