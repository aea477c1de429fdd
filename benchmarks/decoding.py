"""Audio files read by ffmpeg's libraries (PyAV, ours) and by libsndfile, in one run.

    python benchmarks/decoding.py [--minutes 30] [--repetitions 5]

Needs ffmpeg's program, which makes the files and says what is in them. First which files come back
whole: for each, the length and the samples are held against the program's decode. Then how long a
file takes to become 16 kHz mono int16, averaged and resampled by the same code: each contender in
a process of its own, in turn with the others; the median of the times counts, without imports,
and so does the peak of anonymous memory above what the imports take. Last, what each takes on
disk.

The exit code is 1 when a file does not come back whole from ours, or a bound of MUST is broken.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).parent.parent / "data" / "standup.wav"
RATE = 16_000
READERS = ("recall_lab", "libsndfile", "ffmpeg's program")

VBR = "-ar 44100 -ac 2 -c:a libmp3lame -q:a 2 -f mp3"
KINDS = {
    # what it is: the file, how ffmpeg makes it (into a pipe where its name has "pipe")
    "MP3, VBR, written to a pipe": ("pipe-vbr.mp3", VBR),
    "MP3, VBR, with a Xing header": ("vbr.mp3", VBR),
    "MP3, CBR, 48 kHz, written to a pipe": ("pipe-cbr.mp3", "-ar 48000 -b:a 96k -f mp3"),
    "MP3, ABR, 22.05 kHz": ("abr.mp3", "-ar 22050 -ac 2 -abr 1 -b:a 64k"),
    "WAV, 16 kHz mono": ("a.wav", ""),
    "WAV written to a pipe (0xFFFFFFFF)": ("pipe.wav", "-f wav"),
    "FLAC, 44.1 kHz stereo": ("a.flac", "-ar 44100 -ac 2"),
    "FLAC written to a pipe": ("pipe.flac", "-f flac"),
    "M4A (AAC)": ("a.m4a", "-c:a aac"),
    "M4A in fragments": ("pipe.m4a", "-c:a aac -movflags frag_keyframe+empty_moov -f mp4"),
    "Opus": ("a.opus", "-c:a libopus"),
    "WebM (Opus)": ("a.webm", "-c:a libopus"),
    "OGG (Vorbis), 44.1 kHz": ("a.ogg", "-c:a libvorbis -ar 44100"),
    "AAC without a container": ("a.aac", "-c:a aac"),
}
TIMED = ("a.wav", "a.flac", "vbr.mp3", "a.opus", "a.m4a", "a.ogg")

MUST = [
    # file, how many times as long as libsndfile ours may take
    ("a.wav", 10.0), ("a.flac", 1.5), ("vbr.mp3", 1.5), ("a.opus", 1.0), ("a.ogg", 1.5),
]  # fmt: skip


def ffmpeg(*arguments: object) -> bytes:
    """Run the program; return what it wrote to stdout."""
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def make(folder: Path, source: list[object], names: tuple[str, ...] | None = None) -> None:
    """Write a file of each kind."""
    for name, how in KINDS.values():
        if names is None or name in names:
            pipe = name.startswith("pipe")
            written = ffmpeg(*source, *how.split(), "pipe:1" if pipe else folder / name)
            if pipe:
                (folder / name).write_bytes(written)


def damage(folder: Path) -> dict[str, str]:
    """Write the files that writers leave behind that were killed, and that were joined."""
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    wav, at = content["a.wav"], content["a.wav"].index(b"data") + 4
    (folder / "killed.wav").write_bytes(wav[:at] + bytes(4) + wav[at + 4 :])
    old = (100_000).to_bytes(4, "little")
    (folder / "old.wav").write_bytes(wav[:at] + old + wav[at + 4 :])
    for name in ("vbr.mp3", "pipe-vbr.mp3", "a.m4a"):
        (folder / f"two-{name}").write_bytes(content[name] * 2)
        (folder / f"half-{name}").write_bytes(content[name][: len(content[name]) // 2])
    flac = bytearray(content["pipe.flac"])
    flac[len(flac) // 2] ^= 1
    (folder / "bit.flac").write_bytes(flac)
    return {
        "WAV of a killed writer, length 0": "killed.wav",
        "WAV of a killed writer, length of before": "old.wav",
        "two MP3s in one file": "two-vbr.mp3",
        "two MP3s written to pipes": "two-pipe-vbr.mp3",
        "half an MP3 with a Xing header": "half-vbr.mp3",
        "half an MP3 without": "half-pipe-vbr.mp3",
        "two M4As in one file": "two-a.m4a",
        "half an M4A, whose index is at its end": "half-a.m4a",
        "FLAC with a flipped bit": "bit.flac",
    }


def by_libsndfile(path: Path) -> np.ndarray:
    """Read a file as recall_lab did before."""
    import soundfile
    import soxr

    blocks = []
    with soundfile.SoundFile(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32", quality="HQ")
        plain = file.samplerate == RATE and file.channels == 1 and file.subtype == "PCM_16"
        while True:
            block = file.read(2**20, dtype="int16" if plain else "float32", always_2d=True)
            if plain:
                blocks.append(block[:, 0])
            else:
                mono = np.ascontiguousarray(block.mean(axis=1))
                if file.samplerate != RATE:
                    mono = resampler.resample_chunk(mono, len(block) < 2**20)
                scaled = np.clip(np.rint(mono * 32_768), -32_768, 32_767)
                blocks.append(scaled.astype("<i2"))
            if len(block) < 2**20:
                return np.concatenate(blocks)


def by_program(path: Path) -> np.ndarray:
    """Read a file by ffmpeg's program, with soxr inside."""
    resampled = ("-af", "aresample=resampler=soxr", "-ac", 1, "-ar", RATE, "-f", "s16le")
    return np.frombuffer(ffmpeg("-i", path, "-map", "0:a:0", *resampled, "-"), "<i2")


