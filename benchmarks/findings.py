"""How often findings are wrong: counted on clean calls of real speech, and on calls with faults.

    python benchmarks/findings.py [--calls 300] [--each 100] [--speech FOLDER] [--seed 0]

Speech is that of test data which packages bring, so nothing of it is kept here: the source
packages ``pocketsphinx`` and ``silero-vad`` of PyPI are fetched with ``pip download`` into
``build/speech``, once (ten voices: readers, commands, digits, talks). Of a
FOLDER, every WAV, FLAC and MP3 file is a voice instead. Voices of ``espeak-ng`` are added if it is
installed.

A clean call is 20 to 60 s of one to four voices with pauses, at -45 to -12 dBFS, through what
calls go through: a room's noise or a gate's digital silence, Opus, MP3 or G.711, a bot's 30 dB
less, a limiter, laughter, music. A fault is done to such a call; ten seconds of one for those of
format. What is found is held against what was done. Clean calls come as any call does: with delays,
duplicates, packets that change places, mutes of separate streams (findings_of_time.py, which
counts the faults of time as well).

Prints tables in Markdown; the exit code is 1 when a clean call is not good, or a fault is found
in less than its bound.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from findings_of_time import count, kept
from scipy.signal import butter, lfilter, sosfilt

from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.findings.catalogue import CATALOGUE
from recall_lab.analysis.time.analysis import analyse
from recall_lab.analysis.verdict.verdict import findings_of
from recall_lab.capture.capture import Capture
from recall_lab.capture.frame import COLUMNS, frame_of, storage_dtype

RATE = 16_000
NEW_YEAR = 1_767_225_600_000_000_000
PACKAGES = ("pocketsphinx", "silero-vad")
SKIPPED = ("bad", "evil", "awful", "null", "chan3.2chan", "chan3", "_8k", "libtorch", "test-audio")
FOUND = 0.99
FAINT = ("20 % of joins", "8 bits")  # less than what is promised: counted to be told
CERTAIN = ("byte_order", "alignment", "two_channels", "wrong_rate", "companded", "container")

Array = np.ndarray[Any, Any]
Generator = np.random.Generator


# --- speech --------------------------------------------------------------------------------------


def fetched(folder: Path) -> Path:
    """Return a folder with the sound of PACKAGES, fetched if it is not there yet."""
    for package in PACKAGES:
        place = folder / package
        if place.exists():
            continue
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-q", "-d", str(folder), package], check=True)
        archive = next(folder.glob(f"{package.replace('-', '?')}-*.tar.gz"))
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                path = Path(member.name)
                if not member.isfile() or path.suffix not in (".wav", ".raw"):
                    continue
                file = tar.extractfile(member)
                if file is not None and not any(word in member.name for word in SKIPPED):
                    (place / path.parent.name).mkdir(parents=True, exist_ok=True)
                    (place / path.parent.name / path.name).write_bytes(file.read())
    return folder


def voices_of(folder: Path) -> list[list[Array]]:
    """Return sentences by voice: float64, 16 kHz, without a mean, at 0 dB RMS."""
    voices: dict[str, list[Array]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".raw":
            samples, rate = np.fromfile(path, "<i2").astype(float), RATE
        elif path.suffix in (".wav", ".flac", ".mp3"):
            samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
            samples = samples[:, 0]
        else:
            continue
        if rate != RATE:
            samples = soxr.resample(samples, rate, RATE)
        # readers and speakers have folders of their own; long files are of several people
        name = path.parent.name if len(samples) < 10 * RATE else str(path)
        name = str(path) if path.suffix == ".raw" else name
        voices.setdefault(name, []).extend(sentences(samples - samples.mean()))
    return [some for some in voices.values() if some]


def sentences(samples: Array, longest: int = 8 * RATE) -> Iterator[Array]:
    """Cut at the quietest places, so that none is longer than 8 s."""
    while len(samples) > longest:
        frames = samples[2 * RATE : longest].reshape(-1, 320)
        cut = 2 * RATE + 320 * int(np.square(frames).mean(axis=1).argmin())
        yield level(samples[:cut])
        samples = samples[cut:]
    if len(samples) > RATE // 2:
        yield level(samples)


def level(samples: Array) -> Array:
    """Scale to 0 dBFS RMS where it sounds: the louder half."""
    frames = np.square(samples[: len(samples) // 320 * 320].reshape(-1, 320)).mean(axis=1)
    loud = frames[frames >= np.median(frames)].mean()
    return samples / np.sqrt(2 * max(loud, 1e-20))


def espeak() -> list[list[Array]]:
    """Return what synthetic voices say, if there is the program for it."""
    if not shutil.which("espeak-ng"):
        return []
    text = ("The first train leaves at seven.", "We measured it twice. It was sixty hertz, not "
            "fifty.", "So, shall we ship it on Thursday, or wait for the others?")  # fmt: skip
    voices = []
    for voice in ("en-us+f3", "en-gb+m3", "de+m1", "fr+f2"):
        said = []
        for sentence in text:
            command = ["espeak-ng", "-v", voice, "--stdout", sentence]
            wave = subprocess.run(command, capture_output=True, check=True).stdout
            samples, rate = soundfile.read(io.BytesIO(wave[:4] + wave[4:]), dtype="float64")
            said.append(level(soxr.resample(samples - samples.mean(), rate, RATE)))
        voices.append(said)
    return voices


# --- clean calls ---------------------------------------------------------------------------------


def db(value: float) -> float:
    return float(10 ** (value / 20))


def noise(rng: Generator, size: int) -> Array:
    """Return a room's noise of 0 dBFS RMS: white, or falling by 3 or 6 dB an octave."""
    white = rng.normal(0, 1, size)
    colour = rng.integers(3)
    if colour == 1:
        white = lfilter([0.05, -0.096, 0.05, -0.0044], [1, -2.495, 2.017, -0.522], white)
    elif colour == 2:
        white = lfilter([1], [1, -0.97], white)
    white = sosfilt(butter(2, 30, "high", fs=RATE, output="sos"), white)  # as microphones do
    return white / white.std() / np.sqrt(2)


