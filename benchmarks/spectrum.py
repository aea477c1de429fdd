"""How fast sound is analysed: ours beside librosa, SciPy and matplotlib, in one run.

    python benchmarks/spectrum.py [--repetitions 5] [--hours 8]

One hour of speech-like sound as a ``.bin`` with an index of 100 ms packets, 0.2 % of them lost,
and the same eight times over. Every contender runs in a process of its own, in turn with the
others; the median of the times counts, without imports, and so does the peak of anonymous memory
above what the imports and the samples handed over take. The FFT alone, over frames that are
there already, is the limit.

The exit code is 1 when a bound of MUST is broken.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RATE, SAMPLES = 16_000, 1600
LENGTH, HOP, BANDS = 400, 160, 80

MUST = [
    # ours, theirs, how many times faster at least
    ("spectrogram", "librosa.stft power", 3.5),
    ("spectrogram", "scipy ShortTimeFFT", 25.0),
    ("mel", "librosa mel", 6.0),
    ("dB", "librosa.power_to_db", 8.0),
    ("picture of 8 h", "librosa + specshow", 10.0),
    ("levels summary of 8 h", "reading 8 h", 0.5),
]
MOST_SECONDS = {"waveform of 8 h": 1.0, "levels of 8 h": 2.0}
MOST_MEMORY = {"picture of 8 h": 150.0, "levels of 8 h": 200.0, "FLAC of 8 h": 50.0}  # MiB


def make(folder: Path, hours: float) -> Path:
    """Write a capture: bursts of noise of every level, 0.2 % of the packets lost."""
    from recall_lab.capture.record import pack_header, pack_record

    rng = np.random.default_rng(0)
    minute = rng.normal(0, 1, 60 * RATE) * np.repeat(10 ** rng.uniform(1, 3.5, 600), RATE // 10)
    minute = minute.clip(-32_768, 32_767).astype("<i2")
    packets = np.flatnonzero(rng.random(int(hours * 36_000)) > 0.002)
    path = folder / f"call{hours:g}.bin"
    with path.open("wb") as file:
        for at in range(0, len(packets), 600):
            some = packets[at : at + 600] % 600
            minute.reshape(600, SAMPLES)[some].tofile(file)
    with path.with_suffix(".idx").open("wb") as file:
        file.write(pack_header())
        for sequence, packet in enumerate(packets.tolist()):
            wall = 1_767_225_600_000_000_000 + packet * 100_000_000
            file.write(
                pack_record(
                    offset=sequence * SAMPLES * 2, length=SAMPLES * 2, flags=0,
                    relative=packet / 10, absolute=wall, received=wall + 30_000_000,
                    monotonic=packet * 100_000_000, connection=1, sequence=sequence,
                    payload_crc=0,
                )
            )  # fmt: skip
    return path


def jobs(folder: Path) -> dict[str, Callable[[], Callable[[], object]]]:
    """What each contender prepares, which is not timed, and then does."""
    hour, day = folder / "call1.bin", next(p for p in folder.glob("call*.bin") if p.stem != "call1")

    def floats() -> Any:
        return np.fromfile(hour, "<i2").astype(np.float32) / np.float32(32_768)

    def ours(**options: Any) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            import recall_lab as rl

            samples = np.fromfile(hour, "<i2")
            rl.spectrogram(samples[:16_000], **options)
            return lambda: rl.spectrogram(samples, **options)

        return prepare

    def librosa_stft() -> Callable[[], object]:
        import librosa

        samples = floats()
        options: dict[str, Any] = {"n_fft": LENGTH, "hop_length": HOP, "center": False}
        librosa.stft(samples[:16_000], **options)
        return lambda: np.abs(librosa.stft(samples, **options)) ** 2

    def scipy_stft() -> Callable[[], object]:
        from scipy.signal import ShortTimeFFT, get_window

        samples = floats()
        short = ShortTimeFFT(get_window("hann", LENGTH), HOP, RATE, scale_to=None)
        return lambda: short.spectrogram(samples)

    def specgram() -> Callable[[], object]:
        from matplotlib import mlab

        samples = floats()
        return lambda: mlab.specgram(samples, NFFT=LENGTH, Fs=RATE, noverlap=LENGTH - HOP)

    def limit() -> Callable[[], object]:
        from concurrent.futures import ThreadPoolExecutor

        from scipy.fft import rfft

        block = np.random.default_rng(0).normal(0, 1, (655, LENGTH)).astype(np.float32)
        count = 3600 * 100 // 655 // 2

        def run() -> None:
            def many(_: int) -> None:
                for _ in range(count):
                    rfft(block, axis=1)

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(many, range(2)))

        return run

    def librosa_mel() -> Callable[[], object]:
        import librosa

        samples = floats()
        options: dict[str, Any] = {
            "sr": RATE, "n_fft": LENGTH, "hop_length": HOP, "n_mels": BANDS, "center": False,
        }  # fmt: skip
        librosa.feature.melspectrogram(y=samples[:16_000], **options)
        return lambda: librosa.feature.melspectrogram(y=samples, **options)

    def power() -> Any:
        return np.random.default_rng(0).random((201, 360_000), np.float32)

    def librosa_db() -> Callable[[], object]:
        import librosa

        values = power()
        return lambda: librosa.power_to_db(values)

    def our_db() -> Callable[[], object]:
        import recall_lab as rl

        values = power()
        rl.decibels(values[0])
        return lambda: rl.decibels(values, inplace=True)

    def picture(draw: Callable[[Any], object]) -> Callable[[], object]:
        import matplotlib.pyplot  # noqa: F401 - librosa imports it for itself
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3.6), layout="constrained")
        figure.savefig(folder / "warm.png")

        def run() -> None:
            draw(figure.subplots())
            figure.savefig(folder / "picture.png", dpi=150)

        return run

    def specshow() -> Callable[[], object]:
        import librosa
        import librosa.display

        samples = floats()
        librosa.stft(samples[:16_000])

        def draw(ax: Any) -> None:
            values = np.abs(librosa.stft(samples, n_fft=LENGTH, hop_length=HOP)) ** 2
            level = librosa.power_to_db(values)
            librosa.display.specshow(
                level, sr=RATE, n_fft=LENGTH, hop_length=HOP, x_axis="time", y_axis="hz", ax=ax
            )

        return picture(draw)

    def our_picture(name: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            import recall_lab as rl

            getattr(rl, name)(rl.load(hour).slice(0, 5))
            return picture(lambda ax: getattr(rl, name)(rl.load(day), ax))

        return prepare

    def overview() -> Callable[[], object]:
        from matplotlib.figure import Figure

        import recall_lab as rl

        rl.plot_overview(rl.load(hour).slice(0, 5), Figure(layout="constrained"))

        def run() -> None:
            figure = Figure(figsize=(11, 7), layout="constrained")
            rl.plot_overview(rl.load(day), figure)
            figure.savefig(folder / "overview.png", dpi=150)

        return run

    def levels(every: float | None) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            import recall_lab as rl

            rl.levels(rl.load(hour).slice(0, 5))
            return lambda: rl.levels(rl.load(day), every)

        return prepare

    def summary() -> Callable[[], object]:
        import recall_lab as rl

        samples = rl.load(day).samples
        rl.levels(samples[:16_000])
        return lambda: rl.levels(samples, None)

    def reading() -> Callable[[], object]:
        return lambda: np.fromfile(day, "<i2")

    def flac() -> Callable[[], object]:
        import recall_lab as rl

        rl.save(np.zeros(16_000, np.int16), folder / "warm.flac")
        return lambda: rl.save(rl.load(day), folder / "day.flac", progress=False)

    def speech(detector: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            import recall_lab as rl

            rl.speech(np.zeros(16_000, np.int16), detector=detector)
            return lambda: rl.speech(rl.load(hour), detector=detector)

        return prepare

    return {
        "spectrogram": ours(), "librosa.stft power": librosa_stft,
        "scipy ShortTimeFFT": scipy_stft, "matplotlib specgram": specgram,
        "FFT alone, the limit": limit,
        "mel": ours(mel=BANDS), "librosa mel": librosa_mel,
        "dB": our_db, "librosa.power_to_db": librosa_db, "spectrogram in dB": ours(scale="dB"),
        "picture of 8 h": our_picture("plot_spectrogram"), "librosa + specshow": specshow,
        "waveform of 8 h": our_picture("plot_waveform"), "overview picture of 8 h": overview,
        "levels summary of 8 h": summary, "reading 8 h": reading, "levels of 8 h": levels(1.0),
        "FLAC of 8 h": flac, "speech of 1 h by level": speech("level"),
        "speech of 1 h by network": speech("neural"),
    }  # fmt: skip


SELDOM = (
    "matplotlib specgram", "librosa + specshow", "scipy ShortTimeFFT", "FLAC of 8 h",
    "speech of 1 h by network",
)  # fmt: skip


def anonymous() -> float:
    """Memory of this process that is no file's, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 1024


