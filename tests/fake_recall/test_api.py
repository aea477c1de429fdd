"""The stand-in of the REST API, over real HTTP and with nobody's client but the library's."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from helpers.create_request import BODY

import recall_lab as rl
from recall_lab.fake_recall import fake_bot
from recall_lab.simulator.meeting import Meeting, Voice
from recall_lab.wire.messages import Participant


def meeting(seconds: float = 2.0) -> Meeting:
    noise = np.random.default_rng(1).integers(-2000, 2000, round(seconds * 16_000)).astype("<i2")
    return Meeting((Voice(Participant(1, "Ada"), noise),))


@pytest.fixture
def fake() -> Iterator[rl.FakeRecall]:
    with rl.FakeRecall(meeting(), speed=20, pace=0.01) as running:
        yield running


@pytest.fixture
def http(fake: rl.FakeRecall) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Token {fake.key.get_secret_value()}"}
    with httpx2.Client(base_url=fake.base_url, headers=headers) as client:
        yield client


def create_request(url: str = "ws://127.0.0.1:9/", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(BODY))
    del body["join_at"]
    body["recording_config"]["realtime_endpoints"][0]["url"] = url
    return body | changes


def ended(http: httpx2.Client, bot: str) -> dict[str, Any]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        told: dict[str, Any] = http.get(f"bot/{bot}/").json()
        if told["status_changes"] and told["status_changes"][-1]["code"] in ("done", "fatal"):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def test_a_bot_lives_as_documented_and_what_it_hears_is_received(
    fake: rl.FakeRecall, http: httpx2.Client, tmp_path: Path
) -> None:
    with rl.receive(0, tmp_path / "captures", mode="thread", secret=fake.secret, token=True) as rx:
        answer = http.post("bot/", json=create_request(rx.bot_url.get_secret_value()))
        assert answer.status_code == 201
        bot = ended(http, answer.json()["id"])
        rx.wait(idle=0.2, timeout=10)
        assert rx.status.refused == {}
        streams = rx.recordings()
    assert [change["code"] for change in bot["status_changes"]] == [
        "joining_call", "in_waiting_room", "in_call_not_recording", "in_call_recording",
        "call_ended", "done",
    ]  # fmt: skip
    [recording] = bot["recordings"]
    assert recording["status"]["code"] == "done"
    assert set(streams["recording"]) == {recording["id"]}
    assert len(streams) == 2
    capture = rl.load(streams["path"].iloc[0])
    assert np.array_equal(capture.samples, meeting().mixed)
    assert capture.info.bot is not None
    assert capture.info.bot.id == bot["id"]
    assert capture.info.metadata == {"team": "red"}
    endpoints = http.get("realtime_endpoint/", params={"recording_id": recording["id"]}).json()
    assert [one["status"]["code"] for one in endpoints["results"]] == ["done"]
    # the final recording: 2 s, and as it is short 10 s of blank
    found = http.get("audio_mixed/", params={"recording_id": recording["id"]}).json()["results"]
    url = found[0]["data"]["download_url"]
    assert url == recording["media_shortcuts"]["audio_mixed"]["data"]["download_url"]
    (tmp_path / "final.mp3").write_bytes(httpx2.get(url).content)  # without the key
    audio, rate = soundfile.read(tmp_path / "final.mp3")
    assert (rate, len(audio)) == (16_000, 12 * 16_000)
    assert np.abs(audio[2 * 16_000 + 2_000 :]).max() < 1e-3
    assert np.corrcoef(audio[: 2 * 16_000], meeting().mixed)[0, 1] > 0.8
    assert httpx2.get(url[:-4] + "0000").status_code == 403
    assert http.post(f"bot/{bot['id']}/delete_media/").status_code == 200
    gone = http.get("audio_mixed/", params={"recording_id": recording["id"]}).json()
    assert gone["results"] == []
    assert httpx2.get(url).status_code == 404


def test_the_key_is_asked_for(fake: rl.FakeRecall) -> None:
    key = fake.key.get_secret_value()
    with httpx2.Client(base_url=fake.base_url) as http:
        for given in ({}, {"Authorization": "Token x"}, {"Authorization": f"Bearer {key}"}):
            assert http.get("bot/", headers=given).status_code == 401
        assert http.get("bot/", headers={"Authorization": key}).status_code == 200
    assert key not in repr(fake)
    assert all("authorization" not in {k.lower() for k in asked[2]} for asked in fake.requests)


def test_what_is_wrong_is_answered_as_the_real_one_does(
    fake: rl.FakeRecall, http: httpx2.Client
) -> None:
    assert http.post("bot/", json=create_request(meeting_url="x")).json() == {
        "meeting_url": ["Enter a valid URL."]
    }
    assert http.post("bot/", content=b"{}").status_code == 415
    assert http.get("bot/nobody/").status_code == 404
    assert http.get("nothing/").status_code == 404
    assert http.put("bot/", json={}).status_code == 405
    assert http.get("realtime_endpoint/").status_code == 400
    assert http.get("bot/", params={"page": "x"}).status_code == 404
    assert http.get("audio_mixed/", params={"recording_id": "x"}).json()["results"] == []
    assert http.post("bot/", content=b"x" * 2_000_000).status_code == 413
    assert http.get(f"http://127.0.0.1:{fake.port}/elsewhere").status_code == 404


def test_one_key_makes_one_bot(http: httpx2.Client) -> None:
    same = {"Idempotency-Key": "k1"}
    first = http.post("bot/", json=create_request(), headers=same)
    assert http.post("bot/", json=create_request(), headers=same).json()["id"] == first.json()["id"]
    other = create_request(bot_name="Other")
    assert http.post("bot/", json=other, headers=same).status_code == 409
    assert http.get("bot/").json()["count"] == 1


def test_failures_are_as_told_and_then_over(fake: rl.FakeRecall, http: httpx2.Client) -> None:
    fake.fail(429, headers={"Retry-After": "7"}, times=2, method="POST", path="/bot/")
    assert http.get("bot/").status_code == 200
    for _ in range(2):
        answer = http.post("bot/", json=create_request())
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert http.post("bot/", json=create_request()).status_code == 201


def test_a_list_has_pages(http: httpx2.Client) -> None:
    ids = [http.post("bot/", json=create_request()).json()["id"] for _ in range(12)]
    page = http.get("bot/").json()
    assert (page["count"], page["previous"], len(page["results"])) == (12, None, 10)
    rest = http.get(page["next"]).json()
    assert rest["next"] is None
    assert [bot["id"] for bot in page["results"] + rest["results"]] == ids[::-1]
    assert http.get("bot/", params={"page": 3}).status_code == 404
    assert http.get("bot/", params={"status": "nothing"}).json()["count"] == 0


def test_a_bot_that_is_told_to_leave_has_what_it_heard_until_then(
    http: httpx2.Client, tmp_path: Path
) -> None:
    with rl.FakeRecall(meeting(600), speed=1, pace=0.01) as slow:
        http.base_url = httpx2.URL(slow.base_url)
        http.headers["Authorization"] = slow.key.get_secret_value()
        with rl.receive(0, tmp_path, mode="thread", secret=slow.secret) as rx:
            bot = http.post("bot/", json=create_request(rx.url)).json()["id"]
            rx.wait(packets=4, timeout=20)
            assert http.post(f"bot/{bot}/leave_call/").status_code == 200
            told = ended(http, bot)
        assert told["status_changes"][-2]["sub_code"] == "bot_received_leave_call"
        assert told["recordings"][0]["status"]["code"] == "done"
        assert http.post(f"bot/{bot}/leave_call/").status_code == 400


def test_a_bot_can_be_deleted_until_it_is_sent(http: httpx2.Client) -> None:
    later = http.post("bot/", json=create_request(join_at="2090-01-01T00:00:00Z")).json()["id"]
    assert http.post(f"bot/{later}/leave_call/").status_code == 400
    assert http.delete(f"bot/{later}/").status_code == 204
    assert http.get(f"bot/{later}/").status_code == 404
    sent = http.post("bot/", json=create_request()).json()["id"]
    ended_or_on_its_way = http.get(f"bot/{sent}/").json()["status_changes"]
    if ended_or_on_its_way:
        assert http.delete(f"bot/{sent}/").status_code == 405


def test_bots_that_fail_say_why(http: httpx2.Client) -> None:
    with rl.FakeRecall(meeting(), pace=0.01, fatal="meeting_not_found") as fails:
        http.base_url = httpx2.URL(fails.base_url)
        http.headers["Authorization"] = fails.key.get_secret_value()
        told = ended(http, http.post("bot/", json=create_request()).json()["id"])
    assert told["status_changes"][-1] | {"created_at": None} == {
        "code": "fatal", "sub_code": "meeting_not_found", "created_at": None,
        "message": "The bot could not join the meeting.",
    }  # fmt: skip
    assert told["recordings"] == []


def test_a_receiver_that_lets_nobody_in_is_a_failed_endpoint(
    fake: rl.FakeRecall, http: httpx2.Client, tmp_path: Path
) -> None:
    with rl.receive(0, tmp_path / "captures", mode="thread", token=True) as rx:
        told = ended(http, http.post("bot/", json=create_request(rx.url)).json()["id"])
        assert rx.status.refused["token"] >= 1
    recording = told["recordings"][0]["id"]
    [endpoint] = http.get("realtime_endpoint/", params={"recording_id": recording}).json()[
        "results"
    ]
    assert endpoint["status"]["code"] == "failed"


def test_what_can_not_be_is_said(root: Path) -> None:
    for options in ({"speed": 0}, {"pace": math.inf}, {"lead": math.nan}, {"gain": math.nan},
                    {"fatal": 5}, {"port": 70_000}, {"secret": "whsec_x"}):  # fmt: skip
        with pytest.raises(rl.errors.InvalidArgument, match=next(iter(options))):
            rl.FakeRecall(meeting(), **options)
    with pytest.raises(rl.errors.InvalidAudio):
        rl.FakeRecall(root / "README.md")
    before = set(Path(tempfile.gettempdir()).glob("recall-lab-fake-*"))
    with rl.FakeRecall(meeting()) as taken, pytest.raises(rl.errors.PortInUse):
        rl.FakeRecall(meeting(), port=taken.port)
    assert set(Path(tempfile.gettempdir()).glob("recall-lab-fake-*")) == before


def test_what_nobody_would_send_is_answered_all_the_same(
    fake: rl.FakeRecall, http: httpx2.Client
) -> None:
    media = f"http://127.0.0.1:{fake.port}/media/x.mp3"
    assert httpx2.get(media, params={"X-Amz-Signature": "é"}).status_code == 403
    later = create_request(join_at="9999-01-01T00:00:00Z")
    same = {"Idempotency-Key": "k1"}
    first = http.post("bot/", json=later, headers=same).json()["id"]
    assert http.delete(f"bot/{first}/").status_code == 204
    assert http.post("bot/", json=later, headers=same).json()["id"] != first


def test_a_fault_of_its_own_ends_a_bot_and_is_told(
    http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr(fake_bot, "start_meeting", fail)
    told = ended(http, http.post("bot/", json=create_request()).json()["id"])
    assert told["status_changes"][-1]["sub_code"] == "stand_in_failed"
    assert "unforeseen" in told["status_changes"][-1]["message"]


def test_a_connection_that_is_kept_makes_no_bot_once_it_is_stopped(http: httpx2.Client) -> None:
    with rl.FakeRecall(meeting()) as stopped:
        http.base_url = httpx2.URL(stopped.base_url)
        http.headers["Authorization"] = stopped.key.get_secret_value()
        assert http.get("bot/").status_code == 200
    with contextlib.suppress(httpx2.HTTPError):
        assert http.post("bot/", json=create_request()).status_code == 503
    assert stopped._lives == {}


def test_nothing_of_it_is_left_when_it_is_stopped() -> None:
    before = set(threading.enumerate())
    with rl.FakeRecall(meeting(30), speed=1, pace=0.01) as fake:
        folder = fake._folder
        with contextlib.suppress(httpx2.HTTPError), httpx2.Client(base_url=fake.base_url) as http:
            http.post(
                "bot/",
                json=create_request(),
                headers={"Authorization": fake.key.get_secret_value()},
            )
        assert folder.exists()
    assert not folder.exists()
    fake.stop()
    left = [one for one in set(threading.enumerate()) - before if not one.name.startswith("Thread")]
    assert left == []
