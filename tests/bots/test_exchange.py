"""Answers that come drop by drop, and lists that never end: both end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recall_lab.bots.client import EMPTY_PAGES, Client
from recall_lab.bots.exchange import Deadline
from recall_lab.errors import RecallApiError


def slow(clock: Any, pieces: int, seconds: float) -> Iterator[bytes]:
    """Give a body piece by piece, each after so many seconds of the clock."""
    for _ in range(pieces):
        clock.time += seconds
        yield b" "


def client_of(clock: Any, handler: Any, **options: Any) -> Client:
    transport = httpx2.MockTransport(handler)
    given = {"api_key": "k" * 20, "base_url": "http://127.0.0.1:9/api/v1/", "retry_timeout": 3.0}
    return Client(**given, timing=clock.timing(), transport=transport, **options)  # type: ignore[arg-type]


def test_an_answer_that_comes_drop_by_drop_is_given_up(clock: Any) -> None:
    taken = 0

    def handler(request: httpx2.Request) -> httpx2.Response:
        nonlocal taken
        taken += 1
        return httpx2.Response(200, content=slow(clock, 1_000, 0.3))

    with client_of(clock, handler, timeout=1.0) as client:
        begin = clock.time
        with pytest.raises(RecallApiError, match=r"did not answer in time.*not whole after 1 s"):
            client.get("b1")
    assert taken >= 1
    assert clock.time - begin < 10  # not 300


def test_a_download_that_comes_drop_by_drop_is_given_up_and_leaves_nothing(
    clock: Any, tmp_path: Path
) -> None:

    def handler(request: httpx2.Request) -> httpx2.Response:
        if "audio_mixed" in request.url.path:
            url = "https://files.example.org/x.mp3?Signature=abc"
            return httpx2.Response(200, json={"results": [{"data": {"download_url": url}}]})
        return httpx2.Response(200, content=slow(clock, 10_000, 1.0))

    with client_of(clock, handler) as client, pytest.raises(RecallApiError, match="bytes in 31 s"):
        client.download("r1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_slow_only_after_a_while_and_below_its_pace(clock: Any) -> None:
    deadline = Deadline(lambda: clock.time, 10.0)
    clock.time += 29
    deadline.check_pace(0)
    clock.time += 2
    deadline.check_pace(31 * 4096)
    with pytest.raises(httpx2.ReadTimeout):
        deadline.check_pace(31 * 4096 - 1)
    with pytest.raises(httpx2.ReadTimeout, match="10 s"):
        deadline.check()


def test_a_list_of_empty_pages_ends(client: Any, api: Any) -> None:
    for at in range(1, 100):
        following = f"{api.base}bot/?page={at + 1}"
        api.script({"results": [], "next": following})
    assert client.list() == []
    assert len(api.asked) == EMPTY_PAGES