def contend(folder: Path, name: str, measure: str) -> None:
    """Run one contender and print the seconds it took, or the MiB, as watching takes time."""
    run = jobs(folder)[name]()
    if measure == "seconds":
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start)
        return
    before, highest, done = anonymous(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = run()
    highest = max(highest, anonymous())
    done.set()
    watcher.join()
    held = 0
    for part in (result, getattr(result, "values", None)):
        if isinstance(part, np.ndarray):
            held = part.nbytes
    print(highest - before, held / 2**20)


def main() -> int:
    """Let all contend in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--only", nargs="*", help="contenders")
    parser.add_argument("--contend", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        contend(Path(options.contend[0]), *options.contend[1:])
        return 0
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, 1)
        make(folder, options.hours)
        names = options.only or list(jobs(folder))

        def told(job: str, measure: str) -> list[float]:
            command = [sys.executable, __file__, "--contend", name, job, measure]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return [float(word) for word in done.stdout.split()]

        # what takes gigabytes comes last: in a virtual machine memory is quicker to get for
        # everybody once somebody had it
        often = [job for job in names if job not in SELDOM]
        for _turn in range(options.repetitions):
            for job in often:
                found.setdefault(job, []).extend(told(job, "seconds"))
        for _ in range(2):
            for job in names:
                if job in SELDOM:
                    found.setdefault(job, []).extend(told(job, "seconds"))
        memory = {job: told(job, "memory") for job in names}
    middle = {
        job: dict(
            zip(
                ("seconds", "memory", "output"),
                (statistics.median(runs), *memory[job]),
                strict=True,
            )
        )
        for job, runs in found.items()
    }
    print(f"{'':<26}{'seconds':>9}{'MiB more':>10}{'of these kept':>15}")
    for job, row in middle.items():
        print(f"{job:<26}{row['seconds']:>9.3f}{row['memory']:>10.0f}{row['output']:>15.0f}")
    print()
    broken = 0
    rules = [
        (f"{a}: times as fast as {b}", middle[b]["seconds"] / middle[a]["seconds"], times, True)
        for a, b, times in MUST
        if a in middle and b in middle
    ]
    rules += [
        (f"{job}: seconds", middle[job]["seconds"], most, False)
        for job, most in MOST_SECONDS.items()
        if job in middle
    ]
    rules += [
        (f"{job}: MiB more", middle[job]["memory"], most, False)
        for job, most in MOST_MEMORY.items()
        if job in middle
    ]
    if "spectrogram" in middle:
        row = middle["spectrogram"]
        rules.append(("spectrogram: memory over output", row["memory"] / row["output"], 1.2, False))
    for what, value, bound, least in rules:
        kept = value >= bound if least else value <= bound
        broken += not kept
        word = "at least" if least else "at most"
        print(f"{what:<58}{value:>8.2f}  {word} {bound:g}{'' if kept else '  BROKEN'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
