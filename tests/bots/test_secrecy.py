"""Canaries: the key, the token and the link are in no error, traceback, log or repr."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from recall_lab.bots import configured
from recall_lab.errors import InvalidArgument, RecallLabError

KEY = "canary-key-5f1d9e"
TOKEN = "canary-token-77aa"
URL = f"wss://bench.example.org/live/?token={TOKEN}"
LINK = "/f.mp3?X-Amz-Signature=canary-signature-31"
MEETING = "https://zoom.us/j/123"


class Rx:
    bot_url = SecretStr(URL)


class Strange(BaseException):
    """Stands for an interrupt, a cancellation, a mistake: whatever may end a request."""


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Any:
    """All that is logged, by the libraries too, holds no canary."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    assert "canary" not in caplog.text


def ended(call: Callable[[], Any]) -> BaseException:
    """Return how a call ended; a frame of this file holds no canary in its locals."""
    with pytest.raises(BaseException) as caught:
        call()
    return caught.value


def everything_shown(error: BaseException) -> str:
    """Return all of an error that anything could print, of what lies behind it too."""
    shown: list[str] = []
    found: BaseException | None = error
    while found is not None:
        told = traceback.TracebackException.from_exception(found, capture_locals=True)
        shown += ["".join(told.format()), repr(found), str(found), repr(found.args)]
        shown.append(repr(vars(found)))
        assert not (found.__cause__ and found.__context__)
        found = found.__cause__ or found.__context__
    return "\n".join(shown)


def check(error: BaseException, *kinds: type[BaseException]) -> str:
    assert isinstance(error, kinds or RecallLabError), everything_shown(error)
    text = everything_shown(error)
    assert "recall_lab/bots" in text, "the traceback was not looked at"
    assert "canary" not in text, text[text.index("canary") - 2_000 :][:2_400]
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert "canary" not in repr(again) + str(again) + repr(vars(again))
    return text


ECHOES: list[tuple[int, Any]] = [
    (400, {"recording_config": {"realtime_endpoints": [{"url": [f"{URL} is no good"]}]}}),
    (400, {f"{URL}": "is no good", "key": KEY, "token": TOKEN}),
    (401, {"detail": f"Token {KEY} is invalid"}),
    (403, f"refused: Authorization: Token {KEY} for {URL}".encode()),
    (404, {"detail": f"wss://other.example/?token=canary-other-88 {KEY}"}),
    (418, f'{{"token": "{TOKEN}"'.encode()),
    (307, {"detail": URL}),
    (200, {"id": f"/../{TOKEN}", "url": URL}),
    (200, {"id": 5, "url": "wss://other.example/?token=canary-other-88"}),
    (200, f'{{"id": {URL}'.encode()),
    (200, f"<html>{KEY}{URL}</html>".encode()),
    (200, {"id": "b-1", "status_changes": [{"token": TOKEN}]}),
]


@pytest.mark.parametrize(("status", "body"), ECHOES)
def test_an_answer_may_repeat_what_it_was_told(
    client: Any, api: Any, reply: Any, status: int, body: Any
) -> None:
    api.script(reply(status, body), reply(status, body))
    check(ended(lambda: client.create(MEETING, Rx())))


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_may_hold_the_token_of_another_client(
    client: Any, api: Any, reply: Any, status: int
) -> None:
    other = "wss://other.example/?token=canary-other-88"
    api.script(reply(status, {"id": 5, "endpoints": [{"url": other}], other: other}))
    check(ended(lambda: client.get("b-1")))


def test_a_bot_that_repeats_it_is_read_without_it(
    client: Any, api: Any, reply: Any, bot_json: Any
) -> None:
    told = bot_json(
        f"{URL}",
        bot_name=f"at {URL}",
        meeting_url=f"https://zoom.us/?token={TOKEN}",
        metadata={"url": URL, URL: "x"},
        recording_config={"realtime_endpoints": [{"url": URL}]},
    )
    told["status_changes"][0] |= {"sub_code": URL, "message": f"can't reach {URL}"}
    api.script(reply(200, told), reply(201, told))
    for bot in (client.get("b-1"), client.create(MEETING, Rx())):
        fields = [getattr(bot, name) for name in bot.__struct_fields__]
        assert "canary" not in repr(bot) + bot._repr_html_() + repr(fields)


