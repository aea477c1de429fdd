"""The bundled data: the captures are what their truth tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_lab.loading import load, verify
from recall_lab.store.audio_files import read_audio


@pytest.mark.parametrize(
    ("recording", "stem", "begins"),
    [("standup-lossy", "standup-lossy", 0), ("standup-broken", "standup-broken.100", 24 * 16_000)],
)
def test_a_capture_is_what_its_truth_says(
    root: Path, recording: str, stem: str, begins: int
) -> None:
    capture = load(root / "data" / f"{stem}.bin")
    truth = pd.read_csv(root / "data" / f"{recording}.truth.csv")
    sent = truth[truth["outcome"] == "sent"].reset_index(drop=True)
    packets = capture.packets
    assert not capture.damage
    assert verify(capture).empty
    for column in ("relative", "samples", "connection", "payload_crc"):
        np.testing.assert_array_equal(packets[column], sent[column])
    absolute = pd.to_datetime(sent["absolute"], format="ISO8601")
    assert (packets["absolute"] == absolute).all()
    source = read_audio(root / "data" / "standup.wav")[begins:]
    for held, row in zip(packets.itertuples(), sent.itertuples(), strict=True):
        audio = capture.samples[held.offset : held.offset + held.samples]
        np.testing.assert_array_equal(audio, source[row.offset : row.offset + row.samples])
    assert (truth["outcome"] != "sent").any()


def test_the_conversation_is_as_long_as_its_rows_and_all_is_small(root: Path) -> None:
    rows = pd.read_csv(root / "data" / "standup.csv")
    samples = read_audio(root / "data" / "standup.wav")
    assert 54 < len(samples) / 16_000 < 58
    assert rows["end"].max() < len(samples) / 16_000
    assert (rows["start"] < rows["end"]).all()
    assert sum(path.stat().st_size for path in (root / "data").iterdir()) < 3_000_000
