"""Quality and availability, against the simulator's truth and against counting samples."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.paths import DATA
from helpers.plans import SECONDS, draw, holes

import recall_lab as rl
from recall_lab.analysis.causes.causes import CAUSES, missing_label
from recall_lab.analysis.verdict.quality import availability, quality
from recall_lab.capture.capture import Capture
from recall_lab.capture.record import pack_header, pack_record
from recall_lab.errors import InvalidArgument, MissingTimestamps
from recall_lab.loading import load_recording

Make = Callable[..., Capture]


def test_quality_against_the_truth(arrive: Make) -> None:
    for seed in range(25):
        call = draw(seed)
        span = (call.start, call.start + SECONDS)
        found = quality(arrive(call.plan), call=span)
        assert found["available_percent"] == pytest.approx(100 * call.there.mean())
        assert found["missing_s"] == pytest.approx((~call.there).sum() / 16_000)
        assert found["span_s"] == SECONDS
        runs = holes(call.there)
        assert found["gaps"] == len(runs)
        assert found["longest_gap_s"] == pytest.approx(np.diff(runs).max() / 16_000)
        by_cause = sum(found[missing_label(cause)] for cause in CAUSES)
        assert by_cause == pytest.approx(found["missing_s"])


def test_availability_against_counting_samples(arrive: Make) -> None:
    for seed in range(25):
        call = draw(seed)
        span = (call.start, call.start + SECONDS)
        capture = arrive(call.plan)
        found = availability(capture, "2.5s", call=span)
        there = call.there.reshape(-1, 40_000)
        np.testing.assert_allclose(found["available_share"], there.mean(axis=1), atol=1e-9)
        np.testing.assert_allclose(found["missing_s"], (~there).sum(axis=1) / 16_000, atol=1e-6)
        begin = capture.packets["relative"].to_numpy() - call.start + 1e-9
        assert (
            found["packets"].tolist()
            == np.bincount((begin / 2.5).astype(int), minlength=24).tolist()
        )
        runs = holes(call.there) / 40_000
        for at, row in enumerate(found.itertuples()):
            assert row.gaps == np.count_nonzero((runs[:, 0] < at + 1) & (runs[:, 1] > at))


def test_windows_have_times_and_the_last_may_be_shorter(make: Make) -> None:
    found = availability(make([10.0, 10.2, 11.0]), 0.5)
    assert found.index.tolist() == [10.0, 10.5, 11.0]
    assert found["end"].round(9).tolist() == [10.5, 11.0, 11.2]
    assert found["available_share"].round(9).tolist() == [0.8, 0.0, 1.0]
    assert found["absolute"][10.5] == pd.Timestamp("2026-01-01T00:00:10.5Z")
    wide = availability(make([10.0]), "1min", call=(0, 120))
    assert wide["missing_s"].round(9).tolist() == [59.8, 60.0]


def test_ten_hours_in_windows(make: Make) -> None:
    kept = np.delete(np.arange(180_000), np.arange(500, 180_000, 1000))
    found = availability(make(kept * 0.2), "10s")
    assert len(found) == 3600
    assert found["missing_s"].sum() == pytest.approx(180 * 0.2)


def test_silence_by_design_is_not_held_against_a_capture(make: Make) -> None:
    starts = np.concatenate([np.arange(300), np.arange(400, 700)]) * 0.2
    muted = quality(make(starts, participant=7), sound=False)
    assert muted["missing_mute_s"] == pytest.approx(20)
    assert muted["available_percent"] == pytest.approx(100 * 120 / 140)
    assert muted["available_without_silence_percent"] == pytest.approx(100)
    assert muted["verdict"].startswith("good: nothing is missing by its clocks")
    # in the mixed stream nothing tells it from a loss
    mixed = quality(make(starts), sound=False)
    assert mixed["missing_unknown_s"] == pytest.approx(20)
    assert mixed["verdict"].startswith("usable: 20.00 of 140.0 s are not there, in 1 gap: lost, or")
    lossy = quality(make(np.delete(np.arange(600), [77, 300, 301]) * 0.2), sound=False)
    assert lossy["verdict"] == "usable: 0.60 of 120.0 s are missing in 2 gaps: loss 0.60 s"
    half = quality(make([0.0, 0.4]), sound=False)["verdict"]
    assert half == "poor: 0.20 of 0.6 s are missing in 1 gap: loss 0.20 s"
    # the samples of these are zeros
    assert quality(make(starts))["verdict"].startswith("poor: nothing but zeros: 100 % of 120.0 s")


def test_what_the_media_clock_does_not_tell_is_held_against_a_capture(make: Make) -> None:
    """18 s that passed while it stood, and 1 % of 300 s that are short throughout."""
    starts = np.arange(300) * 0.2
    passed = np.rint((starts + np.where(starts >= 30, 18, 0)) * 1e9).astype(np.int64)
    wall = 1_767_225_600_000_000_000 + passed
    hidden = quality(make(starts, absolute=wall, received=wall, monotonic=passed), sound=False)
    assert hidden["unexplained_s"] == pytest.approx(18)
    assert hidden["missing_s"] == 0
    for name in ("available_percent", "available_without_silence_percent"):
        assert hidden[name] == pytest.approx(100 * 60 / 78)
    assert hidden["verdict"].startswith("poor: 18.00 s passed of which there is no audio")
    starts = np.arange(1500) * 0.2
    passed = np.rint(starts / 0.99 * 1e9).astype(np.int64)
    wall = 1_767_225_600_000_000_000 + passed
    short = quality(make(starts, absolute=wall, received=wall, monotonic=passed), sound=False)
    assert short["unexplained_s"] == pytest.approx(3.03, abs=0.01)
    assert short["available_percent"] == pytest.approx(99, abs=0.01)
    assert short["verdict"].startswith("poor: 3.03 s of the call are not in the audio")


def test_several_streams_are_a_row_each(root: Path) -> None:
    rows = quality([
        *load_recording(root / "data/standup-lossy.bin"),
        *load_recording(root / "data/standup-broken"),
    ])  # fmt: skip
    assert rows.index.tolist() == ["standup-lossy", "standup-broken.100"]
    assert rows.index.name == "stream"
    assert rows["missing_reconnect_s"].round(2).tolist() == [0.0, 2.98]
    one = quality(rl.load(root / "data/standup-lossy.bin"))
    pd.testing.assert_series_equal(
        rows.loc["standup-lossy"], one, check_dtype=False, check_series_type=False
    )


def test_one_is_shown_as_a_line_and_as_a_table_and_is_a_series(root: Path) -> None:
    one = quality(rl.load(root / "data/standup-lossy.bin"))
    assert repr(one).startswith("<quality of standup-lossy: poor: ")
    assert repr(one).endswith("; 6 gaps (loss 1.100 s)>")
    assert "<th" in one._repr_html_()
    assert f"{one['jitter_ms']:,.6g}" in one._repr_html_()
    assert len(one.to_string().splitlines()) == len(one)
    for part in (one[["gaps", "packets"]], one.drop("verdict"), one.copy()):
        assert type(part) is pd.Series
    assert repr(pickle.loads(pickle.dumps(one))) == repr(one)


def test_degenerate_captures(make: Make) -> None:
    assert quality(Capture(np.empty(0, np.int16)))["verdict"].startswith("empty")
    assert availability(make([])).empty
    for starts in ([1.0], [1.0] * 9, np.arange(9)[::-1] * 0.2, [0.0, np.nan, 0.2]):
        assert quality(make(starts))["available_percent"] == pytest.approx(100)
        assert availability(make(starts))["available_share"].tolist() == pytest.approx([1])
    assert quality(make([], 0), call=(0, 5))["available_percent"] == 0
    for call in (quality, availability):
        with pytest.raises(MissingTimestamps):
            call(Capture(np.zeros(9, np.int16)))  # type: ignore[operator]
    for every in (0, -1, "soon", np.nan, None, 1e-9):
        with pytest.raises(InvalidArgument, match="every"):
            availability(make([0.0]), every)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="windows"):
        availability(make([0.0, 1e8]), 0.001)


@pytest.mark.parametrize("left", [0, 100_000, 184_000 * 2 - 2])
def test_audio_that_the_file_has_lost_is_missing(tmp_path: Path, left: int) -> None:
    for suffix in (".bin", ".idx", ".json"):
        shutil.copy(DATA / f"standup-lossy{suffix}", tmp_path / f"r1{suffix}")
    os.truncate(tmp_path / "r1.bin", left)
    whole, capture = rl.load(DATA / "standup-lossy.bin"), rl.load(tmp_path / "r1.bin")
    ends = (whole.packets["offset"] + whole.packets["samples"]) * 2
    lost = whole.packets[ends > left]
    found = rl.quality(capture)
    assert found["missing_dropped_s"] == pytest.approx(
        whole.span[1] - lost["relative"].min(), abs=1e-6
    )
    assert found["span_s"] == pytest.approx(rl.quality(whole)["span_s"], abs=1e-6)
    if left < 200_000:
        assert found["verdict"].startswith("poor")
    assert "their audio is not in the file" in rl.gaps(capture)["evidence"].iloc[-1]


def test_audio_that_is_lost_at_no_time_is_only_counted(tmp_path: Path) -> None:
    record = pack_record(
        offset=0, length=6400, flags=0, relative=float("nan"), absolute=0, received=0,
        monotonic=0, connection=1, sequence=0, payload_crc=0,
    )  # fmt: skip
    (tmp_path / "r1.idx").write_bytes(pack_header() + record)
    damage = rl.load(tmp_path / "r1.idx").damage
    assert (damage.missing_payloads, damage.missing_spans) == (1, ())
