"""Play a few seconds of sound in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall_lab.capture.capture import Moment
from recall_lab.errors import MissingExtra
from recall_lab.plots.clip import wav_bytes

if TYPE_CHECKING:
    from IPython.display import Audio


def play(
    source: Any,
    start: Moment | None = None,
    end: Moment | None = None,
    *,
    normalize: bool = False,
) -> Audio:
    """Put a player for up to a minute of sound into the notebook.

    On the true time axis: what was not received is silence. As loud as it was received, so that
    two clips can be compared; bots record quietly, and ``normalize=True`` makes them easy to hear.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without; or samples at 16 kHz.
        start, end: seconds of the relative clock, or wall-clock times with a zone; None for
            the beginning and the end.
        normalize: bring the peak to -1 dBFS.

    Raises:
        InvalidArgument: for more than 60 s, or none.
        MissingExtra: where there is no IPython.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> play(rl.load("captures/9f3c.bin"), 60, 70)  # doctest: +SKIP
    """
    try:
        from IPython.display import Audio  # noqa: PLC0415 - comes with an extra only
    except ImportError as error:
        raise MissingExtra("lab", "IPython") from error
    clip = wav_bytes(source, start, end, normalize=normalize)
    return Audio(data=clip)  # type: ignore[no-untyped-call]
