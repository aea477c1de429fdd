"""Thresholds: what is kept and what is broken, and files that can't be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.verdict.policy import POLICY, check
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, InvalidPolicy

Make = Callable[..., Capture]
LOSSY = np.delete(np.arange(600), [77, 300, 301]) * 0.2


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    white = np.random.default_rng(0).normal(0, 300, 600 * 3200)
    return np.convolve(white, np.hanning(9), "same").astype(np.int16)  # neighbours are alike


def test_the_default_policy(make: Make, noise: np.ndarray) -> None:
    good = check(make(LOSSY, audio=noise[: 597 * 3200]))  # 0.5 % are missing
    assert good["measure"].tolist() == list(POLICY)
    assert good["kept"].all()
    poor = check(make([0.0, 0.4], audio=noise[:6400]))
    assert poor.loc[~poor["kept"], "measure"].tolist() == ["finding: missing"]
    twice = np.insert(np.arange(600) * 0.2, 50, 10.0)  # a warning, but forbidden
    found = check(make(twice, audio=np.append(noise, noise[:3200])))
    assert found.loc[~found["kept"], "measure"].tolist() == ["finding: conflicting_audio"]
    assert found.loc[~found["kept"], "limit"].tolist() == ["forbidden"]


@pytest.mark.parametrize(
    ("entry", "broken"),
    [
        ({"worst": "bad"}, []),
        ({"worst": "warning"}, ["clipping: worst: warning"]),
        ({"worst": "note"}, ["clipping: worst: note", "missing: worst: note"]),
        ({"worst": "note", "allow": ["missing"]}, ["clipping: worst: note"]),
        ({"allow": ["clipping"]}, []),
        ({"allow": ["narrow_band"]}, ["clipping: worst: warning"]),
        ({"forbid": ["missing"]}, ["clipping: worst: warning", "missing: forbidden"]),
        ({"worst": "bad", "forbid": ["missing"]}, ["missing: forbidden"]),
        ({"worst": "bad", "forbid": ["duplicates"]}, ["duplicates: forbidden"]),
        ({"worst": "bad", "allow": ["missing"], "forbid": ["missing"]}, ["missing: forbidden"]),
        ({"worst": "bad", "forbid": ["byte_order"]}, []),
    ],
)
def test_findings_are_allowed_and_forbidden(
    make: Make, noise: np.ndarray, entry: dict[str, object], broken: list[str]
) -> None:
    """Of a capture with clipping (bad), what is missing (warning), and duplicates (note)."""
    loud = np.clip(noise.astype(float) * 60, -32_768, 32_767).astype(np.int16)
    starts = np.insert(LOSSY, 10, LOSSY[10])
    crcs = np.insert(np.arange(597), 10, 10)
    capture = make(starts, audio=loud[: 598 * 3200], payload_crc=crcs)
    found = check(capture, {"findings": entry})
    names = found["measure"].str.removeprefix("finding: ") + ": " + found["limit"]
    assert names[~found["kept"]].tolist() == broken
    if broken:
        bad = found[~found["kept"]].iloc[0]
        key = bad["measure"].removeprefix("finding: ")
        assert bad["bound"] == CATALOGUE[key].threshold
        assert bad["value"] >= bad["bound"]
    else:
        assert found["measure"].tolist() == ["findings"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("findings = 3", r"findings is 3: expected \[findings\] with worst"),
        ("[findings]", "expected"),
        ('[findings]\nworst = "awful"', 'worst is \'awful\': expected .* "bad", "warning"'),
        ('[findings]\nworst = ["bad"]', "worst is"),
        ('[findings]\nbest = "bad"', "findings is .*best"),
        ('[findings]\nallow = "clipping"', "allow is 'clipping': expected"),
        ('[findings]\nforbid = ["weather"]', "nothing finds 'weather'; there are: container"),
        ("[findings]\nforbid = [[1]]", "nothing finds"),
    ],
)
def test_a_policy_of_findings_that_cannot_be_right(
    make: Make, tmp_path: Path, text: str, word: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InvalidPolicy, match=word):
        check(make([0.0]), path)


def test_a_file_of_thresholds(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('["longest_gap_s"]\nmax = 0.3\n["available_percent"]\nmin = 99\nworse = 0.4\n')
    found = check(make(LOSSY), path, baseline=make(np.arange(600) * 0.2))
    assert found["limit"].tolist() == ["max", "min", "worse"]
    assert found["bound"].tolist() == pytest.approx([0.3, 99, 99.6])
    assert found["value"].tolist() == pytest.approx([0.4, 99.5, 99.5])
    assert found["kept"].tolist() == [False, True, False]


def test_worse_knows_which_way_is_worse(make: Make) -> None:
    whole, lossy = make(np.arange(600) * 0.2), make(LOSSY)
    policy = {"gaps": {"worse": 1}, "available_percent": {"worse": 0.1}}
    assert check(lossy, policy, baseline=whole)["kept"].tolist() == [False, False]
    assert check(whole, policy, baseline=lossy)["kept"].tolist() == [True, True]
    fast = make(np.arange(600) * 0.2, absolute=10**18 + np.arange(600) * 200_010_000)
    drifts = {"drift_relative_absolute_ppm": {"worse": 10}}
    assert not check(fast, drifts, baseline=whole)["kept"].any()
    assert check(whole, drifts, baseline=whole)["kept"].all()


def test_what_was_not_measured_keeps_nothing(make: Make) -> None:
    short = check(make([0.0, 0.2]), {"drift_relative_received_ppm": {"max": 50}})
    assert short["kept"].tolist() == [False]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("= 3", "no TOML"),
        ("[weather]\nmax = 1", "nothing measures 'weather'; there are: available_percent"),
        ("[verdict]\nmax = 1", "nothing measures 'verdict'"),
        ("gaps = 3", "expected a table"),
        ("[gaps]", "expected a table"),
        ("[gaps]\nmost = 3", "most = 3: expected a table of numbers with min or max"),
        ("[gaps]\nmax = 'few'", "expected a table of numbers"),
        ("[gaps]\nmax = true", "expected a table of numbers"),
        ("[gaps]\nmax = nan", "expected a table of numbers"),
        ("[gaps]\nworse = 1", "give a baseline"),
    ],
)
def test_a_file_that_cannot_be_right(make: Make, tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InvalidPolicy, match=word):
        check(make([0.0]), path)
    with pytest.raises(InvalidPolicy, match="can't be read"):
        check(make([0.0]), tmp_path / "none.toml")


@pytest.mark.parametrize("policy", [[1], 5, {"longest_gap_s"}])
def test_what_is_no_policy_is_refused(root: Path, policy: object) -> None:
    with pytest.raises(InvalidArgument, match="a mapping of limits"):
        check(root / "data/standup-lossy.bin", policy)  # type: ignore[arg-type]
