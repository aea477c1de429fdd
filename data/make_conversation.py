"""Make data/standup.wav and data/standup.csv: a synthetic stand-up meeting and its truth.

Real meetings cannot be published and their speaker labels are somebody's opinion. Two
espeak-ng voices reading our own script give a recording anybody may have, whose truth is exact
because this script placed every turn itself. Run `python data/make_conversation.py [FOLDER]`;
the folder defaults to the one this file is in.
"""

import csv
import math
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, lfilter, resample_poly

RATE = 16_000
SEED = 1
PEAK_DBFS = -14.0  # loudest single-voice sample: meeting bots record far below a microphone
NOISE_DBFS = -72.0  # RMS of the room, so a pause is quiet but never digital zero
AUDIBLE_DBFS = -60.0  # a 10 ms frame counts as voice above this RMS: 12 dB over the room
FRAME = RATE // 100
LEAD_S, TRAIL_S = 0.7, 1.0

Signal = NDArray[np.float64]


class Turn(NamedTuple):
    """One line of the script; a negative gap starts before the other voice has finished."""

    speaker: str
    gap: float
    text: str


# espeak-ng arguments: unlike in pitch, vocal tract and accent, so a tool can tell them apart.
VOICES: dict[str, list[str]] = {
    "alice": ["-v", "en-us+f3", "-s", "182", "-p", "58"],
    "bob": ["-v", "en-gb+m3", "-s", "174", "-p", "36"],
}
SCRIPT = [
    Turn("alice", 0.0, "Good morning, Bob. Shall we start?"),
    Turn("bob", 0.45, "Morning, Alice. Yes, let me go first."),
    Turn("bob", 0.8, "Yesterday I fixed the echo canceller. It lost two blocks per call."),
    Turn("alice", 0.35, "Nice. Was that the clicking noise people heard on Friday?"),
    Turn("bob", 0.6, "Exactly that one. The tests are green, the patch is up for review."),
    Turn("alice", 0.9, "I will read it after lunch. My turn, then."),
    Turn("alice", 1.2, "I measured the new microphones. The left one is six decibels low."),
    Turn("bob", -0.6, "Really that much? I would suspect a loose cable."),
    Turn("alice", 1.5, "Could be. Give me a moment to find the plot."),
    Turn("alice", 4.0, "Here it is. The drop begins at nine forty, when we moved desks."),
    Turn("bob", 0.5, "Then it is the cable. I have a spare one."),
    Turn("alice", 0.4, "Great, I will swap it today. Anything blocking you?"),
    Turn("bob", 1.0, "Only the build server. Its disk filled up overnight."),
    Turn("alice", 0.3, "I will ask operations. Thanks, Bob, see you tomorrow."),
]


def gain(dbfs: float) -> float:
    """Turn a level relative to full scale into a factor, as every level above is written so."""
    return float(10 ** (dbfs / 20))


def speak(turn: Turn, folder: Path) -> Signal:
    """Let espeak-ng read one turn in a fresh process, so no turn depends on those before it."""
    path = folder / "turn.wav"
    subprocess.run(["espeak-ng", *VOICES[turn.speaker], "-w", path, turn.text], check=True)
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    common = math.gcd(rate, RATE)
    # The filter inside resample_poly is short: alone it would fold 8.2 kHz to 7.8 kHz at -9 dB.
    low = np.convolve(raw / 32768, firwin(257, 7_600, window=("kaiser", 8.0), fs=rate), "same")
    return np.asarray(resample_poly(low, RATE // common, rate // common), np.float64)


def trim(voice: Signal) -> Signal:
    """Cut the silence espeak-ng adds at both ends, so the truth says when a voice is heard."""
    frames = voice[: voice.size // FRAME * FRAME].reshape(-1, FRAME)
    heard = np.flatnonzero(np.sqrt(np.mean(frames**2, axis=1)) > gain(AUDIBLE_DBFS))
    return voice[heard[0] * FRAME : (heard[-1] + 1) * FRAME]


def room_noise(size: int) -> Signal:
    """Make pinkish noise: rooms and fans fall with frequency, and white noise sounds like tape."""
    white = np.random.default_rng(SEED).standard_normal(size + RATE)
    # Three poles and zeros that fall about 3 dB per octave (J. O. Smith); the first second,
    # where the filter settles, is thrown away.
    zeros = [0.049922035, -0.095993537, 0.050612699, -0.004408786]
    pink = np.asarray(lfilter(zeros, [1, -2.494956002, 2.017265875, -0.522189400], white))[RATE:]
    pink -= pink.mean()
    return np.asarray(pink * gain(NOISE_DBFS) / np.sqrt(np.mean(pink**2)), np.float64)


def make(folder: Path) -> float:
    """Write the recording and its truth, and return the play time in seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        voices = [speak(turn, Path(scratch)) for turn in SCRIPT]
    # One gain per speaker: equal loudest peaks, but the turns keep their natural differences.
    peaks = {
        name: max(np.abs(v).max() for v, t in zip(voices, SCRIPT, strict=True) if t.speaker == name)
        for name in VOICES
    }
    placed: list[tuple[int, Signal]] = []
    rows: list[list[str]] = []
    now = round(LEAD_S * RATE)
    for turn, voice in zip(SCRIPT, voices, strict=True):
        heard = trim(voice * gain(PEAK_DBFS) / peaks[turn.speaker])
        start = now + round(turn.gap * RATE)
        now = start + heard.size
        placed.append((start, heard))
        rows.append([turn.speaker, f"{start / RATE:.3f}", f"{now / RATE:.3f}", turn.text])
    mix = room_noise(now + round(TRAIL_S * RATE))
    for start, heard in placed:
        mix[start : start + heard.size] += heard

    with wave.open(str(folder / "standup.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(mix * 32768).astype("<i2").tobytes())
    with (folder / "standup.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["speaker", "start", "end", "text"])
        writer.writerows(rows)
    return mix.size / RATE


if __name__ == "__main__":
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed; on Debian or Ubuntu: apt-get install espeak-ng")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    print(f"{target / 'standup.wav'}: {make(target):.3f} s")