@pytest.mark.parametrize("status", [0, 502, 507, 409])
def test_retries_tell_nothing(
    make_client: Any, api: Any, reply: Any, caplog: Any, status: int
) -> None:
    api.script(*[reply(status, {"detail": f"{URL} {KEY}"})] * 9)
    client = make_client(retry_timeout=65.0)
    check(ended(lambda: client.create(MEETING, Rx())))
    assert "sent again in" in caplog.text


def test_the_library_has_logged(client: Any, api: Any, bot_json: Any, caplog: Any) -> None:
    api.script(bot_json())
    client.create(MEETING, Rx())
    assert "httpcore2" in caplog.text and "HTTP Request: POST http://127" in caplog.text


@pytest.mark.parametrize("kind", [Strange, ValueError])
@pytest.mark.parametrize("where", ["write", "read"])
def test_whatever_ends_a_request_shows_nothing(
    client: Any, api: Any, bot_json: Any, monkeypatch: Any, kind: Any, where: str
) -> None:
    import h11

    def fail(*_: Any) -> None:
        raise kind("in the midst")

    api.script(bot_json())
    name = "send" if where == "write" else "next_event"
    monkeypatch.setattr(h11.Connection, name, fail)
    text = check(ended(lambda: client.create(MEETING, Rx())), kind)
    assert "in the midst" in text


def test_a_download_that_fails_shows_nothing(
    make_client: Any, api: Any, reply: Any, tmp_path: Path
) -> None:
    client = make_client(retry_timeout=5.0)
    link = {"results": [{"data": {"download_url": api.origin + LINK}}]}
    for answers in ([reply(403, b"canary")], [reply(0)] * 9, [reply(200, b"x" * 99)]):
        api.replies.clear()
        api.script(link, *answers)
        check(ended(lambda: client.download("r-1", tmp_path / "a.mp3", limit=50)))
    api.replies.clear()
    api.script(link, reply(200, b"x" * 9))
    assert client.download("r-1", tmp_path / "a.mp3").read_bytes() == b"x" * 9


def test_a_link_that_is_none_is_not_shown(client: Any, api: Any, tmp_path: Path) -> None:
    api.script(*[{"results": [{"data": {"download_url": "http://canary-host:x y/"}}]}] * 9)
    check(ended(lambda: client.download("r-1", tmp_path / "a.mp3", timeout=8.0)))


@pytest.mark.parametrize(
    "rest", ["ws://localhost/?token=", "wss://a.example?token=", "wss://a.example/#", "no url ",
             "wss://10.0.0.1/?x=", "wss://me:canary@localhost/?token="],
)  # fmt: skip
def test_a_url_that_is_refused_is_not_shown(make_client: Any, rest: str) -> None:
    client = make_client(base_url=None, region="us-west-2")
    # given as plain text: it is hidden before anything can go wrong
    given = (rest + TOKEN,)
    error = ended(lambda: client.create(MEETING, *given))
    tb = error.__traceback__
    while tb is not None and "recall_lab" not in tb.tb_frame.f_code.co_filename:
        tb = tb.tb_next  # a frame of the caller's own shows what the caller holds
    check(error.with_traceback(tb), InvalidArgument)


def test_the_functions_of_the_module_hide_it_too(monkeypatch: Any) -> None:
    given = ("ws://localhost/?token=" + TOKEN,)
    error = ended(lambda: configured.create(MEETING, *given))  # and no key is set
    tb = error.__traceback__
    while tb is not None and "recall_lab" not in tb.tb_frame.f_code.co_filename:
        tb = tb.tb_next
    check(error.with_traceback(tb))


@pytest.mark.parametrize("options", [{"region": "mars"}, {"base_url": "http://x.example/"}])
def test_a_client_that_can_not_be_made_does_not_show_its_key(options: Any) -> None:
    from recall_lab.bots.async_client import AsyncClient
    from recall_lab.bots.client import Client

    for kind in (Client, AsyncClient):
        error = ended(lambda kind=kind: kind(SecretStr(KEY), **options))
        check(error, InvalidArgument)


@pytest.mark.parametrize(
    "key",
    [f"{KEY} x", f"{KEY}\n", f"Token {KEY}", f"{KEY}ä"],
    ids=["space", "line", "word", "letter"],  # pytest's own frames show the ids
)
def test_a_key_that_is_none_is_not_shown(make_client: Any, key: str) -> None:
    hidden = SecretStr(key)
    del key
    check(ended(lambda: make_client(api_key=hidden)), InvalidArgument)


def test_a_client_shows_where_it_is_and_no_more(make_client: Any, api: Any) -> None:
    client = make_client().client
    assert "canary" not in repr(client) + repr(vars(client))
    assert api.base in repr(client)
