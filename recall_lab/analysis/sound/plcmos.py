"""PLCMOS 2, the network of the package speechmos, without that package's code.

speechmos asks the whole network 15 times, each time with another rater drawn at random. Nearly
all of it hears the audio, and only its end, a few small layers, knows of the rater: here the
audio goes through once, and the end is done for all raters together. That is some ten times as
fast, and the same to the rounding of float32. Of speechmos only the file of the network is read,
so neither librosa nor tqdm is needed, and no random numbers are drawn from NumPy's global state.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recall_lab.errors import MissingExtra
from recall_lab.wire.pcm import RATE

RATERS: Final = 15
"""As many as speechmos asks."""

SEED: Final = 0
"""Of the raters. With others a score of 10 s moves by some 0.01."""

Floats = npt.NDArray[np.float64]

_FILE: Final = "plcmos_models/plcmos_v2.onnx"
_FFT, _HOP = 512, 256  # samples of 16 kHz
_HEARD: Final = ("onnx::Concat_335", "onnx::Concat_337")  # what the audio comes to, 32 values each
_RATER: Final = ("embed_dense1", *(f"embed_dense2.{n}" for n in range(4)), "embed_dense3")
_END: Final = ("dense1", *(f"dense2.{n}" for n in range(4)), "dense3")
_LEAK = 0.1  # slope of the network's rectifiers below 0

_GRAPH, _OUTPUT, _NAME = 7, 12, 1  # fields of ONNX: ModelProto, GraphProto, ValueInfoProto


class Network:
    """The network, read once and asked often; from several threads at a time, too.

    Args:
        model: bytes of ``plcmos_v2.onnx``.
        runtime: the module onnxruntime.
    """

    def __init__(self, model: bytes, runtime: Any) -> None:
        layers = [f"{layer}.{part}" for layer in (*_RATER, *_END) for part in ("weight", "bias")]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order: the same score on every machine
        self._session = runtime.InferenceSession(
            _with_outputs(model, [*_HEARD, *layers]), options, providers=["CPUExecutionProvider"]
        )
        raters = np.random.default_rng(SEED).normal(size=(RATERS, 64)).astype(np.float32)
        values = self._run(features(np.zeros(RATE)), layers)
        self._layers = dict(zip(layers, values, strict=True))
        for layer in _RATER:
            raters = self._leaky(raters, layer)
        self._raters = raters

    def raters(self, samples: Floats) -> Floats:
        """Return the score that each rater gives.

        Args:
            samples: float64, shape ``(samples,)``, 16 kHz, full scale 1; half a second at least.

        Returns:
            float64, shape ``(15,)``, 1 to 5. Their mean is what speechmos calls ``plcmos``.
        """
        heard = np.concatenate([part.ravel() for part in self._run(features(samples), _HEARD)])
        values = np.concatenate([np.tile(heard, (RATERS, 1)), self._raters], axis=1)
        for layer in _END[:-1]:
            values = self._leaky(values, layer)
        last = self._dense(values, _END[-1])[:, 0].astype(np.float64)
        scores: Floats = 1 + 4 / (1 + np.exp(-last))
        return scores

    def _run(self, heard: npt.NDArray[np.float32], wanted: Any) -> list[npt.NDArray[np.float32]]:
        rater = np.zeros((1, 64), np.float32)
        inputs = {"degraded_audio": heard[None, None], "rater_embed": rater}
        found: list[npt.NDArray[np.float32]] = self._session.run(list(wanted), inputs)
        return found

    def _dense(self, values: npt.NDArray[np.float32], layer: str) -> npt.NDArray[np.float32]:
        weight, bias = self._layers[f"{layer}.weight"], self._layers[f"{layer}.bias"]
        found: npt.NDArray[np.float32] = values @ weight.T + bias
        return found

    def _leaky(self, values: npt.NDArray[np.float32], layer: str) -> npt.NDArray[np.float32]:
        found = self._dense(values, layer)
        leaky: npt.NDArray[np.float32] = np.maximum(found, np.float32(_LEAK) * found)
        return leaky


@cache
def network() -> Network:
    """Return the network, read when it is first asked for.

    Raises:
        MissingExtra: where onnxruntime or speechmos is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - comes with an extra only

        model = files("speechmos").joinpath(_FILE).read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise MissingExtra("mos", "speechmos, with onnxruntime") from error
    return Network(model, onnxruntime)


def features(samples: Floats) -> npt.NDArray[np.float32]:
    """Return what the network hears: a twentieth of the log power of short frames.

    Frames of 512 samples under a Hamming window, one every 256, the first of which ends at sample
    256; zeros around. Where a frame has no power at a frequency, 120 dB below the least there is.

    Args:
        samples: float64, shape ``(samples,)``.

    Returns:
        float32, shape ``(frames, 257)``.
    """
    count = -(-(len(samples) + _HOP) // _HOP)
    padded = np.zeros((count - 1) * _HOP + _FFT)
    padded[_HOP : _HOP + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hamming(_FFT + 1)[:-1])) ** 2
    some = power > 0
    if not some.any():
        return np.full(power.shape, -8 * np.log(10) / 20, np.float32)
    least = power[some].min()
    logarithm = np.log(power, out=np.full(power.shape, np.log(least) - 12 * np.log(10)), where=some)
    heard: npt.NDArray[np.float32] = (logarithm / 20).astype(np.float32)
    return heard


def _with_outputs(model: bytes, names: list[str]) -> bytes:
    """Return a model that gives out what is named, too.

    A model is a message of protobuf, and of those what is appended is merged: lists grow. So no
    package is needed that knows all of ONNX.
    """
    outputs = b"".join(_field(_OUTPUT, _field(_NAME, name.encode())) for name in names)
    return model + _field(_GRAPH, outputs)


def _field(number: int, value: bytes) -> bytes:
    """Return a field of protobuf that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Return a whole number as protobuf has it: 7 bits a byte, the low ones first."""
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])