def music(rng: Generator, size: int) -> Array:
    """Return chords, a bass down to 40 Hz and hi-hats, 0 dBFS RMS."""
    out = np.zeros(size + 6 * RATE)
    beat = int(rng.uniform(0.25, 1.5) * RATE)
    for at in range(0, size, beat):
        time = np.arange(int(rng.uniform(1, 3) * beat)) / RATE
        root = 110 * 2 ** (rng.integers(-17, 12) / 12)
        notes = [root / 2, *(root * 2 ** (step / 12) for step in (0, rng.integers(3, 5), 7))]
        for hertz in notes:
            for number in range(1, 6):
                swell = np.exp(-time * rng.uniform(0.2, 3)) / number
                out[at : at + len(time)] += swell * np.sin(2 * np.pi * hertz * number * time)
        hat = rng.normal(0, 1, 1600) * np.exp(-np.arange(1600) / 300)
        out[at : at + 1600] += np.diff(hat, prepend=0)
    return level(out[:size])


def laughter(rng: Generator, voice: list[Array]) -> Array:
    """Return a voice that goes on and off five times a second."""
    said = voice[rng.integers(len(voice))][: 3 * RATE]
    beats = np.maximum(np.sin(2 * np.pi * rng.uniform(4, 6) * np.arange(len(said)) / RATE), 0)
    return level(said * beats**0.5)


def through(samples: Array, form: str, subtype: str, rate: int = RATE) -> Array:
    """Return what a codec leaves, as long as before."""
    file = io.BytesIO()
    at = soxr.resample(samples, RATE, rate) if rate != RATE else samples
    soundfile.write(file, np.clip(at, -1, 1), rate, format=form, subtype=subtype)
    file.seek(0)
    heard, _ = soundfile.read(file, dtype="float64")
    heard = soxr.resample(heard, rate, RATE) if rate != RATE else heard
    return np.append(heard, np.zeros(max(len(samples) - len(heard), 0)))[: len(samples)]


