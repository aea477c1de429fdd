"""How often findings of time are wrong: what benchmarks/findings.py counts of clocks and files.

Calls are those of the stand-in bot's plans, whose truth is known, as a perfect receiver keeps them.
Each has what any call has: delays on the way, packets that come twice or change places, clocks of
oscillators, stamps exact or rounded to 1 ms; half of them are one participant's stream with mutes.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from helpers.builders import NEW_YEAR, arrive, make_capture

from recall_lab.analysis.time.analysis import analyse
from recall_lab.analysis.verdict.verdict import findings_of
from recall_lab.capture.capture import Capture
from recall_lab.simulator.faults import Faults
from recall_lab.simulator.plan import cut, plan

RATE = 16_000
NOISE = np.random.default_rng(0).integers(-3000, 3000, 300 * RATE).astype("<i2")

Generator = np.random.Generator


def usual(rng: Generator, seconds: float, *, separate: bool, **more: Any) -> Faults:
    """Return what any call has; `more` is done to it beside."""

    def some(value: float) -> float:
        return value if rng.random() < 0.5 else 0.0

    mutes: tuple[tuple[float, float], ...] = ()
    if separate:
        begin = float(rng.uniform(0.1, 0.6)) * seconds
        mutes = ((begin, begin + float(rng.uniform(2, 0.3 * seconds))),)
    faults: dict[str, Any] = {
        "jitter": some(float(rng.uniform(0, 0.05))),
        "duplicates": some(0.01),
        "reorder": some(0.01),
        "drift": float(rng.uniform(-100, 100)),
        "sample_clock": some(float(rng.uniform(-100, 100))),
        "quantum": some(0.001),
        "mutes": mutes,
        "seed": int(rng.integers(2**31)),
    }
    return Faults(**(faults | more))


def kept(
    rng: Generator, samples: np.ndarray, packet: float, *, separate: bool = False, **more: Any
) -> Capture:
    """Return the capture of a call with the usual faults and others.

    Args:
        rng: draws them.
        samples: what is said, int16.
        packet: length of a packet, s.
        separate: whether it is one participant's stream, with a mute.
        more: faults beside the usual ones, or in their place.
    """
    samples = np.ascontiguousarray(samples, "<i2")
    faults = usual(rng, len(samples) / RATE, separate=separate, **more)
    start = float(rng.choice([0, 5, 1234.5]))
    table = plan(samples, cut(len(samples), packet, 0), faults, start=start, epoch=NEW_YEAR)
    capture = arrive(table, samples)
    if not separate:
        return capture
    info = make_capture([0.0], participant=7).info
    return Capture(capture.samples, capture.packets, info, events=lambda: capture.events)


Fault = Callable[[Generator, float], Capture]


def of_bot(seconds: float, **faults: Any) -> Fault:
    """Return a fault that the stand-in bot knows; a callable draws its value."""

    def fault(rng: Generator, packet: float) -> Capture:
        drawn = {key: one(rng) if callable(one) else one for key, one in faults.items()}
        return kept(rng, NOISE[: round(seconds * RATE)], packet, **drawn)

    return fault


def of_columns(
    seconds: float, change: Callable[[Generator, Capture], dict[str, Any]], **faults: Any
) -> Fault:
    """Return a fault of the packets' columns."""

    def fault(rng: Generator, packet: float) -> Capture:
        usual = kept(rng, NOISE[: round(seconds * RATE)], packet, **faults)
        columns = change(rng, usual)
        packets = usual.packets.assign(**columns)
        return Capture(usual.samples, packets, usual.info, events=lambda: usual.events)

    return fault


def hole(lasting: float) -> Callable[[Generator], tuple[tuple[float, float], ...]]:
    return lambda rng: ((at := float(rng.uniform(5, 20)), at + lasting),)


def once(value: float, *, back: bool = True) -> Callable[[Generator], tuple[Any, ...]]:
    def drawn(rng: Generator) -> tuple[Any, ...]:
        sign = -1 if back and rng.random() < 0.5 else 1
        return ((float(rng.uniform(5, 40)), sign * value),)  # 20 s before the end

    return drawn


def either(value: float) -> Callable[[Generator], float]:
    return lambda rng: float(rng.choice([-value, value]))


def conflicting(rng: Generator, capture: Capture) -> dict[str, Any]:
    crcs = capture.packets["payload_crc"].to_numpy().copy()
    again = capture.packets["relative"].duplicated().to_numpy() & (rng.random(len(crcs)) < 0.3)
    again[np.flatnonzero(capture.packets["relative"].duplicated().to_numpy())[:1]] = True
    crcs[again] ^= 1
    return {"payload_crc": crcs}


def twice(rng: Generator, capture: Capture) -> dict[str, Any]:
    return {"relative": capture.packets["relative"].to_numpy() * 0.95}


