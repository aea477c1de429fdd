"""The time axis, against the original audio sample by sample."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.builders import arrive, make_capture
from helpers.paths import DATA
from helpers.plans import SECONDS, draw, holes
from hypothesis import given, settings
from hypothesis import strategies as st

import recall_lab as rl
from recall_lab.analysis.time.gaps import gaps
from recall_lab.analysis.time.timeline import as_timeline, segments, timeline
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingTimestamps

Make = Callable[..., Capture]
RATE = 16_000


def test_a_faulty_call_equals_the_original_wherever_audio_arrived(arrive: Make) -> None:
    for seed in range(100):
        call = draw(seed)
        line = timeline(arrive(call.plan), call=(call.start, call.start + SECONDS))
        assert len(line) == len(call.heard)
        assert np.array_equal(line.real, call.there), (seed, call.faults)
        assert np.array_equal(line.samples, call.heard), (seed, call.faults)


def test_the_bundled_capture_equals_its_wav(root: Path) -> None:
    wav = rl.read_audio(root / "data/standup.wav")[: 12 * RATE]
    line = timeline(rl.load(root / "data/standup-lossy.bin"), call=(0, 12))
    assert len(line) == len(wav)
    assert 0.8 < line.real.mean() < 1
    assert np.array_equal(line.samples[line.real], wav[line.real])
    assert not line.samples[~line.real].any()


def ramp(count: int) -> np.ndarray:
    return np.arange(1, count + 1, dtype=np.int16)


def test_what_stands_in_a_gap(make: Make) -> None:
    capture = make([0.0, 4 / RATE], 2, audio=ramp(4))
    assert timeline(capture).samples.tolist() == [1, 2, 0, 0, 3, 4]
    assert timeline(capture, "hold").samples.tolist() == [1, 2, 2, 2, 3, 4]
    floats = timeline(capture, "nan").samples
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats * 32_768, [1, 2, np.nan, np.nan, 3, 4])
    np.testing.assert_array_equal(timeline(capture, -0.5).samples[2:4], [-0.5, -0.5])
    assert timeline(capture).dtype == timeline(capture, "hold").dtype == np.int16
    assert timeline(capture).real.tolist() == [True, True, False, False, True, True]


def test_before_the_first_packet_there_is_nothing_to_hold(make: Make) -> None:
    line = timeline(make([2 / RATE], 2, audio=ramp(2)), "hold", call=(0, 6 / RATE))
    assert line.samples.tolist() == [0, 0, 1, 2, 2, 2]


def test_where_packets_overlap_the_first_to_arrive_is_heard(make: Make) -> None:
    late_second = make([0.0, 2 / RATE], 4, audio=ramp(8))
    assert timeline(late_second).samples.tolist() == [1, 2, 3, 4, 7, 8]
    late_first = make([2 / RATE, 0.0], 4, audio=ramp(8))
    assert timeline(late_first).samples.tolist() == [5, 6, 1, 2, 3, 4]
    conflicting = make([0.0, 0.0], 4, audio=ramp(8))
    assert timeline(conflicting).samples.tolist() == [1, 2, 3, 4]


def test_stamps_between_samples_leave_no_cracks(make: Make) -> None:
    for shift in np.linspace(0, 1, 21) / RATE:
        starts = 100.0 + shift + np.arange(200) * 321 / RATE
        line = timeline(make(starts, 321, audio=np.ones(200 * 321, np.int16)), call=(100, 105))
        edges = holes(line.real)
        assert len(edges) <= 2
        assert line.real.sum() == min(200 * 321, len(line) - round(shift * RATE))


def test_rounded_stamps_leave_no_cracks_and_stand_within_their_rounding(make: Make) -> None:
    exact = np.arange(600) * 533
    kept = np.delete(np.arange(600), np.arange(300, 350))
    capture = make(np.round(exact[kept] / RATE, 3), 533, audio=np.ones(550 * 533, np.int16))
    line = timeline(capture, call=(0, 600 * 533 / RATE))
    ((begin, end),) = holes(line.real)
    assert abs(begin - 300 * 533) <= 8
    assert abs(end - 350 * 533) <= 8


def test_a_media_clock_that_drifts_against_its_samples_is_followed(make: Make) -> None:
    true = np.arange(3000) * 3200
    starts = true / RATE * (1 + 100e-6)  # slower samples: 60 ms over 10 min
    capture = make(starts, 3200, audio=np.full(3000 * 3200, 1000, np.int16))
    line = timeline(capture)
    assert abs(len(line) - round((starts[-1] + 0.2 * (1 + 100e-6)) * RATE)) <= 1
    assert line.real.all()  # resampled, never torn by single zeros
    assert set(line.samples[100:-100].tolist()) == {1000}
    apart = timeline(capture, clock="samples")
    assert len(apart) == 3000 * 3200
    assert apart.real.all()
    np.testing.assert_array_equal(apart.samples, capture.samples)
    assert gaps(capture).empty


def test_pieces_blocks_and_the_whole_are_the_same(arrive: Make) -> None:
    call = draw(7)
    for fill in ("silence", "hold", "nan", 0.25):
        line = timeline(arrive(call.plan), fill)
        whole, real = line.samples, line.real
        blocks = list(line.blocks(0.7))
        np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), whole)
        np.testing.assert_array_equal(np.concatenate([mask for _, mask in blocks]), real)
        np.testing.assert_array_equal(np.asarray(line), whole)
        np.testing.assert_array_equal(line[1000:50_000], whole[1000:50_000])
        np.testing.assert_array_equal(line[-9:], whole[-9:])
        np.testing.assert_array_equal([line[7], line[-1]], whole[[7, -1]])
        low, high = line.start + 3, line.start + 9.5
        part, mask = line.read(low, high)
        np.testing.assert_array_equal(part, whole[3 * RATE : int(9.5 * RATE)])
        np.testing.assert_array_equal(mask, real[3 * RATE : int(9.5 * RATE)])
        assert len(line.read(line.end + 5, line.end + 6)[0]) == 0
        assert len(line.read(9, 3)[0]) == 0


def test_the_span_cuts(make: Make) -> None:
    capture = make([1.0, 1.2], 3200, audio=ramp(6400))
    assert timeline(capture, call=(1.1, 1.3)).samples.tolist() == ramp(6400)[1600:4800].tolist()
    assert len(timeline(capture, call=(5, 5))) == 0
    assert not timeline(capture, call=(5, 6)).real.any()


def test_degenerate_captures(make: Make) -> None:
    assert len(timeline(Capture(np.empty(0, np.int16)))) == 0
    assert timeline(make([]), "hold").samples.tolist() == []
    assert len(timeline(make([0.0, 0.5], 0))) == 8000  # only packets without audio
    assert timeline(make([4.0], 4, audio=ramp(4)), "hold").samples.tolist() == [1, 2, 3, 4]
    backward = make(np.arange(10)[::-1] * 4 / RATE, 4, audio=ramp(40))
    assert timeline(backward).samples[:4].tolist() == [37, 38, 39, 40]
    known = make([0.0, np.nan, 4 / RATE], 4, audio=ramp(12))
    assert timeline(known).samples.tolist() == [1, 2, 3, 4, 9, 10, 11, 12]
    with pytest.raises(MissingTimestamps):
        timeline(Capture(np.zeros(9, np.int16)))
    with pytest.raises(MissingTimestamps):
        segments(Capture(np.zeros(9, np.int16)))


def test_a_clock_gone_wrong_asks_for_no_terabyte(make: Make) -> None:
    line = timeline(make([0.0, 9e8]))
    assert len(line.read(9e8, 9e8 + 0.2)[0]) == 3200
    with pytest.raises(InvalidArgument, match="blocks"):
        _ = line.samples


@pytest.mark.parametrize("fill", ["zeros", np.nan, np.inf, None])
def test_a_fill_that_is_none(make: Make, fill: object) -> None:
    with pytest.raises(InvalidArgument, match="'silence', 'hold', 'nan' or a finite number"):
        timeline(make([0.0]), fill)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="slice"):
        timeline(make([0.0]))[::2]
    with pytest.raises(IndexError):
        timeline(make([0.0]))[3200]
    with pytest.raises(InvalidArgument, match="seconds"):
        next(timeline(make([0.0])).blocks(0))


def test_segments_lie_between_the_gaps(arrive: Make, make: Make) -> None:
    call = draw(3)
    capture = arrive(call.plan)
    found = segments(capture)
    runs = holes(~call.there)
    edges = np.rint((found[["start", "end"]].to_numpy() - call.start) * RATE).astype(int)
    assert edges.tolist() == runs.tolist()
    assert found["packets"].sum() == (capture.packets["samples"] > 0).sum()
    two = segments(make([10.0, 10.2, 11.0]))
    assert two.drop(columns=["absolute"]).round(9).to_dict("records") == [
        {"start": 10.0, "end": 10.4, "duration": 0.4, "packets": 2, "first": 0, "last": 1},
        {"start": 11.0, "end": 11.2, "duration": 0.2, "packets": 1, "first": 2, "last": 2},
    ]
    assert two["absolute"][1] == pd.Timestamp("2026-01-01T00:00:11Z")
    assert segments(make([])).dtypes.to_dict() == two.dtypes.to_dict()


_EIGHT_HOURS = r"""
import re, sys
import recall_lab as rl
from recall_lab.analysis.time.gaps import gaps
from recall_lab.analysis.time.timeline import timeline
capture = rl.load(sys.argv[1])
heard = total = 0
for samples, real in timeline(capture).blocks(60):
    heard += int(real.sum()); total += len(samples)
