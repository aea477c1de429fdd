"""Objects read by ranges: each block fetched once, in bounded memory, by any number of threads."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recall_lab.errors import InvalidArgument, StorageFailed
from recall_lab.remote.range_reader import RemoteAudio, RemoteBytes


class Counting:
    """A filesystem of one object that counts what is asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: Counter[tuple[int, int]] = Counter()
        self.calls = 0
        self.fails = 0
        self._lock = threading.Lock()

    def cat_ranges(
        self, paths: list[str], starts: list[int], stops: list[int], on_error: str
    ) -> list[bytes]:
        with self._lock:
            self.calls += 1
            if self.fails:
                self.fails -= 1
                raise OSError(16, "SlowDown")
            self.asked.update(zip(starts, stops, strict=True))
        return [self.data[start:stop] for start, stop in zip(starts, stops, strict=True)]


@pytest.fixture
def data() -> bytes:
    return np.random.default_rng(3).bytes(100_003)


def test_every_range_is_what_it_should_be(data: bytes) -> None:
    source = RemoteBytes(Counting(data), "x", len(data), block=1000, cache=20_000)
    rng = np.random.default_rng(4)
    for _ in range(500):
        start, length = int(rng.integers(-5, len(data) + 5)), int(rng.integers(0, 9000))
        assert source.read(start, start + length) == data[max(start, 0) : start + length]
    with source.file() as file:
        assert file.read() == data
        file.seek(-10, 2)
        assert file.read() == data[-10:]


@pytest.mark.parametrize("head", [0, 1, 300, 100_003])
def test_what_came_before_is_not_fetched_again(data: bytes, head: int) -> None:
    fs = Counting(data)
    source = RemoteBytes(fs, "x", len(data), head=data[:head], block=1000)
    assert source.read(0, head) == data[:head]
    assert fs.calls == 0
    with source.file() as file:
        assert file.read() == data
    asked = sum((stop - start) * count for (start, stop), count in fs.asked.items())
    assert asked == len(data) - head


def test_in_order_each_block_comes_once_and_several_together(data: bytes) -> None:
    fs = Counting(data)
    source = RemoteBytes(fs, "x", len(data), block=1000, cache=20_000)
    got = b"".join(source.read(at, at + 300) for at in range(0, len(data), 300))
    assert got == data
    assert set(fs.asked.values()) == {1}
    assert fs.calls < 20  # of 101 blocks


def test_two_threads_never_fetch_the_same_block(data: bytes) -> None:
    fs = Counting(data)
    source = RemoteBytes(fs, "x", len(data), block=1000, cache=1 << 20)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: source.read(0, len(data)), range(16)))
    assert set(found) == {data}
    assert set(fs.asked.values()) == {1}


def test_memory_is_bounded(data: bytes) -> None:
    source = RemoteBytes(Counting(data), "x", len(data), block=1000, cache=15_000)
    for at in range(0, len(data), 500):
        source.read(at, at + 500)
        assert sum(map(len, source._blocks.values())) <= 15_000


def test_what_passes_is_tried_again_and_what_stays_is_told(data: bytes) -> None:
    fs = Counting(data)
    source = RemoteBytes(fs, "x", len(data), block=1000)
    fs.fails = 2
    assert source.read(0, 10) == data[:10]
    fs.fails = 99
    with pytest.raises(StorageFailed, match=r"could not read 'x': .*SlowDown"):
        source.read(50_000, 50_010)
    fs.fails = 0
    assert source.read(50_000, 50_010) == data[50_000:50_010]


def test_an_object_that_shrank_is_noticed(data: bytes) -> None:
    fs = Counting(data)
    source = RemoteBytes(fs, "x", len(data), block=1000)
    fs.data = data[:500]
    with pytest.raises(StorageFailed, match="it has changed"):
        source.read(0, 1000)


def test_audio_is_an_array_of_slices(data: bytes) -> None:
    audio = RemoteAudio(RemoteBytes(Counting(data), "x", len(data)))
    samples = np.frombuffer(data[:-1], "<i2")
    assert (len(audio), audio.nbytes, audio.dtype) == (50_001, 100_002, np.int16)
    np.testing.assert_array_equal(audio[10:20], samples[10:20])
    np.testing.assert_array_equal(audio[:], samples)
    assert len(audio[20:10]) == 0
    with pytest.raises(InvalidArgument, match="without a step"):
        audio[::2]
