"""How fast gaps are found: ours beside a plain loop, pandas and ObsPy, in one run.

    python benchmarks/gaps.py [--sizes 16000 1000000 10000000] [--repetitions 3]

Packets of 20 ms with 1 % lost, 0.2 % sent twice and 0.05 % out of order. Everything is on: kinds,
causes, evidence, duplicates by checksum, order of arrival. The contenders take turns and the
median counts. Each runs in a process of its own, whose peak of memory is printed; ObsPy, which
wants an object for each packet, gets 16,000 of them, in order and once each.

Promised are 8.5 times the speed of the loop with 1,000,000 packets and 16 times with 10,000,000.

The second table has stamps that scatter by 5 ms (one standard deviation), which no loop can read:
all of them have to be looked at together. Packets of 20 and of 200 ms with 1 % lost, in order and
once each, beside the same with exact stamps. Promised is at most 5 times as long.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recall_lab.analysis.time.gaps import discontinuities
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype

RATE, SAMPLES = 16_000, 320
OBSPY_MOST = 16_000
SCATTER = 0.005
LENGTHS = (320, 3200)
PROMISED = {1_000_000: 8.5, 10_000_000: 16.0}
PROMISED_SCATTERING = 5.0


def capture_of(
    count: int, *, plain: bool = False, samples: int = SAMPLES, scatter: float = 0.0
) -> Capture:
    """Return a capture of about `count` packets of `samples`; `plain` has losses only.

    Stamps scatter by a standard deviation of `scatter` seconds.
    """
    rng = np.random.default_rng(1)
    sent = np.flatnonzero(rng.random(count) > 0.01)
    if not plain:
        late = np.where(rng.random(len(sent)) < 0.0005, 1.5, 0.0)
        sent = sent[np.argsort(np.arange(len(sent)) + late, kind="stable")]
        sent = np.repeat(sent, 1 + (rng.random(len(sent)) < 0.002))
    spoken = sent * (samples * 1_000_000_000 // RATE)  # ns
    arrays = {name: np.zeros(len(sent), storage_dtype(name)) for name in COLUMNS}
    arrays["relative"][:] = sent * samples / RATE
    if scatter:
        arrays["relative"] += rng.normal(0, scatter, len(sent))
    arrays["absolute"][:] = spoken
    arrays["received"][:] = np.maximum.accumulate(spoken)
    arrays["monotonic"][:] = arrays["received"]
    arrays["offset"][:] = np.arange(len(sent)) * samples
    arrays["samples"][:] = samples
    arrays["connection"][:] = 1
    arrays["payload_crc"][:] = sent
    return Capture(np.broadcast_to(np.int16(0), len(sent) * samples), frame_of(arrays))


def ours(capture: Capture) -> Callable[[], int]:
    """Everything on: all kinds of discontinuities in a table, from nothing but the frame."""
    packets = capture.packets

    def run() -> int:
        anew = Capture(capture.audio, packets)  # nothing is known of it from before
        return len(discontinuities(anew).query("kind == 'gap'"))

    return run


def loop(capture: Capture) -> Callable[[], int]:
    """The same in plain Python, over lists, as one would write it by hand."""
    frame = capture.packets
    names = ("relative", "samples", "connection", "payload_crc", "absolute")
    columns = [
        frame[name].astype("int64").tolist() if name == "absolute" else frame[name].tolist()
        for name in names
    ]

    def run() -> int:
        half = 0.5 / RATE
        rows: list[dict[str, Any]] = []
        furthest = -1.0
        seen: dict[tuple[float, int], int] = {}
        packets = list(zip(*columns, strict=True))
        for number, (start, samples, _, crc, _) in enumerate(packets):
            key = start, samples
            if key in seen:
                cause = "exact" if seen[key] == crc else "conflicting"
                rows.append({"kind": "duplicate", "cause": cause, "start": start, "after": number})
            else:
                seen[key] = crc
                if start < furthest - half:
                    rows.append({"kind": "reordered", "start": start, "after": number})
            if start > furthest:
                furthest = start
        reached, before, found = packets[0][0], 0, 0
        for number in sorted(range(len(packets)), key=lambda at: packets[at][0]):
            start, samples, connection, _, _ = packets[number]
            if start - reached > half:
                lasts = start - reached
                same = connection == packets[before][2]
                cause = ("loss" if lasts < 1 else "mute") if same else "reconnect"
                shift = int((reached - packets[before][0]) * 1e9)
                rows.append(
                    {
                        "kind": "gap", "cause": cause, "start": reached, "end": start,
                        "duration": lasts, "samples": round(lasts * RATE), "before": before,
                        "absolute": packets[before][4] + shift,
                        "after": number, "connection_before": packets[before][2],
                        "connection_after": connection, "evidence": f"connection {connection}",
                    }
                )  # fmt: skip
                found += 1
            if start + samples / RATE > reached:
                reached, before = start + samples / RATE, number
        rows.sort(key=lambda row: row["start"])
        pd.DataFrame(rows)
        return found

    return run


def pandas(capture: Capture) -> Callable[[], int]:
    """What one would do with pandas alone: sort, shift, compare; no causes, no order of arrival."""
    frame = capture.packets

    def run() -> int:
        ordered = frame.sort_values("relative", kind="stable")
        ordered = ordered.drop_duplicates(["relative", "samples", "payload_crc"])
        ends = (ordered["relative"] + ordered["samples"] / RATE).cummax()
        missing = ordered["relative"] - ends.shift()
        found = ordered.assign(start=ends.shift(), duration=missing)[missing > 0.5 / RATE]
        return len(found)

    return run


def obspy(capture: Capture) -> Callable[[], int]:
    """`Stream.get_gaps` over one Trace a packet, which are made beforehand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from obspy import Stream, Trace, UTCDateTime
    stream = Stream()
    for start in capture.packets["relative"].tolist():
        header = {"sampling_rate": RATE, "starttime": UTCDateTime(ns=round(start * 1e9))}
        stream.append(Trace(np.zeros(SAMPLES, np.int16), header))
    return lambda: sum(gap[6] > 0 for gap in stream.get_gaps())


