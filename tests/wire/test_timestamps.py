"""ISO 8601 ⇄ nanoseconds. The oracles are datetime and pandas.Timestamp."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.errors import InvalidMessage
from recall_lab.wire.timestamps import format_absolute, parse_absolute

LIMIT = 9_200_000_000  # seconds either side of 1970 that 64 bits of nanoseconds hold


@pytest.mark.parametrize(
    ("text", "zoneless"),
    [
        # as protocol.md has seen them
        ("2025-01-01T00:00:00.123456Z", False),
        ("2025-01-01T00:00:00Z", False),
        ("2025-01-01T00:00:00.123456+00:00", False),
        ("2025-01-01T02:30:00+02:30", False),
        ("2025-01-01T00:00:00-05:00", False),
        ("2025-01-01 00:00:00", True),
        ("2025-01-01 00:00:00.123456", True),
        ("2025-01-01T00:00:00.123456", True),
        # further spellings of ISO 8601
        ("2025-01-01T00:00:00.1Z", False),
        ("2025-01-01T00:00:00.123456789Z", False),
        ("2025-01-01T00:00:00+0530", False),
        ("2025-01-01T00:00:00+05", False),
        ("2025-01-01 00:00:00.5+05:30", False),
        ("2025-01-01 00:00:00Z", False),
        ("2024-02-29T23:59:59.999999Z", False),
        ("1969-12-31T23:59:59.999999Z", False),
        ("1969-12-31T23:59:59.25Z", False),
        ("1970-01-01T00:00:00-23:59", False),
        ("1700-03-01T00:00:00.000001Z", False),
        ("2261-01-01T00:00:00+23:59", False),
    ],
)
def test_every_form_agrees_with_pandas(text: str, zoneless: bool) -> None:
    stamp = pd.Timestamp(text)
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    assert parse_absolute(text) == (stamp.as_unit("ns").value, zoneless)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2025-01-01t00:00:00.5z", "2025-01-01T00:00:00.5Z"),
        ("2025-01-01T00:00:00,5Z", "2025-01-01T00:00:00.5Z"),
        ("2025-01-01 00:00:00.5 +01:00", "2025-01-01T00:00:00.5+01:00"),
        ("2025-01-01 00:00:00 Z", "2025-01-01T00:00:00Z"),
        ("2025-01-01T00:00:00-00:00", "2025-01-01T00:00:00Z"),
        # digits beyond nanoseconds are dropped, not rounded
        ("2025-01-01T00:00:00.123456789999999999Z", "2025-01-01T00:00:00.123456789Z"),
        ("1969-12-31T23:59:59.9999999999Z", "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_variants_mean_the_same(text: str, same_as: str) -> None:
    assert parse_absolute(text) == parse_absolute(same_as)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "now",
        "1735689600",
        "2025-01-01",
        "2025-01-01T00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-06-31T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-01-01T25:00:00Z",
        "2025-01-01T00:60:00Z",
        "2025-01-01T23:59:60Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00.1234567890123456789Z",
        "2025-01-01T00:00:00.12 3456Z",
        "2025-01-01T00:00:00.-12345Z",
        "2025-01-01T00:00:00.+12345Z",
        "2025-01-01T00:00:00.1_3456Z",
        "2025-01-01T00:00:00+24:00",
        "2025-01-01T00:00:00+00:60",
        "2025-01-01T00:00:00+",
        "2025-01-01T00:00:00+1",
        "2025-01-01T00:00:00ZZ",
        "2025-01-01T00:00:00Z\n",
        "2025-01-01T00:00:00.123456Z\n",
        "\n2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z\0",
        "2025-01-01T00:00:00 UTC",
        "2025-01-01X00:00:00.123456Z",
        "2025/01/01T00:00:00.123456Z",
        "2025-W01-1T00:00:00.123456Z",
        "20250101T000000Z",
        "-025-01-01T00:00:00.123456Z",
        "+2025-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00.123456Z",
        "1677-01-01T00:00:00Z",
        "2262-12-31T00:00:00.123456Z",
        "9999-12-31T23:59:59.999999Z",
        "\u0662\u0660\u0662\u0665-01-01T00:00:00.123456Z",
        "2025-01-01T00:00:00.\u0661\u0662\u0663\u0664\u0665\u0666Z",
        "2025-01-01T00:00:00.\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2Z",
        "2025-01-01T00:00:00" + "Z" * 100_000,
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_absolute(text)
    error = caught.value
    assert (error.field, error.reason) == ("data.data.timestamp.absolute", "timestamp")
    assert "ISO 8601" in str(error)
    assert "2025-01-01T00:00:00.123456Z" in str(error)  # an example of what is right
    assert len(str(error)) < 400
    assert error.value[1:5] in ascii(text)  # names what was there


def test_a_refusal_is_not_remembered_as_a_value() -> None:
    for _ in range(3):
        with pytest.raises(InvalidMessage):
            parse_absolute("2025-06-31T00:00:00.000000Z")
    assert parse_absolute("2025-06-30T00:00:00.000000Z") == (1_751_241_600_000_000_000, False)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_735_689_600_123_456_000, "2025-01-01T00:00:00.123456Z"),
        (1_735_689_600_123_456_789, "2025-01-01T00:00:00.123456789Z"),
        (1_735_689_600_000_000_001, "2025-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-1_000, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_golden_text(nanoseconds: int, text: str) -> None:
    assert format_absolute(nanoseconds) == text


@given(st.integers((1 - LIMIT) * 10**9, (LIMIT - 1) * 10**9))
def test_text_and_back(nanoseconds: int) -> None:
    assert parse_absolute(format_absolute(nanoseconds)) == (nanoseconds, False)


@pytest.mark.parametrize("beyond", [LIMIT * 10**9, -LIMIT * 10**9, 2**63, -(2**63), 10**30])
def test_what_could_not_be_read_back_is_not_written(beyond: int) -> None:
    with pytest.raises(InvalidMessage, match=r"timestamp\.absolute is -?\d+: expected an ISO 8601"):
        format_absolute(beyond)


ZONES = st.builds(
    lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-23 * 60, 23 * 60)
)


@given(
    st.datetimes(datetime(1679, 1, 1), datetime(2261, 1, 1)),  # noqa: DTZ001
    st.none() | ZONES,
    st.sampled_from("T "),
    st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
)
def test_any_datetime_agrees_with_datetime(
    time: datetime, zone: timezone | None, separator: str, precision: str
) -> None:
    text = time.replace(tzinfo=zone).isoformat(separator, precision)
    exact = datetime.fromisoformat(text)
    since = exact.replace(tzinfo=zone or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since // timedelta(microseconds=1)) * 1_000
    assert parse_absolute(text) == (expected, zone is None)


@given(
    st.text(max_size=40)
    | st.from_regex(r"\A[12]\d{3}-[01]\d-[0-3]\d[T ][0-2]\d:[0-6]\d:[0-6]\d(\.\d+)?.{0,7}\Z")
)
def test_any_text_is_a_time_or_is_refused(text: str) -> None:
    try:
        nanoseconds, zoneless = parse_absolute(text)
    except InvalidMessage as error:
        assert error.reason == "timestamp"
    else:
        assert -(2**63) <= nanoseconds < 2**63
        assert isinstance(zoneless, bool)
