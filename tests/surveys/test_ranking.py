"""Which captures are bad, in order, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.surveys import failed, frame_of, made_up, row

from recall_lab.errors import InvalidArgument
from recall_lab.surveys.ranking import lasting, name_of, rank, summary, verdicts

EMPTY = {"verdict": "empty: no audio was expected", "available_without_silence_percent": np.nan}


def test_the_worst_come_first() -> None:
    frame = frame_of(
        row(0), row(1, there=99.5), failed(2), row(3, there=12.0), row(4, damage="torn"),
        row(5) | EMPTY, row(6, there=12.0, damage="torn"), row(7, silence_share=1.0),
        row(8, error="InvalidAudio: no levels"),
    )  # fmt: skip
    order = rank(frame)["recording"].str[-1]
    assert "".join(order) == "826314705"


def test_each_says_why() -> None:
    frame = frame_of(
        row(0), row(1, there=90.0, damage="34 bytes of a torn record"), failed(2, "A: b"),
        row(3, silence_share=1.0), row(4, damage="a\x1b[31mb"),
    )  # fmt: skip
    why = rank(frame).sort_index()["why"].tolist()
    assert why == [
        "",
        "360.00 of 3600.0 s are missing in 9 gaps: loss 360.00 s; "
        "damage: 34 bytes of a torn record",
        "A: b",
        "nothing but digital silence",
        "damage: a\N{REPLACEMENT CHARACTER}[31mb",
    ]


def test_a_frame_that_was_a_file_of_csv(tmp_path: Path) -> None:
    frame = frame_of(row(0, there=90.0), failed(1), row(2))
    frame.to_csv(tmp_path / "survey.csv", index=False)
    back = pd.read_csv(tmp_path / "survey.csv")
    with pytest.raises(InvalidArgument, match=r"start as datetime64\[ns, UTC\]"):
        rank(back)
    back = pd.read_csv(tmp_path / "survey.csv", parse_dates=["start"])
    assert rank(back)["why"].tolist() == rank(frame)["why"].tolist()
    assert summary(back) == summary(frame)
    for other in (frame.convert_dtypes(), pd.read_csv(
        tmp_path / "survey.csv", parse_dates=["start"], dtype_backend="pyarrow"
    ).astype({"start": "datetime64[ns, UTC]"})):  # fmt: skip
        assert rank(other)["why"].tolist() == rank(frame)["why"].tolist()
        assert rank(other)["missing_s"].dtype == "float64"


def test_outliers_are_those_of_the_modified_z_score() -> None:
    there = 100 - np.random.default_rng(0).exponential(0.5, 500)
    there[7], there[8] = 60.0, 2.0
    frame = frame_of(*(row(at, there=float(share)) for at, share in enumerate(there)))
    missing = 100 - there
    middle = np.median(missing)
    score = 0.6745 * (missing - middle) / np.median(np.abs(missing - middle))
    found = rank(frame).sort_index()["outlier"].to_numpy()
    assert found[[7, 8]].all()
    assert (found == ((score > 3.5) & (there < 99.9))).all()


@pytest.mark.parametrize(("bad", "out"), [(1, True), (10, True), (40, False)])
def test_where_most_are_perfect_the_mean_deviation_stands_in(bad: int, out: bool) -> None:
    frame = frame_of(*(row(at, there=80.0 if at < bad else 100.0) for at in range(100)))
    assert rank(frame)["outlier"].sum() == (bad if out else 0)


def test_what_is_good_is_no_outlier() -> None:
    frame = frame_of(*(row(at, there=99.95 if at == 3 else 100.0) for at in range(50)))
    assert not rank(frame)["outlier"].any()


def test_the_summary_counts_and_names_the_day() -> None:
    frame = frame_of(
        row(0), row(1, day=3, there=90.0), row(2, there=99.5), failed(3), row(4) | EMPTY
    )
    assert summary(frame) == (
        "5 streams of 5 recordings, 2026-01-01 to 2026-01-04 (UTC), 4.0 h: 1 poor, 1 usable, "
        "1 good, 1 empty, 1 could not be measured. Lost: loss 6.3 min. "
        "The most on 2026-01-04: 6.0 min."
    )
    assert summary(frame_of()) == "No captures."
    assert summary(frame_of(row(0))).endswith("1 good. Nothing was lost.")
    assert summary(frame_of(failed(0))) == ("1 stream of 1 recording: 1 could not be measured.")


def test_the_verdict_of_each() -> None:
    frame = frame_of(row(0), row(1, there=99.5), row(2, there=1.0), failed(3), row(4) | EMPTY)
    assert verdicts(frame).tolist() == ["good", "usable", "poor", "failed", "empty"]
    assert verdicts(frame_of()).tolist() == []


def test_rows_may_have_any_index() -> None:
    frame = made_up(60, 10)
    twice = pd.concat([frame, frame])
    assert len(rank(twice)) == 120
    assert summary(twice).startswith("120 streams of 60 recordings")


def test_names_are_those_of_files() -> None:
    assert name_of("s3://b/x/call.100.bin", 100, "Ada") == "call.100 (Ada)"
    assert name_of("/a/call.flac", pd.NA, "") == "call"
    assert name_of("/a/call.idx", 7, "") == "call"
    assert len(name_of("/a/" + "x" * 500, 1, "y" * 500)) < 80


def test_lengths_as_people_say_them() -> None:
    assert [lasting(s) for s in (0, 3.21, 119.9, 400, 90_000)] == [
        "0.0 s", "3.2 s", "119.9 s", "6.7 min", "25.0 h"
    ]  # fmt: skip


def test_another_frame_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"what rl\.survey returns"):
        rank([1])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"a column 'verdict', .*'quality'"):
        rank(frame_of(row(0)).drop(columns="verdict"))
    with pytest.raises(InvalidArgument, match=r"start as datetime64\[ns, UTC\]"):
        summary(frame_of(row(0)).astype({"start": "str"}))


def test_damaged_files_are_never_good() -> None:
    frame = frame_of(
        row(0), row(1, damage="torn"), row(2, damage="torn") | EMPTY, row(3, there=5.0, damage="x")
    )
    assert verdicts(frame).tolist() == ["good", "damaged", "damaged", "poor"]
    assert rank(frame)["recording"].str[-1].tolist() == ["3", "1", "2", "0"]
    assert "1 poor, 2 damaged, 1 good" in summary(frame)


SWAPPED = "poor: the two bytes of each sample are swapped"
LOUD = "usable: peaks are cut off"
RATE = "poor: not 16 kHz mono, but 24 kHz: there are 1.500 times the samples"


@pytest.mark.parametrize(
    ("there", "sound", "more", "kind", "why"),
    [
        (100, "good: nothing is wrong with its sound", {}, "good", ""),
        (100, SWAPPED, {}, "poor", "the two bytes of each sample are swapped"),
        (99.5, SWAPPED, {}, "poor", "the two bytes of each sample are swapped; 18.00 of"),
        (50, SWAPPED, {}, "poor", "1800.00 of 3600.0 s are missing in 9 gaps: loss 1800.00 s; the"),
        (50, LOUD, {}, "poor", "1800.00 of 3600.0 s are missing in 9 gaps: loss 1800.00 s; peaks"),
        (100, LOUD, {}, "usable", "peaks are cut off"),
        (
            100,
            "poor: it is sampled at 24 kHz",
            {"verdict": RATE},
            "poor",
            "it is sampled at 24 kHz",
        ),
        (100, "", {"verdict": RATE}, "poor", "not 16 kHz mono, but 24 kHz"),
        (100, SWAPPED, {"error": "E: f"}, "poor", "E: f; the two bytes of each sample are swapped"),
        (100, "", {"error": "BadAudio: f"}, "damaged", "BadAudio: f"),
    ],
)
def test_the_worse_of_clocks_and_sound_comes_first(
    there: float, sound: str, more: dict[str, str], kind: str, why: str
) -> None:
    found = rank(frame_of(row(0, there=there, sound=sound, **more))).iloc[0]
    assert found["kind"] == kind
    assert found["why"].startswith(why)
    assert bool(found["why"]) == bool(why)
    if "24 kHz" in sound:
        assert "not 16 kHz mono" not in found["why"]


def test_what_sounds_wrong_comes_before_what_is_good_though_all_is_there() -> None:
    frame = frame_of(row(0), row(1, sound=LOUD), row(2, there=99.95), row(3, sound=SWAPPED))
    assert rank(frame)["recording"].str[-1].tolist() == ["3", "1", "2", "0"]
    assert "1 poor, 1 usable, 2 good" in summary(frame)


def test_a_capture_that_may_still_grow_says_so() -> None:
    open_ = "it may still grow: nothing tells that connection 1 has ended"
    good = row(0)["verdict"] + "; " + open_
    poor = row(1, there=50)["verdict"] + "; " + open_
    frame = frame_of(row(0, verdict=good), row(1, there=50, verdict=poor), row(2))
    rows = rank(frame).sort_index()
    assert rows["kind"].tolist() == ["good", "poor", "good"]
    assert rows["why"].iloc[0] == open_
    assert rows["why"].iloc[1].count(open_) == 1
    assert rows["why"].iloc[2] == ""


def test_the_summary_says_what_was_not_looked_at_and_what_nothing_explains() -> None:
    told = "The sound was not looked at"
    assert told in summary(frame_of(row(0)).drop(columns="sound"))
    assert told not in summary(frame_of(row(0)))
    hidden = row(0, verdict="poor: 18.00 s passed") | {"unexplained_s": 18.0}
    assert "Not there, and nothing tells why: 18.0 s." in summary(frame_of(hidden))
