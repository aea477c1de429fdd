"""The mix of separate streams: NumPy's own sum to the last bit, and the mixed stream beside it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from helpers import standup
from helpers.builders import make_capture
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.analysis.recording.mix import Mix, mix
from recall_lab.analysis.time.timeline import as_timeline
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps

RATE = 16_000


def streams(
    sent: np.ndarray, sources: np.ndarray, packet: int, start: float = 0.0
) -> tuple[list[Capture], np.ndarray, np.ndarray]:
    """Return captures of what was sent, their sum by NumPy, and how many had audio.

    Args:
        sent: which packets each sent, shape ``(people, packets)``.
        sources: what each says, int16, shape ``(people, packets * packet)``.
        packet: samples.
        start: when the first packet begins, s.
    """
    captures = []
    for who, (mine, audio) in enumerate(zip(sent, sources, strict=True)):
        at = np.flatnonzero(mine)
        kept = audio.reshape(-1, packet)[at].ravel()
        captures.append(
            make_capture(start + at * packet / RATE, packet, participant=who, audio=kept)
        )
    there = np.repeat(sent, packet, axis=1)
    total = np.where(there, sources, 0).sum(axis=0, dtype=np.int64)
    return captures, total, there.sum(axis=0)


def noise(rng: np.random.Generator, people: int, samples: int, loudest: int) -> np.ndarray:
    return rng.integers(-loudest, loudest, (people, samples)).astype(np.int16)


@given(
    st.integers(0, 2**32),
    st.sampled_from([160, 533, 3200]),
    st.sampled_from([0.0, 5.0, 1234.5]),
    st.sampled_from([1_000, 32_768]),
)
@settings(max_examples=60, deadline=None)
def test_16_streams_with_mutes_are_numpys_own_sum(
    seed: int, packet: int, start: float, loudest: int
) -> None:
    rng = np.random.default_rng(seed)
    sent = rng.random((16, 40)) < rng.random((16, 1))
    sent[0, [0, -1]] = True  # somebody from the first to the last
    captures, total, voices = streams(sent, noise(rng, 16, 40 * packet, loudest), packet, start)
    found = mix(captures)
    assert (found.start, found.streams) == (start, 16)
    np.testing.assert_array_equal(found.samples, total.clip(-32_768, 32_767))
    assert found.clipped == np.count_nonzero((total < -32_768) | (total > 32_767))
    np.testing.assert_array_equal(found.voices(), voices)
    # as a capture: what nobody sent is a gap in it
    line = as_timeline(found.capture)
    np.testing.assert_array_equal(line.samples, found.samples)
    np.testing.assert_array_equal(line.real, voices > 0)
    assert line.start == start
    assert rl.verify(found.capture).empty


def test_hours_in_blocks_are_the_same_sum() -> None:
    rng = np.random.default_rng(3)
    sent = rng.random((3, 150)) < 0.5
    sent[:, 60:120] = False  # more than a block in which nobody says anything
    captures, total, voices = streams(sent, noise(rng, 3, 150 * RATE, 9_000), RATE)
    found = mix(captures)
    size = len(found.samples)
    np.testing.assert_array_equal(found.samples, total[:size])
    assert not total[size:].any()
    np.testing.assert_array_equal(found.voices(50, 130), voices[50 * RATE : 130 * RATE])
    assert found.capture.packets["samples"].max() <= 60 * RATE
    with pytest.raises(ValueError, match="read-only"):
        found.samples[0] = 1


def test_a_span_is_the_axis() -> None:
    rng = np.random.default_rng(4)
    captures, total, _ = streams(np.ones((2, 10), bool), noise(rng, 2, 32_000, 99), 3200, 5.0)
    part = mix(captures, call=(4.5, 6.0))
    assert (part.start, part.end, len(part.samples)) == (4.5, 6.0, 24_000)
    np.testing.assert_array_equal(part.samples[8_000:], total[:16_000])
    assert not part.samples[:8_000].any()
    assert part.capture.span == (5.0, 6.0)


def test_streams_between_two_samples_lose_none() -> None:
    for off in (0.5, 0.3, 1.5, 2.5):
        audio = np.arange(1, 12, dtype=np.int16)
        pair = [
            make_capture([0.0], 3, participant=1, audio=audio[:3]),
            make_capture([off / RATE], 11, participant=2, audio=audio),
        ]
        found = mix(pair)
        assert found.samples.sum() == audio.sum() + audio[:3].sum(), off
        assert found.samples[-1] == 11


def test_the_mixed_stream_is_the_same_where_nothing_was_lost() -> None:
    rng = np.random.default_rng(5)
    captures, total, _ = streams(rng.random((4, 300)) < 0.7, noise(rng, 4, 300 * 3200, 8_000), 3200)
    there = np.arange(0, 300, 1)
    mixed = make_capture(there * 0.2, 3200, audio=total.astype(np.int16))
    found = mix([mixed, *captures])
    assert found.streams == 4
    told = found.comparison
    assert told is not None
    assert told.to_dict() == {
        "lag_samples": 0, "level_db": 0.0, "similarity": 1.0, "residual_dbfs": -np.inf,
        "compared_s": pytest.approx(np.count_nonzero(found.voices()) / RATE), "exact": True,
        "off": (),
    }  # fmt: skip
    assert mix(captures).comparison is None
    assert mix(captures).against(mixed)["exact"]


@pytest.mark.parametrize("lag", [-8_000, -333, 1, 1_600, 8_000])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_a_mixed_stream_that_is_late_or_quieter(lag: int, gain: float) -> None:
    rng = np.random.default_rng(6)
    captures, total, _ = streams(np.ones((2, 20), bool), noise(rng, 2, 64_000, 9_000), 3200, 1.0)
    audio = np.rint(total * gain).astype(np.int16)
    mixed = make_capture([1.0 + lag / RATE], len(audio), audio=audio)
    told = mix([*captures, mixed]).comparison
    assert told is not None
    assert told["lag_samples"] == lag
    assert told["compared_s"] == pytest.approx(4.0, abs=0.51)
    assert told["level_db"] == pytest.approx(20 * np.log10(gain), abs=0.01)
    assert told["similarity"] == pytest.approx(1, abs=1e-6)
    assert told["exact"] == (gain == 1)
    if gain != 1:
        rms = np.sqrt(2 * np.mean((audio - total) ** 2.0)) / 32_768
        assert told["residual_dbfs"] == pytest.approx(20 * np.log10(rms), abs=0.1)


@pytest.mark.parametrize("lag", [-12.5, 3.25, 61.0])
def test_a_mixed_stream_that_is_far_off_is_found(lag: float) -> None:
    alice, bob, *_ = standup.recording()[-2:]
    found = mix([alice, bob])
    mixed = make_capture([found.start + lag], len(found.samples), audio=np.array(found.samples))
    told = found.against(mixed)
    assert told["lag_samples"] == lag * RATE
    assert (told["exact"], told["off"]) == (True, ())


def test_another_sound_has_no_lag() -> None:
    rng = np.random.default_rng(8)
    captures, _, _ = streams(np.ones((2, 100), bool), noise(rng, 2, 320_000, 9_000), 3200)
    other = make_capture([0.0], 320_000, audio=noise(rng, 1, 320_000, 9_000)[0])
    told = mix(captures).against(other)
    assert np.isnan(told["lag_samples"])
    assert told["similarity"] < 0.05


def test_a_stream_that_is_off_is_named() -> None:
    rng = np.random.default_rng(9)
    sources = noise(rng, 3, 320_000, 9_000)
    turns = np.arange(100) // 10 % 3 == np.arange(3)[:, None]  # 2 s each
    captures, total, _ = streams(turns, sources, 3200)
    mixed = make_capture([0.0], 320_000, audio=total.astype(np.int16))
    at = np.flatnonzero(turns[1])
    kept = sources[1].reshape(-1, 3200)[at].ravel()
    late = make_capture(0.3 + at * 0.2, 3200, participant=1, audio=kept)
    told = mix([captures[0], late, captures[2]]).against(mixed)
    assert told["off"] == ("call.1",)
    offsets = mix([captures[0], late, captures[2]]).offsets(mixed)
    assert offsets["lag_samples"].tolist() == [0, -4_800, 0]
    with pytest.raises(InvalidArgument, match="mixed"):
        mix(late).offsets("x.bin")  # type: ignore[arg-type]


def test_the_holes_of_the_parts_are_known() -> None:
    rng = np.random.default_rng(10)
    sent = np.ones((2, 50), bool)
    sent[1, 20:30] = False  # while the other goes on
    captures, _, _ = streams(sent, noise(rng, 2, 160_000, 900), 3200)
    found = mix(captures)
    assert rl.gaps(found.capture).empty
    (hole,) = found.holes.to_dict("records")
    assert (hole["stream"], hole["participant"]) == ("call.1", 1)
    assert (hole["start"], hole["duration"]) == pytest.approx((4.0, 2.0))
    told = found.capture.events
    (row,) = told[told["kind"] == "hole"].to_dict("records")
    assert (row["participant"], row["relative"], row["seconds"]) == pytest.approx((1, 4.0, 2.0))
    assert row["detail"]["stream"] == "call.1"
    assert mix(captures[0]).holes.empty


def test_what_was_lost_of_one_stream_is_what_is_left() -> None:
    rng = np.random.default_rng(7)
    sources = noise(rng, 2, 320_000, 9_000)
    _, total, _ = streams(np.ones((2, 100), bool), sources, 3200)
    sent = np.ones((2, 100), bool)
    sent[1, 30:60] = False
    captures, _, _ = streams(sent, sources, 3200)
    told = mix(captures).against(make_capture([0.0], 320_000, audio=total.astype(np.int16)))
    left = np.where(np.repeat(~sent[1], 3200), sources[1], 0).astype(float)
    level = 10 * np.log10(2 * np.mean(left**2) / 32_768**2)
    assert told["residual_dbfs"] == pytest.approx(level, abs=1e-9)
    assert not told["exact"]
    assert 0.8 < told["similarity"] < 0.99


def test_nothing_in_common() -> None:
    one = make_capture([0.0], 1600, participant=1, audio=np.ones(1600, np.int16))
    away = make_capture([50.0], 1600, audio=np.ones(1600, np.int16))
    told = mix([one]).against(away)
    assert (told["compared_s"], told["exact"]) == (0.0, False)
    for name in ("lag_samples", "similarity", "residual_dbfs", "level_db"):
        assert np.isnan(told[name])
    silent = make_capture([0.0], 1600, audio=np.zeros(1600, np.int16))
    assert np.isnan(mix([one]).against(silent)["similarity"])
    zeros = make_capture([0.0], 1600, participant=1)
    assert mix([zeros]).against(silent)["exact"]


def test_a_meeting_can_be_saved_drawn_and_compared(tmp_path: Path) -> None:
    found = mix(standup.recording())
    assert repr(found) == "<Mix call-mix, 0:00:55.200, of 2 streams, clipped: 0 samples>"
    assert "call-mix" in found._repr_html_()
    samples, _ = soundfile.read(rl.save(found.capture, tmp_path / "all.wav"), dtype="int16")
    np.testing.assert_array_equal(samples, found.samples)
    # the stand-in for the mixed stream holds both where either speaks
    assert found.comparison is not None
    assert found.comparison["similarity"] > 0.8
    rl.plot_overview(found.capture)
    rl.plot_gaps([found.capture, *standup.recording()])
    plt.close("all")
    assert found.capture.packets["absolute"][0] == standup.recording()[1].packets["absolute"][0]
    assert len(rl.speakers(found.capture)) == 14


def test_without_any_audio() -> None:
    nothing = make_capture([], participant=1)
    found = mix([nothing])
    assert (found.start, found.end, len(found.samples), found.clipped) == (0.0, 0.0, 0, 0)
    assert found.against(make_capture([0.0]))["compared_s"] == 0
    some = mix([nothing, make_capture([100.0], participant=2)])
    assert (some.start, some.end) == (100.0, 100.2)
    silent = mix([make_capture([0.0, 0.2, 0.4], [3200, 0, 3200], participant=3)])
    assert silent.voices().tolist() == [1] * 3200 + [0] * 3200 + [1] * 3200


def test_what_cannot_be_mixed() -> None:
    one, mixed = make_capture([0.0], participant=1), make_capture([0.0])
    for wrong, told in (
        ([mixed], "at least one participant's stream"),
        ([], "at least one participant's stream"),
        (mixed, "at least one participant's stream"),
        ([one, one], "each once"),
        ([one, Capture(np.zeros(9, np.int16))], "call.*unnamed.*mix each on its own"),
        ([one, "x.bin"], "as recall_lab.load_recording gives"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            mix(wrong)  # type: ignore[arg-type]
    for call in ((2, 1), (0, 1e9), 3):
        with pytest.raises(InvalidArgument, match="call"):
            mix([one], call=call)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="days at most"):
        mix([make_capture([0.0, 9e8], participant=1)])
    with pytest.raises(InvalidArgument, match="mixed"):
        mix([one]).against("x.bin")  # type: ignore[arg-type]
    bare = Capture(np.zeros(9, np.int16), None, one.info)
    with pytest.raises(MissingTimestamps):
        mix([bare])
    assert isinstance(mix(one), Mix)
