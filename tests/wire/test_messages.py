"""JSON text ⇄ AudioPacket | OtherEvent: golden bytes, round trips, and every way of being wrong."""

from __future__ import annotations

import base64
import copy
import json
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recall_lab.errors import InvalidMessage
from recall_lab.wire.messages import (
    _STAND_IN,
    MAX_EVENT_NAME,
    MAX_ID,
    MAX_PARTICIPANT,
    MIXED,
    RECORDING_ID_VALID,
    SEPARATE,
    ArtifactForm,
    AudioPacket,
    OtherEvent,
    Participant,
    Ref,
    decode_message,
    encode_message,
    is_recording_id,
)
from recall_lab.wire.shapes import NOBODY

NEW_YEAR = 1_735_689_600_000_000_000
PCM = b"\x01\x00\xff\xff\x00\x80\xff\x7f"

GOLDEN_MIXED = (
    b'{"event":"audio_mixed_raw.data","data":{'
    b'"data":{"buffer":"AQD//wCA/38=",'
    b'"timestamp":{"relative":1.25,"absolute":"2025-01-01T00:00:00.123456Z"}},'
    b'"realtime_endpoint":{"id":"e1","metadata":{}},'
    b'"recording":{"id":"9f3c-1","metadata":{"team":"blue"}},'
    b'"bot":{"id":"b1","metadata":{}},'
    b'"audio_mixed_raw":{"id":"a1","metadata":{}}}}'
)
MIXED_PACKET = AudioPacket(
    recording=Ref("9f3c-1", {"team": "blue"}),
    payload=PCM,
    relative=1.25,
    absolute=NEW_YEAR + 123_456_000,
    bot=Ref("b1", {}),
    endpoint=Ref("e1", {}),
    artifact=Ref("a1", {}),
)
GOLDEN_SEPARATE = (
    b'{"event":"audio_separate_raw.data","data":{'
    b'"data":{"buffer":"AQD//wCA/38=",'
    b'"timestamp":{"relative":0.0,"absolute":"2025-01-01T00:00:00.000000"},'
    b'"participant":{"id":100,"name":"Zo\xc3\xab","is_host":true,"platform":"desktop",'
    b'"extra_data":{"zoom":{"seat":7}},"email":null}},'
    b'"realtime_endpoint":null,'
    b'"recording":{"id":"9f3c-1"},'
    b'"bot":null,'
    b'"audio_separate_raw":{"id":"a2","metadata":{}}}}'
)
SEPARATE_PACKET = AudioPacket(
    recording=Ref("9f3c-1"),
    payload=PCM,
    relative=0.0,
    absolute=NEW_YEAR,
    participant=Participant(100, "Zoë", True, "desktop", {"zoom": {"seat": 7}}),
    artifact=Ref("a2", {}),
    zoneless=True,
)
GOLDEN = [(GOLDEN_MIXED, MIXED_PACKET), (GOLDEN_SEPARATE, SEPARATE_PACKET)]
BOTH = [GOLDEN_MIXED, GOLDEN_SEPARATE]


def changed(golden: bytes, path: str, value: Any) -> bytes:
    """Return `golden` with another value at a dotted path."""
    message = json.loads(golden)
    at = message
    *parents, last = path.split(".")
    for key in parents:
        at = at[key]
    at[last] = value
    return json.dumps(message).encode()


def removed(golden: bytes, path: str) -> bytes:
    """Return `golden` without the field at a dotted path."""
    message = json.loads(golden)
    at = message
    *parents, last = path.split(".")
    for key in parents:
        at = at[key]
    del at[last]
    return json.dumps(message).encode()


def raw_value(golden: bytes, path: str, text: bytes) -> bytes:
    """Return `golden` with JSON text, which need not be valid, at a dotted path."""
    return changed(golden, path, "@HERE@").replace(b'"@HERE@"', text)


