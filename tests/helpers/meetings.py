"""Small meetings of the two voices of ``data/standup.wav``, which leak and are told wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd

from helpers import standup
from helpers.builders import make_capture
from recall_lab.capture.capture import Capture
from recall_lab.capture.info import CaptureInfo
from recall_lab.store.audio_files import read_audio
from recall_lab.wire.messages import Participant

RATE = 16_000
ALICE, BOB, CAROL = 100, 101, 102


def voices() -> dict[int, np.ndarray]:
    """Return what Alice and Bob say, float with full scale 1, silent where the other speaks."""
    sound = read_audio(standup.DATA / "standup.wav")[: int(standup.LASTS * RATE)] / 32_768
    found = {who: np.zeros(len(sound)) for who in (ALICE, BOB)}
    for who, start, end, _ in standup.turns():
        part = slice(round(start * RATE), round(end * RATE))
        found[who][part] = sound[part]
    # both speak there, and can't be taken apart
    for voice in found.values():
        voice[round(26.5 * RATE) : round(27.3 * RATE)] = 0
    return found


def leaking(voice: np.ndarray, below: float, lag: float, seed: int = 0) -> np.ndarray:
    """Return a voice through a small room, so many dB below, so much later (s)."""
    rng = np.random.default_rng(seed)
    size = RATE // 5
    room = 0.03 * rng.normal(0, 1, size) * 10 ** (-3 * np.arange(size) / size)
    room[0] = 1.0
    heard = np.convolve(voice, room)[: len(voice)]
    heard *= 10 ** (-below / 20) * np.sqrt(np.square(voice).sum() / np.square(heard).sum())
    late = round(lag * RATE)
    moved = np.zeros(len(voice))
    moved[max(late, 0) : len(voice) + min(late, 0)] = heard[max(-late, 0) : len(voice) - late]
    return moved


def stream(
    sound: np.ndarray,
    who: int | None,
    name: str = "",
    *,
    events: pd.DataFrame | None = None,
    noise: float = 1e-4,
) -> Capture:
    """Return a stream, with noise of so much RMS."""
    rng = np.random.default_rng(who or 0)
    samples = np.rint(32_768 * (sound + noise * rng.normal(0, 1, len(sound))))
    audio = samples.clip(-32_768, 32_767).astype(np.int16)
    packets = np.arange(len(audio) // 3200) * 0.2
    one = make_capture(packets, 3200, audio=audio[: 3200 * len(packets)], events=events)
    person = None if who is None else Participant(who, name)
    info = CaptureInfo(recording="call", participant=person)
    return Capture(one.samples, one.packets, info, events=lambda: one.events)


def events_of(told: Iterable[tuple[str, int, float, float]]) -> pd.DataFrame:
    """Return events of turns: ``"events"`` or ``"words"``, who, from when to when."""
    lines = []
    for source, who, start, end in told:
        if source == "words":
            edges = np.linspace(start, end, 6).tolist()
            spans = [("word", a, b) for a, b in pairwise(edges)]
            lines.append(standup.words(who, *spans))
        else:
            lines += [
                standup.about("speech_on", who, start),
                standup.about("speech_off", who, end),
            ]
    return standup.frame(lines)