def reader(name: str) -> Callable[[Path], np.ndarray]:
    """Return how a contender reads, with all that is needed imported."""
    if name == "recall_lab":
        import recall_lab as rl

        return rl.read_audio
    return by_libsndfile if name == "libsndfile" else by_program


def outcome(read: Callable[[Path], np.ndarray], path: Path, truth: np.ndarray) -> str:
    """Return what comes of reading a file: whole, so much of it, or an error."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            samples = read(path)
        except Exception as error:
            return "refused" if type(error).__name__ == "InvalidAudio" else "can't be read"
    size = min(len(samples), len(truth))
    same = size and np.corrcoef(samples[:size], truth[:size])[0, 1] > 0.999
    words = f", told: {told[0].message}".replace(f"{str(path)!r} is ", "") if told else ""
    if len(samples) == len(truth) and same:
        return f"whole{words}"
    if len(samples) < len(truth):
        return f"{len(samples) / RATE:.1f} of {len(truth) / RATE:.1f} s, silently{words}"
    return f"whole, {len(samples) - len(truth)} samples more{words}"


def completeness(folder: Path) -> bool:
    """Print which files come back whole; return whether from ours all do that can."""
    make(folder, ["-t", 30, "-i", SOURCE])
    cases = {what: name for what, (name, _) in KINDS.items()} | damage(folder)
    good = True
    print(f"{'':<42}{'libsndfile':<30}recall_lab")
    for what, name in cases.items():
        path = folder / name
        # the program stops where an old header says, as libsndfile does: it is no judge of that
        truth = by_program(folder / "a.wav" if name == "old.wav" else path)
        ours = outcome(reader("recall_lab"), path, truth)
        print(f"{what:<42}{outcome(by_libsndfile, path, truth):<30}{ours}", flush=True)
        good &= "silently" not in ours and ours != "can't be read"
    return good


def anonymous() -> float:
    """Memory of this process that is no file's, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 1024


def contend(name: str, path: Path, measure: str) -> None:
    """Read a file and print the seconds it took, or the MiB more, and those of the result."""
    read = reader(name)
    read(SOURCE)
    if measure == "seconds":
        start = time.perf_counter()
        read(path)
        print(time.perf_counter() - start)
        return
    before, highest, done = anonymous(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    samples = read(path)
    highest = max(highest, anonymous())
    done.set()
    watcher.join()
    print(highest - before, samples.nbytes / 2**20)


def told(*words: object) -> list[float]:
    """Return what a contender prints, in a process of its own."""
    command = [sys.executable, __file__, "--contend", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def speed(folder: Path, minutes: float, repetitions: int) -> bool:
    """Print seconds and memory of each; return whether the bounds are kept."""
    make(folder, ["-stream_loop", -1, "-i", SOURCE, "-t", minutes * 60], TIMED)
    kept = True
    print(
        f"\n{f'{minutes:g} minutes':<14}{'reader':<20}{'seconds':>9}{'MiB more':>10}{'result':>8}"
    )
    for file in TIMED:
        readers = [who for who in READERS if who != "libsndfile" or file != "a.m4a"]
        times: dict[str, list[float]] = {who: [] for who in readers}
        for _ in range(repetitions):
            for who in readers:
                times[who] += told(who, folder / file, "seconds")
        middle = {who: statistics.median(runs) for who, runs in times.items()}
        for who in readers:
            memory, result = told(who, folder / file, "memory")
            print(f"{file:<14}{who:<20}{middle[who]:>9.3f}{memory:>10.0f}{result:>8.0f}")
        for name, most in MUST:
            if name == file:
                ratio = middle["recall_lab"] / middle["libsndfile"]
                kept &= ratio <= most
                word = "" if ratio <= most else "  BROKEN"
                print(f"{'':<14}{ratio:.2f} times as long as libsndfile, at most {most:g}{word}")
        sys.stdout.flush()
    return kept


def sizes() -> None:
    """Print what each takes on disk."""
    print()
    for name, packages in {
        "PyAV": ("av",),
        "libsndfile": ("soundfile", "cffi", "pycparser"),
    }.items():
        paths = [Path(str(path.locate())) for one in packages for path in files(one) or []]
        size = sum(path.stat().st_size for path in paths if path.is_file())
        print(f"{name:<14}{size / 1e6:8.1f} MB on disk")


def main() -> int:
    """Let both read all, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--contend", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        name, path, measure = options.contend
        contend(name, Path(path), measure)
        return 0
    if shutil.which("ffmpeg") is None:
        print("needs ffmpeg's program, which makes the files", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        good = completeness(Path(one))
        good &= speed(Path(other), options.minutes, options.repetitions)
    sizes()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