def reason_of(message: bytes) -> str:
    """Why what is no JSON is refused."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return "utf8"
    return "json"


def refusal(message: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        decode_message(message)
    error = caught.value
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert error.valid in str(error)
    assert error.value in str(error)
    return error


# What is right


@pytest.mark.parametrize(("golden", "packet"), GOLDEN, ids=["mixed", "separate"])
def test_golden_bytes_both_ways(golden: bytes, packet: AudioPacket) -> None:
    assert decode_message(golden) == packet
    assert encode_message(packet) == golden


@pytest.mark.parametrize(("golden", "packet"), GOLDEN, ids=["mixed", "separate"])
def test_plain_artifact_key_is_the_other_documented_form(
    golden: bytes, packet: AudioPacket
) -> None:
    key = packet.event.removesuffix(".data")
    plain = golden.replace(f'"{key}":'.encode(), f'"{key.removesuffix("_raw")}":'.encode())
    assert plain != golden
    assert decode_message(plain) == packet
    assert encode_message(packet, form="plain") == plain


def test_event_names_are_those_of_the_protocol() -> None:
    assert (MIXED_PACKET.event, SEPARATE_PACKET.event) == (MIXED, SEPARATE)
    assert (MIXED, SEPARATE) == ("audio_mixed_raw.data", "audio_separate_raw.data")


@pytest.mark.parametrize("golden", BOTH)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_object_is_read(golden: bytes, kind: type) -> None:
    assert decode_message(kind(golden)) == decode_message(golden)


@pytest.mark.parametrize("golden", BOTH)
def test_layout_and_order_of_keys_do_not_matter(golden: bytes) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    message = turned(json.loads(golden))
    assert next(iter(message)) == "data"  # the event comes last now
    assert decode_message(
        json.dumps(message, indent=4).replace("\n", "\r\n\t").encode()
    ) == decode_message(golden)


@pytest.mark.parametrize("field", ["bot", "realtime_endpoint"])
def test_reference_may_be_null_or_absent(field: str) -> None:
    null = decode_message(changed(GOLDEN_MIXED, f"data.{field}", None))
    assert null == decode_message(removed(GOLDEN_MIXED, f"data.{field}"))
    assert isinstance(null, AudioPacket)
    assert (null.bot is None) == (field == "bot")
    assert (null.endpoint is None) == (field == "realtime_endpoint")


def test_artifact_may_be_null_or_absent_in_either_form() -> None:
    for message in (
        removed(GOLDEN_MIXED, "data.audio_mixed_raw"),
        changed(GOLDEN_MIXED, "data.audio_mixed_raw", None),
        changed(removed(GOLDEN_MIXED, "data.audio_mixed_raw"), "data.audio_mixed", None),
    ):
        packet = decode_message(message)
        assert isinstance(packet, AudioPacket)
        assert packet.artifact is None


def test_participant_needs_nothing_but_an_id() -> None:
    packet = decode_message(changed(GOLDEN_SEPARATE, "data.data.participant", {"id": 0}))
    assert isinstance(packet, AudioPacket)
    assert packet.participant == Participant(0)
    assert packet.event == SEPARATE


def test_unknown_fields_at_every_level_are_passed_over() -> None:
    message = json.loads(GOLDEN_SEPARATE)
    new = {"deep": [1, {"x": None}], "text": "\ud83d\ude00"}
    data = message["data"]
    for place in (
        message,
        data,
        data["data"],
        data["data"]["timestamp"],
        data["data"]["participant"],
        data["recording"],
    ):
        place["from_the_future"] = new
    assert decode_message(json.dumps(message).encode()) == SEPARATE_PACKET


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x02\x03", bytes(6_400), bytes(6_401)])
def test_payload_of_any_length_is_kept_as_it_is(payload: bytes) -> None:
    buffer = base64.b64encode(payload).decode()
    packet = decode_message(changed(GOLDEN_MIXED, "data.data.buffer", buffer))
    assert isinstance(packet, AudioPacket)
    assert packet.payload == payload
    assert packet.duration == len(payload) / 32_000


@pytest.mark.parametrize(
    ("text", "relative"),
    [
        (b"0", 0.0),
        (b"3", 3.0),
        (b"-0.5", -0.5),
        (b"1e2", 100.0),
        (b"1e9", 1e9),
        (b"-1e9", -1e9),
        (b"0.1000000000000000055511151231257827", 0.1),
        (b"1e-400", 0.0),
    ],
)
def test_relative_time_is_any_json_number_in_range(text: bytes, relative: float) -> None:
    packet = decode_message(raw_value(GOLDEN_MIXED, "data.data.timestamp.relative", text))
    assert isinstance(packet, AudioPacket)
    assert packet.relative == relative
    assert type(packet.relative) is float


@pytest.mark.parametrize(
    ("text", "nanoseconds", "zoneless"),
    [
        ("2025-01-01T00:00:00.123456Z", NEW_YEAR + 123_456_000, False),
        ("2025-01-01T00:00:00Z", NEW_YEAR, False),
        ("2025-01-01T02:00:00+02:00", NEW_YEAR, False),
        ("2025-01-01 00:00:00.5", NEW_YEAR + 500_000_000, True),
    ],
)
def test_absolute_time_in_each_form(text: str, nanoseconds: int, zoneless: bool) -> None:
    packet = decode_message(changed(GOLDEN_MIXED, "data.data.timestamp.absolute", text))
    assert isinstance(packet, AudioPacket)
    assert (packet.absolute, packet.zoneless) == (nanoseconds, zoneless)


@pytest.mark.parametrize("recording", ["a", "Z" * 64, "9f3c_-", "0", "a--__", "nul"])
def test_recording_ids_that_are_safe_as_file_names(recording: str) -> None:
    packet = decode_message(changed(GOLDEN_MIXED, "data.recording.id", recording))
    assert isinstance(packet, AudioPacket)
    assert packet.recording.id == recording


def test_values_are_frozen() -> None:
    for value, field in ((MIXED_PACKET, "payload"), (Ref("a"), "id"), (Participant(1), "name")):
        with pytest.raises(AttributeError):
            setattr(value, field, None)


# Events that are not audio


@pytest.mark.parametrize(
    "event",
    [
        "transcript.data",
        "participant_events.join",
        "video_separate_png.data",
        "from.the.future",
        "audio_mixed_raw.data ",
        "audio_mixed_raw",
        "",
        "new\nline and `$.event`",
        "é😀",
        "x" * MAX_EVENT_NAME,
    ],
)
def test_other_events_are_kept_with_their_json(event: str) -> None:
    data = {"recording": {"id": "r1"}, "data": {"words": [{"text": "hello"}]}}
    message = json.dumps({"event": event, "data": data}, indent=1).encode()
    assert decode_message(message) == OtherEvent(event=event, json=message, recording=Ref("r1"))
    assert encode_message(decode_message(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        "absent",
        None,
        7,
        [1],
        {},
        {"recording": None},
        {"recording": "r1"},
        {"recording": {"id": 5}},
        {"recording": {"id": "../x"}},
        {"recording": {"id": "a" * 65}},
        {"recording": {"id": "a" * (MAX_ID + 1)}},
    ],
    ids=repr,
)
def test_other_event_of_unknown_shape_is_kept_without_recording(data: Any) -> None:
    whole = {"event": "x"} if data == "absent" else {"event": "x", "data": data}
    message = json.dumps(whole).encode()
    assert decode_message(message) == OtherEvent(event="x", json=message)


def test_other_event_does_not_hold_on_to_the_receive_buffer() -> None:
    buffer = bytearray(b'{"event": "x", "data": {}}')
    event = decode_message(buffer)
    buffer[:] = b"*" * len(buffer)
    assert isinstance(event, OtherEvent)
    assert event.json == b'{"event": "x", "data": {}}'


@pytest.mark.parametrize(
    "message",
    [
        b'{"event":"x","data":"\xff"}',
        b'{"event":"x","new":"\xc3"}',
        b'{"event":"x","\xe2\x28\xa1":1}',
        b'{"event":"\xff"}',
        b'{"event":"x","data":"a\nb"}',
        b'{"event":"x","data":NaN}',
        b'{"event":"x","data":Infinity}',
        b'{"event":"x","data":[1,]}',
        b'{"event":"x","data":01}',
        b'{"event":"x","data":"\\q"}',
        b'{"event":"x","data":"\\ud800"}',
        b'{"event":"x"} {"event":"y"}',
        b"{'event':'x'}",
    ],
)
def test_other_event_that_is_not_json_is_refused_like_any(message: bytes) -> None:
    error = refusal(message)
    assert (error.field, error.reason) == ("", reason_of(message))
    assert "JSON" in error.valid


# What is wrong


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b" ",
        b"\0",
        b"hello",
        b"{",
        b'{"event"',
        b"{event: 1}",
        b"\xef\xbb\xbf" + GOLDEN_MIXED,
        b"\xff\xfe" + GOLDEN_MIXED.decode().encode("utf-16-le"),
        GOLDEN_MIXED + b"x",
        GOLDEN_MIXED + GOLDEN_MIXED,
        GOLDEN_MIXED.replace(b":", b"=", 1),
        GOLDEN_MIXED.replace(b"blue", b"\xff"),
        GOLDEN_MIXED.replace(b"blue", b"\xed\xa0\x80"),  # a surrogate, as UTF-8 forbids it
        GOLDEN_MIXED.replace(b"blue", rb"\ud800"),
        GOLDEN_MIXED.replace(b"blue", rb"\udc00\ud800"),
        GOLDEN_MIXED.replace(b"AQD//", rb"\ud800"),
        GOLDEN_MIXED.replace(b"1.25", b"NaN"),
        GOLDEN_MIXED.replace(b"1.25", b"Infinity"),
        GOLDEN_MIXED.replace(b"1.25", b"-Infinity"),
        GOLDEN_MIXED.replace(b"1.25", b"nan"),
        GOLDEN_MIXED.replace(b"1.25", b"01"),
        GOLDEN_MIXED.replace(b"1.25", b"+1"),
        GOLDEN_MIXED.replace(b"1.25", b".5"),
        GOLDEN_MIXED.replace(b"1.25", b"0x10"),
        GOLDEN_MIXED.replace(b"blue", b"bl\nue"),
    ],
)
def test_what_is_not_json_is_refused(message: bytes) -> None:
    error = refusal(message)
    assert (error.field, error.reason) == ("", reason_of(message))
    assert str(error).startswith("message is b")


@pytest.mark.parametrize("golden", BOTH)
def test_truncated_at_every_length(golden: bytes) -> None:
    for length in range(len(golden)):
        error = refusal(golden[:length])
        assert (error.field, error.reason) == ("", reason_of(golden[:length])), length


@pytest.mark.parametrize("message", [b"null", b"[]", b"3", b'"x"', b"true", b"[[]]"])
def test_json_that_is_no_object(message: bytes) -> None:
    error = refusal(message)
    assert (error.field, error.reason) == ("", "field")
    assert "object" in error.valid


@pytest.mark.parametrize(
    "path",
    [
        "event",
        "data",
        "data.recording",
        "data.recording.id",
        "data.data",
        "data.data.buffer",
        "data.data.timestamp",
        "data.data.timestamp.relative",
    ],
)
def test_missing_field_is_named(path: str) -> None:
    error = refusal(removed(GOLDEN_SEPARATE, path))
    assert (error.field, error.reason) == (path, "field")
    assert str(error) == f"{path} is missing: expected a value"


OF_WRONG_TYPE = [
    ("event", 1, "str"),
    ("event", None, "str"),
    ("event", ["audio_mixed_raw.data"], "str"),
    ("data", None, "object"),
    ("data", "x", "object"),
    ("data.recording", None, "object"),
    ("data.recording", "r1", "object"),
    ("data.recording.id", None, "str"),
    ("data.recording.id", ["a"], "str"),
    ("data.data", [], "object"),
    ("data.data.buffer", None, "str"),
    ("data.data.buffer", 5, "str"),
    ("data.data.buffer", [1, 2, 3], "str"),
    ("data.data.buffer", {"a": 1}, "str"),
    ("data.data.timestamp", "2025-01-01T00:00:00Z", "object"),
    ("data.data.timestamp", None, "object"),
    ("data.data.timestamp.relative", None, "float"),
    ("data.data.timestamp.relative", True, "float"),
    ("data.data.timestamp.relative", [1.0], "float"),
]


@pytest.mark.parametrize(("path", "value", "valid"), OF_WRONG_TYPE, ids=str)
def test_wrong_type_names_field_value_and_what_is_valid(path: str, value: Any, valid: str) -> None:
    golden = changed(GOLDEN_SEPARATE, "data.bot", {"id": "b1"})
    error = refusal(changed(golden, path, value))
    named = f"{path}.id" if isinstance(value, dict) and "id" in value else path
    assert (error.field, error.reason) == (named, "field")
    assert valid in error.valid
    if not isinstance(value, dict | list):
        assert str(error).startswith(f"{path} is {value!r}: expected")


def test_a_large_or_deep_value_of_the_wrong_type_is_only_shown_from_its_start() -> None:
    error = refusal(changed(GOLDEN_MIXED, "data.data.buffer", list(range(100_000))))
    assert error.field == "data.data.buffer"
    assert "[0, 1, 2, 3" in error.value
    assert len(error.value) <= 80


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"1e400", "number"),
        (b"-1e400", "number"),
        (b"1" + b"0" * 400, "number"),
        (b"-" + b"9" * 400, "number"),
        (b"9" * 400 + b".5", "number"),
        (b"9" * 5_000, "number"),  # more than int() takes
        (b"1e999999999999", "number"),
        (b"1.0000001e9", "timestamp"),
        (b"-1.0000001e9", "timestamp"),
        (b"1e308", "timestamp"),
    ],
)
def test_relative_time_out_of_range(text: bytes, reason: str) -> None:
    error = refusal(raw_value(GOLDEN_MIXED, "data.data.timestamp.relative", text))
    assert (error.field, error.reason) == ("data.data.timestamp.relative", reason)


@pytest.mark.parametrize("text", [b"9" * 400, b"9" * 5_000, b"1e400", b"-1e400"])
@pytest.mark.parametrize("path", ["event", "data", "data.recording.id", "data.data.buffer"])
def test_huge_numbers_in_needed_places_are_refused(path: str, text: bytes) -> None:
    error = refusal(raw_value(GOLDEN_SEPARATE, path, text))
    assert error.field == path
    assert error.reason in {"number", "field", "recording"}


@pytest.mark.parametrize(
    "buffer",
    [
        "A",
        "AA",
        "AAA",
        "AAAAA",
        "AQD//wCA/38",  # no padding
        "AQD//wCA/38==",  # too much
        "AQD//wCA/38=\n",
        "AQD/\n/wCA/38=",
        "AQD//wCA\r\n/38=",
        " AQD//wCA/38=",
        "AQD//wCA /38=",
        "AQD__wCA_38=",  # the URL-safe alphabet
        "AQD//wC*/38=",
        "====",
        "=",
        "AA==AA==",
        "AAAA====",
        "A===",
        "AAA=A",
        "AAAé",
        "é",
        "😀",
        "AAA\0",
        "\0",
        "data:audio/pcm;base64,AAAA",
        "AAAA" * 2_000 + "!",
    ],
)
def test_base64_must_be_strict(buffer: str) -> None:
    error = refusal(changed(GOLDEN_MIXED, "data.data.buffer", buffer))
    assert (error.field, error.reason) == ("data.data.buffer", "base64")
    assert "base64" in error.valid
    assert error.value[1] == ascii(buffer)[1]


HOSTILE_IDS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "C:x",
    "a\n",
    "\na",
    "a\r",
    "a\0",
    "\0",
    "a b",
    "a.b",
    "a.bin",
    ".hidden",
    "-rf",
    "_receiver",
    "~root",
    "%2e%2e",
    "é",
    "e\u0301",
    "\N{CYRILLIC SMALL LETTER A}",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "\u202ea",
    "a" * 65,
    "a" * 257,
    "a" * 100_000,
    "$(id)",
    "a;b",
    "*",
]


@pytest.mark.parametrize("recording", HOSTILE_IDS, ids=lambda text: ascii(text[:20]))
def test_recording_id_that_is_unsafe_as_a_file_name(recording: str) -> None:
    assert not is_recording_id(recording)
    for golden in BOTH:
        error = refusal(changed(golden, "data.recording.id", recording))
        assert (error.field, error.reason) == ("data.recording.id", "recording")
        assert error.valid == RECORDING_ID_VALID
        assert error.value[1:6] == ascii(recording)[1:6]


def test_event_names_have_a_longest_length() -> None:
    error = refusal(json.dumps({"event": "x" * (MAX_EVENT_NAME + 1)}).encode())
    assert (error.field, error.reason) == ("event", "field")
    assert str(MAX_EVENT_NAME) in error.valid


BOMBED = ["data.data.buffer", "data.recording.metadata", "data.new", "data", "new"]


@pytest.mark.parametrize("path", BOMBED)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_bombs_of_every_critical_depth(path: str, opening: bytes, closing: bytes) -> None:
    limit = sys.getrecursionlimit()
    # somewhere below the interpreter's limit the decoder gives up; where depends on the caller
    refused = 0
    for depth in (*range(limit - 200, limit + 3), 100_000):
        bomb = opening * depth + b"1" + closing * depth
        for golden in (GOLDEN_MIXED, b'{"event":"x","data":{"data":{},"recording":{"id":"r"}}}'):
            try:
                decode_message(raw_value(golden, path, bomb))
            except InvalidMessage as error:
                assert error.reason in {"json", "field"}
                assert len(str(error)) < 500
                refused += 1
    assert refused


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"event":'])
def test_nesting_bombs_without_an_end(opening: bytes) -> None:
    assert refusal(opening * 200_000).reason in {"json", "field"}


# Writing


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"recording": Ref("../x")}, "data.recording.id", "recording"),
        ({"recording": Ref("")}, "data.recording.id", "recording"),
        ({"relative": float("nan")}, "data.data.timestamp.relative", "timestamp"),
        ({"relative": float("inf")}, "data.data.timestamp.relative", "timestamp"),
        ({"relative": -1e10}, "data.data.timestamp.relative", "timestamp"),
        ({"absolute": 2**63 - 1}, "data.data.timestamp.absolute", "timestamp"),
        ({"absolute": -(10**30)}, "data.data.timestamp.absolute", "timestamp"),
        ({"participant": Participant(-1)}, "data.data.participant.id", "participant"),
        ({"participant": Participant(2**63)}, "data.data.participant.id", "participant"),
    ],
    ids=str,
)
def test_what_would_be_refused_is_not_written(
    change: dict[str, Any], field: str, reason: str
) -> None:
    base = {"recording": Ref("r1"), "payload": b"", "relative": 0.0, "absolute": 0}
    with pytest.raises(InvalidMessage) as caught:
        encode_message(AudioPacket(**(base | change)))
    assert (caught.value.field, caught.value.reason) == (field, reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=3)
REFS = st.builds(Ref, st.text(max_size=20), st.none() | OBJECTS)
PARTICIPANTS = st.builds(
    Participant,
    st.integers(0, MAX_PARTICIPANT),
    st.none() | st.text(max_size=20),
    st.none() | st.booleans(),
    st.none() | st.text(max_size=8),
    st.none() | OBJECTS,
    st.none() | st.text(max_size=20),
)
PACKETS = st.builds(
    AudioPacket,
    recording=st.builds(
        Ref, st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"), st.none() | OBJECTS
    ),
    payload=st.binary(max_size=200),
    relative=st.floats(-1e9, 1e9),
    absolute=st.integers(-9_199_999_999 * 10**9, 9_199_999_999 * 10**9),
    participant=st.none() | PARTICIPANTS,
    bot=st.none() | REFS,
    endpoint=st.none() | REFS,
    artifact=st.none() | REFS,
    zoneless=st.booleans(),
)


@given(PACKETS, st.sampled_from(["raw", "plain"]))
def test_any_packet_survives_the_way(packet: AudioPacket, form: ArtifactForm) -> None:
    text = encode_message(packet, form=form)
    assert decode_message(text) == packet
    key = packet.event.removesuffix(".data")
    assert (key if form == "raw" else key.removesuffix("_raw")) in json.loads(text)["data"]


def value_or_refusal(message: bytes) -> None:
    """Decode, and hold the result to what every result must keep."""
    try:
        value = decode_message(message)
    except InvalidMessage as error:
        assert error.reason in {
            "utf8", "json", "field", "timestamp", "base64", "recording", "number", "v1.10",
        }  # fmt: skip
        assert str(error).isprintable()
        return
    if isinstance(value, OtherEvent):
        assert value.json == message
        assert isinstance(json.loads(value.json), dict)
        assert value.recording is None or is_recording_id(value.recording.id)
    else:
        assert is_recording_id(value.recording.id)
        kept = replace(value, unread=())  # what is read is put as documented
        assert decode_message(encode_message(kept)) == kept


@given(st.binary(max_size=300))
@example(b'{"event":"x","data":"\xff"}')
def test_any_bytes_give_a_value_or_a_refusal(message: bytes) -> None:
    value_or_refusal(message)


OTHER = b'{"event":"transcript.data","data":{"recording":{"id":"r"},"data":{"words":[]}}}'
TOKENS = st.sampled_from(
    [
        *rb'" { } [ ] , : \ null NaN 1e400 - \ud800 = true .. "event":"x", \u0000'.split(),
        b"\n",
        b"\0",
        b"\xff",
        b"9" * 30,
    ]
)


@given(
    st.sampled_from([*BOTH, OTHER]),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 4), TOKENS | st.binary(max_size=3)),
        min_size=1,
        max_size=3,
    ),
)
def test_mutated_golden_messages_give_a_value_or_a_refusal(
    golden: bytes, edits: list[tuple[float, int, bytes]]
) -> None:
    for where, cut, put in edits:
        at = int(where * len(golden))
        golden = golden[:at] + put + golden[at + cut :]
    value_or_refusal(golden)


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *(leaf for key in value for leaf in leaves(value[key], (*path, key)))]


@given(
    st.sampled_from(BOTH).flatmap(
        lambda golden: st.tuples(
            st.just(golden), st.sampled_from(leaves(json.loads(golden))[1:]), JSON | st.floats()
        )
    )
)
def test_any_json_value_in_any_place_gives_a_value_or_a_refusal(
    case: tuple[bytes, tuple[str, ...], Any],
) -> None:
    golden, path, value = case
    value_or_refusal(changed(golden, ".".join(path), copy.deepcopy(value)))


def outcome(message: bytes | memoryview) -> object:
    """Return the value of a message, or what was wrong with it."""
    try:
        return decode_message(message)
    except InvalidMessage as error:
        return str(error), error.field, error.reason


LONG = encode_message(
    AudioPacket(
        recording=Ref("r1", {"a": 'x"buffer":"AAAA'}),
        payload=bytes(range(256)) * 3,
        relative=1.5,
        absolute=10**18,
        participant=Participant(1, name='"buffer":"', extra_data={"buffer": "A" * 400}),
    )
)


@pytest.mark.parametrize(
    "message",
    [
        LONG,
        LONG.replace(b'"buffer":', b'"buffer": '),
        LONG.replace(b'"buffer":', b'"buffer"  :  '),
        LONG.replace(b'{"buffer":', b'{"buffer":"(the buffer)","buffer":', 1),
        LONG.replace(b'{"buffer":', b'{"x":{"buffer":"' + b"A" * 400 + b'"},"buffer":', 1),
        LONG.replace(b'"buffer":"AAEC', b'"buffer":"\\/AEC'),
        LONG.replace(b"AAEC", b"AAE\xff"),
        LONG.replace(b"AAEC", b"A\\u0041EC", 1),
        LONG.replace(b'"buffer"', b'"\\u0062uffer"', 1),
        LONG.replace(b'"timestamp"', b'"buffer":"","timestamp"', 1),
        LONG.replace(b'"timestamp"', b'"buffer":"' + _STAND_IN + b'","timestamp"', 1)[:-1],
    ],
)
def test_cutting_the_buffer_out_changes_nothing(message: bytes) -> None:
    # a memoryview is decoded whole
    assert outcome(message) == outcome(memoryview(message))


@settings(max_examples=400)
@given(
    st.integers(0, len(LONG)),
    st.integers(0, 40),
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b'"', b"\\", b'"buffer":"', b'","buffer":"', _STAND_IN, b"=", b"}"]),
    ),
)
def test_a_mutated_message_means_the_same_whole_or_cut(at: int, cut: int, put: bytes) -> None:
    message = LONG[:at] + put + LONG[at + cut :]
    assert outcome(message) == outcome(memoryview(message))


def test_what_is_no_utf8_is_refused_though_nobody_would_look_at_it() -> None:
    message = GOLDEN_MIXED.replace(b'"event"', b'"n\xffew":"x","event"', 1)
    error = refusal(message)
    assert (error.reason, error.value) == ("utf8", r"b'\xff'")


# What is not as documented, and is kept all the same


@pytest.mark.parametrize(
    "value",
    [
        None, "", "yesterday", "2025-06-31T00:00:00Z", "2025-01-01", "1735689600",
        "9999-12-31T00:00:00Z", True, [], {}, {"iso": "2025-01-01T00:00:00Z"}, 0, 12.5, -1, 1e300,
    ],
    ids=repr,
)  # fmt: skip
def test_absolute_time_that_is_none_leaves_the_audio(value: Any) -> None:
    packet = decode_message(changed(GOLDEN_MIXED, "data.data.timestamp.absolute", value))
    assert packet == replace(MIXED_PACKET, absolute=None)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1735689600", NEW_YEAR),
        (b"1735689600.123456", NEW_YEAR + 123_456_000),
        (b"1735689600123", NEW_YEAR + 123_000_000),
        (b"1.7356896e9", NEW_YEAR),
    ],
)
def test_absolute_time_that_counts_since_1970(text: bytes, nanoseconds: int) -> None:
    packet = decode_message(raw_value(GOLDEN_MIXED, "data.data.timestamp.absolute", text))
    unread = ("data.data.timestamp.absolute",)
    assert packet == replace(MIXED_PACKET, absolute=nanoseconds, zoneless=True, unread=unread)


WHO = "data.data.participant"
LOOSE: list[tuple[str, Any, dict[str, Any], tuple[str, ...]]] = [
    # path, value, what becomes of it, what is named as unread
    ("data.bot", {}, {"bot": None}, ()),
    ("data.bot", "b1", {"bot": None}, ("data.bot",)),
    ("data.bot.id", 17, {"bot": Ref("17")}, ("data.bot.id",)),
    ("data.bot.id", "b" * (MAX_ID + 1), {"bot": None}, ("data.bot.id",)),
    ("data.bot.metadata", "", {"bot": Ref("b1")}, ()),
    ("data.realtime_endpoint", {}, {"endpoint": None}, ()),
    ("data.audio_separate_raw", 1, {"artifact": None}, ("data.audio_separate_raw",)),
    ("data.recording.id", 5, {"recording": Ref("5")}, ("data.recording.id",)),
    ("data.recording.metadata", [], {}, ()),
    ("data.recording.metadata", ["a"], {}, ("data.recording.metadata",)),
    ("data.data.timestamp.relative", "1.25", {"relative": 1.25}, ("data.data.timestamp.relative",)),
    (WHO, None, {"participant": Participant(NOBODY)}, (WHO,)),
    (WHO, 100, {"participant": Participant(NOBODY)}, (WHO,)),
    (WHO, {"id": 100.0}, {"participant": Participant(100)}, ()),
    (WHO, {"id": "100"}, {"participant": Participant(100)}, (f"{WHO}.id",)),
    (WHO, {"name": "A"}, {"participant": Participant(NOBODY, "A")}, (f"{WHO}.id",)),
    (WHO, {"id": 1, "name": 5}, {"participant": Participant(1)}, (f"{WHO}.name",)),
    (WHO, {"id": 1, "email": ["a"]}, {"participant": Participant(1)}, (f"{WHO}.email",)),
    (WHO, {"id": 1, "is_host": 1}, {"participant": Participant(1, is_host=True)},
     (f"{WHO}.is_host",)),
    (WHO, {"id": 1, "is_host": "no"}, {"participant": Participant(1)}, (f"{WHO}.is_host",)),
    (WHO, {"id": 1, "extra_data": "{}"}, {"participant": Participant(1)}, (f"{WHO}.extra_data",)),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "become", "unread"), LOOSE, ids=str)
def test_wrong_types_where_they_do_not_matter(
    path: str, value: Any, become: dict[str, Any], unread: tuple[str, ...]
) -> None:
    golden = changed(GOLDEN_SEPARATE, "data.bot", {"id": "b1"})
    packet = replace(SEPARATE_PACKET, bot=Ref("b1"), unread=unread)
    assert decode_message(changed(golden, path, value)) == replace(packet, **become)


def test_a_participant_may_stand_beside_the_payload() -> None:
    message = json.loads(GOLDEN_SEPARATE)
    message["data"]["participant"] = message["data"]["data"].pop("participant")
    assert decode_message(json.dumps(message).encode()) == SEPARATE_PACKET


@pytest.mark.parametrize("identity", [-1, 2**63, 2**64 - 1, "a-uuid", 1.5, True, [7], {"x": 1}])
def test_participants_whose_ids_are_no_numbers_have_streams_of_their_own(identity: Any) -> None:
    packet = decode_message(changed(GOLDEN_SEPARATE, "data.data.participant.id", identity))
    assert isinstance(packet, AudioPacket)
    assert packet.participant is not None
    assert 2**62 <= packet.participant.id < MAX_PARTICIPANT
    assert packet.unread == ("data.data.participant.id",)
    again = decode_message(changed(GOLDEN_SEPARATE, "data.data.participant.id", identity))
    assert again == packet
    other = decode_message(changed(GOLDEN_SEPARATE, "data.data.participant.id", "another"))
    assert isinstance(other, AudioPacket)
    assert other.participant != packet.participant


NEEDED = {
    ("event",), ("data",), ("data", "data"), ("data", "data", "buffer"),
    ("data", "data", "timestamp"), ("data", "data", "timestamp", "relative"),
    ("data", "recording"), ("data", "recording", "id"),
}  # fmt: skip


@settings(max_examples=400)
@given(st.data())
def test_any_field_that_is_not_needed_may_be_dropped_nulled_and_retyped(
    data: st.DataObject,
) -> None:
    golden = data.draw(st.sampled_from(BOTH))
    message = json.loads(golden)
    needless = [path for path in leaves(message)[1:] if path not in NEEDED]
    for *parents, last in data.draw(st.lists(st.sampled_from(needless), min_size=1, max_size=3)):
        at = message
        for key in parents:
            at = at.get(key) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            continue  # dropped or retyped already
        if data.draw(st.booleans()):
            at.pop(last, None)
        else:
            at[last] = data.draw(JSON | st.floats(allow_nan=False, allow_infinity=False))
    packet = decode_message(json.dumps(message).encode())
    assert isinstance(packet, AudioPacket)
    whole = MIXED_PACKET if golden == GOLDEN_MIXED else SEPARATE_PACKET
    assert (packet.recording.id, packet.payload) == (whole.recording.id, PCM)
    assert (packet.event, packet.relative) == (whole.event, whole.relative)
    kept = replace(packet, unread=())
    assert decode_message(encode_message(kept)) == kept


def test_what_is_needed_and_is_not_there_is_named_before_what_is_not_needed() -> None:
    message = json.loads(GOLDEN_SEPARATE)
    message["data"]["bot"] = "b"
    del message["data"]["data"]["buffer"]
    assert refusal(json.dumps(message).encode()).field == "data.data.buffer"


def test_the_hello_of_the_protocol_before_is_named() -> None:
    hello = {"protocol_version": 1, "bot_id": "b", "recording_id": "r", "separate_streams": False}
    error = refusal(json.dumps(hello).encode())
    assert error.reason == "v1.10"
    assert "v1.10, which Recall.ai ended: " in str(error)