# not ru_maxrss, which begins with that of the process that started this one
print(heard, total, re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_eight_hours_need_no_more_than_200_mb(tmp_path: Path) -> None:
    from recall_lab.capture.record import RECORD, pack_header

    count = 8 * 3600 * 5
    kept = np.delete(np.arange(count), np.arange(1000, count, 1000))
    records = np.zeros(len(kept), RECORD)
    records["offset"], records["length"] = np.arange(len(kept)) * 6400, 6400
    records["relative"], records["connection"] = kept * 0.2, 1
    from isal.isal_zlib import crc32

    records["record_crc"] = [crc32(record.tobytes()[:60]) for record in records]
    (tmp_path / "call.idx").write_bytes(pack_header() + records.tobytes())
    with open(tmp_path / "call.bin", "wb") as file:
        file.truncate(len(kept) * 6400)
    ran = subprocess.run(
        [sys.executable, "-c", _EIGHT_HOURS, str(tmp_path / "call.bin")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    heard, total, peak = map(int, ran.stdout.split())
    assert (heard, total) == (len(kept) * 3200, count * 3200)
    assert peak < 200_000  # kB, all of the process


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_views_holes_and_counts_agree_with_the_whole(seed: int, data: st.DataObject) -> None:
    capture = arrive(draw(seed).plan)
    line = timeline(capture)
    if not len(line):
        return
    samples, real = line.samples, line.real
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, len(line))] * 2)))
    np.testing.assert_array_equal(line.take(low, high), samples[low:high])
    np.testing.assert_array_equal(line.heard(low, high), real[low:high])
    there = np.ones(len(line), bool)
    for begin, end in line.holes:
        there[begin:end] = False
    np.testing.assert_array_equal(there, real)
    edges = np.linspace(0, len(line), 37).astype(int)
    counted = np.concatenate([[0], np.cumsum(~real)])
    np.testing.assert_array_equal(line.missing(edges), counted[edges])
    part = as_timeline(capture, line.start + low / 16_000, line.start + high / 16_000)
    np.testing.assert_array_equal(part.samples, samples[low:high])


