"""``rl.bots.create`` and its like, as a notebook calls them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import recall_lab as rl
from recall_lab.bots import configured
from recall_lab.bots.async_client import AsyncClient
from recall_lab.bots.client import Client
from recall_lab.errors import MissingSetting

URL = "ws://127.0.0.1:3456/?token=canary-token-77aa"
MEETING = "https://zoom.us/j/123"
METHODS = (
    "create", "get", "list", "leave", "delete_media", "delete", "endpoint_status", "wait_until",
    "download",
)  # fmt: skip


@pytest.fixture
def here(api: Any, monkeypatch: Any) -> Iterator[Any]:
    """The configuration's client asks the scripted API."""
    monkeypatch.setenv("RECALL_API_KEY", "canary-key-5f1d9e")
    monkeypatch.setenv("RECALL_REGION", "us-west-2")
    monkeypatch.setattr(
        configured, "Client", lambda key, region: Client(key, region, base_url=api.base)
    )
    yield api
    configured._close()


def test_they_say_what_is_missing() -> None:
    with pytest.raises(MissingSetting, match=r"RECALL_API_KEY.*\.env"):
        rl.bots.get("b-1")


def test_a_whole_life(here: Any, reply: Any, bot_json: Any, tmp_path: Path) -> None:
    here.script(
        bot_json("joining_call"),
        bot_json("in_call_recording", recordings=["r-1"]),
        {"results": [{"id": "e", "status": {"code": "running"}}]},
        reply(200, {}),
        bot_json("done", recordings=["r-1"]),
        {
            "results": [
                {"data": {"download_url": here.origin + "/f.mp3?Signature=canary-signature"}}
            ]
        },
        reply(200, b"ID3"),
        {"results": [bot_json("done")], "next": None},
        reply(200, {}),
        reply(204),
        bot_json("done"),
    )
    bot = rl.bots.create(MEETING, URL)
    bot = rl.bots.wait_until(bot, progress=False)
    assert [found.status for found in rl.bots.endpoint_status("r-1")] == ["running"]
    rl.bots.leave(bot)
    assert rl.bots.download(bot, tmp_path / "a.mp3").read_bytes() == b"ID3"
    assert [found.id for found in rl.bots.list()] == ["b-1"]
    rl.bots.delete_media(bot)
    rl.bots.delete(bot)
    assert rl.bots.get(bot).code == "done"


def test_one_client_until_the_configuration_changes(here: Any, monkeypatch: Any) -> None:
    first = configured.client()
    assert configured.client() is first
    monkeypatch.setenv("RECALL_API_KEY", "canary-key-of-tomorrow")
    assert configured.client() is not first
    assert len(configured._clients) == 1


@pytest.mark.parametrize("name", METHODS)
def test_functions_and_both_clients_take_the_same(name: str) -> None:
    method = inspect.signature(getattr(Client, name))
    waited = inspect.signature(getattr(AsyncClient, name))
    function = inspect.signature(getattr(configured, name))
    mine = list(method.parameters.values())[1:]
    assert list(waited.parameters.values())[1:] == mine
    assert list(function.parameters.values()) == mine


def test_the_clients_are_made_alike() -> None:
    sync, waited = (
        list(inspect.signature(kind).parameters.values()) for kind in (Client, AsyncClient)
    )
    assert [(p.name, p.default) for p in sync] == [(p.name, p.default) for p in waited]


def test_the_public_names() -> None:
    assert set(METHODS) <= set(dir(rl.bots))
    assert rl.bots.Client is Client and rl.bots.AsyncClient is AsyncClient
    assert rl.bots.STEPS[0] == "joining_call" and "transcript.data" in rl.bots.EVENTS
    for name in dir(rl.bots):
        assert getattr(rl.bots, name) is not None


def test_both_are_context_managers(api: Any) -> None:
    import asyncio

    async def use() -> str:
        async with AsyncClient("canary-key", base_url=api.base) as client:
            return repr(client)

    with Client("canary-key", base_url=api.base) as client:
        assert repr(client) == f"<Client of {api.base}>"
        client.close()
    assert asyncio.run(use()) == f"<AsyncClient of {api.base}>"
