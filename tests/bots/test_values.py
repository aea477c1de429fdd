"""The values: how far a bot has got, and that they are safe to show."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from recall_lab.bots.values import (
    STEPS,
    Bot,
    RealtimeEndpoint,
    Recording,
    StatusChange,
    failed,
    id_of,
    is_id,
)
from recall_lab.errors import InvalidArgument

NASTY = "<script>alert(1)</script>\x1b[31m\u202e\n" + "x" * 500


def bot(*codes: str, **fields: Any) -> Bot:
    changes = tuple(StatusChange(code=code) for code in codes)
    return Bot(id="b-1", status_changes=changes, **fields)


def test_steps_are_in_order() -> None:
    for earlier, later in itertools.pairwise(STEPS):
        assert bot(later).reached(earlier)
        assert not bot(earlier).reached(later)
        assert bot(later).place == bot(earlier).place + 1


def test_a_step_once_reached_stays_reached() -> None:
    paused = bot("joining_call", "in_call_recording", "in_call_not_recording")
    assert paused.code == "in_call_not_recording"
    assert paused.reached("in_call_recording")


@pytest.mark.parametrize(
    ("code", "reached"),
    [
        ("recording_permission_allowed", "in_call_not_recording"),
        ("recording_permission_denied", "in_call_not_recording"),
        ("recording_done", "in_call_recording"),
        ("media_expired", "done"),
    ],
)
def test_codes_beside_the_steps_count_as_one_of_them(code: str, reached: str) -> None:
    assert bot(code).reached(reached)
    assert not bot(code).reached("done") or reached == "done"


def test_a_code_we_do_not_know_changes_nothing() -> None:
    odd = bot("in_waiting_room", "breakout_room")
    assert odd.reached("in_waiting_room")
    assert not odd.reached("in_call_recording")
    assert odd.reached("breakout_room") and not bot("done").reached("breakout_room")


def test_before_the_first_step() -> None:
    assert (bot().code, bot().place, bot().failure) == ("", 0, None)
    assert "scheduled" in repr(bot())


def test_a_failure_stays_though_more_comes() -> None:
    changes = (
        StatusChange(code="fatal", sub_code="zoom_sdk", message="No credentials."),
        StatusChange(code="media_expired"),
    )
    gone = Bot(id="b-1", status_changes=changes)
    assert gone.failure is changes[0]
    error = failed(gone)
    assert (error.bot, error.sub_code, error.message) == ("b-1", "zoom_sdk", "No credentials.")
    assert error.steps == ["fatal", "media_expired"]


def test_reprs_are_one_line_whatever_was_sent() -> None:
    shown = [
        repr(bot(NASTY, name=NASTY)),
        repr(RealtimeEndpoint(id="e", status=NASTY, url=NASTY, sub_code=NASTY, recording=NASTY)),
    ]
    for text in shown:
        assert text.isprintable() and len(text) < 400
    assert repr(bot("done", name="N")) == "<Bot b-1 'N' done: 0 recordings>"


def test_html_is_escaped() -> None:
    nasty = bot(
        NASTY, name=NASTY, meeting=NASTY, metadata={NASTY: NASTY}, recordings=(Recording(id="r"),)
    )
    html = nasty._repr_html_()
    assert "<script" not in html and "&lt;script" in html
    assert html.startswith("<table>") and "\n" not in html


def test_no_secret_is_shown() -> None:
    recording = Recording(id="r", audio=SecretStr("https://s3.example/?X-Amz-Signature=canary"))
    whole = bot(
        "done",
        name="wss://h/?token=canary",
        recordings=(recording,),
        meeting="https://h/?key=canary",
    )
    assert "canary" not in repr(whole) + whole._repr_html_() + repr(recording)


def test_values_are_frozen() -> None:
    for value in (bot(), Recording(id="r"), StatusChange(code="x")):
        with pytest.raises(AttributeError):
            value.id = "other"  # type: ignore[misc, union-attr]
    moved = msgspec.structs.replace(bot(), join_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert "2026-01-01" in moved._repr_html_()


@pytest.mark.parametrize(
    "id", ["../bot", "a/b", "", ".", "a b", "a\n", "a?b", "a%2fb", "ä", "x" * 129, "a#b"]
)
def test_what_would_lead_elsewhere_is_no_id(id: str) -> None:
    assert not is_id(id)
    with pytest.raises(InvalidArgument, match="bot"):
        id_of(id, "bot")


def test_an_id_is_taken_of_a_value_or_as_it_is() -> None:
    assert id_of(bot(), "bot") == id_of("b-1", "bot") == "b-1"
    with pytest.raises(InvalidArgument):
        id_of(5, "bot")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        id_of(Bot(id="../x"), "bot")