def limited(samples: Array) -> Array:
    """Return samples below 0.95, turned down around each peak that is above."""
    size = 160
    frames = np.abs(np.append(samples, np.zeros(-len(samples) % size))).reshape(-1, size)
    peaks = frames.max(axis=1)
    peaks = np.maximum(np.maximum(np.roll(peaks, 1), np.roll(peaks, -1)), peaks)
    gain = np.minimum(1, 0.95 / np.maximum(peaks, 1e-9))
    for _ in range(2):  # as low before and after as at the peak: no steps
        gain = np.minimum(np.minimum(np.roll(gain, 1), np.roll(gain, -1)), gain)
    gain = np.convolve(np.pad(gain, 2, "edge"), np.ones(5) / 5, "valid")
    return samples * np.interp(np.arange(len(samples)), np.arange(len(gain)) * size + 80, gain)


def gated(rng: Generator, samples: Array) -> Array:
    """Return samples with exact zeros where it is quiet: at once, or fading in some ms."""
    size = 160
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    open_ = power > np.percentile(power, 95) - rng.uniform(25, 45)
    hold = int(rng.integers(1, 25))
    wide = np.convolve(open_, np.ones(hold + 1))[: len(open_)] > 0
    wide[:-1] |= wide[1:]  # opens 10 ms ahead
    gate = np.append(np.repeat(wide, size), np.zeros(len(samples) - len(wide) * size)).astype(float)
    fade = int(rng.choice([1, 1, 16, 80]))
    return samples * np.convolve(gate, np.ones(fade) / fade, "same").clip(0, 1) * (gate > 0)


@dataclass(frozen=True)
class Call:
    """A clean call.

    Attributes:
        floats: within 1, before it is made 16 bits.
        packet: samples of a packet.
        scene: what it went through.
    """

    floats: Array
    packet: int
    scene: str

    @property
    def samples(self) -> Array:
        return as_int16(self.floats * 32_768)


def as_int16(samples: Array) -> Array:
    return np.rint(samples).clip(-32_768, 32_767).astype(np.int16)


SCENES = (
    "room", "gate", "gate", "opus", "mp3", "telephone", "g.722-like", "quiet bot", "laughter",
    "music", "hold music", "separate", "8 bits",
)  # fmt: skip


def clean_call(
    rng: Generator,
    voices: list[list[Array]],
    seconds: float | None = None,
    scenes: tuple[str, ...] = SCENES,
) -> Call:
    """Return a call that nothing is wrong with."""
    scene = scenes[rng.integers(len(scenes))]
    size = int((seconds or rng.uniform(20, 60)) * RATE)
    out = np.zeros(size + 10 * RATE)
    people = [voices[who] for who in rng.integers(len(voices), size=rng.integers(1, 5))]
    if scene == "separate":
        people = people[:1]
    gains = [db(rng.uniform(-6, 6)) for _ in people]
    at = int(rng.uniform(0, 1.5 if seconds is None else 0.3) * RATE)
    while at < size:
        who = int(rng.integers(len(people)))
        said = people[who][rng.integers(len(people[who]))]
        if scene == "laughter" and rng.random() < 0.3:
            said = laughter(rng, people[who])
        said = said[: len(out) - at]
        out[at : at + len(said)] += gains[who] * said
        at += int(len(said) + rng.uniform(-0.3, 2.0 if seconds is None else 0.5) * RATE)
        at = max(at, 0)
    out = out[:size]
    if scene == "hold music":
        out = music(rng, size)
    elif scene == "music":
        out += db(rng.uniform(-25, -5)) * music(rng, size)
    gain = rng.uniform(-45, -12)
    if scene == "quiet bot":
        gain = rng.uniform(-20, -12) - 30
    out = level(out) * db(gain)
    if scene != "gate" or rng.random() < 0.5:
        out += db(max(gain - rng.uniform(15, 60), -88)) * noise(rng, size)
    if scene == "opus":
        out = through(limited(out), "OGG", "OPUS")
    elif scene == "mp3":
        out = through(limited(out), "MP3", "MPEG_LAYER_III")
    elif scene == "telephone":
        out = sosfilt(butter(4, [300, 3400], "band", fs=RATE, output="sos"), limited(out))
        out = through(out, "WAV", "ULAW" if rng.random() < 0.5 else "ALAW", 8_000)
    elif scene == "g.722-like":
        out = sosfilt(butter(8, rng.uniform(5500, 7000), fs=RATE, output="sos"), out)
    out = limited(out)
    if scene in ("gate", "separate"):
        out = gated(rng, out)
    elif scene == "8 bits":  # of a source that has no more
        out = np.rint(limited(level(out) * db(rng.uniform(-30, -12))) * 128).clip(-128, 127) / 128
    return Call(out, int(rng.choice([320, 1600, 3200])), scene)


