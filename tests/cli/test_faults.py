"""Faults as options of the command line: each is there, and read as it is meant."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

from recall_lab.cli.faults import add_faults, faults_of
from recall_lab.errors import InvalidArgument
from recall_lab.simulator.faults import Faults


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_faults(parser)
    return parser


def test_there_is_an_option_for_every_field(parser: argparse.ArgumentParser) -> None:
    usage = parser.format_usage()
    singular = {
        "disconnects": "disconnect", "mutes": "mute", "steps": "step", "leaps": "leap",
        "restarts": "restart",
    }  # fmt: skip
    for field in fields(Faults):
        option = singular.get(field.name, field.name).replace("_", "-")
        assert f"[--{option}" in usage, field.name


def test_what_is_not_given_is_no_fault(parser: argparse.ArgumentParser) -> None:
    assert faults_of(parser.parse_args([])) == Faults()


def test_all_are_read_as_meant(parser: argparse.ArgumentParser) -> None:
    line = (
        "--loss .1 --burst 2 --duplicates .2 --reorder .3 --jitter .01 --disconnect 5 9 "
        "--malformed .4 --mute 1:2 3:4.5 --empty .05 --zeros .06 --short .1 --uneven .07 "
        "--uneven-by -100 7 --drift -80 --sample-clock -50 --step 30:-2.5 --leap 30:3600 "
        "--hidden 8:18 --restart 25 30:7.5 --rejoin same --stamped end --scatter .005 "
        "--scatter-from 40 --shared 10 --late-stamps .02 --late-by .5 --quantum .02 "
        "--rounding down --float32 --seed 9"
    )
    assert faults_of(parser.parse_args(line.split())) == Faults(
        loss=0.1, burst=2, duplicates=0.2, reorder=0.3, jitter=0.01, disconnects=(5, 9),
        malformed=0.4, mutes=((1, 2), (3, 4.5)), empty=0.05, zeros=0.06, short=0.1, uneven=0.07,
        uneven_by=(-100, 7), drift=-80, sample_clock=-50, steps=((30, -2.5),),
        leaps=((30, 3600),), hidden=((8, 18),), restarts=(25, (30, 7.5)), rejoin="same",
        stamped="end", scatter=0.005, scatter_from=40, shared=10, late_stamps=0.02, late_by=0.5,
        quantum=0.02, rounding="down", float32=True, seed=9,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--leap 30", "expected two numbers of seconds, as 30:-2.5"),
        ("--hidden 30:soon", "expected two numbers of seconds"),
        ("--restart later", "expected seconds, as 25"),
        ("--restart 3:x", "expected two numbers of seconds"),
        ("--rounding up", "invalid choice"),
    ],
)
def test_what_cannot_be_read_is_told(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(line.split())
    assert told in capsys.readouterr().err


def test_what_is_out_of_range_is_told_by_name(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(InvalidArgument, match="hidden"):
        faults_of(parser.parse_args(["--hidden", "3:0"]))