def lost_one(rng: Generator, packet: float) -> Capture:
    whole = kept(rng, NOISE, packet, duplicates=0)
    lost = int(rng.integers(5, len(whole.packets) - 5))
    packets = whole.packets.drop(index=whole.packets.index[lost])
    return Capture(whole.samples, packets, whole.info, events=lambda: whole.events)


def fast(rng: Generator, capture: Capture) -> dict[str, Any]:
    clock = capture.packets["monotonic"].to_numpy()
    return {"monotonic": clock[0] + (clock - clock[0]) // int(rng.choice([2, 10, 1000]))}


FAULTS: list[tuple[str, str, str, Fault]] = [
    # finding, strength, the least severity, what is done
    *(("missing", f"{100 * share:g} % of the packets, 5 min", severity,
       of_bot(300, loss=share, burst=1.5))
      for share, severity in ((0.01, "note"), (0.02, "warning"), (0.05, "bad"))),
    ("missing", "one packet of 5 min", "note", lost_one),
    ("missing", "a broken connection, 3 s of 5 min", "warning",
     of_bot(300, disconnects=lambda rng: (float(rng.uniform(5, 250)),))),
    *(("unexplained_gap", f"{lasting} s of 5 min, mixed", "warning",
       of_bot(300, mutes=hole(lasting)))
      for lasting in (1.5, 30)),
    *(("media_clock_stood", f"{seconds:g} s of 1 min", severity,
       of_bot(60, hidden=once(seconds, back=False)))
      for seconds, severity in ((0.5, "warning"), (2, "bad"), (18, "bad"))),
    *(("clock_rate", f"{100 * rate:g} %, {seconds:g} s", severity,
       of_bot(seconds, drift=either(1e6 * rate)))
      for rate, seconds, severity in ((0.002, 300, "warning"), (0.011, 60, "bad"),
                                      (0.011, 300, "bad"), (0.1, 60, "bad"))),
    *(("epochs", f"{how}, 1 min", "warning",
       of_bot(60, restarts=lambda rng: (float(rng.uniform(10, 50)),), rejoin=how))
      for how in ("new", "same")),
    *(("clock_leap", f"{seconds:g} s", "warning", of_bot(60, leaps=once(seconds, back=False)))
      for seconds in (0.5, 2, 3600)),
    *(("wall_clock_set", f"{seconds:g} s", "note", of_bot(60, steps=once(seconds)))
      for seconds in (0.3, 3)),
    *(("sample_clock", f"{ppm} ppm, 5 min", "note", of_bot(300, sample_clock=either(ppm)))
      for ppm in (300, 900)),
    ("overlap", "5 %, 1 min", "warning", of_columns(60, twice)),
    ("duplicates", "2 % of the packets", "note", of_bot(60, duplicates=0.02)),
    ("conflicting_audio", "a packet or more", "warning",
     of_columns(60, conflicting, duplicates=0.05)),
    ("replayed", "2 to 1,000 times", "note", of_columns(60, fast)),
    ("late_packets", "delays of 0.5 s in the mean", "note", of_bot(60, jitter=0.5)),
    ("stamps_scatter", "by 2 ms", "note", of_bot(60, scatter=0.002)),
    ("stamps_scatter", "rounded to 15 ms", "note", of_bot(60, quantum=0.015)),
]  # fmt: skip

_ORDER = ("note", "warning", "bad")


def count(each: int, seed: int, verbose: bool, only: list[str] | None) -> bool:
    """Count how often each fault is found; print a row each. Returns whether one is too seldom."""
    broken = False
    print("| Fault | Strength | Calls | Found | With others |\n| --- | --- | ---: | ---: | --- |")
    for at, (finding, strength, least, fault) in enumerate(FAULTS):
        if only and finding not in only:
            continue
        hits, others = 0, Counter[str]()
        for number in range(each):
            rng = np.random.default_rng([seed, 3, at, number])
            capture = fault(rng, float(rng.choice([0.02, 0.1, 0.2])))
            told = findings_of(analyse(capture), sound=False)
            hit = any(
                one.finding == finding and _ORDER.index(one.severity) >= _ORDER.index(least)
                for one in told
            )
            hits += hit
            others.update({one.finding for one in told if one.severity != "note"} - {finding})
            if verbose and not hit:
                print("missed", number, [(one.finding, one.evidence) for one in told])
        broken |= hits < 0.99 * each
        beside = ", ".join(f"{name} {many}" for name, many in others.most_common(4))
        share = f"{100 * hits / each:.0f} %{'' if hits >= 0.99 * each else ' (!)'}"
        print(f"| `{finding}` | {strength} | {each} | {share} | {beside} |", flush=True)
    return broken
