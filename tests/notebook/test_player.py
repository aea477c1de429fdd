"""A clip is what the capture holds, as loud as it was."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
import soundfile

from recall_lab.analysis.time.timeline import timeline
from recall_lab.capture.capture import Capture
from recall_lab.errors import InvalidArgument, MissingExtra
from recall_lab.notebook.player import play
from recall_lab.plots.clip import wav_bytes

NOISE = np.random.default_rng(5).normal(0, 300, 16_000 * 90).astype(np.int16)


def heard(data: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == 16_000
    return samples


def test_a_clip_is_neither_louder_nor_shorter(make) -> None:  # type: ignore[no-untyped-def]
    gapped = make([5.0, 9.0], 32_000, audio=NOISE[:64_000])
    html = play(gapped, 6, 10)._repr_html_()
    found = re.search(r"data:audio/x?-?wav;base64,([^\"]+)", html)
    assert found is not None
    np.testing.assert_array_equal(
        heard(base64.b64decode(found[1])), timeline(gapped).read(6, 10)[0]
    )
    assert len(heard(wav_bytes(gapped))) == 6 * 16_000


def test_a_quiet_clip_is_made_loud_when_it_is_asked_for() -> None:
    loud = heard(wav_bytes(NOISE, 0, 5, normalize=True)).astype(float)
    assert np.abs(loud).max() == pytest.approx(32_768 * 10 ** (-1 / 20), abs=1)
    assert np.corrcoef(loud, NOISE[:80_000])[0, 1] > 0.99999
    assert not heard(wav_bytes(np.zeros(16_000, np.int16), normalize=True)).any()


@pytest.mark.parametrize(("start", "end"), [(None, None), (0, 60.1)])
def test_a_minute_is_the_most(start: float | None, end: float | None) -> None:
    with pytest.raises(InvalidArgument, match="a clip of up to 60 s"):
        play(Capture(NOISE), start, end)
    assert len(wav_bytes(NOISE, 0, 60)) == 60 * 32_000 + 44


@pytest.mark.parametrize(("start", "end"), [(5, 5), (95, 99)])
def test_a_span_without_audio_is_told_how_long_it_lasts(start: float, end: float) -> None:
    with pytest.raises(InvalidArgument, match=r"which lasts from 0\.000 to \d+\.000 s"):
        play(Capture(NOISE), start, end)


def test_without_ipython_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(MissingExtra, match=r"recall_lab\[lab\]"):
        play(NOISE, 0, 1)