def capture_of(samples: Array, packet: int, **columns: Array) -> Capture:
    """Return a capture of packets in a row."""
    samples = np.ascontiguousarray(samples, np.int16)
    starts = np.arange(0, len(samples), packet)
    counts = np.minimum(packet, len(samples) - starts)
    payloads = [samples[a : a + n].tobytes() for a, n in zip(starts, counts, strict=True)]
    wall = NEW_YEAR + starts * 62_500
    arrays: dict[str, Array] = {
        "relative": starts / RATE, "absolute": wall, "received": wall + 30_000_000,
        "monotonic": starts * 62_500, "offset": starts, "samples": counts,
        "connection": np.ones(len(starts)), "sequence": np.arange(len(starts)),
        "flags": np.zeros(len(starts)),
        "payload_crc": np.array([zlib.crc32(one) for one in payloads], np.uint32),
    }  # fmt: skip
    arrays |= columns
    frame = frame_of(
        {name: np.array(arrays[name]).astype(storage_dtype(name), copy=True) for name in COLUMNS}
    )
    return Capture(samples, frame)


# --- faults --------------------------------------------------------------------------------------

Fault = Callable[[Generator, Call], tuple[Capture, float | None]]


def of_samples(change: Callable[[Generator, Array], Array], ratio: float | None = None) -> Fault:
    """Return a fault of 16-bit samples, packets as before."""

    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        return capture_of(change(rng, call.samples), call.packet), ratio

    return fault


def of_bytes(change: Callable[[Generator, Array], Array]) -> Fault:
    """Return a fault of samples of another format: there are more or fewer than time has."""

    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        changed = change(rng, call.samples)
        return capture_of(changed, call.packet), len(changed) / len(call.samples)

    return fault


def of_floats(change: Callable[[Generator, Array, int], Array]) -> Fault:
    """Return a fault of floats within 1; gets the packet's samples as well."""

    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        return capture_of(
            as_int16(change(rng, call.floats, call.packet) * 32_768), call.packet
        ), None

    return fault


def shifted(rng: Generator, samples: Array) -> Array:
    octets = samples.astype("<i2").tobytes()
    return np.frombuffer(octets[1:-1], "<i2")


def later(change: Callable[[Generator, Array], Array]) -> Callable[[Generator, Array], Array]:
    """Return a fault that begins within the call."""

    def fault(rng: Generator, samples: Array) -> Array:
        at = int(len(samples) * rng.uniform(0.2, 0.6))
        return np.concatenate([samples[:at], change(rng, samples[at:])])

    return fault


