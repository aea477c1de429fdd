"""Thresholds: what is kept and what is broken, and files that can't be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recall_lab.analysis.policy import POLICY, check
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidPolicy

Make = Callable[..., Capture]
LOSSY = np.delete(np.arange(600), [77, 300, 301]) * 0.2


def test_the_default_policy(make: Make) -> None:
    good = check(make(LOSSY))
    assert good["measure"].tolist() == list(POLICY)
    assert good["kept"].all()
    poor = check(make([0.0, 0.4]))
    assert poor.loc[~poor["kept"], "measure"].tolist() == ["availability without silence %"]


def test_a_file_of_thresholds(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('["longest gap s"]\nmax = 0.3\n["availability %"]\nmin = 99\nworse = 0.4\n')
    found = check(make(LOSSY), path, baseline=make(np.arange(600) * 0.2))
    assert found["limit"].tolist() == ["max", "min", "worse"]
    assert found["bound"].tolist() == pytest.approx([0.3, 99, 99.6])
    assert found["value"].tolist() == pytest.approx([0.4, 99.5, 99.5])
    assert found["kept"].tolist() == [False, True, False]


def test_worse_knows_which_way_is_worse(make: Make) -> None:
    whole, lossy = make(np.arange(600) * 0.2), make(LOSSY)
    policy = {"gaps": {"worse": 1}, "availability %": {"worse": 0.1}}
    assert check(lossy, policy, baseline=whole)["kept"].tolist() == [False, False]
    assert check(whole, policy, baseline=lossy)["kept"].tolist() == [True, True]
    fast = make(np.arange(600) * 0.2, absolute=10**18 + np.arange(600) * 200_010_000)
    drifts = {"drift relative/absolute ppm": {"worse": 10}}
    assert not check(fast, drifts, baseline=whole)["kept"].any()
    assert check(whole, drifts, baseline=whole)["kept"].all()


def test_what_was_not_measured_keeps_nothing(make: Make) -> None:
    short = check(make([0.0, 0.2]), {"drift relative/received ppm": {"max": 50}})
    assert short["kept"].tolist() == [False]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("= 3", "no TOML"),
        ("[weather]\nmax = 1", "nothing measures 'weather'; there are: availability %"),
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
