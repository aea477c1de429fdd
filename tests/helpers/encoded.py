"""Audio files made by ffmpeg's libraries, as its program makes them, where that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np


class Pipe:
    """A file that can't be sought in: what wrote a header can't go back to it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def encode(
    path: Path,
    samples: np.ndarray,
    codec: str,
    rate: int = 16_000,
    *,
    kind: str | None = None,
    pipe: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write int16 samples of one channel, or of shape ``(channels, n)``, as an audio file.

    Args:
        path: the file.
        samples: int16 at 16 kHz.
        codec: an encoder of libavcodec's.
        rate: samples a second of the file.
        kind: a muxer of libavformat's; by default of the file's suffix.
        pipe: write as into a pipe, so that the header does not tell the length.
        options: of the muxer.
    """
    target: Any = Pipe() if pipe else str(path)
    samples = np.atleast_2d(samples)
    layout = "mono" if len(samples) == 1 else "stereo"
    kind = kind or {".m4a": "mp4", ".webm": "webm", ".opus": "ogg"}.get(
        path.suffix, path.suffix[1:]
    )
    with av.open(target, "w", format=kind, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or 1024)
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
        frame.sample_rate = 16_000
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    if pipe:
        path.write_bytes(target.data)
    return path
