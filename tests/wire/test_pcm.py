"""16 kHz mono s16le: bytes ⇄ samples ⇄ seconds."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.wire.pcm import FULL_SCALE, RATE, SAMPLE_DTYPE, bytes_of, samples_of, seconds_of

GOLDEN_BYTES = b"\x00\x00\x01\x00\xff\xff\x00\x80\xff\x7f\x34\x12"
GOLDEN_SAMPLES = [0, 1, -1, -32_768, 32_767, 0x1234]


def test_golden_bytes_both_ways() -> None:
    assert samples_of(GOLDEN_BYTES).tolist() == GOLDEN_SAMPLES
    assert bytes_of(GOLDEN_SAMPLES) == GOLDEN_BYTES


def test_format_is_16_khz_16_bit_little_endian() -> None:
    assert (RATE, FULL_SCALE) == (16_000, 32_768)
    assert SAMPLE_DTYPE.str == "<i2"
    assert samples_of(b"ab").dtype == np.int16


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_samples_are_a_read_only_view(kind: type) -> None:
    data = bytearray(GOLDEN_BYTES)
    source = data if kind is bytearray else kind(data)
    samples = samples_of(source)
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 1
    if kind is not bytes:
        data[0] = 9
        assert samples[0] == 9  # no copy was made


@pytest.mark.parametrize("count", range(8))
def test_last_odd_byte_is_left_out(count: int) -> None:
    samples = samples_of(GOLDEN_BYTES[:count])
    assert samples.tolist() == GOLDEN_SAMPLES[: count // 2]
    assert samples.shape == (count // 2,)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([1, -2], "<i2"),
        np.array([1, -2], ">i2"),
        np.array([1, -2], np.int64),
        np.array([1.0, -2.0]),
        np.array([1, 0, -2, 0], "<i2")[::2],
        [1, -2],
        (1.0, -2),
    ],
    ids=["s16le", "s16be", "int64", "float", "strided", "list", "tuple"],
)
def test_whole_numbers_of_any_dtype_become_bytes(samples: npt.ArrayLike) -> None:
    assert bytes_of(samples) == b"\x01\x00\xfe\xff"


def test_nothing_becomes_nothing() -> None:
    assert bytes_of([]) == b""
    assert samples_of(b"").tolist() == []


@pytest.mark.parametrize(
    "samples",
    [
        [32_768],
        [-32_769],
        [0.5],
        [float("nan")],
        [float("inf")],
        [-1e300],
        [2**40],
        np.array([65_536], np.uint32),
    ],
)
def test_values_that_16_bits_cannot_hold_are_refused(samples: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="signed 16-bit"):
        bytes_of(samples)


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one dimension"):
        bytes_of(np.zeros(shape, np.int16))


@given(st.lists(st.integers(-32_768, 32_767)))
def test_round_trip_against_struct(values: list[int]) -> None:
    data = struct.pack(f"<{len(values)}h", *values)
    assert bytes_of(values) == data
    assert samples_of(data).tolist() == values
    assert bytes_of(samples_of(data)) == data


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 0.0), (1, 1 / 32_000), (6_400, 0.2), (32_000, 1.0), (640, 0.02)]
)
def test_seconds_come_from_bytes(count: int, seconds: float) -> None:
    assert seconds_of(count) == seconds
