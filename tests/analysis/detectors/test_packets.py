"""Packets that come again, and leaps at joins."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from recall_lab.analysis.detectors.packets import clicks, stuck_packets
from recall_lab.analysis.detectors.samples import findings_of_samples
from recall_lab.analysis.detectors.scan import joins_of, scan
from recall_lab.capture.capture import Capture
from recall_lab.store.audio_files import read_audio

RATE = 16_000


@pytest.fixture(scope="module")
def talk(root: Path) -> np.ndarray:
    return read_audio(root / "data/standup.wav")[: 50 * RATE]


def captured(make, samples: np.ndarray, packet: int = 1600, **columns: object) -> Capture:  # type: ignore[no-untyped-def]
    rows = samples[: len(samples) // packet * packet].reshape(-1, packet)
    columns.setdefault("payload_crc", [zlib.crc32(row.tobytes()) for row in rows])
    starts = columns.pop("relative", np.arange(len(rows)) * packet / RATE)
    return make(starts, packet, audio=rows.ravel(), **columns)


@pytest.mark.parametrize(("again", "severity"), [(1, None), (2, "warning"), (12, "bad")])
def test_a_payload_that_comes_again_under_a_later_time(  # type: ignore[no-untyped-def]
    talk: np.ndarray, make, again: int, severity: str | None
) -> None:
    rows = talk.reshape(-1, 1600).copy()
    rows[21 : 21 + again] = rows[20]
    found = stuck_packets(captured(make, rows.ravel()))
    assert [one.severity for one in found] == ([severity] if severity else [])
    if found:
        assert found[0].value == again
        assert (found[0].start, found[0].end) == pytest.approx((2.1, 2.1 + again / 10))
        assert "stuck_packet" in {
            one.finding for one in findings_of_samples(captured(make, rows.ravel()))
        }


def test_a_ring_of_packets_that_goes_round(talk: np.ndarray, make) -> None:  # type: ignore[no-untyped-def]
    rows = talk.reshape(-1, 1600).copy()
    rows[23:32] = rows[np.tile([20, 21, 22], 3)]
    (found,) = stuck_packets(captured(make, rows.ravel()))
    assert found.value == 9


def test_many_that_come_again_are_all_counted(talk: np.ndarray, make) -> None:  # type: ignore[no-untyped-def]
    rows = np.repeat(talk[: 150 * 1600].reshape(-1, 1600), 2, axis=0)
    (found,) = stuck_packets(captured(make, rows.ravel()))
    assert (found.value, found.severity) == (150, "bad")


def test_what_is_alike_by_nature_is_not_stuck(talk: np.ndarray, make) -> None:  # type: ignore[no-untyped-def]
    time = np.arange(10 * RATE) / RATE
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    dial = np.rint(4000 * (np.sin(2 * np.pi * 350 * time) + np.sin(2 * np.pi * 440 * time)))
    for samples in (tone, dial.astype(np.int16), tone * 0, tone * 0 + 500):
        assert stuck_packets(captured(make, samples)) == []
    # sent twice under the same time: a duplicate, which the findings of time tell
    rows = np.repeat(talk.reshape(-1, 1600), 2, axis=0)
    twice = np.repeat(np.arange(len(rows) // 2) / 10, 2)
    assert stuck_packets(captured(make, rows.ravel(), relative=twice)) == []
    # nothing is known of payloads
    assert stuck_packets(captured(make, talk, payload_crc=np.zeros(len(talk) // 1600))) == []
    assert stuck_packets(Capture(talk)) == []


@pytest.mark.parametrize("packet", [320, 1600])
def test_samples_that_are_dropped_between_packets_leap(  # type: ignore[no-untyped-def]
    talk: np.ndarray, make, packet: int
) -> None:
    assert clicks(scan(captured(make, talk, packet))) == []
    size = packet + 40
    short = talk[: len(talk) // size * size].reshape(-1, size)[:, :packet].ravel()
    found = scan(captured(make, short, packet))
    (one,) = clicks(found)
    assert (one.finding, one.severity) == ("clicks", "warning")
    assert set(found.leaps.tolist()) <= set(range(packet, len(short), packet))
    # the same leaps where no packets meet are none of theirs
    assert clicks(scan(captured(make, short, packet - 7))) == []


def test_packets_that_are_zeros_do_not_click(talk: np.ndarray, make) -> None:  # type: ignore[no-untyped-def]
    rows = talk.reshape(-1, 320).copy()
    rows[::7] = 0
    found = scan(captured(make, rows.ravel(), 320))
    assert found.joins > 100
    assert len(found.leaps) < 0.005 * found.joins
    assert clicks(found) == []


def test_joins_are_where_audio_goes_on(make) -> None:  # type: ignore[no-untyped-def]
    capture = make([0.0, 0.1, 0.3, 0.4, 0.4], [1600, 1600, 1600, 0, 1600])
    assert joins_of(capture.packets).tolist() == [1600, 4800]
    assert joins_of(make([], []).packets).tolist() == []
