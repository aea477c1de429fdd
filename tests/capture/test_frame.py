"""The packets frame: its contract, and that sharing it costs no copy and no isolation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from recall_lab.capture.frame import (
    COLUMNS,
    INDEX_NAME,
    check_frame,
    column_of,
    empty_frame,
    frame_of,
    frame_of_records,
    seconds,
    storage_dtype,
)
from recall_lab.capture.record import RECORD, Flag, pack_record
from recall_lab.errors import InvalidFrame

NEW_YEAR = 1_735_689_600_000_000_000


def arrays(count: int = 4) -> dict[str, npt.NDArray[np.generic]]:
    return {name: np.arange(count).astype(storage_dtype(name)) for name in COLUMNS}


def packets(count: int = 4) -> pd.DataFrame:
    return frame_of(arrays(count))


def test_columns_are_those_of_the_documentation() -> None:
    assert {name: str(dtype) for name, dtype in COLUMNS.items()} == {
        "relative": "float64",
        "absolute": "datetime64[ns, UTC]",
        "received": "datetime64[ns, UTC]",
        "monotonic": "int64",
        "offset": "int64",
        "samples": "int32",
        "connection": "uint32",
        "sequence": "uint32",
        "flags": "uint32",
        "payload_crc": "uint32",
    }


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_frame_of_records_holds_what_the_records_hold(count: int) -> None:
    rows = [
        (i * 8, 6, 4, i * 0.5, NEW_YEAR + i, NEW_YEAR - i, -i, i + 1, i, 2**32 - 1 - i)
        for i in range(count)
    ]
    frame = frame_of_records(np.frombuffer(b"".join(pack_record(*row) for row in rows), RECORD))
    check_frame(frame)
    assert list(frame.columns) == list(COLUMNS)
    assert frame.index.equals(pd.RangeIndex(count))
    assert frame.index.name == INDEX_NAME == "packet"
    for i, row in enumerate(rows):
        assert frame.loc[i].to_dict() == {
            "relative": row[3],
            "absolute": pd.Timestamp(row[4], tz="UTC"),
            "received": pd.Timestamp(row[5], tz="UTC"),
            "monotonic": row[6],
            "offset": row[0] // 2,
            "samples": 3,
            "connection": row[7],
            "sequence": row[8],
            "flags": 4,
            "payload_crc": row[9],
        }


@pytest.mark.parametrize("column", COLUMNS)
def test_one_column_of_records(column: str) -> None:
    record = np.frombuffer(pack_record(10, 4, 1, 0.5, 2, 3, 4, 5, 6, 7) * 3, RECORD)
    values = column_of(record, column)
    expected = {"offset": 5, "samples": 2, "relative": 0.5, "absolute": 2, "received": 3}
    expected |= {"monotonic": 4, "connection": 5, "sequence": 6, "flags": 1, "payload_crc": 7}
    assert values.tolist() == [expected[column]] * 3
    assert values.dtype == storage_dtype(column)
    assert values.flags.c_contiguous


def test_frame_is_made_without_a_copy() -> None:
    made = arrays()
    frame = frame_of(made)
    for name, array in made.items():
        series = frame[name]
        held = series.array.asi8 if isinstance(series.dtype, pd.DatetimeTZDtype) else series
        assert np.shares_memory(np.asarray(held), array), name


@pytest.mark.parametrize("column", COLUMNS)
def test_writing_to_a_share_changes_neither_the_arrays_nor_other_shares(column: str) -> None:
    made = arrays()
    before = {name: array.copy() for name, array in made.items()}
    kept = frame_of(made)
    mine, yours, part = kept.copy(deep=False), kept.copy(deep=False), kept.iloc[:2]
    value: Any = 99
    if isinstance(COLUMNS[column], pd.DatetimeTZDtype):
        value = pd.Timestamp("2001-01-01", tz="UTC")
    mine.iloc[0, list(COLUMNS).index(column)] = value
    mine.loc[1, column] = value
    part.loc[0, column] = value
    assert mine[column].tolist()[:2] == [value, value]
    assert all(np.array_equal(made[name], before[name]) for name in made)
    for other in (yours, kept):
        pd.testing.assert_frame_equal(other, frame_of(before))


def test_empty_frame_keeps_the_contract() -> None:
    frame = empty_frame()
    check_frame(frame)
    assert len(frame) == 0
    assert seconds(frame).sum() == 0.0


def test_flags_can_be_asked_for_as_pandas_does() -> None:
    frame = packets().assign(flags=np.array([0, 1, 3, 6], np.uint32))
    assert (frame["flags"] & Flag.CARRIED != 0).tolist() == [False, False, True, True]
    assert (frame["flags"] & (Flag.ODD | Flag.EMPTY)).tolist() == [0, 1, 1, 4]
    assert Flag(int(frame["flags"].iloc[2])) == Flag.ODD | Flag.CARRIED
    assert repr(Flag(3)) == "<Flag.ODD|CARRIED: 3>"


def test_seconds_are_samples_over_the_rate() -> None:
    frame = packets().assign(samples=np.array([0, 1, 320, 16_000], np.int32))
    assert seconds(frame).tolist() == [0.0, 1 / 16_000, 0.02, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.iloc[1:3],
        lambda frame: frame.iloc[::-1],
        lambda frame: frame[frame["samples"] > 100],
        lambda frame: frame.assign(speech=True),
        lambda frame: frame.set_index(pd.Index(list("abcd"))),
        lambda frame: frame[sorted(frame.columns)],
        lambda frame: pd.concat([frame, frame]),
        lambda frame: frame.copy(),
    ],
    ids=["same", "rows", "reversed", "none", "further", "named", "reordered", "doubled", "copied"],
)
def test_frames_that_keep_the_contract(change: Any) -> None:
    check_frame(change(packets()))


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column_is_named(column: str) -> None:
    with pytest.raises(InvalidFrame) as caught:
        check_frame(packets().drop(columns=column))
    others = ", ".join(name for name in COLUMNS if name != column)
    assert str(caught.value) == f"column {column!r} is missing (there are: {others})"


def test_frame_without_columns_says_so() -> None:
    with pytest.raises(InvalidFrame, match=r"'relative' is missing \(there are: none\)"):
        check_frame(pd.DataFrame())


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("other", ["float32", "int16", "object", "datetime64[ns]"])
def test_wrong_dtype_is_named_and_the_advice_works(column: str, other: str) -> None:
    frame = packets()
    values = frame[column]
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = (
            values.dt.tz_localize(None) if other == "datetime64[ns]" else values.astype("int64")
        )
    wrong = frame.assign(**{column: values.astype(other)})
    expected = str(COLUMNS[column])
    with pytest.raises(InvalidFrame) as caught:
        check_frame(wrong)
    message = str(caught.value)
    assert message.startswith(f"column {column!r} has dtype {other}: expected {expected}; ")
    advice = re.fullmatch(r".* convert it with packets\.astype\((\{.*\})\)", message)
    assert advice is not None
    assert advice[1] == repr({column: expected})
    if other in {"float32", "int16"} and expected.startswith(("int", "uint", "float")):
        check_frame(wrong.astype({column: expected}))


@pytest.mark.parametrize(("column", "value"), [("offset", -1), ("samples", -5)])
def test_negative_counts_are_refused_where_they_are(column: str, value: int) -> None:
    frame = packets()
    frame.loc[2, column] = value
    with pytest.raises(InvalidFrame, match=f"'{column}' is {value} at 2: must be >= 0"):
        check_frame(frame)


def test_column_that_is_there_twice_is_refused() -> None:
    frame = packets()
    with pytest.raises(InvalidFrame, match="'samples' is there twice"):
        check_frame(pd.concat([frame, frame[["samples"]]], axis="columns"))


@pytest.mark.parametrize("thing", [None, {}, [], np.zeros(3), pd.Series(dtype="float64")])
def test_what_is_no_frame_is_refused(thing: Any) -> None:
    with pytest.raises(
        InvalidFrame, match=f"packets is a {type(thing).__name__}: expected a pandas"
    ):
        check_frame(thing)
