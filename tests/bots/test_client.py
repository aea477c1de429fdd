"""Both clients through the same tests: methods, pages, waiting, and every documented error."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from recall_lab.bots.answers import MAX_ANSWER
from recall_lab.bots.client import Client
from recall_lab.errors import BotFailed, InvalidArgument, RecallApiError, WaitTimeout

URL = "wss://bench.example.org/?token=canary-token-77aa"
MEETING = "https://zoom.us/j/123"


class Rx:
    bot_url = SecretStr(URL)


def test_create_sends_what_was_described_and_reads_the_bot(
    client: Any, api: Any, reply: Any, bot_json: Any
) -> None:
    api.script(reply(201, bot_json("joining_call")))
    bot = client.create(MEETING, Rx(), name="Notetaker", metadata={"team": "lab"})
    asked = api.asked[0]
    assert (asked.method, asked.path) == ("POST", "/api/v1/bot/")
    assert asked.headers["authorization"] == "Token canary-key-5f1d9e"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("recall_lab/")
    assert re.fullmatch(r"[0-9a-f-]{36}", asked.headers["idempotency-key"])
    assert asked.json["recording_config"]["realtime_endpoints"][0]["url"] == URL
    assert (bot.id, bot.name, bot.code, bot.metadata) == (
        "b-1", "Notetaker", "joining_call", {"team": "lab"},
    )  # fmt: skip
    assert bot.meeting == MEETING
    assert bot.status_changes[0].created_at == datetime(2025, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)


def test_a_stand_in_reaches_this_machine(client: Any, api: Any, bot_json: Any) -> None:
    api.script(bot_json())
    client.create(MEETING, "ws://127.0.0.1:3456/?token=canary-token-77aa")
    assert api.asked[0].json["recording_config"]["realtime_endpoints"][0]["url"].startswith("ws:")


@pytest.mark.parametrize(
    ("method", "verb", "path"),
    [
        ("leave", "POST", "/api/v1/bot/b-1/leave_call/"),
        ("delete_media", "POST", "/api/v1/bot/b-1/delete_media/"),
        ("delete", "DELETE", "/api/v1/bot/b-1/"),
    ],
)
def test_what_returns_nothing(
    client: Any, api: Any, reply: Any, method: str, verb: str, path: str
) -> None:
    api.script(reply(204), reply(200, b"no JSON, which does not matter"))
    assert getattr(client, method)("b-1") is None
    assert getattr(client, method)("b-1") is None
    assert [(asked.method, asked.path, asked.body) for asked in api.asked] == [
        (verb, path, b"")
    ] * 2


def test_connections_are_kept(client: Any, api: Any, bot_json: Any) -> None:
    api.script(*[bot_json() for _ in range(5)])
    bot = client.get("b-1")
    for _ in range(4):
        bot = client.get(bot)
    assert api.connections == 1


@pytest.mark.parametrize("method", ["get", "leave", "delete_media", "delete", "wait_until"])
@pytest.mark.parametrize("id", ["../bot", "a/b", "", "b?x=1"])
def test_no_id_leads_elsewhere(client: Any, api: Any, method: str, id: str) -> None:
    with pytest.raises(InvalidArgument):
        getattr(client, method)(id)
    with pytest.raises(InvalidArgument):
        client.endpoint_status(id)
    assert api.asked == []


def test_meeting_and_times_come_in_several_forms(client: Any, api: Any, bot_json: Any) -> None:
    api.script(
        bot_json(
            meeting_url={"platform": "zoom", "meeting_id": "123", "meeting_password": None},
            join_at="2025-01-01 00:00:00",
            metadata=None,
            bot_name=None,
            status_changes=None,
        ),
        bot_json(meeting_url=None, join_at="soon", metadata={"n": 5}),
    )
    bot = client.get("b-1")
    assert bot.meeting == "platform zoom, meeting_id 123"
    assert bot.join_at == datetime(2025, 1, 1, tzinfo=UTC)
    bot = client.get("b-1")
    assert (bot.meeting, bot.join_at, bot.metadata) == ("", None, {"n": "5"})


# Pages


def test_pages_are_followed(client: Any, api: Any, bot_json: Any) -> None:
    api.script(
        {"results": [bot_json(id="b-1")], "next": f"{api.base}bot/?status=done&page=2"},
        {"results": [bot_json(id="b-2")], "next": "/api/v1/bot/?cursor=c%3D3"},
        {"results": [bot_json(id="b-3")], "next": None},
    )
    assert [bot.id for bot in client.list(status="done")] == ["b-1", "b-2", "b-3"]
    assert [asked.path for asked in api.asked] == [
        "/api/v1/bot/?status=done",
        "/api/v1/bot/?status=done&page=2",
        "/api/v1/bot/?cursor=c%3D3",
    ]


@pytest.mark.parametrize(
    "following",
    [
        "http://127.0.0.1:1/api/v1/bot/?page=2",
        "https://evil.example/api/v1/bot/?page=2",
        "//evil.example/api/v1/bot/?page=2",
        "{origin}@evil.example/api/v1/bot/?page=2",
        "http://me:pw@{host}/api/v1/bot/?page=2",
        "{base}bot/../../../steal/?page=2",
        "{base}bot/%2e%2e/?page=2",
        "{base}",
        "file:///etc/passwd",
        "http://[::1/",
        "http://a b/",
    ],
)
def test_the_key_goes_to_no_other_place(
    client: Any, api: Any, bot_json: Any, following: str
) -> None:
    following = following.format(base=api.base, origin=api.origin, host=api.origin[7:])
    api.script({"results": [bot_json()], "next": following})
    with pytest.raises(RecallApiError, match="of another place"):
        client.list()
    assert len(api.asked) == 1


def test_pages_that_go_in_circles_end(client: Any, api: Any) -> None:
    api.script(
        {"results": [], "next": f"{api.base}bot/?page=2"},
        {"results": [], "next": f"{api.base}bot/?page=3"},
        {"results": [], "next": f"{api.base}bot/?page=2"},
    )
    with pytest.raises(RecallApiError, match="seen before"):
        client.list()


def test_a_redirect_is_not_followed(client: Any, api: Any, reply: Any) -> None:
    api.script(reply(307, {}, {"Location": f"{api.origin}/elsewhere/"}))
    with pytest.raises(RecallApiError, match="not followed") as caught:
        client.get("b-1")
    assert caught.value.status == 307 and len(api.asked) == 1


# Endpoints


def endpoint(code: str, **more: Any) -> dict[str, Any]:
    return {"id": "e-1", "status": {"code": code, "sub_code": None}, "url": URL} | more


def test_endpoints_of_a_recording(client: Any, api: Any) -> None:
    api.script(
        {
            "results": [
                endpoint("running", type="websocket", recording={"id": "r-1"}, events=["a.data"]),
                endpoint("failed", status={"code": "failed", "sub_code": "no_connection"}),
                {"id": "e-3", "status": "done"},
            ]
        }
    )
    first, second, third = client.endpoint_status("r-1")
    assert api.asked[0].path == "/api/v1/realtime_endpoint/?recording_id=r-1"
    assert (first.status, first.recording, first.events) == ("running", "r-1", ("a.data",))
    assert first.url == "wss://bench.example.org/?***"
    assert (second.status, second.sub_code) == ("failed", "no_connection")
    assert third.status == "done"


def test_endpoints_of_a_bot_are_those_of_all_its_recordings_now(
    client: Any, api: Any, bot_json: Any
) -> None:
    api.script(
        bot_json("joining_call"),
        bot_json("in_call_recording", recordings=["r-1", "r-2"]),
        {"results": [endpoint("done")]},
        {"results": [endpoint("running")]},
    )
    bot = client.get("b-1")
    assert [found.status for found in client.endpoint_status(bot)] == ["done", "running"]
    assert [asked.path for asked in api.asked[2:]] == [
        "/api/v1/realtime_endpoint/?recording_id=r-1",
        "/api/v1/realtime_endpoint/?recording_id=r-2",
    ]


# Waiting


def test_waiting_looks_until_the_step_is_reached(
    client: Any, api: Any, clock: Any, bot_json: Any, capsys: Any
) -> None:
    api.script(
        bot_json(),
        bot_json("joining_call"),
        bot_json("joining_call", "in_waiting_room"),
        bot_json("joining_call", "in_waiting_room", "in_call_recording"),
    )
    bot = client.wait_until("b-1", poll=3.0)
    assert bot.code == "in_call_recording"
    assert clock.slept == [3.0, 3.0, 3.0]
    shown = capsys.readouterr()
    assert "in_call_recording" in shown.err and shown.out == ""


def test_a_later_step_will_do(client: Any, api: Any, bot_json: Any, capsys: Any) -> None:
    api.script(bot_json("call_ended"))
    assert client.wait_until("b-1", "in_waiting_room", progress=False).code == "call_ended"
    assert capsys.readouterr().err == ""


def test_a_step_that_went_by_between_two_looks_counts(client: Any, api: Any, bot_json: Any) -> None:
    api.script(bot_json("in_call_recording", "in_call_not_recording"))
    assert client.wait_until("b-1").code == "in_call_not_recording"


def test_a_bot_that_fails_ends_the_waiting(client: Any, api: Any, bot_json: Any) -> None:
    fatal = {"code": "fatal", "sub_code": "zoom_bad_password", "message": "Wrong password."}
    failed = bot_json("joining_call")
    failed["status_changes"].append(fatal)
    api.script(failed)
    with pytest.raises(BotFailed, match=r"zoom_bad_password: Wrong password\.") as caught:
        client.wait_until("b-1")
    assert caught.value.bot == "b-1"
    assert caught.value.sub_code == "zoom_bad_password"
    assert caught.value.message == "Wrong password."
    assert caught.value.steps == ["joining_call", "fatal"]


def test_waiting_ends_in_time_and_tells_how_far_it_got(
    client: Any, api: Any, clock: Any, bot_json: Any
) -> None:
    api.script(*[bot_json("joining_call", "in_waiting_room")] * 4)
    with pytest.raises(WaitTimeout, match=r"joining_call > in_waiting_room; let the bot in") as got:
        client.wait_until("b-1", timeout=7.0, poll=2.0)
    assert got.value.seen == {"bot": "b-1", "codes": ["joining_call", "in_waiting_room"]}
    assert clock.slept == [2.0, 2.0, 2.0]


def test_waiting_is_not_made_longer_by_an_api_that_is_busy(
    client: Any, api: Any, clock: Any
) -> None:
    api.script(*[503] * 5)
    with pytest.raises(RecallApiError):
        client.wait_until("b-1", timeout=5.0)
    assert sum(clock.slept) <= 5.0


@pytest.mark.parametrize(
    "options", [{"code": "soon"}, {"code": "fatal"}, {"timeout": 0}, {"poll": -1}, {"poll": "1"}]
)
def test_waiting_for_what_can_not_be(client: Any, api: Any, options: Any) -> None:
    with pytest.raises(InvalidArgument):
        client.wait_until("b-1", **options)
    assert api.asked == []


# Errors


@pytest.mark.parametrize(
    ("status", "todo"),
    [
        (400, "correct what is named"),
        (401, "the key is not one of http://127"),
        (402, "credit is used up"),
        (403, r"firewall.*localhost.*rl\.receive\(tunnel="),
        (404, r"is http://127.* the API\? its address ends in /api/v1/"),
        (405, r"rl\.bots\.leave"),
        (409, "try again later"),
        (429, "too many requests"),
        (500, "docs.recall.ai/docs/errors"),
        (502, "overloaded"),
        (503, "overloaded"),
        (504, "overloaded"),
        (507, "no bot is free"),
        (599, "docs.recall.ai/docs/errors"),
    ],
)
def test_every_code_says_what_to_do(make_client: Any, api: Any, status: int, todo: str) -> None:
    api.script(status)
    with pytest.raises(RecallApiError, match=todo) as caught:
        make_client(retry_timeout=0.1).create(MEETING, URL)
    error = caught.value
    assert error.status == status
    assert f"Recall.ai did not create a bot ({status}" in str(error)
    assert error.fields == {"detail": "scripted"}
    assert error.advice and error.advice in str(error)


def test_a_key_of_another_region_is_told_with_the_regions() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(401, json={"detail": "No key."}))
    told = r"No key: the key is wrong.*used in region us-west-2; the others are us-east-1, eu-"
    with (
        Client("k" * 20, "us-west-2", transport=transport) as asked,
        pytest.raises(RecallApiError, match=told) as caught,
    ):
        asked.get("b-1")
    assert "RECALL_API_KEY and RECALL_REGION" in caught.value.advice


def test_a_bot_that_there_is_not(client: Any, api: Any) -> None:
    api.script(404)
    with pytest.raises(RecallApiError, match="none of that id"):
        client.get("b-1")


def test_400_lists_the_fields(client: Any, api: Any, reply: Any) -> None:
    said = {
        "bot_name": ["Too long.", "Too odd."],
        "recording_config": {"realtime_endpoints": [{"url": ["Enter a valid URL."]}]},
        "non_field_errors": [{"code": "x"}],
    }
    api.script(reply(400, said))
    with pytest.raises(RecallApiError, match=r"bot_name: Too long\. Too odd\.; rec") as caught:
        client.create(MEETING, URL)
    assert caught.value.fields == {
        "bot_name": "Too long. Too odd.",
        "recording_config.realtime_endpoints.url": "Enter a valid URL.",
        "non_field_errors.code": "x",
    }


def test_400_for_a_missing_artifact_says_so(client: Any, api: Any, reply: Any) -> None:
    said = {"recording_config": ["audio_mixed_raw.data needs audio_mixed_raw"]}
    api.script(reply(400, said))
    with pytest.raises(RecallApiError, match="comes only with its artifact"):
        client.create(MEETING, URL)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {}),
        (b"<html><body>Blocked</body></html>", {}),
        (b"plain words", {"": "plain words"}),
        (b"\xff\xfe", {"": "\N{REPLACEMENT CHARACTER}" * 2}),
        (b'"a string"', {"": "a string"}),
        (b"[" * 100_000, {"": "[" * 199 + "…"}),
        (b'{"a":' * 50 + b"1" + b"}" * 50, None),
        (b'{"a": null}', {}),
    ],
)
def test_an_error_may_have_any_body(
    client: Any, api: Any, reply: Any, body: bytes, fields: Any
) -> None:
    api.script(reply(400, body))
    with pytest.raises(RecallApiError) as caught:
        client.get("b-1")
    assert fields is None or caught.value.fields == fields
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1_000


def test_an_error_of_a_thousand_fields_stays_short(client: Any, api: Any, reply: Any) -> None:
    api.script(reply(400, {f"f{n}\n": "\x1b[31m" + "x" * 9_999 for n in range(1_000)}))
    with pytest.raises(RecallApiError) as caught:
        client.get("b-1")
    assert len(caught.value.fields) == 20
    assert len(str(caught.value)) < 6_000 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"{}",
        b'{"id": 5}',
        b'{"id": null}',
        b'{"id": "../../etc"}',
        b'{"id": "b-1", "status_changes": {}}',
        b'{"id": "b-1", "status_changes": [{"sub_code": "x"}]}',
        b'{"id": "b-1", "status_changes": [5]}',
        b'{"id": "b-1", "recordings": [{"status": "done"}]}',
        b'{"id": "b-1", "recordings": [{"id": "a/b"}]}',
        b'{"id": "b-1", "recordings": [{"id": "r", "media_shortcuts": {"audio_mixed": 1}}]}',
        b'{"id": "b-1", "bot_name": ["x"]}',
        b'{"id": "b-1", "bot_name": "\xff"}',
        b'{"id": "b-1", "metadata": "x"}',
        b'{"id": "b-1"',
        b'{"id": "b-1", "metadata": ' + b'{"a":' * 100_000,
    ],
)
def test_an_answer_that_is_no_bot_is_an_error_of_ours(
    client: Any, api: Any, reply: Any, body: bytes
) -> None:
    api.script(reply(200, body))
    with pytest.raises(RecallApiError, match="can't be used") as caught:
        client.get("b-1")
    assert caught.value.status == 200 and not caught.value.passing
    assert len(api.asked) == 1


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"results": 5}', b'{"results": [5]}'])
def test_an_answer_that_is_no_list_is_an_error_of_ours(
    client: Any, api: Any, reply: Any, body: bytes
) -> None:
    api.script(reply(200, body), reply(200, body))
    with pytest.raises(RecallApiError, match="can't be used"):
        client.list()
    with pytest.raises(RecallApiError, match="can't be used"):
        client.endpoint_status("r-1")


def test_an_answer_without_end_is_not_read_to_its_end(client: Any, api: Any, reply: Any) -> None:
    api.script(reply(200, b" " * (MAX_ANSWER + 50_000_000)))
    with pytest.raises(RecallApiError, match="more than 16,777,216 bytes"):
        client.get("b-1")


def test_a_body_that_breaks_off_is_asked_for_again(
    client: Any, api: Any, reply: Any, bot_json: Any, clock: Any
) -> None:
    api.script(reply(200, b'{"id":', length=500), bot_json())
    assert client.get("b-1").id == "b-1"
    assert clock.slept == [1.0]
