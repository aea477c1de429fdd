"""Calls in which everything goes wrong at once, as in the field: how many are told right."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from helpers.builders import arrive
from helpers.field import Told, tell
from helpers.plans import draw_field

from recall_lab.analysis.time.analysis import analyse

SEEDS = range(7_000, 7_300)


@cache
def calls_of_the_field() -> tuple[Told, ...]:
    return tuple(tell(seed) for seed in SEEDS)


def test_nearly_all_calls_are_told_right() -> None:
    calls = calls_of_the_field()
    wrong = [one.seed for one in calls if not one.right]
    assert len(wrong) <= 0.06 * len(calls), wrong


def test_calls_with_exact_stamps_are_told_right() -> None:
    calls = [one for one in calls_of_the_field() if one.exact]
    wrong = [one.seed for one in calls if not one.right]
    assert len(calls) >= 30
    assert len(wrong) <= 0.01 * len(calls), wrong


def test_gaps_are_told_only_where_audio_is_missing() -> None:
    none = [one for one in calls_of_the_field() if one.exact and one.phantoms]
    assert not none
    many = [one for one in calls_of_the_field() if one.phantoms > one.packets / 500 + 1]
    assert len(many) <= 0.03 * len(calls_of_the_field()), many
    told, packets = np.sum([(one.phantoms, one.packets) for one in calls_of_the_field()], axis=0)
    assert told <= packets / 500


def test_the_sum_comes_out_in_every_call() -> None:
    apart = [(one.seed, one.apart) for one in calls_of_the_field() if abs(one.apart) > 0.0015]
    assert not apart


@pytest.mark.parametrize("seed", SEEDS[::10])
def test_the_timeline_is_empty_where_gaps_are(seed: int) -> None:
    found = analyse(arrive(draw_field(seed).plan))
    assert np.count_nonzero(~found.timeline().real) == found.gaps["samples"].sum()
