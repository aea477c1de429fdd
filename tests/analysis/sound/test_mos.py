"""How speech sounds to people, on voices whose faults we made ourselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import recall_lab as rl
from recall_lab.analysis.sound import mos as module
from recall_lab.analysis.sound.mos import mean_mos, mos
from recall_lab.analysis.sound.plcmos import network
from recall_lab.errors import InvalidArgument, MissingExtra

COLUMNS = ["start", "end", "duration", "mos", "spread", "scored_s", "speech_share", "missing_share"]


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    """Two thirds of a minute, of which 33.3 to 37.3 s are silent."""
    return rl.read_audio(root / "data/standup.wav")[: 40 * 16_000]


def zeroed(samples: np.ndarray, share: float) -> np.ndarray:
    lost = np.random.default_rng(3).random(len(samples) // 320) < share
    return np.where(np.repeat(lost, 320), 0, samples).astype(np.int16)


def test_a_row_a_window(talk: np.ndarray) -> None:
    found = mos(talk, 15)
    assert found.columns.tolist() == COLUMNS
    assert (found.dtypes == "float64").all()
    assert found["start"].tolist() == [0, 15, 30]
    assert found["end"].tolist() == [15, 30, 40]
    assert found["duration"].tolist() == [15, 15, 10]
    assert found["mos"].between(1, 5).all()
    assert found["spread"].between(0.001, 0.5).all()
    assert (found["missing_share"] == 0).all()
    # truth: data/standup.csv; phrases are scored with a tenth of a second on either side
    np.testing.assert_allclose(found["speech_share"], [0.807, 0.816, 0.516], atol=0.03)
    assert (found["scored_s"] <= found["duration"] * found["speech_share"] + 2).all()


def test_zeroed_packets_are_heard_the_more_the_more_there_are(talk: np.ndarray) -> None:
    means = [mean_mos(mos(zeroed(talk, share))) for share in (0, 0.02, 0.05, 0.1, 0.19)]
    assert (np.diff(means) < -0.1).all()
    assert means[0] - means[-1] > 1


@pytest.mark.parametrize("change", ["noise", "clipping"])
def test_what_else_is_wrong_lowers_it(talk: np.ndarray, change: str) -> None:
    noise = np.random.default_rng(5).normal(0, talk.std() / 10, len(talk))
    other = {"noise": talk + noise, "clipping": np.clip(talk * 60.0, -32_768, 32_767)}[change]
    assert mean_mos(mos(other.astype(np.int16))) < mean_mos(mos(talk)) - 0.5


def test_gain_and_dc_change_nothing(talk: np.ndarray) -> None:
    floats = talk / 32_768
    for other in (floats / 30, floats * 2 + 0.1):
        np.testing.assert_allclose(mos(other)["mos"], mos(talk)["mos"], atol=0.1)
    # the network itself would rate the quiet down
    assert mean_mos(mos(floats / 30, level=None)) < mean_mos(mos(floats, level=None)) - 0.3


def test_without_a_level_it_is_the_networks_own_score(talk: np.ndarray) -> None:
    phrase = talk[round(6.88 * 16_000) : round(10.69 * 16_000)]
    found = mos(phrase, level=None)
    low, high = (
        round(float(rl.speech(phrase)[name].iloc[0]) * 16_000) for name in ("start", "end")
    )
    heard = phrase[max(low - 1600, 0) : high + 1600] / 32_768
    assert found["mos"].iloc[0] == pytest.approx(network().raters(heard).mean(), abs=1e-6)
    assert found["scored_s"].iloc[0] == pytest.approx(len(heard) / 16_000)


def test_the_same_audio_always_gets_the_same_score(talk: np.ndarray) -> None:
    np.random.seed(1)  # noqa: NPY002 - the state that the package draws from
    first = mos(talk)
    np.random.seed(2)  # noqa: NPY002
    assert mos(talk).equals(first)


@pytest.mark.parametrize("samples", [0, 1, 16_000, 320_000])
def test_silence_has_no_score(samples: int) -> None:
    for audio in (np.zeros(samples, np.int16), np.random.default_rng(1).normal(0, 0.01, samples)):
        found = mos(audio)
        assert len(found) == -(-samples // 160_000)
        assert found["mos"].isna().all()
        assert (found["scored_s"] == 0).all()
        assert np.isnan(mean_mos(found))


def test_holes_are_left_out(make, talk: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    # packets of 200 ms, of which some are lost: what is there is as good as it was
    size = 3200
    kept = np.random.default_rng(8).random(len(talk) // size) >= 0.1
    kept[0] = True
    at = np.flatnonzero(kept)
    audio = talk.reshape(-1, size)[kept].ravel()
    broken = make((5 + at * 0.2).tolist(), [size] * len(at), audio=audio)
    found, whole = mos(broken), mos(talk)
    assert found["missing_share"].sum() > 0.2
    assert found["scored_s"].sum() < 0.8 * whole["scored_s"].sum()
    # shorter pieces of these voices are rated a little better
    assert -0.1 < mean_mos(found) - mean_mos(whole) < 0.4
    assert mean_mos(mos(np.asarray(rl.timeline(broken)))) < mean_mos(found) - 0.4
    assert found["start"].iloc[0] == 5


def test_a_stream_in_pieces_too_short_has_no_score(make, talk: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    starts = np.arange(0, 40, 1.4)
    pieces = [talk[round(s * 16_000) :][:14_400] for s in starts.tolist()]
    broken = make(starts.tolist(), [len(p) for p in pieces], audio=np.concatenate(pieces))
    found = mos(broken)
    assert found["mos"].isna().all()
    assert (found["speech_share"] > 0.1).all()


def test_several_streams(make, root: Path) -> None:  # type: ignore[no-untyped-def]
    streams = [rl.load(root / f"data/standup-{name}.bin") for name in ("lossy", "broken.100")]
    found = mos(streams, 20)
    assert found.columns.tolist() == ["stream", *COLUMNS]
    assert found["stream"].unique().tolist() == [one.info.stem for one in streams]
    assert found[COLUMNS].equals(
        module.pd.concat([mos(one, 20) for one in streams], ignore_index=True)
    )
    with pytest.raises(InvalidArgument, match="source"):
        mos([streams[0], 7])


def test_a_part_is_told_in_its_own_time(talk: np.ndarray) -> None:
    found = mos(talk, start=30.5, end=38)
    assert found[["start", "end"]].to_numpy().tolist() == [[30.5, 38]]


@pytest.mark.parametrize("every", [0.9, 61, None, "10", True, float("nan")])
def test_a_window_that_can_not_be_is_named(every: object) -> None:
    with pytest.raises(InvalidArgument, match=r"every=.*1 to 60"):
        mos(np.zeros(9, np.int16), every)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [1, -61, "loud", True, float("nan")])
def test_a_level_that_can_not_be_is_named(level: object) -> None:
    with pytest.raises(InvalidArgument, match=r"level=.*-60 to 0"):
        mos(np.zeros(9, np.int16), level=level)  # type: ignore[arg-type]


def test_a_survey_has_its_mean(root: Path) -> None:
    captures = [rl.load(root / f"data/standup-{name}.bin") for name in ("lossy", "broken.100")]
    found = rl.survey(captures, measures=["mos"], progress=False)
    told = dict(zip(found["recording"], found["mos"], strict=True))
    for one in captures:
        assert told[one.info.recording] == pytest.approx(mean_mos(mos(one)), abs=1e-9)
    assert (found["error"] == "").all()
    assert "mos" not in rl.survey(captures, progress=False)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'recall_lab\[mos\]'"):
        mos(np.zeros(16_000, np.int16))


def test_the_extra_brings_neither_librosa_nor_pytorch(root: Path) -> None:
    code = (
        "import sys, numpy, recall_lab; recall_lab.mos(numpy.zeros(16_000));"
        "sys.exit(bool({'librosa', 'numba', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
