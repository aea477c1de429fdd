"""Short forms of the long runs in benchmarks/: the same programs, for seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone


def run(root: Path, program: str, *arguments: str) -> str:
    """Run one of the benchmarks; each says itself, by its exit code, whether all is well."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{program}.py", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_busy_and_restarted_kernel_loses_nothing_in_either_mode(root: Path) -> None:
    told = run(root, "kernel", "--seconds", "6")
    assert told.count("all kept") == 2
    assert "'found again': [True]" in told
    # a thread shares the interpreter with the kernel's main thread, a child does not
    p99 = {
        line.split(":")[0]: float(line.split()[-3]) for line in told.splitlines() if "->" in line
    }
    assert p99["process"] < p99["thread"] / 3


@pytest.mark.slow
def test_reading_back_is_a_matter_of_the_index_alone(root: Path) -> None:
    told = run(root, "store", "--packets", "200000")
    found = re.findall(r"^(.+?) +([\d.]+) ms", told, re.MULTILINE)
    times = {name: float(took) for name, took in found}
    loaded = next(time for name, time in times.items() if name.startswith("load 2"))
    lines = next(time for name, time in times.items() if "json.loads" in name)
    assert loaded < lines  # though of ten times as many packets
    follow = next(time for name, time in times.items() if "a second more" in name)
    assert follow < loaded


@pytest.mark.slow
def test_gaps_are_found_faster_than_by_a_plain_loop_and_far_faster_than_by_obspy(
    root: Path,
) -> None:
    told = run(root, "gaps", "--sizes", "16000", "1000000", "--repetitions", "1")
    rows = re.findall(r"^ *([\d,]+)  (\w+(?: loop)?) +[\d.]+ +([\d.]+)x", told, re.MULTILINE)
    ratios = {(size, name): float(ratio) for size, name, ratio in rows}
    # below what is asked of the benchmark, 4 and 300: one run on a machine that does other things
    assert ratios["1,000,000", "plain loop"] >= 3
    assert ratios["16,000", "obspy"] >= 150


@pytest.mark.slow
def test_sound_is_analysed_faster_than_by_others_and_in_little_memory(root: Path) -> None:
    only = ["dB", "librosa.power_to_db", "levels of 8 h"]  # the others: make bench
    told = run(root, "spectrum", "--repetitions", "1", "--hours", "2", "--only", *only)
    assert "times as fast as librosa.power_to_db" in told
    assert "BROKEN" not in told
