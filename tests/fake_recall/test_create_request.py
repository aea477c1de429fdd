"""What a bot may be ordered with: strictly, field by field."""

from __future__ import annotations

import json

import pytest
from helpers.create_request import BODY
from hypothesis import given
from hypothesis import strategies as st

from recall_lab.fake_recall.create_request import ARTIFACTS, read_order
from recall_lab.fake_recall.http import Refused

# the body of protocol.md


def changed(path: str, value: object) -> bytes:
    """Return the body with one field changed; ``...`` takes it away."""
    body = json.loads(json.dumps(BODY))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = body
    for part in parents:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return json.dumps(body).encode()


ENDPOINT = "recording_config.realtime_endpoints.0"


def test_the_documented_body_is_taken() -> None:
    create_request = read_order(json.dumps(BODY).encode(), local=False)
    assert create_request.metadata == {"team": "red"}
    [endpoint] = create_request.recording_config.realtime_endpoints
    assert create_request.recording_config.delivered(endpoint) == endpoint.events
    for field in ("bot_name", "join_at", "metadata", "recording_config"):
        read_order(changed(field, ...), local=False)


def test_an_event_without_its_artifact_delivers_nothing() -> None:
    create_request = read_order(changed("recording_config.audio_mixed_raw", ...), local=False)
    [endpoint] = create_request.recording_config.realtime_endpoints
    assert create_request.recording_config.delivered(endpoint) == ["audio_separate_raw.data"]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("meeting_url", ..., "meeting_url"),
        ("meeting_url", "zoom.us/j/1", "meeting_url"),
        ("meeting_url", 5, "meeting_url"),
        ("bot_name", "", "bot_name"),
        ("bot_name", "x" * 101, "bot_name"),
        ("join_at", "tomorrow", "join_at"),
        ("join_at", "2030-01-01T10:00:00", "join_at"),
        ("metadata", {"a": 1}, "metadata"),
        ("colour", "red", "colour"),
        ("recording_config.audio_raw", {}, "recording_config"),
        ("recording_config.audio_mixed_raw", {"rate": 8000}, "recording_config.audio_mixed_raw"),
        ("recording_config.transcript", {}, "recording_config.transcript"),
        (ENDPOINT + ".type", "webhook", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", ..., "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", "https://x.example.org/", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", "wss://x.example.org?token=a", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", "wss://u@x.example.org/", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", "wss://x.example.org/#a", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".url", "wss://\u00fc..x/", "recording_config.realtime_endpoints"),
        (ENDPOINT + ".events", [], "recording_config.realtime_endpoints"),
        (ENDPOINT + ".events", ["audio_mixed.data"], "recording_config.realtime_endpoints"),
        (ENDPOINT + ".config", {}, "recording_config.realtime_endpoints"),
    ],
)
def test_what_is_wrong_is_400_and_named(path: str, value: object, field: str) -> None:
    with pytest.raises(Refused) as caught:
        read_order(changed(path, value), local=False)
    assert caught.value.status == 400
    [(named, problems)] = caught.value.body.items()
    assert named.startswith(field) or (path not in named and field in str(problems))
    assert problems


@pytest.mark.parametrize(
    "host", ["localhost:80", "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.9", "169.254.1.1",
             "nas.local", "bench"],
)  # fmt: skip
def test_an_address_that_no_bot_reaches_is_403_unless_all_is_local(host: str) -> None:
    body = changed(ENDPOINT + ".url", f"ws://{host}/?token=abc")
    with pytest.raises(Refused) as caught:
        read_order(body, local=False)
    assert caught.value.status == 403
    read_order(body, local=True)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_not_an_error(body: bytes) -> None:
    with pytest.raises(Refused):
        read_order(body, local=True)


def test_it_knows_the_events_that_the_client_knows() -> None:
    from recall_lab import bots

    assert set(bots.EVENTS) | {"audio_mixed_raw.data", "audio_separate_raw.data"} == set(ARTIFACTS)