def test_what_lies_in_one_piece_is_not_copied() -> None:
    audio = np.arange(16_000, dtype=np.int16)
    assert np.shares_memory(as_timeline(audio).take(100, 900), audio)
    whole = as_timeline(make_capture(np.arange(5) * 0.2, 3200, audio=audio))
    assert np.shares_memory(whole.take(3000, 9000), audio)


def test_samples_and_bare_captures_are_counted_from_0() -> None:
    audio = np.arange(32_000, dtype=np.int16)
    for source in (audio, Capture(audio), audio.astype(np.float32)):
        line = as_timeline(source, 0.5, 1.5)
        assert (line.start, line.end, len(line)) == (0.5, 1.5, 16_000)
        np.testing.assert_array_equal(line.samples, audio[8000:24_000])
        assert not len(line.holes)
    beyond = as_timeline(audio, -5, 99)
    assert (beyond.start, beyond.end) == (0, 2)
    assert len(as_timeline(audio, 7, 9)) == 0


def test_a_stamp_gone_wrong_does_not_take_all_memory() -> None:
    mad = make_capture([0.0, 1.0, 9e8], 16_000)
    for analyse in (
        rl.levels,
        rl.spectrogram,
        rl.overview,
        rl.speech,
        rl.sound_summary,
        rl.loudness,
    ):
        with pytest.raises(InvalidArgument, match="a stamp of this capture has gone wrong"):
            analyse(mad)
        analyse(mad.slice(0, 10))


def test_crops_are_given_by_the_wall_clock_everywhere() -> None:
    capture = rl.load(DATA / "standup-lossy.bin")
    wall = capture.packets["absolute"].min()
    begin = capture.packets["relative"][capture.packets["absolute"].idxmin()]
    low, high = begin + 2.0, begin + 5.0
    first, last = wall + pd.Timedelta("2s"), (wall + pd.Timedelta("5s")).isoformat()
    for analyse in (rl.levels, rl.speech, rl.loudness, rl.sound_summary):
        by_seconds, by_wall = (
            analyse(capture, start=a, end=b) for a, b in ((low, high), (first, last))
        )
        assert by_seconds.equals(by_wall), analyse
    assert np.array_equal(
        rl.spectrogram(capture, start=low, end=high).values,
        rl.spectrogram(capture, start=first, end=last).values,
    )
    for plot in (rl.plot_waveform, rl.plot_levels, rl.plot_spectrogram):
        assert (
            plot(capture, start=first, end=last).get_xlim()
            == plot(capture, start=low, end=high).get_xlim()
        )
    with pytest.raises(InvalidArgument, match="no packet tells"):
        rl.levels(np.zeros(16_000, np.int16), start=first)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([[1, 2], [3]], "samples in one dimension"),
        (np.full(100, 1e300), "1e\\+300 at the loudest"),
        (np.array([0.0, -np.inf, np.nan]), "inf at the loudest"),
        (np.array([1 + 2j]), "complex128"),
    ],
)
def test_samples_that_cannot_be_are_refused_in_words(samples: object, told: str) -> None:
    for analysis in (rl.levels, rl.spectrogram, rl.loudness):
        with pytest.raises(InvalidArgument, match=told):
            analysis(samples)
    with pytest.raises(InvalidArgument, match=told):
        rl.compare(rl.load("data/standup-lossy.bin"), samples)  # type: ignore[arg-type]
