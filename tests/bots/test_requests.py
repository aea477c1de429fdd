"""What is asked: the body that makes a bot, field by field, and what is refused before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr

from recall_lab.bots import requests
from recall_lab.errors import InvalidArgument

URL = "wss://bench.example.org/live/?token=canary-token-77aa"
MEETING = "https://zoom.us/j/123?pwd=456"


def body(**options: Any) -> dict[str, Any]:
    content = requests.create(MEETING, SecretStr(URL), **options).content()
    assert content is not None
    made: dict[str, Any] = json.loads(content)
    return made


def test_the_plain_body_is_the_one_that_is_documented() -> None:
    assert body() == {
        "meeting_url": MEETING,
        "recording_config": {
            "audio_mixed_raw": {},
            "audio_mixed_mp3": {},
            "realtime_endpoints": [
                {"type": "websocket", "url": URL, "events": ["audio_mixed_raw.data"]}
            ],
        },
    }


def test_everything_that_can_be_given_stands_where_it_belongs() -> None:
    made = body(
        name="Notetaker",
        streams=("mixed", "separate"),
        events=("participant_events.join", "transcript.data", "transcript.partial_data"),
        metadata={"team": "lab"},
        join_at=datetime(2026, 3, 1, 10, 30, tzinfo=timezone(timedelta(hours=2))),
        record_for_comparison=False,
    )
    assert made == {
        "meeting_url": MEETING,
        "bot_name": "Notetaker",
        "join_at": "2026-03-01T08:30:00+00:00",
        "metadata": {"team": "lab"},
        "recording_config": {
            "audio_mixed_raw": {},
            "audio_separate_raw": {},
            "participant_events": {},
            "transcript": {"provider": {"recallai_streaming": {}}},
            "realtime_endpoints": [
                {
                    "type": "websocket",
                    "url": URL,
                    "events": [
                        "audio_mixed_raw.data",
                        "audio_separate_raw.data",
                        "participant_events.join",
                        "transcript.data",
                        "transcript.partial_data",
                    ],
                }
            ],
        },
    }


def test_only_separate_streams_need_no_mixed_artifact() -> None:
    config = body(streams=["separate"], record_for_comparison=False)["recording_config"]
    assert config.keys() == {"audio_separate_raw", "realtime_endpoints"}
    assert config["realtime_endpoints"][0]["events"] == ["audio_separate_raw.data"]


@pytest.mark.parametrize("event", requests.EVENTS)
def test_every_event_comes_with_its_artifact(event: str) -> None:
    artifact = {
        "participant_events": ("participant_events", {}),
        "transcript": ("transcript", {"provider": {"recallai_streaming": {}}}),
        "video_separate_png": ("video_separate_png", {}),
        "video_separate_h264": ("video_separate_h264", {}),
    }[event.split(".")[0]]
    config = body(events=[event])["recording_config"]
    assert config[artifact[0]] == artifact[1]
    assert config["realtime_endpoints"][0]["events"] == ["audio_mixed_raw.data", event]


def test_the_events_are_those_of_the_protocol() -> None:
    names = {event.split(".")[0] for event in requests.EVENTS}
    assert names == {
        "participant_events", "transcript", "video_separate_png", "video_separate_h264",
    }  # fmt: skip
    assert len([event for event in requests.EVENTS if event.startswith("participant_")]) == 10
    assert "transcript.provider_data" in requests.EVENTS


def test_an_event_given_twice_is_asked_for_once() -> None:
    events = ["transcript.data", "transcript.data", "audio_mixed_raw.data"]
    asked = body(events=events)["recording_config"]["realtime_endpoints"][0]["events"]
    assert asked == ["audio_mixed_raw.data", "transcript.data"]


def test_config_chooses_another_provider_instead_of_ours() -> None:
    config = body(
        events=["transcript.data"],
        config={
            "transcript": {"provider": {"deepgram_streaming": {"language": "en"}}},
            "video_mixed_layout": "gallery_view_v2",
        },
    )["recording_config"]
    assert config["transcript"] == {"provider": {"deepgram_streaming": {"language": "en"}}}
    assert config["video_mixed_layout"] == "gallery_view_v2"
    assert config["audio_mixed_raw"] == {}


@pytest.mark.parametrize(
    ("option", "value", "valid"),
    [
        ("name", "", "1 to 100"),
        ("name", "x" * 101, "1 to 100"),
        ("name", 5, "1 to 100"),
        ("streams", (), '"mixed"'),
        ("streams", "mixed", '"mixed"'),
        ("streams", ("stereo",), '"separate"'),
        ("streams", ("mixed", "mixed"), '"mixed"'),
        ("events", ("speech",), "participant_events.join"),
        ("events", "transcript.dat", "transcript.data"),
        ("metadata", {"a": 1}, "strings"),
        ("metadata", {1: "a"}, "strings"),
        ("metadata", {"": "a"}, "strings"),
        ("metadata", ["a"], "strings"),
        ("join_at", datetime(2026, 1, 1), "zone"),  # noqa: DTZ001
        ("join_at", "2026-01-01T00:00:00Z", "zone"),
        ("config", {"realtime_endpoints": []}, "but realtime_endpoints"),
        ("config", [], "recording_config"),
        ("config", {"x": object()}, "JSON"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(option: str, value: Any, valid: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        body(**{option: value})
    assert caught.value.name == option
    assert valid in caught.value.valid


def test_config_can_not_take_an_artifact_away_that_an_event_needs() -> None:
    with pytest.raises(InvalidArgument, match=r"transcript.*nothing comes without") as caught:
        body(events=["transcript.data"], config={"transcript": None})
    assert caught.value.value is None


@pytest.mark.parametrize(
    "url",
    ["", "zoom.us/j/1", "ftp://zoom.us/j/1", "https:///j/1", "https://zoom.us/ x", 5, None,
     "https://zoom.us/" + "x" * 5_000, "javascript:alert(1)", "https://zoom.us:99999/"],
)  # fmt: skip
def test_a_meeting_is_a_link(url: Any) -> None:
    with pytest.raises(InvalidArgument, match="meeting_url"):
        requests.create(url, SecretStr(URL))


def test_an_endpoint_that_recall_would_refuse_is_refused_before() -> None:
    with pytest.raises(InvalidArgument, match="tunnel=") as caught:
        requests.create(MEETING, SecretStr("ws://localhost:3456/?token=canary-token-77aa"))
    assert "canary" not in str(caught.value)
    assert caught.value.value == "ws://localhost:3456/?***"


class Rx:
    bot_url = SecretStr(URL)


def test_the_receiver_may_be_one_or_its_url() -> None:
    for given in (Rx(), URL, SecretStr(URL)):
        assert requests.hidden(given) == SecretStr(URL)


@pytest.mark.parametrize("given", [None, 5, object()])
def test_nothing_else_is_a_receiver(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="receiver"):
        requests.hidden(given)


def test_the_token_is_not_shown_by_a_request() -> None:
    request = requests.create(MEETING, SecretStr(URL))
    assert "canary" not in repr(request)
    assert request.secrets == (SecretStr("canary-token-77aa"),)


def test_filters_become_a_query() -> None:
    request = requests.bots(
        {
            "status": ["done", "fatal"],
            "join_at_after": datetime(2026, 1, 1, tzinfo=UTC),
            "page": 2,
            "metadata__team": "lab",
        }
    )
    assert request.query == (
        ("status", "done"),
        ("status", "fatal"),
        ("join_at_after", "2026-01-01T00:00:00+00:00"),
        ("page", "2"),
        ("metadata__team", "lab"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", "done"), ("join_at_after", datetime(2026, 1, 1))],  # noqa: DTZ001
)
def test_a_filter_that_the_api_would_pass_over_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument):
        requests.bots({name: value})


def test_the_other_requests() -> None:
    made = [
        requests.get("b1"),
        requests.leave("b1"),
        requests.delete_media("b1"),
        requests.delete("b1"),
        requests.endpoints("r1"),
        requests.audio("r1"),
    ]
    assert [(request.method, request.path, request.query) for request in made] == [
        ("GET", "bot/b1/", ()),
        ("POST", "bot/b1/leave_call/", ()),
        ("POST", "bot/b1/delete_media/", ()),
        ("DELETE", "bot/b1/", ()),
        ("GET", "realtime_endpoint/", (("recording_id", "r1"),)),
        ("GET", "audio_mixed/", (("recording_id", "r1"),)),
    ]
    assert all(request.content() is None for request in made)
