"""The final MP3: found, waited for, downloaded whole or not at all, and without the key."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recall_lab.bots import exchange
from recall_lab.errors import (
    BotFailed,
    InvalidArgument,
    RecallApiError,
    StorageFailed,
    WaitTimeout,
)

MP3 = bytes(range(256)) * 1_000
SIGNED = "/file.mp3?X-Amz-Credential=a%2Fb&X-Amz-Signature=canary-signature-31"


@pytest.fixture
def store(api: Any) -> Iterator[Any]:
    """The host of the file: another one than the API's."""
    made = type(api)()
    yield made
    made.close()


def audio(url: str | None, status: str = "done", **more: Any) -> dict[str, Any]:
    data = {"download_url": url} if url else None
    return {"results": [{"id": "a", "status": {"code": status}, "data": data} | more]}


def shortcut(url: str) -> dict[str, Any]:
    media = {"audio_mixed": {"data": {"download_url": url}}, "video_mixed": None}
    return {"id": "r-1", "status": {"code": "done"}, "media_shortcuts": media}


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_recording_is_downloaded(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    api.script(audio(store.origin + SIGNED))
    store.script(reply(200, MP3))
    path = client.download("r-1", tmp_path / "standup.mp3")
    assert path == tmp_path / "standup.mp3"
    assert path.read_bytes() == MP3
    assert only(tmp_path) == ["standup.mp3"]
    assert api.asked[0].path == "/api/v1/audio_mixed/?recording_id=r-1"
    assert store.asked[0].path == SIGNED  # to the letter, as it is signed
    assert "authorization" not in store.asked[0].headers
    assert "canary" not in str(store.asked[0].headers) and "canary" not in caplog.text


def test_a_bot_means_its_latest_recording_and_a_folder_its_name(
    client: Any, api: Any, store: Any, reply: Any, bot_json: Any, tmp_path: Path
) -> None:
    api.script(
        bot_json("joining_call"),
        bot_json("done", recordings=["r-1", "r-2"]),
        audio(store.origin + SIGNED),
    )
    store.script(reply(200, MP3))
    bot = client.get("b-1")
    assert client.download(bot, tmp_path) == tmp_path / "r-2.mp3"
    assert api.asked[2].path.endswith("?recording_id=r-2")


def test_it_is_waited_for(
    client: Any, api: Any, store: Any, reply: Any, bot_json: Any, tmp_path: Path, clock: Any
) -> None:
    api.script(
        bot_json("in_call_recording"),
        bot_json("in_call_recording"),
        bot_json("call_ended", recordings=["r-1"]),
        {"results": []},
        bot_json("done", recordings=["r-1"]),
        audio(None, "processing"),
        bot_json("done", recordings=["r-1"]),
        audio(store.origin + SIGNED),
    )
    store.script(reply(200, MP3))
    bot = client.get("b-1")
    client.download(bot, tmp_path / "a.mp3", poll=4.0)
    assert clock.slept == [4.0, 4.0, 4.0]


def test_the_shortcut_of_the_bot_will_do(
    client: Any, api: Any, store: Any, reply: Any, bot_json: Any, tmp_path: Path
) -> None:
    done = bot_json("done", recordings=[shortcut(store.origin + SIGNED)])
    api.script(done, done, {"results": []})
    store.script(reply(200, MP3))
    bot = client.get("b-1")
    assert "canary" not in repr(bot) + repr(bot.recordings) + bot._repr_html_()
    assert client.download(bot, tmp_path / "a.mp3").read_bytes() == MP3


def test_raw_audio_beside_it_is_not_taken_for_it(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path
) -> None:
    results = [
        *audio(store.origin + "/raw", format="raw")["results"],
        *audio(store.origin + SIGNED, format="mp3")["results"],
    ]
    api.script({"results": results})
    store.script(reply(200, MP3))
    client.download("r-1", tmp_path / "a.mp3")
    assert store.asked[0].path == SIGNED


def test_waiting_for_it_ends(client: Any, api: Any, clock: Any, tmp_path: Path) -> None:
    api.script(*[audio(None, "processing")] * 3)
    with pytest.raises(WaitTimeout, match="record_for_comparison") as caught:
        client.download("r-1", tmp_path / "a.mp3", timeout=12.0)
    assert clock.slept == [5.0, 5.0]
    assert caught.value.seen == {"files": 1, "code": ""}
    assert only(tmp_path) == []


def test_one_that_could_not_be_made(client: Any, api: Any, tmp_path: Path) -> None:
    api.script(audio(None, "failed"))
    with pytest.raises(RecallApiError, match="could not make"):
        client.download("r-1", tmp_path / "a.mp3")


def test_a_bot_that_is_done_without_one(
    client: Any, api: Any, bot_json: Any, clock: Any, tmp_path: Path
) -> None:
    done = bot_json("done", recordings=["r-1"])
    api.script(done, done, {"results": []}, done, {"results": []})
    bot = client.get("b-1")
    with pytest.raises(RecallApiError, match="record_for_comparison=False"):
        client.download(bot, tmp_path / "a.mp3")
    assert clock.slept == [5.0]


def test_a_bot_that_failed_before_it_recorded(
    client: Any, api: Any, bot_json: Any, tmp_path: Path
) -> None:
    api.script(bot_json("fatal"), bot_json("fatal"))
    bot = client.get("b-1")
    with pytest.raises(BotFailed):
        client.download(bot, tmp_path / "a.mp3")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "data:,x", "/x", ""])
