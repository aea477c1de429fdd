"""Open the explorer: zoom through a capture and hear any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall_lab.analysis.time.analysis import analyse
from recall_lab.capture.capture import Moment
from recall_lab.errors import MissingExtra

if TYPE_CHECKING:
    from recall_lab.notebook.explorer import Explorer


def explore(source: Any, start: Moment | None = None, end: Moment | None = None) -> Explorer:
    """Put a capture into the notebook as a picture to zoom, walk through and listen to.

    Waveform, spectrogram and gaps, from the whole of ten hours down to single samples. A click
    plays up to 10 s from there; the kernel sends what is seen and heard when it is wanted, never
    the file. Under the pointer are the time on all clocks and the level. In the saved notebook a
    still picture stays.

    With the keyboard, once it is clicked: ``+`` and ``-`` zoom, arrows move, ``Home`` shows the
    whole, ``Space`` plays and stops, ``n`` and ``p`` go to the next gap and the last, ``m`` marks.

    Args:
        source: as for :func:`recall_lab.analyse`, with packets or without. Of a live capture, what
            there is by now.
        start, end: what is shown at first: seconds of the relative clock, or wall-clock
            times; None for the whole.

    Returns:
        A widget. Its ``marks`` are a frame; its ``span``, a pair of seconds, is what is shown,
        and can be set.

    Raises:
        InvalidArgument: for what is no capture, or a span that can't be.
        MissingExtra: where anywidget is not installed.
        MissingTimestamps: for a capture that has packets, but no times.

    Example:
        >>> seen = explore(rl.load("captures/9f3c.bin"))  # doctest: +SKIP
        >>> seen  # doctest: +SKIP
        >>> seen.marks  # doctest: +SKIP
    """
    known = analyse(source)
    try:
        from recall_lab.notebook.explorer import Explorer  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise MissingExtra("lab", "anywidget") from error
    return Explorer(known, start, end)
