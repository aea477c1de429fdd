"""Our client against the stand-in: every documented code over real HTTP, on clocks that jump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import recall_lab as rl
from recall_lab.simulator.meeting import Meeting, Voice
from recall_lab.wire.messages import Participant

URL = "ws://127.0.0.1:9/?token=canarycanarycanarycanary"
MEETING = "https://meet.example.org/standup"


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def timing(self) -> rl.bots.Timing:
        return rl.bots.Timing(
            sleep=self.sleep, clock=lambda: self.time, now=lambda: 1.8e9, random=lambda: 1.0
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quiet() -> Meeting:
    return Meeting((Voice(Participant(1, "Ada"), np.zeros(1600, "<i2")),))


@pytest.fixture
def fake() -> Iterator[rl.FakeRecall]:
    with rl.FakeRecall(quiet(), pace=0.01, speed=100) as running:
        yield running


def client_of(fake: rl.FakeRecall, clock: Clock, **options: Any) -> rl.bots.Client:
    given = {"api_key": fake.key, "base_url": fake.base_url} | options
    return rl.bots.Client(**given, timing=clock.timing())


def keys(fake: rl.FakeRecall) -> list[str]:
    """Return the Idempotency-Key of each request that would create a bot."""
    return [
        {name.lower(): value for name, value in headers.items()}["idempotency-key"]
        for method, _, headers, _ in fake.requests
        if method == "POST"
    ]


@pytest.mark.parametrize(
    ("status", "headers", "slept", "same_key"),
    [
        (409, {}, [1.0, 2.0], True),
        (429, {"Retry-After": "7"}, [7.0, 7.0], True),
        (502, {}, [1.0, 2.0], True),
        (503, {"Retry-After": "4"}, [4.0, 4.0], True),
        (503, {}, [1.0, 2.0], True),
        (504, {}, [1.0, 2.0], True),
        (507, {}, [30.0, 30.0], False),
    ],
)
def test_what_passes_is_waited_for_and_one_bot_comes_of_it(
    fake: rl.FakeRecall,
    clock: Clock,
    status: int,
    headers: dict[str, str],
    slept: list[float],
    same_key: bool,
) -> None:
    fake.fail(status, headers=headers, times=2, method="POST")
    with client_of(fake, clock) as client:
        bot = client.create(MEETING, URL)
        assert [one.id for one in client.list()] == [bot.id]
    assert clock.slept == slept
    assert len(keys(fake)) == 3
    assert len(set(keys(fake))) == (1 if same_key else 3)


@pytest.mark.parametrize(
    ("status", "word"), [(402, "credit"), (404, "is the API|ends in /api/v1/"), (500, "codes mean")]
)
def test_what_does_not_pass_is_said_at_once(
    fake: rl.FakeRecall, clock: Clock, status: int, word: str
) -> None:
    fake.fail(status, method="POST")
    with (
        client_of(fake, clock) as client,
        pytest.raises(rl.errors.RecallApiError, match=word) as caught,
    ):
        client.create(MEETING, URL)
    assert caught.value.status == status
    assert clock.slept == []


def test_400_of_the_stand_ins_own_validation(fake: rl.FakeRecall, clock: Clock) -> None:
    with client_of(fake, clock) as client, pytest.raises(rl.errors.RecallApiError) as caught:
        client.create(MEETING, URL, config={"video_mixed_layout": 5})
    assert caught.value.status == 400
    assert list(caught.value.fields) == ["recording_config.video_mixed_layout"]
    assert "canarycanary" not in str(caught.value)


def test_401_of_a_wrong_key(fake: rl.FakeRecall, clock: Clock) -> None:
    with (
        client_of(fake, clock, api_key="wrong-wrong-wrong") as client,
        pytest.raises(rl.errors.RecallApiError, match="the key is not one of") as caught,
    ):
        client.create(MEETING, URL)
    assert (caught.value.status, clock.slept) == (401, [])


def test_403_of_an_address_that_no_bot_reaches(clock: Clock) -> None:
    with (
        rl.FakeRecall(quiet(), local_urls=False) as fake,
        client_of(fake, clock) as client,
        pytest.raises(rl.errors.RecallApiError, match="firewall") as caught,
    ):
        client.create(MEETING, URL)
    assert (caught.value.status, clock.slept) == (403, [])


def test_patience_ends(fake: rl.FakeRecall, clock: Clock) -> None:
    fake.fail(507, times=50, method="POST")
    with (
        client_of(fake, clock, retry_timeout=100.0) as client,
        pytest.raises(rl.errors.RecallApiError, match="no bot is free") as caught,
    ):
        client.create(MEETING, URL)
    assert caught.value.status == 507
    assert clock.slept == [30.0] * 3


def test_the_body_is_the_one_of_the_protocol(fake: rl.FakeRecall, clock: Clock) -> None:
    with client_of(fake, clock) as client:
        client.create(
            MEETING, URL, name="Lab", streams=("mixed", "separate"), metadata={"team": "red"},
            events=("participant_events.join", "transcript.data"),
        )  # fmt: skip
    [body] = [body for method, _, _, body in fake.requests if method == "POST"]
    assert json.loads(body) == {
        "meeting_url": MEETING,
        "bot_name": "Lab",
        "metadata": {"team": "red"},
        "recording_config": {
            "audio_mixed_raw": {},
            "audio_separate_raw": {},
            "audio_mixed_mp3": {},
            "participant_events": {},
            "transcript": {"provider": {"recallai_streaming": {}}},
            "realtime_endpoints": [
                {
                    "type": "websocket",
                    "url": URL,
                    "events": [
                        "audio_mixed_raw.data", "audio_separate_raw.data",
                        "participant_events.join", "transcript.data",
                    ],
                }
            ],
        },
    }  # fmt: skip