def companded(subtype: str) -> Callable[[Generator, Array], Array]:
    def fault(rng: Generator, samples: Array) -> Array:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="RAW", subtype=subtype)
        octets = file.getvalue()
        return np.frombuffer(octets[: len(octets) // 2 * 2], "<i2")

    return fault


def as_text(rng: Generator, samples: Array) -> Array:
    octets = base64.b64encode(samples.astype("<i2").tobytes())
    return np.frombuffer(octets[: len(octets) // 2 * 2], "<i2")


def wrapped(share: float) -> Callable[[Generator, Array], Array]:
    """Return a fault: so loud that `share` % of the samples would be off the scale, not clipped."""

    def fault(rng: Generator, samples: Array) -> Array:
        top = np.quantile(np.abs(samples.astype(np.float64)), 1 - share / 100)
        louder = np.rint(samples * (32_768 / max(top, 1))).astype(np.int64)
        return louder.astype(np.uint16).view(np.int16)

    return fault


def at_rate(rate: int) -> Fault:
    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        samples = as_int16(soxr.resample(call.floats, RATE, rate) * 32_768)
        return capture_of(samples, call.packet), rate / RATE

    return fault


def stereo(kind: str, known: bool) -> Fault:
    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        left = call.floats
        if kind == "the same":
            right = left
        elif kind == "panned":
            right = left * db(-rng.uniform(3, 12))
        elif kind == "one silent":
            right = np.zeros_like(left)
        elif kind == "late":  # two microphones
            right = np.roll(left, int(rng.integers(2, 12))) + db(-70) * rng.normal(0, 1, len(left))
        else:  # others speak
            right = np.roll(left, len(left) // 2)
        both = as_int16(np.column_stack([left, right]).ravel() * 32_768)
        return capture_of(both, call.packet), 2.0 if known else None

    return fault


def contained(form: str, subtype: str) -> Fault:
    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        file = io.BytesIO()
        soundfile.write(file, call.floats, RATE, format=form, subtype=subtype)
        octets = file.getvalue()
        return capture_of(np.frombuffer(octets[: len(octets) // 2 * 2], "<i2"), call.packet), None

    return fault


def clipped(share: float) -> Fault:
    """Return a gain at which so many % of what sounds are beyond full scale."""

    def change(rng: Generator, floats: Array, packet: int) -> Array:
        frames = np.square(floats[: len(floats) // 320 * 320].reshape(-1, 320)).mean(axis=1)
        loud = np.sort(frames)[-50:].mean()
        sound = np.abs(floats[: len(frames) * 320].reshape(-1, 320)[frames > loud / 1000])
        return floats / np.percentile(sound, 100 - share)

    return of_floats(change)


def filled(losses: int, packet_ms: int) -> Fault:
    """Return losses of one to three packets within words, as zeros."""

    def change(rng: Generator, floats: Array, packet: int) -> Array:
        out = floats.copy()
        size = packet_ms * RATE // 1000
        frames = np.square(floats[: len(floats) // 320 * 320].reshape(-1, 320)).mean(axis=1)
        spoken = np.flatnonzero(frames > np.sort(frames)[-50:].mean() / 100)
        for place in rng.choice(spoken, losses, replace=False):
            at = place * 320 // size
            out[at * size : (at + int(rng.integers(1, 4))) * size] = 0
        return out

    return of_floats(change)


def stuck(seconds: float) -> Fault:
    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        samples = call.samples
        count = max(round(seconds * RATE / call.packet), 2)
        packets = samples[: len(samples) // call.packet * call.packet].reshape(-1, call.packet)
        loud = np.abs(packets.astype(int)).max(axis=1)
        some = np.flatnonzero(loud[: -count - 1] >= np.percentile(loud, 70))
        at = int(rng.choice(some))
        packets[at + 1 : at + 1 + count] = packets[at]
        return capture_of(packets.ravel(), call.packet), None

    return fault


def dropped(samples_lost: int, share: float) -> Fault:
    """Return samples missing at the end of a share of packets, time going on."""

    def change(rng: Generator, floats: Array, packet: int) -> Array:
        pieces, at = [], 0
        while at < len(floats):
            lost = samples_lost if rng.random() < share / 100 else 0
            pieces.append(floats[at : at + packet])
            at += packet + lost
        return np.concatenate(pieces)

    return of_floats(change)


def hum(below: float, hertz: float) -> Fault:
    def change(rng: Generator, floats: Array, packet: int) -> Array:
        frames = np.square(floats[: len(floats) // 320 * 320].reshape(-1, 320)).mean(axis=1)
        loud = 10 * np.log10(2 * np.sort(frames)[-50:].mean())
        time = np.arange(len(floats)) / RATE
        exact = hertz * (1 + rng.uniform(-0.002, 0.002))
        weights = np.array([1, *rng.uniform(0.1, 0.6, 4)])
        wave = sum(
            weight * np.sin(2 * np.pi * exact * (number + 1) * time + rng.uniform(0, 6))
            for number, weight in enumerate(weights)
        )
        wave = wave / np.sqrt(2 * np.square(wave).mean())
        return floats + wave * db(loud - below)

    return of_floats(change)


def lower(dbfs: float) -> Fault:
    def change(rng: Generator, floats: Array, packet: int) -> Array:
        frames = np.square(floats[: len(floats) // 320 * 320].reshape(-1, 320)).mean(axis=1)
        loud = 10 * np.log10(2 * np.sort(frames)[-50:].mean())
        return floats * db(dbfs - loud)

    return of_floats(change)


def silent(seconds: float, last_bit: bool = False) -> Fault:
    def fault(rng: Generator, call: Call) -> tuple[Capture, float | None]:
        quiet = np.zeros(int(seconds * RATE), np.int16)
        if last_bit:
            quiet = rng.integers(-1, 2, len(quiet)).astype(np.int16)
        at = len(call.samples) // 2
        return capture_of(np.insert(call.samples, at, quiet), call.packet), None

    return fault


def only(make: Callable[[Generator, Array], Array]) -> Fault:
    return of_samples(make)


def random_bytes(rng: Generator, samples: Array) -> Array:
    return rng.integers(-32_768, 32_768, len(samples))


def narrow(dc: float) -> Fault:
    def change(rng: Generator, floats: Array, packet: int) -> Array:
        return through(floats, "WAV", "PCM_16", 8_000) + dc

    return of_floats(change)


FAULTS: list[tuple[str, str, Fault, float | None]] = [
    # finding, strength, what is done, seconds of the call
    *(("container", f"{name}", contained(form, subtype), 10) for name, form, subtype in (
        ("WAV", "WAV", "PCM_16"), ("FLAC", "FLAC", "PCM_16"), ("Ogg Vorbis", "OGG", "VORBIS"),
        ("Opus", "OGG", "OPUS"), ("MP3", "MP3", "MPEG_LAYER_III"), ("AIFF", "AIFF", "PCM_16"))),
    ("byte_order", "10 s", of_samples(lambda rng, one: one.byteswap()), 10),
    ("byte_order", "from within a call", of_samples(later(lambda rng, one: one.byteswap())), None),
    ("alignment", "10 s", of_samples(shifted), 10),
    ("alignment", "from within a call", of_samples(later(shifted)), None),
    ("companded", "mu-law, 10 s", of_samples(companded("ULAW")), 10),
    ("companded", "A-law, 10 s", of_samples(companded("ALAW")), 10),
    *(("sample_format", f"{name}, 10 s, time known", of_bytes(companded(subtype)), 10)
      for name, subtype in (("32-bit float", "FLOAT"), ("24 bits", "PCM_24"),
                            ("unsigned 8 bits", "PCM_U8"), ("signed 8 bits", "PCM_S8"))),
    ("sample_format", "base64, 10 s, time known", of_bytes(as_text), 10),
    ("not_audio", "random bytes", only(random_bytes), 10),
    *(("two_channels", f"{kind}, 10 s{', time known' if known else ''}", stereo(kind, known), 10)
      for kind in ("the same", "panned", "one silent", "late", "two people")
      for known in (True, False)),
    *(("wrong_rate", f"{rate / 1000:g} kHz, 10 s", at_rate(rate), 10)
      for rate in (8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000)),
    ("digital_silence", "all zeros", only(lambda rng, one: np.zeros_like(one)), 60),
    ("digital_silence", "61 s", silent(61), None),
    ("last_bit_only", "all", only(lambda rng, one: rng.integers(-1, 2, len(one))), 60),
    ("last_bit_only", "61 s", silent(61, True), None),
    *(("level_low", f"{value} dBFS", lower(value), None) for value in (-67, -70, -76)),
    *(("clipping", f"{share:g} %", clipped(share), None) for share in (0.3, 1, 5, 47)),
    *(("wrap_around", f"{share:g} % of the samples", of_samples(wrapped(share)), None)
      for share in (0.1, 1)),
    *(("dc_offset", f"{dc:g} %", of_floats(lambda rng, one, _, dc=dc: one + dc / 100), None)
      for dc in (1.5, 3, 10)),
    *(("mains_hum", f"{hertz} Hz, {below} dB below", hum(below, hertz), None)
      for hertz in (50, 60) for below in (25, 20, 15)),
    ("narrow_band", "8 kHz", narrow(0), None),
    ("narrow_band", "8 kHz, DC of 5 %", narrow(0.05), None),
    *(("stuck_packet", f"{seconds:g} s", stuck(seconds), None) for seconds in (0.1, 1, 5)),
    *(("zero_filled_losses", f"{losses} in words, of {ms} ms or more", filled(losses, ms), None)
      for ms in (20, 100) for losses in (10, 20, 40)),
    *(("clicks", f"{lost} samples, {share} % of joins", dropped(lost, share), None)
      for lost in (16, 80) for share in (20, 50, 100)),
]  # fmt: skip


def main() -> int:
    """Count, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=300, help="clean calls")
    parser.add_argument("--each", type=int, default=100, help="calls with each fault")
    parser.add_argument("--speech", type=Path, help="a folder of sound files, one a voice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="findings")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    folder = options.speech
    if folder is None:
        folder = Path(__file__).parent.parent / "build" / "speech"
        folder.mkdir(parents=True, exist_ok=True)
        fetched(folder)
    voices = voices_of(folder)
    real = len(voices)
    voices += espeak()
    print(f"{real} voices of people, {len(voices) - real} synthetic\n")
    alarms: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    bad_calls = 0
    for number in range(options.calls):
        rng = np.random.default_rng([options.seed, 1, number])
        call = clean_call(rng, voices)
        separate = call.scene == "separate"
        capture = kept(rng, call.samples, call.packet / RATE, separate=separate)
        told = findings_of(analyse(capture))
        bad_calls += any(one.severity != "note" for one in told)
        for one in told:
            (notes if one.severity == "note" else alarms)[one.finding] += 1
            if options.verbose and one.severity != "note":
                print("clean", number, call.scene, one)
    broken = bad_calls > 0
    print(f"{options.calls} clean calls: {bad_calls} are not good\n", flush=True)
    print("| Fault | Strength | Calls | Found | With others |\n| --- | --- | ---: | ---: | --- |")
    for at, (finding, strength, fault, seconds) in enumerate(FAULTS):
        if options.only and finding not in options.only:
            continue
        hits, others = 0, Counter[str]()
        for number in range(options.each):
            rng = np.random.default_rng([options.seed, 2, at, number])
            call = clean_call(rng, voices, seconds, SCENES[:-1])
            capture, ratio = fault(rng, call)
            told = findings_of_samples(capture, ratio=ratio)
            hit = any(one.finding == finding for one in told)
            hits += hit
            others.update({one.finding for one in told if one.severity != "note"} - {finding})
            if options.verbose and not hit:
                print(
                    "missed", number, call.scene, strength, [(o.finding, o.evidence) for o in told]
                )
        least = 1.0 if finding in CERTAIN else 0 if any(one in strength for one in FAINT) else FOUND
        broken |= hits < least * options.each
        beside = ", ".join(f"{name} {count}" for name, count in others.most_common(4))
        share = f"{100 * hits / options.each:.0f} %{'' if hits >= least * options.each else ' (!)'}"
        print(f"| `{finding}` | {strength} | {options.each} | {share} | {beside} |", flush=True)
    print()
    broken |= count(options.each, options.seed, options.verbose, options.only)
    print()
    print(
        "| Finding | Threshold | Source | False alarms | Notes |\n| --- | --- | --- | ---: | ---: |"
    )
    for key, kind in CATALOGUE.items():
        threshold = f"{kind.threshold:g} {kind.unit}".strip()
        print(f"| `{key}` | {threshold} | {kind.source} | {alarms[key]} | {notes[key]} |")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
