"""How well the drift of the clocks is told: ours beside a straight line and Theil-Sen.

    python benchmarks/drift.py [--seeds 300] [--packet 0.2]

Calls of an hour in four kinds of weather. Delays are drawn, the drift is known: what is printed
is by how much each estimator misses it, and how often it lies in our 95 % interval.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import theilslopes

from recall_lab.analysis.clocks.rates import envelope
from recall_lab.analysis.time.drift import drift
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype

WEATHER = ("clean", "stalls", "stalls and a step", "stalls and a backlog")
HOUR = 3600.0
EPOCH = 1_767_225_600_000_000_000


def call(weather: str, seed: int, packet: float = 0.2) -> tuple[Capture, float]:
    """Return a call of an hour and the drift of its media clock against ours, ppm."""
    rng = np.random.default_rng((seed, WEATHER.index(weather)))
    true = float(rng.uniform(-100, 100))
    relative = np.arange(round(HOUR / packet)) * packet
    sent = (relative + packet) / (1 + true * 1e-6)  # on our clock
    arrived = sent + 0.03 + rng.exponential(0.01, len(sent))
    if weather != "clean":
        for at, lasts in zip(rng.uniform(0, HOUR, 30), rng.uniform(0.5, 5, 30), strict=True):
            held = (arrived >= at) & (arrived < at + lasts)
            arrived[held] = at + lasts + np.arange(held.sum()) * 1e-4
    if weather == "stalls and a step":
        arrived[sent >= rng.uniform(0.1, 0.9) * HOUR] += rng.uniform(0.03, 0.08)
    if weather == "stalls and a backlog":
        begin = HOUR - rng.uniform(60, 180)
        arrived += np.maximum(sent - begin, 0) * rng.uniform(0.05, 0.5)
    arrived = np.maximum.accumulate(arrived)
    count = len(relative)
    samples = round(packet * 16_000)
    arrays = {name: np.zeros(count, storage_dtype(name)) for name in COLUMNS}
    arrays["relative"][:] = relative
    arrays["absolute"][:] = EPOCH + np.rint((sent - packet) * 1e9)
    arrays["received"][:] = EPOCH + np.rint(arrived * 1e9)
    arrays["monotonic"][:] = np.rint(arrived * 1e9)
    arrays["samples"][:] = samples
    arrays["offset"][:] = np.arange(count) * samples
    arrays["connection"][:] = 1
    audio = np.broadcast_to(np.int16(0), count * samples)
    return Capture(audio, frame_of(arrays)), true


def others(capture: Capture) -> tuple[float, float]:
    """Return the drift by least squares over all packets, and by Theil-Sen over the envelope."""
    packets = capture.packets
    lasts = packets["relative"].to_numpy() + packets["samples"].to_numpy() / 16_000
    late = packets["monotonic"].to_numpy() / 1e9 - lasts
    points = envelope(lasts, late)
    line = float(np.polyfit(lasts - lasts.mean(), late, 1)[0])
    return tuple(-1e6 * slope for slope in (line, theilslopes(points.values, points.times)[0]))  # type: ignore[return-value]


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--packet", type=float, default=0.2, help="seconds (0.2)")
    options = parser.parse_args()
    print(f"{options.seeds} calls of an hour each, packets of {options.packet:g} s; errors in ppm")
    heads = ("weather", "worst", "median", "in interval", "width", "line", "Theil-Sen", "s a call")
    print("{:<22}{:>8}{:>8}{:>13}{:>8}{:>8}{:>11}{:>10}".format(*heads))
    for weather in WEATHER:
        errors, inside, widths, peers, took = [], 0, [], [], 0.0
        for seed in range(options.seeds):
            capture, true = call(weather, seed, options.packet)
            began = time.perf_counter()
            found = drift(capture).loc["relative/received"]
            took += time.perf_counter() - began
            errors.append(abs(found["drift"] - true))
            inside += found["low"] <= true <= found["high"]
            widths.append(found["high"] - found["low"])
            if seed < 20:
                peers.append([abs(peer - true) for peer in others(capture)])
        line, theil = np.max(peers, axis=0)
        print(
            f"{weather:<22}{max(errors):>8.3f}{np.median(errors):>8.3f}"
            f"{inside / options.seeds:>12.1%} {np.median(widths):>8.3f}{line:>8.1f}{theil:>11.2f}"
            f"{took / options.seeds:>10.3f}"
        )


if __name__ == "__main__":
    main()
