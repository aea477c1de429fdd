"""The frame of findings, its order, and the one line that follows from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.broken import SAID, broken, call, resampled
from helpers.broken import STARTS as T
from helpers.broken import voices as made_voices

import recall_lab as rl
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.findings.values import SEVERITIES, Finding
from recall_lab.analysis.time.analysis import analyse
from recall_lab.analysis.verdict.verdict import (
    COLUMNS,
    findings_of,
    ordered,
    table_of,
    verdict_of,
    word_of,
)
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument


@pytest.fixture(scope="module")
def voices() -> np.ndarray:
    return made_voices()


def at(severity: str, finding: str, evidence: str = "so it is") -> Finding:
    return Finding(severity, finding, np.nan, np.nan, 1.0, "", evidence, "Do.")  # type: ignore[arg-type]


def test_a_good_call_is_good(voices: np.ndarray) -> None:
    capture = call(T, voices)
    assert rl.findings(capture).empty
    said = "good: nothing is missing by its clocks, nothing is wrong with its sound"
    assert rl.quality(capture)["verdict"] == said
    by_clocks = rl.quality(capture, sound=False)["verdict"]
    assert by_clocks == "good: nothing is missing by its clocks, its sound was not looked at"


@pytest.mark.parametrize("name", SAID)
def test_what_was_once_called_good(name: str, voices: np.ndarray) -> None:
    finding, verdict = SAID[name]
    capture = broken(name, voices)
    found = rl.findings(capture)
    assert found["finding"].iloc[0] == finding
    assert rl.quality(capture)["verdict"].startswith(verdict)


@pytest.mark.parametrize("name", SAID)
def test_nobody_prints_all_of_it_beside_half_of_it(name: str, voices: np.ndarray) -> None:
    found = rl.quality(broken(name, voices))
    there = found["available_without_silence_percent"]
    assert not (found["verdict"].startswith("good") and there < 99.9)
    assert "100" not in found["verdict"].partition(" (and")[0] or name == "zeros"
    if name in ("half", "hidden", "short"):
        share = {"half": 50.0, "hidden": 100 * 60 / 78, "short": 100 * 54.02 / 60}[name]
        assert there == pytest.approx(share, abs=0.1)
        assert found["available_percent"] == pytest.approx(share, abs=0.1)


def test_the_frame(voices: np.ndarray) -> None:
    lossy = call(np.delete(T, 77), voices[: 299 * 3200])
    found = rl.findings(lossy)
    assert found.columns.tolist() == list(COLUMNS)
    kinds = ["str", "str", "float64", "float64", "float64", "str", "str", "str"]
    assert [str(kind) for kind in found.dtypes] == kinds
    assert found["severity"].isin(SEVERITIES).all()
    assert found["finding"].isin(list(CATALOGUE)).all()
    assert found["start"].iloc[0] == pytest.approx(15.4)
    empty = table_of([])
    assert [str(kind) for kind in empty.dtypes] == kinds
    several = rl.findings([lossy, call(T, voices)])
    pd.testing.assert_frame_equal(several.drop(columns="stream"), found)
    assert several["stream"].tolist() == ["call"] * len(found)


def test_options_are_those_of_an_analysis(voices: np.ndarray) -> None:
    capture = call(T, voices)
    assert rl.findings(capture, call=(0, 80))["finding"].tolist() == ["unexplained_gap"]
    known = rl.analyse(capture, call=(0, 80))
    assert rl.findings(known)["finding"].tolist() == ["unexplained_gap"]
    assert rl.quality(known)["verdict"].startswith("usable: 20.00 of 80.0 s are not there")
    with pytest.raises(InvalidArgument, match="source"):
        rl.findings(7)


def test_each_thing_is_looked_for_once(voices: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    from recall_lab.analysis.verdict import verdict

    asked: list[str] = []
    for name in ("findings_of_samples", "findings_of_time"):
        work = getattr(verdict, name)
        monkeypatch.setattr(
            verdict, name, lambda *a, _w=work, _n=name, **k: (asked.append(_n), _w(*a, **k))[1]
        )
    known = analyse(call(T, voices))
    for _ in range(2):
        findings_of(known)
        findings_of(known, sound=False)
        rl.quality(known)
    assert sorted(asked) == ["findings_of_samples", "findings_of_time"]


def test_by_clocks_alone_no_audio_is_read(voices: np.ndarray) -> None:
    class Unread:
        dtype, shape = voices.dtype, voices.shape

        def __len__(self) -> int:
            return len(voices)

        def __getitem__(self, key: object) -> np.ndarray:
            raise AssertionError("read")

    whole = call(T, voices)
    capture = Capture(Unread(), whole.packets, whole.info, events=lambda: whole.events)  # type: ignore[arg-type]
    assert rl.findings(capture, sound=False).empty
    with pytest.raises(AssertionError, match="read"):
        rl.findings(capture)


def test_another_rate_is_told_once(voices: np.ndarray) -> None:
    """Not as gaps or overlaps beside it; by the clocks alone it is told, too."""
    for rate, samples in ((24_000, 4800), (8_000, 1600)):
        capture = call(T, resampled(voices, rate), samples)
        found = rl.findings(capture)["finding"].tolist()
        assert found == ["wrong_rate"]
        by_clocks = rl.findings(capture, sound=False)
        assert by_clocks["finding"].tolist() == ["wrong_rate"]
        assert f"not 16 kHz mono, but {rate / 1000:g} kHz" in by_clocks["evidence"].iloc[0]


def test_the_order() -> None:
    mixed = [
        at("note", "narrow_band"), at("warning", "clicks"), at("warning", "overlap"),
        at("bad", "clipping"), at("bad", "missing"), at("bad", "byte_order"),
        at("warning", "container"), at("bad", "dropped"),
    ]  # fmt: skip
    assert [one.finding for one in ordered(mixed)] == [
        "byte_order", "missing", "dropped", "clipping", "container", "overlap", "clicks",
        "narrow_band",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ([], "good"),
        ([at("note", "narrow_band")], "good"),
        ([at("warning", "clicks"), at("note", "narrow_band")], "usable"),
        ([at("bad", "missing"), at("warning", "clicks")], "poor"),
        ([at("warning", "empty")], "empty"),
        ([at("warning", "damaged_files"), at("warning", "empty")], "empty"),
        ([at("bad", "dropped"), at("warning", "empty")], "poor"),  # it was lost
    ],
)
def test_the_word(told: list[Finding], word: str) -> None:
    assert word_of(told) == word
    assert verdict_of(told).startswith(f"{word}: ")


def test_the_line() -> None:
    one, two = at("bad", "missing", "it is gone"), at("warning", "clicks", "it clicks")
    growing = at("note", "open_capture", "it may still grow")
    little = at("note", "missing", "0.20 of 300.0 s are missing in 1 gap: loss 0.20 s")
    assert verdict_of([one]) == "poor: it is gone"
    assert verdict_of([one, two, two]) == "poor: it is gone (and 2 more)"
    assert verdict_of([one, growing]) == "poor: it is gone; it may still grow"
    assert verdict_of([two, at("warning", "empty", "nothing")]) == "empty: nothing (and 1 more)"
    sounds = "nothing is wrong with its sound"
    assert verdict_of([growing]) == (
        f"good: nothing is missing by its clocks, {sounds}; it may still grow"
    )
    assert verdict_of([little]) == f"good: {little.evidence}, {sounds}"
    assert verdict_of([], clocks=False) == f"good: {sounds}"


def test_audio_without_an_index_is_judged_by_its_sound(voices: np.ndarray) -> None:
    assert rl.findings(voices_only(voices))["finding"].tolist() == ["no_timestamps"]
    swapped = rl.findings(voices_only(voices.byteswap()))
    assert swapped["finding"].tolist() == ["byte_order", "no_timestamps"]


def voices_only(samples: np.ndarray) -> Capture:
    return Capture(samples)