CONTENDERS = {"recall_lab": ours, "plain loop": loop, "pandas": pandas, "obspy": obspy}


def child(name: str, count: int, plain: bool, samples: int, scatter: float) -> None:
    """Time one contender once, after one run to warm up, and print it as JSON."""
    run = CONTENDERS[name](capture_of(count, plain=plain, samples=samples, scatter=scatter))
    if count <= 1_000_000:
        run()
    began = time.perf_counter()
    found = run()
    took = time.perf_counter() - began
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps([took, found, int(peak[1]) // 1024 if peak else 0]))


def ran(name: str, *options: float) -> tuple[float, int, int]:
    """Run a contender in a process of its own; return seconds, gaps found and peak MiB."""
    command = [sys.executable, __file__, "--child", name, *map(str, options)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    took, found, peak = json.loads(told.stdout)
    return took, found, peak


def measure(names: list[str], count: int, repetitions: int, plain: bool) -> dict[str, Any]:
    """Let the contenders take turns; return seconds (median), gaps found and peak MiB of each."""
    times: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, int] = {}
    peak: dict[str, int] = {}
    for _ in range(repetitions):
        for name in names:
            took, found[name], peak[name] = ran(name, count, int(plain), SAMPLES, 0)
            times[name].append(took)
    assert len(set(found.values())) == 1, found
    return {n: (statistics.median(times[n]), found[n], peak[n]) for n in names}


def kept(ratio: float, promise: float | None) -> str:
    """Return what was promised, and whether it was kept."""
    if promise is None:
        return ""
    return f"  promised {promise:g}x: {'kept' if ratio >= promise else 'MISSED'}"


def scattering(count: int, repetitions: int) -> None:
    """Print how much longer it takes where stamps scatter."""
    print(f"\n{'packets':>11}  {'of':>6}  {'stamps':<16}{'seconds':>10}{'longer':>9}{'gaps':>9}")
    for samples in LENGTHS:
        times: dict[float, list[float]] = {0.0: [], SCATTER: []}
        found = {}
        for _ in range(repetitions):
            for scatter in times:
                took, found[scatter], _ = ran("recall_lab", count, 1, samples, scatter)
                times[scatter].append(took)
        exact = statistics.median(times[0.0])
        for scatter, each in times.items():
            took = statistics.median(each)
            told = f"scatter by {scatter * 1e3:g} ms" if scatter else "exact"
            said = kept(exact / took, 1 / PROMISED_SCATTERING) if scatter else ""
            said = said.replace(
                f"{1 / PROMISED_SCATTERING:g}x", f"{PROMISED_SCATTERING:g}x or less"
            )
            print(
                f"{count:>11,}  {samples // 16:>3} ms  {told:<16}{took:>10.4f}{took / exact:>8.1f}x"
                f"{found[scatter]:>9,}{said}"
            )


def main() -> None:
    """Run all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16_000, 1_000_000, 10_000_000])
    parser.add_argument("--scattering", type=int, default=1_000_000, help="packets; 0 for none")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, count, plain, samples, scatter = options.child
        child(name, int(count), plain == "1", int(samples), float(scatter))
        return
    print(
        f"{'packets':>11}  {'contender':<12}{'seconds':>10}{'ratio':>9}{'gaps':>9}{'peak MiB':>10}"
    )
    for count in options.sizes:
        small = count <= OBSPY_MOST
        names = [name for name in CONTENDERS if small or name != "obspy"]
        results = measure(names, count, options.repetitions, small)
        least = results["recall_lab"][0]
        for name, (took, found, peak) in results.items():
            promise = PROMISED.get(count) if name == "plain loop" else None
            print(
                f"{count:>11,}  {name:<12}{took:>10.4f}{took / least:>8.1f}x{found:>9,}{peak:>10,}"
                f"{kept(took / least, promise)}"
            )
    if options.scattering:
        scattering(options.scattering, options.repetitions)


if __name__ == "__main__":
    main()
