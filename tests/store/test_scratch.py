"""Samples that are written one after another and read as one array, in memory or on the disk."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from recall_lab.store import scratch as module
from recall_lab.store.reader import release
from recall_lab.store.scratch import Scratch


@pytest.mark.parametrize("limit", [2**25, 100])
def test_samples_come_back_as_they_were_written(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", limit)
    pieces = [np.arange(at, at + 70, dtype="<i2") for at in range(0, 700, 70)]
    with Scratch() as scratch:
        for piece in pieces:
            scratch.write(piece)
        scratch.write(pieces[0][::-1])  # not contiguous
        scratch.write(pieces[0].data)
        samples = scratch.samples()
    expected = np.concatenate([*pieces, pieces[0][::-1], pieces[0]])
    np.testing.assert_array_equal(samples, expected)
    assert not samples.flags.writeable
    mapped = samples.base.obj if isinstance(samples.base, memoryview) else samples.base
    assert isinstance(mapped, mmap.mmap) == (limit == 100)
    release(samples)
    np.testing.assert_array_equal(samples, expected)


def test_nothing_is_no_samples() -> None:
    with Scratch() as scratch:
        assert len(scratch.samples()) == 0
