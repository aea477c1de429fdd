"""Short forms of `make torture`: the same trials, for seconds.

They mostly wait, for a clock or for a process: so several run at once, each in a process of its
own, and each test waits for one. One that fails beside the others is tried again alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from benchmarks.torture.__main__ import TRIALS, Outcome, outcome_of, table
from benchmarks.torture.figures import Figure, Scale

pytestmark = pytest.mark.alone

AT_ONCE = 4
LONGEST = ("hosts", "reconnects", "clocks", "autobahn")  # begin first
ELSEWHERE = ("autobahn",)  # needs a Python 2.7, which few have


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Future[Outcome]]]:
    """What becomes of each trial, all of them under way."""
    trials = sorted(TRIALS, key=lambda trial: trial not in LONGEST)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            trial: pool.submit(outcome_of, trial, Scale(short=True), timeout=170)
            for trial in trials
        }


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("trial", TRIALS)
def test_what_was_promised_holds(trial: str, outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes[trial].result()
    if not outcome.good and not outcome.missing:  # noise of the others, or does it not hold?
        for other in outcomes.values():
            other.result()
        outcome = outcome_of(trial, Scale(short=True), timeout=170)
    if outcome.missing:
        assert "CI" not in os.environ or trial in ELSEWHERE, f"to be had: {outcome.missing}"
        pytest.skip(outcome.missing)
    assert outcome.figures or outcome.failure
    assert outcome.good, table([outcome], markdown=False) + "\n" + outcome.failure


@pytest.mark.parametrize(
    ("value", "sense", "limit", "holds"),
    [(0, "=", 0, True), (1, "=", 0, False), (2, "<=", 2, True), (3, "<=", 2, False),
     (5, ">=", 6, False), (float("nan"), "<=", 1, False)],
)  # fmt: skip
def test_a_figure_holds_or_does_not(value: float, sense: str, limit: float, holds: bool) -> None:
    figure = Figure("packets lost", value, sense, limit)  # type: ignore[arg-type]
    assert figure.holds is holds
    assert figure.cells[-1] == ("yes" if holds else "NO")


def test_a_trial_that_breaks_down_is_not_taken_for_one_that_holds() -> None:
    assert not Outcome("x", 1.0, failure="Traceback").good
    assert not Outcome("x", 1.0, (Figure("a", 1, "=", 0),)).good
    told = table([Outcome("x", 1.0, missing="needs root")], markdown=True)
    assert "| x | needs root |  |  | not here |" in told