def test_only_http_is_followed(client: Any, api: Any, tmp_path: Path, url: str) -> None:
    api.script(*[audio(url)] * 3)
    with pytest.raises(WaitTimeout):
        client.download("r-1", tmp_path / "a.mp3", timeout=8.0)


@pytest.mark.parametrize("url", ["http://[::1/", "http://", "https://a b:x/", "http://h:99999/"])
def test_a_link_that_is_none_is_an_error_of_ours(
    client: Any, api: Any, tmp_path: Path, url: str
) -> None:
    api.script(*[audio(url)] * 3)
    with pytest.raises((RecallApiError, WaitTimeout)):
        client.download("r-1", tmp_path / "a.mp3", timeout=8.0)
    assert only(tmp_path) == []


@pytest.mark.parametrize("told", [True, False])
def test_one_that_is_too_large(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path, told: bool
) -> None:
    api.script(audio(store.origin + SIGNED))
    headers = {} if told else {"Transfer-Encoding": "chunked"}
    body = MP3 if told else b"%x\r\n%b\r\n0\r\n\r\n" % (len(MP3), MP3)
    store.script(reply(200, body, headers))
    with pytest.raises(RecallApiError, match=r"100,000 are allowed.*limit=") as caught:
        client.download("r-1", tmp_path / "a.mp3", limit=100_000)
    assert ("256,000" in str(caught.value)) is told
    assert only(tmp_path) == []


@pytest.mark.parametrize("status", [301, 403, 404, 410])
def test_a_host_that_refuses(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path, status: int
) -> None:
    (tmp_path / "a.mp3").write_bytes(b"before")
    api.script(audio(store.origin + SIGNED))
    store.script(reply(status, b"x", {"Location": "/elsewhere"}))
    with pytest.raises(RecallApiError, match="may have expired") as caught:
        client.download("r-1", tmp_path / "a.mp3")
    assert caught.value.status == status and len(store.asked) == 1
    assert "canary" not in str(caught.value)
    assert (tmp_path / "a.mp3").read_bytes() == b"before"
    assert only(tmp_path) == ["a.mp3"]


def test_a_download_that_breaks_off_begins_again(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path, clock: Any
) -> None:
    api.script(audio(store.origin + SIGNED))
    store.script(reply(200, MP3[:100_000], length=len(MP3)), reply(0), reply(503), reply(200, MP3))
    assert client.download("r-1", tmp_path / "a.mp3").read_bytes() == MP3
    assert clock.slept == [1.0, 2.0, 4.0]
    assert only(tmp_path) == ["a.mp3"]


def test_the_old_file_stays_until_the_new_one_is_whole(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path
) -> None:
    target = tmp_path / "a.mp3"
    target.write_bytes(b"before")
    api.script(audio(store.origin + SIGNED))
    during: list[bytes] = []

    def look(_: Any) -> Any:
        during.append(target.read_bytes())
        return reply(200, MP3)

    store.script(look)
    client.download("r-1", target)
    assert during == [b"before"] and target.read_bytes() == MP3


class Full:
    """A disk that is full: as ``os.fsync`` it tells of it, which is what a mock is for."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_behind(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(exchange, "os", Full())
    api.script(audio(store.origin + SIGNED))
    store.script(reply(200, MP3))
    with pytest.raises(StorageFailed, match="No space left") as caught:
        client.download("r-1", tmp_path / "a.mp3")
    assert caught.value.path == str(tmp_path / "a.mp3")
    assert only(tmp_path) == []


def test_a_folder_that_can_not_be_written_to(
    client: Any, api: Any, store: Any, reply: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.mp3").mkdir()
    (tmp_path / "a.mp3" / "r-1.mp3").mkdir()
    api.script(audio(store.origin + SIGNED))
    store.script(reply(200, MP3))
    with pytest.raises(StorageFailed):
        client.download("r-1", tmp_path / "a.mp3")
    assert only(tmp_path / "a.mp3") == ["r-1.mp3"]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("nowhere/a.mp3", {}),
        ("a.mp3", {"limit": 0}),
        ("a.mp3", {"limit": 1.5}),
        ("a.mp3", {"timeout": -1}),
        ("a.mp3", {"poll": 0}),
    ],
)
def test_what_can_not_be_is_told_before_the_wait(
    client: Any, api: Any, path: str, options: Any
) -> None:
    with pytest.raises(InvalidArgument):
        client.download("r-1", path, **options)
    assert api.asked == []
