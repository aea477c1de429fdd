"""Capture: an immutable value, cut by the relative clock, and shown without trusting any name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.builders import make_capture
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.capture.capture import Capture
from recall_lab.capture.damage import Damage
from recall_lab.capture.frame import check_frame, frame_of
from recall_lab.capture.info import CaptureInfo
from recall_lab.capture.record import Flag
from recall_lab.errors import InvalidArgument, InvalidFrame
from recall_lab.text import printable
from recall_lab.wire.messages import Participant

NEW_YEAR = 1_735_689_600_000_000_000
RATE = 16_000


def packets_frame(starts: list[float], counts: list[int], flags: int = 0) -> pd.DataFrame:
    """Return a frame of packets that begin at `starts` seconds, stored one after the other."""
    size = len(starts)
    relative = np.array(starts, np.float64)
    absolute = NEW_YEAR + np.round(relative * 1e9).astype(np.int64)
    lengths = np.array(counts, np.int32)
    return frame_of(
        {
            "relative": relative,
            "absolute": absolute,
            "received": absolute + 30_000_000,
            "monotonic": np.arange(size, dtype=np.int64) * 1_000,
            "offset": np.cumsum(lengths, dtype=np.int64) - lengths,
            "samples": lengths,
            "connection": np.ones(size, np.uint32),
            "sequence": np.arange(size, dtype=np.uint32),
            "flags": np.full(size, flags, np.uint32),
            "payload_crc": np.arange(size, dtype=np.uint32) + 7,
        }
    )


def capture_of(starts: list[float], counts: list[int], **options: Any) -> Capture:
    """Return a capture whose every sample is different, in the order of arrival."""
    samples = np.arange(1, sum(counts) + 1, dtype="<i2")
    return Capture(samples, packets_frame(starts, counts), **options)


# Making one


def test_a_capture_of_samples_alone() -> None:
    capture = Capture(np.zeros(24_000, np.int16))
    assert capture.duration == 1.5
    assert capture.span == (0.0, 1.5)
    assert len(capture.packets) == 0
    check_frame(capture.packets)
    assert (capture.path, bool(capture.damage)) == (None, False)
    assert capture.info == CaptureInfo(recording="unnamed")


def test_an_empty_capture() -> None:
    capture = Capture(np.zeros(0, np.int16))
    assert (capture.duration, capture.span) == (0.0, (0.0, 0.0))
    assert capture.slice(0, 1).duration == 0.0
    assert "0:00:00.000" in repr(capture)


def test_what_it_is_given_is_what_it_has() -> None:
    info = CaptureInfo(recording="9f3c")
    damage = Damage(odd_byte=True)
    capture = capture_of([0.0], [5], info=info, damage=damage, path=Path("9f3c.bin"))
    assert (capture.info, capture.damage, capture.path) == (info, damage, Path("9f3c.bin"))


@pytest.mark.parametrize(
    "samples",
    [
        [1, 2],
        b"ab",
        np.zeros(4),
        np.zeros(4, np.uint16),
        np.zeros(4, np.int32),
        np.zeros(4, ">i2"),
        np.zeros((2, 2), np.int16),
        np.int16(1),
    ],
    ids=lambda samples: f"{type(samples).__name__} {getattr(samples, 'dtype', '')}",
)
def test_other_samples_are_refused(samples: Any) -> None:
    with pytest.raises(InvalidArgument, match="a one-dimensional int16 array") as caught:
        Capture(samples)
    assert caught.value.name == "samples"


def test_packets_that_break_the_contract_are_refused() -> None:
    with pytest.raises(InvalidFrame, match="'flags' is missing"):
        Capture(np.zeros(4, np.int16), packets_frame([0.0], [4]).drop(columns="flags"))


def test_packets_that_point_past_the_samples_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"packets=5 is not valid: .* within the 4 samples"):
        Capture(np.zeros(4, np.int16), packets_frame([0.0, 1.0], [3, 2]))


# Immutability


def test_samples_are_read_only_and_the_callers_array_is_not() -> None:
    mine = np.zeros(4, np.int16)
    capture = Capture(mine)
    with pytest.raises(ValueError, match="read-only"):
        capture.samples[0] = 1
    mine[0] = 1  # whose array it is may go on writing
    assert np.shares_memory(capture.samples, mine)


@pytest.mark.parametrize(
    "name", ["samples", "packets", "info", "damage", "path", "duration", "span"]
)
def test_nothing_can_be_assigned(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(Capture(np.zeros(4, np.int16)), name, None)


SPOIL: dict[str, Callable[[pd.DataFrame], object]] = {
    "iloc": lambda frame: frame.iloc.__setitem__((0, 0), 99.0),
    "loc": lambda frame: frame.loc.__setitem__((1, "absolute"), pd.Timestamp(0, tz="UTC")),
    "column": lambda frame: frame.__setitem__("samples", 0),
    "further column": lambda frame: frame.__setitem__("new", 1),
    "pop": lambda frame: frame.pop("flags"),
    "at": lambda frame: frame.at.__setitem__((1, "sequence"), 77),
    "index name": lambda frame: setattr(frame.index, "name", "spoilt"),
    "rename": lambda frame: setattr(frame, "columns", list("abcdefghij")),
    "attrs": lambda frame: frame.attrs.update(spoilt=True),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_packets_are_a_copy_of_ones_own(
    spoil: Callable[[pd.DataFrame], object], lazy: bool
) -> None:
    made = packets_frame([0.0, 1.0], [2, 2])
    expected = made.copy(deep=True)
    capture = Capture(np.zeros(4, np.int16), (lambda: made) if lazy else made)
    first, second = capture.packets, capture.packets
    spoil(first)
    for frame in (second, capture.packets, capture.slice().packets):
        pd.testing.assert_frame_equal(frame, expected)
        assert frame.index.name == "packet"
        assert frame.attrs == {}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
def test_the_callers_frame_may_be_written_to(spoil: Callable[[pd.DataFrame], object]) -> None:
    mine = packets_frame([0.0, 1.0], [2, 2])
    expected = mine.copy(deep=True)
    capture = Capture(np.zeros(4, np.int16), mine)
    spoil(mine)
    pd.testing.assert_frame_equal(capture.packets, expected)


def test_packets_are_shared_until_written_to() -> None:
    capture = capture_of([0.0, 1.0], [2, 2])
    one, other = capture.packets["relative"], capture.packets["relative"]
    assert np.shares_memory(one.to_numpy(), other.to_numpy())


def test_a_lazy_frame_is_made_once_and_only_when_it_is_asked_for() -> None:
    calls = []

    def make() -> pd.DataFrame:
        calls.append(1)
        return packets_frame([0.0], [4])

    capture = Capture(np.zeros(4, np.int16), make)
    assert (capture.duration, "Capture" in repr(capture)) == (4 / RATE, True)
    assert calls == []
    assert len(capture.packets) == len(capture.packets) == 1
    assert calls == [1]


def test_slicing_changes_nothing_of_the_whole() -> None:
    capture = capture_of([0.0, 1.0], [4, 4], damage=Damage(odd_byte=True), path=Path("x.bin"))
    samples, packets = capture.samples.copy(), capture.packets.copy(deep=True)
    part = capture.slice(1 / RATE, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        part.samples[0] = 0
    mine = part.packets
    mine.iloc[0, 0] = 99.0
    assert capture.samples.tolist() == samples.tolist()
    pd.testing.assert_frame_equal(capture.packets, packets)
    assert part.packets["relative"].tolist() == [1 / RATE]
    assert (part.path, bool(part.damage)) == (None, False)
    assert part.info == capture.info


# Duration and span


@pytest.mark.parametrize(
    ("starts", "counts", "span"),
    [
        ([0.0], [16_000], (0.0, 1.0)),
        ([2.5], [8_000], (2.5, 3.0)),
        ([0.0, 5.0], [16_000, 16_000], (0.0, 6.0)),  # a gap
        ([0.0, 0.5], [16_000, 1_600], (0.0, 1.0)),  # the first reaches further
        ([3.0, 1.0], [1_600, 1_600], (1.0, 3.1)),  # out of order
        ([-1.0, 0.0], [1_600, 0], (-1.0, 0.0)),  # an empty one is an instant
        ([4.0], [0], (4.0, 4.0)),
    ],
)
def test_span_is_of_the_relative_clock_and_duration_of_the_samples(
    starts: list[float], counts: list[int], span: tuple[float, float]
) -> None:
    capture = capture_of(starts, counts)
    assert capture.span == pytest.approx(span)
    assert capture.duration == sum(counts) / RATE


# Slicing: the oracle looks at each sample alone

QUARTERS = 4 * RATE  # times are drawn in quarters of a sample, where floats round both ways


def sliced_one_by_one(
    starts: list[int], counts: list[int], low: float, high: float
) -> tuple[list[int], list[tuple[int, int, int, int, bool]]]:
    """Return the samples with low <= t < high, and of each packet: number, cut in front, ..."""
    samples, rows, stored = [], [], 0
    for number, (start, count) in enumerate(zip(starts, counts, strict=True)):
        inside = [k for k in range(count) if low <= start + 4 * k < high]
        if inside or (count == 0 and low <= start < high):
            cut = inside[0] if inside else 0
            rows.append((number, cut, len(samples), len(inside), len(inside) < count))
            samples += [stored + k + 1 for k in inside]
        stored += count
    return samples, rows


EDGES = st.none() | st.integers(-40, 200)


@given(
    st.lists(st.tuples(st.integers(-20, 150), st.integers(0, 12)), max_size=8),
    EDGES,
    EDGES,
    st.sampled_from([0, 0, 4 * 16_000 * 3_600, 10**9 + 1]),
)
@settings(max_examples=300)
def test_slice_against_every_sample(
    packets: list[tuple[int, int]], start: int | None, end: int | None, origin: int
) -> None:
    # random starts: gaps, overlaps, duplicates and reordering all come up
    if start is not None and end is not None and end < start:
        start, end = end, start
    starts = [origin + at for at, _ in packets]
    counts = [count for _, count in packets]
    low = -math.inf if start is None else origin + start
    high = math.inf if end is None else origin + end
    capture = capture_of([at / QUARTERS for at in starts], counts)
    part = capture.slice(
        None if start is None else low / QUARTERS, None if end is None else high / QUARTERS
    )
    if not packets:
        assert part.duration == 0.0
        return
    samples, rows = sliced_one_by_one(starts, counts, low, high)
    assert part.samples.tolist() == samples
    frame, whole = part.packets, capture.packets
    check_frame(frame)
    assert frame.index.equals(pd.RangeIndex(len(rows)))
    assert frame["sequence"].tolist() == [number for number, *_ in rows]
    assert frame["offset"].tolist() == [offset for _, _, offset, _, _ in rows]
    assert frame["samples"].tolist() == [count for _, _, _, count, _ in rows]
    assert (frame["flags"] == Flag.TRIMMED).tolist() == [trimmed for *_, trimmed in rows]
    for position, (number, cut, *_) in enumerate(rows):
        row, source = frame.loc[position], whole.loc[number]
        assert row["relative"] == pytest.approx(source["relative"] + cut / RATE, abs=1e-7)
        assert row["absolute"] - source["absolute"] == pd.Timedelta(cut * 62_500, unit="ns")
        for kept in ("received", "monotonic", "connection", "payload_crc"):
            assert row[kept] == source[kept]


@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 12)), min_size=1, max_size=8),
    st.lists(st.integers(-10, 210), min_size=1, max_size=4),
)
def test_neighbouring_slices_share_no_sample_and_lose_none(
    packets: list[tuple[int, int]], edges: list[int]
) -> None:
    capture = capture_of([at / QUARTERS for at, _ in packets], [count for _, count in packets])
    at = [None, *(edge / QUARTERS for edge in sorted(edges)), None]
    parts = [capture.slice(low, high) for low, high in itertools.pairwise(at)]
    together = np.sort(np.concatenate([part.samples for part in parts]))
    assert together.tolist() == capture.samples.tolist()


def test_slice_of_everything_is_everything() -> None:
    capture = capture_of([0.5, 0.2, 0.2], [10, 0, 30])
    part = capture.slice()
    assert part.samples.tolist() == capture.samples.tolist()
    pd.testing.assert_frame_equal(part.packets, capture.packets)


def test_a_slice_of_packets_in_a_row_copies_no_audio() -> None:
    capture = capture_of([0.0, 10 / RATE, 20 / RATE], [10, 10, 10])
    part = capture.slice(5 / RATE, 25 / RATE)
    assert np.shares_memory(part.samples, capture.samples)
    assert part.samples.tolist() == list(range(6, 26))


def test_slices_leave_out_audio_that_no_packet_claims() -> None:
    frame = packets_frame([0.0, 1.0], [2, 2])
    frame["offset"] = np.array([1, 5])
    capture = Capture(np.arange(8, dtype=np.int16), frame)
    assert capture.slice().samples.tolist() == [1, 2, 5, 6]


def test_flags_that_are_there_stay() -> None:
    frame = packets_frame([0.0], [4], flags=int(Flag.ODD | Flag.ZONELESS))
    part = Capture(np.zeros(4, np.int16), frame).slice(1 / RATE)
    assert part.packets["flags"].tolist() == [Flag.ODD | Flag.ZONELESS | Flag.TRIMMED]


def test_further_columns_stay() -> None:
    frame = packets_frame([0.0, 1.0], [4, 4]).assign(speech=[True, False])
    part = Capture(np.zeros(8, np.int16), frame).slice(0.5)
    assert part.packets["speech"].tolist() == [False]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(0, 10)),
        (2 / RATE, 5 / RATE, range(2, 5)),
        (1.5 / RATE, 4.5 / RATE, range(2, 5)),
        (-1, 3 / RATE, range(0, 3)),
        (8 / RATE, 1e9, range(8, 10)),
        (3 / RATE, 3 / RATE, range(0)),
        (5, 6, range(0)),
        (-math.inf, math.inf, range(0, 10)),
        (math.inf, math.inf, range(0)),
        (-math.inf, -math.inf, range(0)),
    ],
)
def test_without_packets_the_samples_are_cut_by_their_number(
    start: float | None, end: float | None, expected: range
) -> None:
    capture = Capture(np.arange(10, dtype=np.int16))
    assert capture.slice(start, end).samples.tolist() == list(expected)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (2, 1),
        (0.1, -0.1),
        (math.nan, None),
        (None, math.nan),
        (math.nan, math.nan),
        (math.inf, 0),
        (0, -math.inf),
    ],
)
@pytest.mark.parametrize("packets", [False, True])
def test_edges_that_are_no_interval_are_refused(start: Any, end: Any, packets: bool) -> None:
    capture = capture_of([0.0], [10]) if packets else Capture(np.zeros(10, np.int16))
    with pytest.raises(InvalidArgument) as caught:
        capture.slice(start, end)
    assert caught.value.name == "slice"
    assert repr((start, end)) in str(caught.value)
    assert "the end not before the start" in str(caught.value)


@pytest.mark.parametrize("edge", ["a", [1], object()])
def test_edges_that_are_no_numbers_are_refused(edge: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Capture(np.zeros(10, np.int16)).slice(edge)


# Showing it


def test_repr_is_one_line_with_what_matters() -> None:
    info = CaptureInfo(recording="9f3c", participant=Participant(7, "Zoë"))
    capture = capture_of([0.0, 1.0], [16_000, 16_000], info=info, damage=Damage(torn_bytes=5))
    assert repr(capture) == (
        "<Capture 9f3c.7, audio: 0:00:02.000, participant: Zoë, packets: 2, "
        "damage: 5 bytes of a torn record>"
    )


@pytest.mark.parametrize(
    ("samples", "shown"),
    [
        (0, "0:00:00.000"),
        (1_600, "0:00:00.100"),
        (59 * RATE, "0:00:59.000"),
        (60 * RATE, "0:01:00.000"),
        (3_600 * RATE + 16, "1:00:00.001"),
        (60 * RATE - 1, "0:01:00.000"),  # rounded up, it is not sixty seconds of a minute
    ],
)
def test_durations_read_like_a_players_clock(samples: int, shown: str) -> None:
    assert f"audio: {shown}," in repr(Capture(np.zeros(samples, np.int16)))


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><h1>&amp;",
    "line\nbreak\r\n",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egpj.exe\u2066",
    "\0",
    "x" * 300,
]


class Tags(HTMLParser):
    """Collects what a browser would make of some HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_are_only_ever_text(name: str) -> None:
    info = CaptureInfo(recording="r1", participant=Participant(1, name))
    capture = capture_of([0.0, 0.5], [160, 160], info=info, damage=Damage(notes=(name,)))
    line = repr(capture)
    assert line.isprintable()
    assert line.startswith("<Capture r1.1, ")

    page = Tags()
    page.feed(capture._repr_html_())
    page.close()
    assert set(page.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    assert page.attributes == {"scope", "style"}
    assert printable(name).strip() in page.text


def test_html_shows_the_clocks_and_is_well_formed() -> None:
    capture = capture_of([1.0, 3.5], [16_000, 8_000])
    text = capture._repr_html_()
    page = Tags()
    page.feed(text)
    for shown in ("1.000 s to 4.000 s", "2025-01-01 00:00:01", "UTC", "0:00:01.500"):
        assert shown in page.text
    assert page.open == []
    assert "http" not in text


def test_html_of_a_capture_without_packets() -> None:
    page = Tags()
    page.feed(Capture(np.zeros(16_000, np.int16))._repr_html_())
    assert "no index" in page.text
    assert "relative clock" not in page.text


def test_damage_is_false_when_there_is_none() -> None:
    assert not Damage()
    assert str(Damage()) == "none"
    for damage in (
        Damage(torn_bytes=1),
        Damage(damaged_records=1),
        Damage(missing_payloads=1),
        Damage(orphan_spans=((0, 1),)),
        Damage(odd_byte=True),
        Damage(notes=("x",)),
    ):
        assert damage
        assert str(damage) != "none"
    assert Damage(orphan_spans=((0, 3), (5, 9))).orphan_samples == 7


def test_a_wall_clock_time_is_one_of_the_relative_clock() -> None:
    capture = make_capture(10.0 + np.arange(50) * 0.2)
    wall = capture.packets["absolute"].iloc[10]
    assert capture.moment(3.5) == 3.5
    assert capture.moment(wall) == pytest.approx(12.0, abs=1e-9)
    later = wall + pd.Timedelta("50ms")
    assert capture.moment(later.isoformat()) == pytest.approx(12.05, abs=1e-9)
    assert capture.moment(later.to_pydatetime()) == pytest.approx(12.05, abs=1e-6)
    part = capture.slice(wall, later)
    assert part.span == pytest.approx((12.0, 12.05))
    assert len(part.samples) == 800


@pytest.mark.parametrize("time", ["hello", "2025-01-01 10:00", True, object(), pd.NaT, None])
def test_what_is_no_time_is_refused_by_name(time: Any) -> None:
    with pytest.raises(InvalidArgument, match="with a zone"):
        make_capture([0.0]).moment(time)
    if time is not None:
        with pytest.raises(InvalidArgument, match="with a zone"):
            make_capture([0.0]).slice(time, 1.0)


def test_without_packets_no_wall_clock_is_known() -> None:
    bare = Capture(np.zeros(16_000, np.int16))
    with pytest.raises(InvalidArgument, match="no packet tells the wall clock"):
        bare.slice("2025-01-01T10:00:00Z")
