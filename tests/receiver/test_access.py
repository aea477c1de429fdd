"""Who may connect: what is demanded, over real sockets, and that no secret is ever shown."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import math
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus

from recall_lab.configuration import Configuration
from recall_lab.control.settings import Settings
from recall_lab.errors import (
    InvalidArgument,
    MissingSetting,
    ReceiverFailed,
    StreamNotFound,
    WaitTimeout,
)
from recall_lab.receiver.access import Access, Authenticator
from recall_lab.receiver.background.handle import Receiver
from recall_lab.receiver.background.registry import runtime_folder
from recall_lab.receiver.background.start import receive, receivers
from recall_lab.receiver.ingest import Ingest
from recall_lab.receiver.server import Server
from recall_lab.simulator.api import simulate
from recall_lab.wire.signature import signed_headers
from recall_lab.wire.urls import public_address

SECRET = "whsec_" + "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"
OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "canary-token-canary-token-canary-token"
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Configuration.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def refusal(access: Access, target: str = "/", *, now: float = NOW, **headers: str) -> str:
    sent = Headers()
    for name, value in headers.items():
        sent[name.replace("_", "-")] = value
    return Authenticator(access).refusal(target, sent, now)[0]


def signed(secret: str = SECRET, id_: str = "msg_1", at: int = NOW) -> dict[str, str]:
    return {name.replace("-", "_"): v for name, v in signed_headers(secret, id_, at).items()}


def test_nothing_is_asked_where_nothing_is_demanded() -> None:
    assert refusal(Access()) == ""
    assert refusal(Access(), Origin="http://127.0.0.1") == "origin"


def test_a_token_alone_is_enough_and_has_to_be_right() -> None:
    access = Access.checked(token=[TOKEN, TOKEN.upper()])
    assert refusal(access, f"/?token={TOKEN}") == ""
    assert refusal(access, f"/some/path?x=1&token={TOKEN.upper()}") == ""
    for target in ("/", "/?token=", f"/?token={TOKEN}x", f"/{TOKEN}", f"/?token={TOKEN}&token=x"):
        assert refusal(access, target) == "token"


def test_secret_and_token_are_both_demanded() -> None:
    access = Access.checked(secret=[OTHER, SECRET], token=SecretStr(TOKEN))
    assert refusal(access, f"/?token={TOKEN}", **signed()) == ""
    assert refusal(access, f"/?token={TOKEN}", **signed(OTHER)) == ""
    assert refusal(access, "/", **signed()) == "token"
    assert refusal(access, f"/?token={TOKEN}") == "unsigned"
    assert refusal(access, f"/?token={TOKEN}", now=NOW + 301, **signed()) == "stale"
    assert refusal(access, f"/?token={TOKEN}", now=NOW - 301, **signed()) == "future"


def test_a_signed_request_is_good_once_where_that_is_asked_for() -> None:
    headers = Headers(signed_headers(SECRET, "msg_1", NOW))
    plain, once = (
        Authenticator(Access(secrets=(SECRET,))),
        Authenticator(Access(secrets=(SECRET,), replay_check=True)),
    )
    for expected in ("", ""):
        assert plain.refusal("/", headers, NOW)[0] == expected
    for expected in ("", "replayed", "replayed"):
        assert once.refusal("/", headers, NOW)[0] == expected
    # what can be replayed no more, as it is stale, is forgotten
    later = Headers(signed_headers(SECRET, "msg_2", NOW + 1000))
    assert once.refusal("/", later, NOW + 1000)[0] == ""
    assert list(once._used) == ["msg_2"]


def test_header_names_that_came_twice_are_malformed_not_an_error() -> None:
    headers = Headers(signed_headers(SECRET, "msg_1", NOW))
    headers["webhook-id"] = "msg_2"
    assert Authenticator(Access(secrets=(SECRET,))).refusal("/", headers, NOW)[0] == "malformed"


@pytest.mark.parametrize(
    "options", [{"host": "0.0.0.0"}, {"host": "192.168.1.4"}, {"host": "::"},
                {"public_url": "https://bench.example.org"}],
)  # fmt: skip
def test_a_receiver_that_can_be_reached_from_outside_needs_one_of_them(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match=r"RECALL_WORKSPACE_VERIFICATION_SECRET.*token=True"):
        receive(0, tmp_path, **options)
    with pytest.raises(InvalidArgument, match="token=True"):
        receive(0, tmp_path, token=False, **options)
    with pytest.raises(InvalidArgument, match="token=True"):
        Server(tmp_path, port=0, **options)


def test_the_environment_is_asked_only_by_a_receiver_that_can_be_reached_from_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECALL_WORKSPACE_VERIFICATION_SECRET", f"{SECRET} {OTHER}")
    monkeypatch.setenv("RECALL_LAB_TOKEN", TOKEN)
    assert not Access.checked().auth_required
    access = Access.checked(public="it is reached from outside")
    assert (access.secrets, access.tokens) == ((SECRET, OTHER), (TOKEN,))
    # what is given takes the place of its own kind only: a token more is no check less
    made = Access.checked(token=True, public="it is")
    assert (made.secrets, made.made) == ((SECRET, OTHER), True)
    assert made.words == "a signature and a token"
    assert Access.checked(token=False, public="it is").tokens == ()
    assert Access.checked(secret=OTHER, public="it is").tokens == (TOKEN,)


def test_fingerprints_tell_apart_and_tell_nothing() -> None:
    one, other = Access.checked(secret=SECRET, token=TOKEN), Access.checked(secret=OTHER)
    assert one.fingerprint == Access.checked(secret=SECRET, token=TOKEN).fingerprint
    assert len({one.fingerprint, other.fingerprint, Access().fingerprint}) == 3
    assert Access.checked(token=True).fingerprint == Access.checked(token=True).fingerprint
    assert repr(one) == "Access(secrets=1, tokens=1)"
    assert not any(part in one.fingerprint for part in (SECRET, TOKEN))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://bench.example.org", "wss://bench.example.org/"),
        ("wss://bench.example.org:8443/recall/", "wss://bench.example.org:8443/recall/"),
        ("http://127.0.0.1:8000/x", "ws://127.0.0.1:8000/x"),
        ("wss://[2001:db8::1]/", "wss://[2001:db8::1]/"),
    ],
)
def test_a_public_address(url: str, address: str) -> None:
    assert public_address(url) == address


@pytest.mark.parametrize(
    "url",
    ["wss://x:0/", "wss://exa mple.org/", 'wss://h"onload=x/', "", "bench.example.org", "ftp://x/",
     "wss://", "wss://x/?token=abc", "wss://u:p@x/", "wss://x/#a", "wss://x:99999/", " wss://x/",
     None, 7],
)  # fmt: skip
def test_what_is_no_public_address(url: Any) -> None:
    with pytest.raises(InvalidArgument, match="public_url") as caught:
        public_address(url)
    assert "abc" not in str(caught.value)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"secret": "whsec_short"}, "secret"),
        ({"secret": [SECRET, OTHER[:-3]]}, "secret"),
        ({"secret": 5}, "secret"),
        ({"token": "short"}, "token"),
        ({"token": [TOKEN, None]}, "token"),
        ({"secret": SECRET, "token": "x" * 21}, "token"),
        ({"secret": SECRET, "token": TOKEN, "port": -1}, "port"),
        ({"secret": SECRET, "token": TOKEN, "tunnel": "pigeon"}, "tunnel"),
    ],
)
def test_what_can_not_be_is_named_and_no_secret_is_in_the_traceback(
    options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    for start in (receive, Server):
        with pytest.raises(InvalidArgument, match=name) as caught:
            start(directory=tmp_path, **{"port": 0} | options)  # type: ignore[operator]
        trace = caught.value.__traceback__
        assert trace is not None
        told = "".join(
            traceback.TracebackException(
                type(caught.value), caught.value, trace.tb_next, capture_locals=True
            ).format()
        )
        for given in (SECRET, OTHER[:-3], TOKEN, "whsec_short"):
            assert given not in told


def test_strangers_of_many_addresses_are_few_lines(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path, "run")
    for at in range(5_000):
        ingest.refuse(f"2001:db8::{at}:1234", "token", "")
    assert ingest.refused["token"] == 5_000
    lines = (tmp_path / "_receiver.events.jsonl").read_text().splitlines()
    assert 100 < len(lines) < 300
    ingest.close()


def status_of(rx: Receiver, headers: dict[str, str], target: str = "/") -> int:
    """Return how an upgrade request is answered; 101 when it is let in."""

    async def ask() -> int:
        try:
            url = rx.url.rstrip("/") + target
            async with connect(url, additional_headers=headers, proxy=None):
                return 101
        except InvalidStatus as error:
            assert error.response.body in (b"Unauthorized\n", b"Forbidden\n")
            return error.response.status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_over_a_socket_nobody_gets_in_who_should_not(
    mode: str, tmp_path: Path, speech: np.ndarray
) -> None:
    folder = tmp_path / "captures"
    now = int(time.time())
    with receive(0, folder, mode=mode, secret=SECRET, token=TOKEN) as rx:
        right = signed_headers(SECRET, "msg_1", now)
        assert status_of(rx, {}) == 401
        assert status_of(rx, right) == 401
        assert status_of(rx, {}, f"/?token={TOKEN}") == 401
        assert status_of(rx, signed_headers(OTHER, "msg_1", now), f"/?token={TOKEN}") == 401
        stale = signed_headers(SECRET, "msg_1", now - 600)
        assert status_of(rx, stale, f"/?token={TOKEN}") == 401
        assert status_of(rx, {"Origin": "http://evil.test"}) == 401
        assert [path.name for path in folder.iterdir()] == ["_receiver.events.jsonl"]
        with pytest.raises(ReceiverFailed, match=r"did not let us in \(HTTP 401\)"):
            simulate(speech, rx.url, speed=math.inf)
        with pytest.raises(ReceiverFailed, match=r"secret=") as caught:
            simulate(speech, rx.bot_url, speed=math.inf)
        assert TOKEN not in str(caught.value)
        truth = simulate(speech, rx.bot_url, speed=math.inf, secret=SecretStr(SECRET))
        rx.wait(packets=len(truth), timeout=10)
        assert rx.status.refused == {
            "token": 4,
            "unsigned": 2,
            "forged": 1,
            "stale": 1,
        }
        assert "8 connections refused" in repr(rx)
        assert "demanding a signature and a token" in repr(rx)
        assert "forged" in rx._repr_html_()
    lines = (folder / "_receiver.events.jsonl").read_text().splitlines()
    refused = [json.loads(line) for line in lines if '"refused"' in line]
    assert [line["reason"] for line in refused][:4] == ["token", "token", "unsigned", "forged"]
    assert refused[3]["id"] == "'msg_1'"


def test_a_bot_that_was_refused_is_not_taken_for_silence(
    tmp_path: Path, speech: np.ndarray
) -> None:
    with receive(0, tmp_path, mode="thread", secret=SECRET) as rx:
        with pytest.raises(ReceiverFailed):
            simulate(speech, rx.url, speed=math.inf, secret=OTHER)
        with pytest.raises(WaitTimeout, match=r"1 connection refused \(1 forged: it demands a sig"):
            rx.wait(packets=1, timeout=0.1)
        with pytest.raises(StreamNotFound, match="1 connection refused"):
            rx.capture()


def test_a_request_that_is_no_upgrade_learns_nothing_either(tmp_path: Path) -> None:
    with receive(0, tmp_path, mode="thread", token=True) as rx:
        asked = http.client.HTTPConnection("127.0.0.1", rx.port, timeout=5)
        asked.request("GET", "/")
        assert asked.getresponse().status == 401
        asked.close()


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_a_made_token_stays_the_same_when_the_cell_is_run_again(mode: str, tmp_path: Path) -> None:
    with receive(0, tmp_path, mode=mode, token=True) as rx:
        url = rx.bot_url.get_secret_value()
        assert url.startswith(f"{rx.url}?token=")
        assert len(url) == len(rx.url) + len("?token=") + 43
        again = receive(0, tmp_path, mode=mode, token=True)
        assert again.id == rx.id
        assert again.bot_url == rx.bot_url
        # other settings, the same port: a new receiver, which the old one's bots still know
        changed = receive(rx.port, tmp_path, mode=mode, token=True, sync=2.0)
        assert changed.id != rx.id
        assert changed.bot_url.get_secret_value() == url
        changed.stop()


def test_a_token_of_the_users_own_is_not_taken_for_a_made_one(tmp_path: Path) -> None:
    with receive(0, tmp_path, token=TOKEN) as rx:
        port = rx.port
        with receive(port, tmp_path, token=True) as made:
            assert TOKEN not in made.bot_url.get_secret_value()


def test_a_file_of_settings_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00=1")
    with pytest.raises(MissingSetting, match=r"\.env"):
        receive(0, tmp_path, host="0.0.0.0")


def test_the_control_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with receive(0, tmp_path) as rx:
            state = rx._host._state  # type: ignore[attr-defined]
            assert state.socket.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_other_secrets_are_other_settings(tmp_path: Path) -> None:
    with receive(0, tmp_path, secret=SECRET) as rx:
        port = rx.port
        with receive(port, tmp_path, secret=OTHER) as other:
            assert other.id != rx.id
            assert not rx.alive


def test_a_restarted_kernel_finds_the_token_again(tmp_path: Path) -> None:
    with receive(0, tmp_path, token=True) as rx:
        code = (
            "import recall_lab as rl; [rx] = rl.receivers(); print(rx.bot_url.get_secret_value())"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert ran.stdout.strip() == rx.bot_url.get_secret_value()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_a_secret_appears_nowhere(
    mode: str,
    tmp_path: Path,
    speech: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("recall_lab.server").setLevel(logging.DEBUG)
    logging.getLogger("recall_lab.simulator").setLevel(logging.DEBUG)
    key = SECRET.removeprefix("whsec_")
    shown = []
    try:
        with receive(0, tmp_path / "captures", mode=mode, secret=SECRET, token=TOKEN) as rx:
            simulate(speech, rx.bot_url, speed=math.inf, secret=SECRET)
            for secret in (None, OTHER):
                with pytest.raises(ReceiverFailed) as caught:
                    simulate(speech, rx.bot_url, speed=math.inf, secret=secret)
                shown.append("".join(traceback.format_exception(caught.value)))
            rx.wait(packets=1, timeout=10)
            [found] = [one for one in receivers() if one.id == rx.id]
            shown += [repr(rx), rx._repr_html_(), repr(rx.bot_url), str(rx.bot_url), rx.url]
            shown += [repr(rx.settings), repr(rx.status), repr(found), rx.recordings().to_string()]
            shown.append(repr(rx._host.__dict__))
            if os.path.exists("/proc/self/cmdline") and mode == "process":
                pid = rx._host._state.pid  # type: ignore[attr-defined]
                shown.append(Path(f"/proc/{pid}/cmdline").read_text())
                shown.append(Path(f"/proc/{pid}/environ").read_text())
            state = everything_in(runtime_folder())
    finally:
        logging.getLogger("recall_lab.server").setLevel(logging.NOTSET)
        logging.getLogger("recall_lab.simulator").setLevel(logging.NOTSET)
    out, err = capfd.readouterr()
    shown += [caplog.text, out, err]
    assert "GET /?token=***" in caplog.text  # the library did log the request
    for text in shown:
        assert TOKEN not in text
        assert key not in text
    for data in (everything_in(tmp_path / "captures"), state):
        assert TOKEN.encode() not in data
        assert key.encode() not in data


def test_a_traceback_that_shows_variables_shows_no_secret(tmp_path: Path) -> None:
    taken = Server(tmp_path, port=0)

    async def clash() -> str:
        async with taken:
            try:
                receive(taken.port, tmp_path, mode="thread", secret=SECRET, token=TOKEN)
            except OSError as error:
                # our own frames only: this one holds the secret in plain sight
                trace = error.__traceback__
                assert trace is not None
                told = traceback.TracebackException(
                    type(error), error, trace.tb_next, capture_locals=True
                )
                return "".join(told.format())
        raise AssertionError("it started")

    told = asyncio.run(clash())
    assert "access = " in told
    assert TOKEN not in told
    assert SECRET not in told


def test_settings_say_how_they_are_reached() -> None:
    usual = {"port": 0, "directory": ".", "mode": "thread", "idle_timeout": 1.0, "sync": 1.0}
    assert Settings.checked(host="127.0.0.1", **usual).exposure == ""  # type: ignore[arg-type]
    outside = Settings.checked(host="0.0.0.0", **usual)  # type: ignore[arg-type]
    assert outside.exposure == "the receiver listens on 0.0.0.0, which other machines can reach"
    for name, value in (("domain", "x.ngrok.app"), ("tunnel", "carrier pigeon")):
        with pytest.raises(InvalidArgument, match=name):
            Settings.checked(host="127.0.0.1", **usual | {name: value})  # type: ignore[arg-type]
